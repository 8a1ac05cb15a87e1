"""Network definitions. A new architecture is one short file and one line in `MODELS`.

Each has a name of its own. A narrower one is called by its widths, too: ``res1d-l:64,48`` is `res1d-l` with 64 channels
in its first group and 48 in its second (`models.groups`). So a pruned network is a network like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from mcu_codegen.errors import InputError

from . import bc_resnet, ds_cnn, res1d
from .groups import find_groups
from .narrow import narrowed
from .tracing import trace


@dataclass(frozen=True)
class Architecture:
    """`build` makes the network of so many classes. It takes real feature values [N, 1, frames, coefficients] of
    `front_end`, unless it is trained on another one, and gives logits [N, classes].

    `coefficients` is how many it needs a frame, 0 where it takes any; `context` how many frames it hears before and
    after the second that holds the word. What is `streaming` pads no time, and becomes C that hears a stream, a few
    frames at a time.
    """

    build: Callable[[int], nn.Module]
    front_end: str
    coefficients: int = 0
    context: int = 0
    streaming: bool = False


_STREAMING = "-streaming"

MODELS: dict[str, Architecture] = {
    **{
        f"res1d-{size}": Architecture(
            partial(res1d.res1d, width), "logmel40-20ms", res1d.BANDS, res1d.CONTEXT, streaming=True
        )
        for size, width in res1d.WIDTHS.items()
    },
    "res1d-wide": Architecture(res1d.wide, "logmel40-20ms", res1d.BANDS, res1d.CONTEXT, streaming=True),
    **{
        f"bc-resnet-{scale}": Architecture(
            partial(bc_resnet.bc_resnet, scale), "logmel40-20ms", bc_resnet.BANDS, bc_resnet.CONTEXT, streaming=True
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
    """Raises InputError on an unknown name, or widths that are no positive numbers."""
    whole, colon, widths = name.partition(":")
    if whole not in MODELS:
        raise InputError(f"model {whole!r} is unknown; there are {', '.join(MODELS)}")
    if not colon:
        return MODELS[whole]
    if not all(width.isdecimal() and int(width) for width in widths.split(",")):
        raise InputError(f"model {name!r}: {widths!r} are no channels of groups; {whole}:64,48, say, is accepted")
    numbers = tuple(map(int, widths.split(",")))
    return replace(MODELS[whole], build=partial(_narrow, MODELS[whole].build, name, numbers))


def streaming(name: str) -> str:
    """The name of the form of a network that streams: its own where it pads no time. Raises InputError on an unknown
    name."""
    if find(name).streaming:
        return name
    whole, colon, widths = name.partition(":")
    return f"{whole}{_STREAMING}{colon}{widths}"


def build(name: str, classes: int) -> nn.Module:
    """The named network, freshly initialised. Raises InputError on an unknown name, or widths that it cannot have."""
    return find(name).build(classes)


def body_and_head(network: nn.Module) -> tuple[nn.Sequential, nn.Linear]:
    """Everything but the last layer, and that: both share the network's weights. Raises InputError where it is no
    sequence that ends in a linear layer of its own."""
    if not isinstance(network, nn.Sequential) or not isinstance(network[-1], nn.Linear):
        raise InputError(f"network {type(network).__name__} does not end in a linear layer of its own")
    return nn.Sequential(*list(network)[:-1]), network[-1]


def widths_of(network: nn.Module) -> tuple[int, ...]:
    """The channels of each of its groups."""
    return tuple(group.channels for group in find_groups(trace(network)).groups)


def name_with(name: str, widths: Sequence[int]) -> str:
    """What the network `name` is called once it has these widths."""
    return f"{name.partition(':')[0]}:{','.join(map(str, widths))}"


def _narrow(whole: Callable[[int], nn.Module], name: str, widths: tuple[int, ...], classes: int) -> nn.Module:
    network = whole(classes)
    most = widths_of(network)
    if len(widths) != len(most) or any(wanted > held for wanted, held in zip(widths, most, strict=False)):
        raise InputError(f"model {name!r}: {len(most)} groups of at most {','.join(map(str, most))} are accepted")
    network = narrowed(network, [torch.arange(width) for width in widths])
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.reset_parameters()  # as wide as it is now
    return network
