"""Which filters go."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

Rank = Callable[[nn.Module, Tensor], list[Tensor]]
"""From a network and features [N, 1, frames, coefficients] to how much each channel matters, [channels] by group,
comparable between groups."""


def without(scores: Sequence[Tensor], count: int, granule: int) -> list[Tensor]:
    """The channels that stay in each group, rising, where the `count` lowest of all `scores` are below the threshold.

    A group keeps a multiple of `granule`, so perhaps a few from below the threshold, and at least one granule.
    """
    threshold = torch.cat(list(scores)).sort().values[count - 1] if count else -torch.inf
    kept = []
    for each in scores:
        above = int((each > threshold).sum())
        stay = min(len(each), max(1, -(-above // granule)) * granule)
        kept.append(each.topk(stay).indices.sort().values)
    return kept


def widths(kept: Sequence[Tensor]) -> tuple[int, ...]:
    return tuple(map(len, kept))
