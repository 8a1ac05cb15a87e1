"""A network with fewer channels, whichever of each group stay."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .groups import find_groups
from .tracing import trace


def narrowed(network: nn.Module, kept: Sequence[Tensor]) -> nn.Module:
    """A copy that has only the channels `kept` of each of its groups (`find_groups`): int64 indices, rising.

    What the channels that go have given to others is gone with them; the others keep their weights and statistics.
    """
    network = copy.deepcopy(network)
    found = find_groups(trace(network))

    def places(place: int, size: int) -> Tensor:
        """Where the channels stand along an axis of `size`: behind `ColumnsToChannels`, once a column."""
        channels = found.groups[place].channels
        return torch.cat([kept[place] + first for first in range(0, size, channels)])

    for layer in found.layers:
        module = network.get_submodule(layer.target)
        if layer.gives is not None and not isinstance(module, nn.BatchNorm2d):
            _keep(module, ("weight", "bias"), 0, places(layer.gives, module.get_parameter("weight").shape[0]))
        if layer.takes is not None and layer.mixes:
            _keep(module, ("weight",), 1, places(layer.takes, module.get_parameter("weight").shape[1]))
        _state_sizes(module)
    for number, group in enumerate(found.groups):
        for name in group.norms:
            norm = network.get_submodule(name)
            chosen = places(number, norm.get_parameter("weight").shape[0])
            _keep(norm, ("weight", "bias", "running_mean", "running_var"), 0, chosen)
            _state_sizes(norm)
    return network


def _keep(module: nn.Module, names: Sequence[str], axis: int, places: Tensor) -> None:
    for name in names:
        value = getattr(module, name)
        if value is not None:
            part = value.detach().index_select(axis, places)
            setattr(module, name, nn.Parameter(part) if isinstance(value, nn.Parameter) else part)


def _state_sizes(module: nn.Module) -> None:
    """What the module says of itself follows its weights."""
    match module:
        case nn.Conv2d():
            module.out_channels = module.weight.shape[0]
            module.groups = 1 if module.groups == 1 else module.out_channels
            module.in_channels = module.weight.shape[1] * module.groups
        case nn.Linear():
            module.out_features, module.in_features = module.weight.shape
        case nn.BatchNorm2d():
            module.num_features = module.weight.shape[0]
