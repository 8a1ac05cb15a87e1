"""Where a network's activations are: which filters have any, and a map over time and frequency that students copy.

Zhao et al. (arXiv 2201.10520, 2201.09881) prune by activation-based attention maps; their formulas are reconstructed.
The maps as a loss are Zagoruyko and Komodakis' (arXiv 1612.03928).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, normalize

from ..models.groups import find_groups
from ..models.tracing import trace


@contextmanager
def observed(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """What the network's ReLUs give, [N, channels, rows, columns] each, in its latest pass: by name, in order."""
    seen: dict[str, Tensor] = {}

    def keep(name: str, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        seen[name] = output

    named = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.ReLU)]
    hooks = [module.register_forward_hook(partial(keep, name)) for name, module in named]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def of_filters(network: nn.Module, features: Tensor) -> list[Tensor]:
    """The attention of every channel, [channels] by group: its mean square where a layer that mixes channels reads it,
    over all `features` [N, 1, frames, coefficients] and positions, relative to that of all channels there.

    Where several layers read a group, as along a shortcut, it is their mean.
    """
    found = find_groups(trace(network))
    readers = [layer for layer in found.layers if layer.mixes and layer.takes is not None]
    sums: dict[str, Tensor] = {}

    def add(name: str, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        squares = inputs[0].square().flatten(2).mean(2) if inputs[0].ndim > 2 else inputs[0].square()
        sums[name] = sums.get(name, 0) + squares.sum(0)

    hooks = [
        network.get_submodule(layer.target).register_forward_pre_hook(partial(add, layer.target)) for layer in readers
    ]
    try:
        network.eval()
        for batch in features.split(256):
            network(batch)
    finally:
        for hook in hooks:
            hook.remove()
    scores: list[list[Tensor]] = [[] for _ in found.groups]
    for layer in readers:
        assert layer.takes is not None
        scores[layer.takes].append(sums[layer.target] / sums[layer.target].mean().clamp(min=1e-12))
    return [torch.stack(each).mean(0) for each in scores]


def distance(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """How far apart two networks look: the mean square of the channels at every position, all positions as one vector
    of length 1, the square of the difference; the mean over the activations, [N, channels, rows, columns] each.

    Channels may differ in number. Where positions do, activations are not the same place in one architecture, and only
    the last ones are compared, over the fewer rows and columns of both.
    """
    pairs = list(zip(student, teacher, strict=False))
    if len(student) != len(teacher) or any(one.shape[2:] != other.shape[2:] for one, other in pairs):
        rows, columns = (min(sizes) for sizes in zip(student[-1].shape[2:], teacher[-1].shape[2:], strict=True))
        pairs = [(student[-1], teacher[-1])]
        return _apart(*(adaptive_avg_pool2d(_map(each), (rows, columns)) for each in pairs[0]))
    return torch.stack([_apart(_map(one), _map(other)) for one, other in pairs]).mean()


def _map(values: Tensor) -> Tensor:
    return values.square().mean(1, keepdim=True)


def _apart(student: Tensor, teacher: Tensor) -> Tensor:
    one, other = (normalize(each.flatten(1)) for each in (student, teacher))
    return (one - other).square().sum(1).mean()
