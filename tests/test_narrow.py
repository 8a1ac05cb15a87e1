"""Networks with fewer channels: names, weights, and what stays the same."""

import pytest
import torch
from torch import nn

from kws import models
from kws.features import Window
from kws.models import MODELS, find, name_with, widths_of
from kws.models.groups import find_groups
from kws.models.narrow import narrowed
from kws.models.tracing import trace
from mcu_codegen.errors import InputError


def prepared(name: str) -> tuple[nn.Module, torch.Tensor]:
    """A network with some statistics, and features for it."""
    torch.manual_seed(0)
    architecture = find(name)
    window = Window(architecture.front_end, architecture.context)
    features = torch.randn(8, 1, window.frames(16000), window.front_end.coefficients)
    network = architecture.build(5).train()
    network(features)
    return network.eval(), features


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_channels_that_hold_nothing_can_go(name):
    network, features = prepared(name)
    groups = find_groups(trace(network)).groups
    kept = [torch.arange(group.channels)[number % 2 :: 3] for number, group in enumerate(groups)]
    for group, stay in zip(groups, kept, strict=True):
        gone = torch.ones(group.channels, dtype=torch.bool)
        gone[stay] = False
        for layer in map(network.get_submodule, (*group.norms, *group.sources)):
            norm = isinstance(layer, nn.BatchNorm2d)  # of a convolution the bias is enough to make it constant
            for value in (layer.weight, layer.bias) if norm or layer.bias is not None else ():
                value[gone.repeat(len(value) // len(gone))] = 0
    small = narrowed(network, kept)
    torch.testing.assert_close(small(features), network(features), atol=1e-4, rtol=1e-4)
    assert widths_of(small) == tuple(map(len, kept))
    named = models.build(name_with(name, widths_of(small)), 5)
    assert [value.shape for value in named.state_dict().values()] == [
        value.shape for value in small.state_dict().values()
    ]
    for layer in small.modules():  # what a module says of itself is true
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.shape[:2] == (layer.out_channels, layer.in_channels // layer.groups)


def test_the_network_itself_stays():
    network, features = prepared("res1d-xs")
    before = network(features)
    narrowed(network, [torch.arange(4), torch.arange(8)])
    assert torch.equal(network(features), before)


def test_a_narrow_network_starts_as_a_network_of_its_width():
    torch.manual_seed(0)
    network = models.build("res1d-l:8,4", 3)
    assert network[-1].weight.abs().max() > 1 / 256**0.5  # more than the bound of 256 inputs


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("res1d-xs:8", "2 groups of at most 44,44"),
        ("res1d-xs:8,45", "2 groups of at most 44,44"),
        ("res1d-xs:8,0", "no channels of groups"),
        ("res1d-xs:", "no channels of groups"),
        ("res1d-xs:8,-8", "no channels of groups"),
        ("res1d-none:8,8", "'res1d-none' is unknown"),
    ],
)
def test_widths_that_there_are_not_are_refused(name, message):
    with pytest.raises(InputError, match=message):
        models.build(name, 3)
