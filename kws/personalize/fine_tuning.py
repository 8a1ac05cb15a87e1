"""What exits that learn are measured against: the network itself fine-tuned for its user, in real numbers, and what
learning costs one way or another."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .float_heads import codes_of


@dataclass(frozen=True)
class Recipe:
    """Stochastic gradient descent, the samples in turn."""

    rate: float = 1e-3
    epochs: int = 4


@dataclass(frozen=True)
class Cost:
    """Of learning once."""

    macs: int  # a backward pass counts as two forward ones
    bytes: int  # weights that change, their gradients, and what is kept of activations, as float32


def tuned(network: nn.Module, features: Tensor, labels: Tensor, recipe: Recipe = Recipe()) -> nn.Module:  # noqa: B008 - frozen
    """A copy of `network`, logits [N, labels] of real features [N, 1, frames, coefficients], all of whose weights are
    fine-tuned on these examples; statistics of normalisation stay."""
    own = copy.deepcopy(network).eval().requires_grad_()
    optimizer = torch.optim.SGD(own.parameters(), recipe.rate)
    for _ in range(recipe.epochs):
        for sample, label in zip(features.split(1), labels.split(1), strict=True):
            loss = cross_entropy(own(sample), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return own


@torch.no_grad()
def scores(network: nn.Module, features: Tensor) -> np.ndarray:
    """int8 [N, labels]."""
    return codes_of(network(features).numpy())


def memory(network: nn.Module, example: Tensor) -> int:
    """The bytes that fine-tuning all weights needs, one sample at a time: the weights, as many gradients, and what a
    forward pass of `example` keeps for the backward one."""
    weights = [parameter for parameter in network.parameters() if parameter.requires_grad]
    constant = {value.data_ptr() for value in (*network.parameters(), *network.buffers())}
    kept: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        if value.data_ptr() not in constant:
            kept[value.data_ptr()] = value.nbytes
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        output = network(example)  # which holds all that is kept, so that no two of them share an address
    del output
    return 2 * sum(each.nbytes for each in weights) + sum(kept.values())


def tuning_cost(macs: int, memory: int, count: int, recipe: Recipe = Recipe()) -> Cost:  # noqa: B008 - frozen
    """Of all weights of a network of `macs`, with `memory`, on `count` utterances."""
    return Cost(3 * recipe.epochs * count * macs, memory)


def heads_cost(heads: Sequence[tuple[int, int]], hearing: int, count: int, passes: int) -> Cost:
    """Of linear heads of (labels, features), which learn one after the other from stored features of `count`
    utterances, at `hearing` MACs each: all of them `passes` times."""
    sizes = [labels * features + labels for labels, features in heads]
    stored = count * sum(features + labels for labels, features in heads)
    return Cost(count * hearing + 3 * passes * count * sum(sizes), 4 * (stored + sum(sizes) + max(sizes)))
