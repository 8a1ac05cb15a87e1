"""The one counter of multiply-accumulates and parameters, used by every table."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Count:
    """Convolutions and linear layers only; parameters with batch normalisation folded (one bias per output channel)."""

    macs: int
    parameters: int


def count(model: nn.Module, frames: int, coefficients: int) -> Count:
    """Count one inference on features of (frames, coefficients)."""
    macs = parameters = 0

    def observe(layer: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        nonlocal macs, parameters
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        positions = output[0, 0].numel()  # places where the kernel is applied; 1 for a linear layer
        macs += positions * weight.numel()
        parameters += weight.numel() + weight.shape[0]

    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(observe) for layer in layers]
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 1, frames, coefficients))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return Count(macs, parameters)
