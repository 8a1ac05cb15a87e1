"""Network definitions. A new architecture is one short file and one line in `MODELS`."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from mcu_codegen.errors import InputError

from . import ds_cnn

# name -> builder(number of classes). A network takes real feature values [N, 1, frames, coefficients] and gives logits.
MODELS: dict[str, Callable[[int], nn.Module]] = {
    "ds-cnn-xs": ds_cnn.extra_small,
    "ds-cnn-s": ds_cnn.small,
    "ds-cnn-m": ds_cnn.medium,
    "ds-cnn-l": ds_cnn.large,
}


def build(name: str, classes: int) -> nn.Module:
    """The named network, freshly initialised. Raises InputError on an unknown name."""
    if name not in MODELS:
        raise InputError(f"model {name!r} is unknown; there are {', '.join(MODELS)}")
    return MODELS[name](classes)
