"""Gates that gradients pass, and the loss of a user who may use some of the words only."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from .protocol import merged


def straight_through(logits: Tensor) -> Tensor:
    """Gates [N, gates], 1 where a logit is above zero, with the gradient of the sigmoid; the greatest of a group is
    open where none is."""
    chance = logits.sigmoid()
    hard = (logits > 0).float()
    hard = torch.where(hard.any(1, keepdim=True), hard, (logits == logits.amax(1, keepdim=True)).float())
    return hard + chance - chance.detach()


def personal_loss(outputs: Tensor, labels: Tensor, allowed: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy of logits [N, labels] for users who may decide the `allowed` labels, bool [N, labels].

    Half of it is of the choice among those labels alone, half of the choice in which every other word speaks for
    _unknown_; for a user of all words they are the same.
    """
    told = merged(outputs, allowed)
    return 0.5 * (
        _cross_entropy(outputs, labels, allowed, smoothing) + _cross_entropy(told, labels, allowed, smoothing)
    )


def _cross_entropy(outputs: Tensor, labels: Tensor, allowed: Tensor, smoothing: float) -> Tensor:
    """Among the `allowed` labels only; `smoothing` is shared among them."""
    logs = log_softmax(outputs.masked_fill(~allowed, -1e4), 1)
    target = smoothing * allowed / allowed.sum(1, keepdim=True)
    target = target.scatter_add(1, labels[:, None], torch.full((len(labels), 1), 1 - smoothing))
    return -(target * logs.masked_fill(~allowed, 0.0)).sum(1).mean()
