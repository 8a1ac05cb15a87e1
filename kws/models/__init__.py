"""Network definitions. A new architecture is one short file and one line in `MODELS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from mcu_codegen.errors import InputError

from . import bc_resnet, ds_cnn, res1d


@dataclass(frozen=True)
class Architecture:
    """`build` makes the network of so many classes. It takes real feature values [N, 1, frames, coefficients] of
    `front_end`, unless it is trained on another one, and gives logits [N, classes].

    `coefficients` is how many it needs a frame, 0 where it takes any; `context` how many frames it hears before and
    after the second that holds the word. What is `streaming` becomes C that hears a stream, a few frames at a time.
    """

    build: Callable[[int], nn.Module]
    front_end: str
    coefficients: int = 0
    context: int = 0
    streaming: bool = False


_STREAMING = "-streaming"

MODELS: dict[str, Architecture] = {
    **{
        f"res1d-{size}": Architecture(partial(res1d.res1d, width), "logmel40-20ms", res1d.BANDS, res1d.CONTEXT)
        for size, width in res1d.WIDTHS.items()
    },
    **{
        f"bc-resnet-{scale}": Architecture(
            partial(bc_resnet.bc_resnet, scale), "logmel40-20ms", bc_resnet.BANDS, bc_resnet.CONTEXT
        )
        for scale in (1, 2)
    },
    **{f"ds-cnn-{size}": Architecture(partial(ds_cnn.ds_cnn, size, False), "mfcc10") for size in ds_cnn.SHAPES},
    **{
        f"ds-cnn-{size}{_STREAMING}": Architecture(
            partial(ds_cnn.ds_cnn, size, True), "mfcc10", ds_cnn.COEFFICIENTS, ds_cnn.CONTEXT, streaming=True
        )
        for size in ds_cnn.SHAPES
    },
}

DEFAULT = "res1d-s"


def find(name: str) -> Architecture:
    """Raises InputError on an unknown name."""
    if name not in MODELS:
        raise InputError(f"model {name!r} is unknown; there are {', '.join(MODELS)}")
    return MODELS[name]


def streaming(name: str) -> str:
    """The name of the streaming form of a network. Raises InputError where it has none."""
    if find(name).streaming:
        return name
    if name + _STREAMING not in MODELS:
        raise InputError(f"--streaming: model {name} pads no time, so it can stream as it is; go without")
    return name + _STREAMING


def build(name: str, classes: int) -> nn.Module:
    """The named network, freshly initialised. Raises InputError on an unknown name."""
    return find(name).build(classes)
