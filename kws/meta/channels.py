"""Whole channels instead of single weights: then multiply-accumulates go, too, on any core and with any kernel."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

import torch
from torch import Tensor

from mcu_codegen.errors import InputError

from .. import models
from ..compress import filters
from ..models.count import count
from ..models.groups import find_groups
from ..models.narrow import narrowed
from ..models.tracing import trace
from ..training.checkpoint import Checkpoint
from .learners import Adaptable
from .saliency import columns_of, saliency

_GRANULE = 4  # channels, as many as kernels take at a time


def without(held: Checkpoint, subject: Adaptable, hessians: dict[str, Tensor], share: float) -> Checkpoint:
    """`held` with so few channels that `share` of the multiply-accumulates of the network it is named after are gone.

    A channel matters as much as the weights that make it, pass it on and take it do, relative to the mean channel.
    Raises InputError where the narrowest network has more of them.
    """
    scores = scores_of(subject, hessians)
    window = held.window
    features = window.frames(window.length), window.front_end.coefficients

    def macs(name: str) -> int:
        return count(models.build(name, len(held.labels)), *features).macs

    most = (1 - share) * macs(held.model.partition(":")[0])

    def widths(number: int) -> list[int]:
        return [len(each) for each in filters.without(scores, number, _GRANULE)]

    def fits(number: int) -> bool:
        return macs(models.name_with(held.model, widths(number))) <= most

    total = sum(map(len, scores))
    if not fits(total):
        raise InputError(
            f"--rounds {share}: {held.model} cannot lose as much; it keeps {_GRANULE} channels of each group"
        )
    kept = filters.without(scores, bisect_left(range(total), True, key=fits), _GRANULE)
    network = narrowed(subject.network, kept)
    name = models.name_with(held.model, [len(each) for each in kept])
    return replace(held, model=name, state_dict=network.state_dict())


@torch.no_grad()
def scores_of(subject: Adaptable, hessians: dict[str, Tensor]) -> list[Tensor]:
    """By group of channels (`models.groups`) how much each matters, [channels]; 1 on average."""
    found = find_groups(trace(subject.network))
    totals = [torch.zeros(group.channels, dtype=torch.float64) for group in found.groups]
    columns = columns_of(subject)
    for layer in found.layers:
        if layer.target not in columns:
            continue
        own = columns[layer.target]
        weights = saliency(own, hessians[layer.target]).transpose(1, 2).reshape(own.layer.weight.shape)
        made, taken = weights.flatten(1).sum(1), weights.transpose(0, 1).flatten(1).sum(1)
        if layer.gives is not None:
            _add(totals[layer.gives], made)
        if layer.takes is not None and layer.mixes:
            _add(totals[layer.takes], taken)
    return [total / total.mean() for total in totals]


def _add(total: Tensor, scores: Tensor) -> None:
    """`scores` of a layer's channels, a group's once or (behind columns that became channels) several times."""
    total += (scores / scores.mean()).view(-1, len(total)).sum(0)
