"""How weights follow their gradients, wherever a network is trained from its floats."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


def adamw(parameters: Iterable[nn.Parameter], weight_decay: float) -> torch.optim.AdamW:
    """AdamW; what has one dimension, biases and scales, does not decay. The learning rate is the caller's to set."""
    every = list(parameters)
    return torch.optim.AdamW(
        [
            {"params": [each for each in every if each.ndim > 1], "weight_decay": weight_decay},
            {"params": [each for each in every if each.ndim == 1], "weight_decay": 0.0},
        ],
        fused=True,
    )
