"""Channel groups: what is tied by sums and depthwise layers, in chains and residual networks."""

import pytest
import torch
from torch import nn

from kws.models import MODELS
from kws.models.groups import Layer, find_groups
from kws.models.tracing import trace
from mcu_codegen.errors import InputError


def test_a_chain_has_a_group_per_convolution_that_mixes() -> None:
    found = find_groups(trace(MODELS["ds-cnn-s"].build(5)[:-1]))
    assert [group.channels for group in found.groups] == [64] * 5
    assert [group.sources for group in found.groups] == [("0",), ("6",), ("12",), ("18",), ("24",)]
    assert found.layers[:3] == (Layer("0", None, 0, True), Layer("3", 0, 0, False), Layer("6", 0, 1, True))
    assert found.output == 4


def test_shortcuts_tie_what_they_join() -> None:
    network = MODELS["res1d-xs"].build(5)
    found = find_groups(trace(network[:-1]))
    residual = [name for name, block in network.named_children() if getattr(block, "shortcut", False)]
    tied = found.groups[found.output]
    assert {f"{name}.pointwise.0" for name in residual} < set(tied.sources)
    depthwise = [layer for layer in found.layers if not layer.mixes]
    assert depthwise and all(layer.takes == layer.gives for layer in depthwise)


def test_a_norm_of_columns_keeps_channels_to_themselves() -> None:
    network = MODELS["bc-resnet-1"].build(5)
    found = find_groups(trace(network[:-1]))
    assert [group.channels for group in found.groups] == [16, 8, 12, 16, 20, 32]
    (place,) = {layer.gives for layer in found.layers if layer.target.startswith("4.")}
    assert Layer("4.frequency.4.norm", place, place, False) in found.layers
    assert found.groups[place].sources == ("4.frequency.0", "4.temporal.3", "5.temporal.3")


class Two(nn.Module):
    """Two branches, of which one is never added to the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 6, 1)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        value = self.first(value)
        return self.third(value + self.second(value)[:, :, 1:])


def test_a_sum_of_slices() -> None:
    found = find_groups(trace(Two()))
    assert [(group.channels, group.sources) for group in found.groups] == [(4, ("first", "second")), (6, ("third",))]


def test_grouped_convolutions_are_refused() -> None:
    with pytest.raises(InputError, match=r"layer '1' \(Conv2d\): 2 groups; 1 or one per channel"):
        find_groups(trace(nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1, groups=2))))
    with pytest.raises(InputError, match="no convolutions"):
        find_groups(trace(nn.Sequential(nn.Flatten(), nn.Linear(4, 2))))
