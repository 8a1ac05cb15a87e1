"""Ways to choose a person's channels: her own gates, and everything that they must beat at equal cost."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .gated import GatedNetwork

Gates = list[Tensor]
"""By group, [1, gates] of ones and zeros."""


def decided(said: Sequence[Tensor], changes: Sequence[Tensor], threshold: float = 0.0) -> Gates:
    """The gates of the mean of logits [K, gates] by group, changed by what the user's words say [1, gates]; at least
    one of a group is open. `threshold` other than 0 keeps fewer or more."""
    gates = []
    for each, change in zip(said, changes, strict=True):
        logits = each.mean(0, keepdim=True) + change
        gate = (logits > threshold).float()
        gates.append(gate if gate.any() else torch.zeros_like(gate).scatter(1, logits.argmax(1, keepdim=True), 1.0))
    return gates


def best(scores: Sequence[Tensor], like: Gates) -> Gates:
    """As many gates per group as `like` has open, those with the highest of `scores` [gates]: equal cost by design."""
    gates = []
    for score, own in zip(scores, like, strict=True):
        order = score.reshape(-1).argsort(descending=True)[: int(own.sum())]
        gates.append(torch.zeros_like(own).scatter(1, order[None], 1.0))
    return gates


def random(like: Gates, generator: torch.Generator) -> Gates:
    """As many gates per group as `like` has open, any."""
    return best([torch.rand(own.shape[1], generator=generator) for own in like], like)


def magnitude(gated: GatedNetwork) -> list[Tensor]:
    """The L1 norm of the weights that make each gate's channels, [gates] by group (Li et al., arXiv 1608.08710)."""

    def norm(layer: str) -> Tensor:
        return gated.network.get_parameter(f"{layer}.weight").detach().abs().sum((1, 2, 3))

    sums = [torch.stack([norm(layer) for layer in group.sources]).sum(0) for group in gated.groups]
    return [_by_gate(each, gated.size) for each in sums]


def scale(gated: GatedNetwork) -> list[Tensor]:
    """The size of each gate's factors of the first batch normalisation, [gates] by group (Liu et al., arXiv
    1708.06519)."""
    return [
        _by_gate(gated.network.get_parameter(f"{group.norms[0]}.weight").detach().abs(), gated.size)
        for group in gated.groups
    ]


def taylor(gated: GatedNetwork, features: Tensor, labels: Tensor) -> list[Tensor]:
    """How much the loss on labelled utterances changes, to first order, where a gate closes, [gates] by group
    (Molchanov et al., arXiv 1611.06440): the size of the gradient by the gate, over all utterances."""
    gates = [torch.ones(1, group.channels // gated.size, requires_grad=True) for group in gated.groups]
    loss = cross_entropy(gated(features, *gates), labels)
    return [gradient[0].abs() for gradient in torch.autograd.grad(loss, gates)]


def tuned_head(network: nn.Sequential, pooled: Tensor, labels: Tensor, steps: int = 60, pull: float = 0.1) -> nn.Linear:
    """A copy of the last layer, fine-tuned on pooled outputs [N, channels] of labelled clips; `pull` holds it back."""
    old = network[-1]
    assert isinstance(old, nn.Linear)
    new = nn.Linear(old.in_features, old.out_features)
    new.load_state_dict(old.state_dict())
    optimizer = torch.optim.Adam(new.parameters(), lr=0.01)
    for _ in range(steps):
        loss = cross_entropy(new(pooled), labels)
        for now, before in zip(new.parameters(), old.parameters(), strict=True):
            loss = loss + pull * (now - before.detach()).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return new


def _by_gate(values: Tensor, size: int) -> Tensor:
    return values.unflatten(0, (-1, size)).mean(1)
