"""A network whose channels have gates that a person's voice opens and closes: PPP-style, reconstructed.

Kim et al., "Prototype-based Personalized Pruning" (arXiv 2103.15564) gives the idea; the form of the gates follows
ConvNet-AIG (Veit and Belongie, arXiv 1711.11503), with one gate per few channels instead of one per block. The same
weights serve everybody: with all gates open they are the full network, which enrolment runs too.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from mcu_codegen.errors import InputError

from ..models.count import macs_by_layer
from ..models.exits import ExitNetwork
from ..models.groups import find_groups
from ..models.tracing import trace

HIDDEN = 32  # width of the embedding of an utterance


class Gating(nn.Module):
    """Gate logits of every group, [N, gates] each, from an embedding of the utterance.

    The embedding sees the mean of the features over time, which is mostly voice and microphone, and the mean of the
    last convolution's output, which is mostly words. Both are standardised over the training users, so that it sees
    how this utterance differs from others.
    """

    def __init__(self, coefficients: int, channels: int, gates: Sequence[int]):
        super().__init__()
        self.voice_standard = nn.BatchNorm1d(coefficients, affine=False)
        self.voice = nn.Linear(coefficients, HIDDEN)
        self.words_standard = nn.BatchNorm1d(channels, affine=False)
        self.words = nn.Linear(channels, HIDDEN)
        self.relu = nn.ReLU()
        self._heads = [f"head{number}" for number in range(len(gates))]
        for name, count in zip(self._heads, gates, strict=True):
            head = nn.Linear(HIDDEN, count)
            nn.init.constant_(head.bias, 1.0)  # open at first
            self.add_module(name, head)

    def forward(self, features: Tensor, last: Tensor) -> list[Tensor]:
        """From features [N, 1, frames, coefficients] and the network's pooled output [N, channels]."""
        voice = self.voice(self.voice_standard(features.mean((1, 2))))
        embedding = self.relu(voice + self.words(self.words_standard(last)))
        return [self.get_submodule(name)(embedding) for name in self._heads]

    @torch.no_grad()
    def fold(self) -> None:
        """Put the standardisation into the weights; for inference only."""
        for name, layer in (("voice_standard", self.voice), ("words_standard", self.words)):
            norm = self.get_submodule(name)
            assert isinstance(norm, nn.BatchNorm1d) and norm.running_mean is not None and norm.running_var is not None
            layer.weight /= (norm.running_var + norm.eps).sqrt()
            layer.bias.sub_(layer.weight @ norm.running_mean)
            self.set_submodule(name, nn.Identity())


class GatedNetwork(nn.Module):
    """A sequence of layers that ends in a linear one, `network`, perhaps with early exits, and the gates of its
    channels, `size` neighbouring channels each. Heads of exits have no gates of their own.

    Batch normalisation keeps the statistics that it came with, in training too: they are constants of the network that
    ships, whatever is closed. So there is one set of folded weights, for the full network and for everybody's.
    """

    def __init__(self, network: nn.Module, size: int, coefficients: int):
        super().__init__()
        backbone = network.backbone if isinstance(network, ExitNetwork) else network
        if not isinstance(backbone, nn.Sequential) or not isinstance(backbone[-1], nn.Linear):
            raise InputError(f"network {type(network).__name__} is no sequence of layers to gate")
        self.network, self.size = network, size
        traced = trace(network)
        self._graph, found = traced.graph, find_groups(traced)
        self.groups, self.layers = found.groups, found.layers
        if self.layers[-1].takes is None:
            raise InputError(f"network {type(network).__name__}: what its last layer takes has no gates")
        for group in self.groups:
            if group.channels % size:
                raise InputError(
                    f"--gate-size {size}: {group.name} has {group.channels} channels; a divisor is accepted"
                )
        gates = [group.channels // size for group in self.groups]
        self.gating = Gating(coefficients, backbone[-1].in_features, gates)
        # what leaving a label out adds to the gates' logits, zero or less, [labels, gates] by group
        self.absent = nn.ParameterList(torch.zeros(backbone[-1].out_features, count) for count in gates)

    @property
    def backbone(self) -> nn.Sequential:
        """The network without gates and exits, of the same layers."""
        network = self.network.backbone if isinstance(self.network, ExitNetwork) else self.network
        assert isinstance(network, nn.Sequential)
        return network

    def train(self, mode: bool = True) -> GatedNetwork:
        super().train(mode)
        for layer in self.network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()
        return self

    def forward(self, features: Tensor, *gates: Tensor) -> Any:
        """What the network gives, logits [N, labels], of every exit where it has some, with `gates`, one [N or 1,
        gates] of ones and zeros per group; none: all open."""
        if not gates:
            return self.network(features)
        closing = {
            layer.target: gates[layer.takes].repeat_interleave(self.size, 1)
            for layer in self.layers
            if layer.takes is not None and layer.mixes
        }
        return _Closing(self.network, self._graph, closing).run(features)

    def enrol(self, features: Tensor) -> list[Tensor]:
        """The gates' logits [N, gates] by group, everything open. Gradients reach the gating only."""
        with torch.no_grad():
            pooled = self.backbone[:-1](features)
        said: list[Tensor] = self.gating(features, pooled)
        return said

    def without(self, allowed: Tensor) -> list[Tensor]:
        """What a user's words change in her gates' logits, [U, gates] by group, from bool [U, labels]: the sum over the
        labels that are not `allowed`; nothing for a user of all words."""
        return [(~allowed).float() @ table for table in self.absent]


class _Closing(fx.Interpreter):
    """Runs a network so that layers which mix channels find zeros in those that are closed. Until then a channel keeps
    to itself, so that what it holds there does not matter."""

    def __init__(self, network: nn.Module, graph: fx.Graph, closing: Mapping[str, Tensor]):
        """`closing` has factors [N or 1, C] of the input by the layer that takes it."""
        super().__init__(network, graph=graph)
        self._closing = closing

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if target in self._closing:
            factor = self._closing[target]
            args = (args[0] * factor.reshape(*factor.shape, *(1,) * (args[0].ndim - 2)),)
        return super().call_module(target, args, kwargs)


class Enrolment(ExitNetwork):
    """What a board may run to enrol, with everything open, for inference: features to (gate logits by group, logits by
    exit)."""

    def __init__(self, gated: GatedNetwork):
        gated = copy.deepcopy(gated).eval()
        gated.gating.fold()
        super().__init__(gated.backbone, gated.network.heads if isinstance(gated.network, ExitNetwork) else {})
        self.gating = gated.gating

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        early, pooled = self.up_to_last(features)
        return (*self.gating(features, pooled), *early, self.last(pooled))


@dataclass(frozen=True)
class Costs:
    """Multiply-accumulates of a gated network as a function of what is open.

    Those of a layer that mixes channels go with open inputs times open outputs, those of a depthwise layer with its
    channels, those of the last layer with its inputs.
    """

    layers: tuple[tuple[float, tuple[int, ...]], ...]  # MACs with all open, and the groups that they go with

    @staticmethod
    def of(gated: GatedNetwork, frames: int, coefficients: int) -> Costs:
        macs = macs_by_layer(gated.network, frames, coefficients)
        return Costs(tuple((macs[layer.target], layer.scales_with) for layer in gated.layers))

    def kept(self, gates: Sequence[Tensor]) -> Tensor:
        """The share of MACs that remains, [N], for `gates` [N, gates] per group; differentiable."""
        open = torch.stack([each.mean(1) for each in gates])
        parts = [macs * open[list(groups)].prod(0) for macs, groups in self.layers]
        return torch.stack(parts).sum(0) / sum(macs for macs, _ in self.layers)
