"""The one counter of multiply-accumulates and parameters, used by every table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from .layers import LAYERS


@dataclass(frozen=True)
class Count:
    """Of `LAYERS` only; parameters with batch normalisation folded (one bias per output channel)."""

    macs: int
    parameters: int


def count(model: nn.Module, frames: int, coefficients: int) -> Count:
    """Count one inference on features of (frames, coefficients)."""
    macs = macs_by_layer(model, frames, coefficients)
    weights = [model.get_parameter(f"{name}.weight") for name in macs]
    return Count(sum(macs.values()), sum(weight.numel() + weight.shape[0] for weight in weights))


def macs_by_layer(model: nn.Module, frames: int, coefficients: int) -> dict[str, int]:
    """Multiply-accumulates of each of `LAYERS` that an inference runs, by the module's name."""
    macs: dict[str, int] = {}

    def observer(name: str) -> Callable[[nn.Module, object, torch.Tensor], None]:
        def observe(layer: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            # output[0, 0]: the places where the kernel is applied; one for a linear layer
            macs[name] = output[0, 0].numel() * layer.get_parameter("weight").numel()

        return observe

    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, LAYERS)}
    hooks = [layer.register_forward_hook(observer(name)) for name, layer in layers.items()]
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 1, frames, coefficients))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return macs
