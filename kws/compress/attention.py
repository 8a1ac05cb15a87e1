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

from mcu_codegen.errors import InputError

from ..models.groups import find_groups
from ..models.tracing import module_of, trace


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
    """The attention of every channel, [channels] by group: its mean square behind an activation, over all `features`
    [N, 1, frames, coefficients] and positions, relative to that of all channels there.

    Where a group passes several activations, as along a shortcut, it is their mean. Raises InputError where a group
    passes none.
    """
    traced = trace(network)
    relus = {node.name: str(node.target) for node in traced.graph.nodes if isinstance(module_of(node), nn.ReLU)}
    with observed(network.eval()) as seen:
        sums: dict[str, Tensor] = {}
        for batch in features.split(256):
            network(batch)
            for name, values in seen.items():
                sums[name] = sums.get(name, 0) + values.square().mean((2, 3)).sum(0)
    found = []
    for group in find_groups(traced).groups:
        passed = [sums[relus[node]] for node in group.nodes if node in relus]
        if not passed:
            raise InputError(f"{group.name} ({', '.join(group.sources)}): no ReLU shows how active its channels are")
        found.append(torch.stack([each / each.mean().clamp(min=1e-12) for each in passed]).mean(0))
    return found


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
