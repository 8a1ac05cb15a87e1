"""A second head, in training alone, that tells every word of the training clips apart, those of _unknown_ too."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ..data.task import Task

_NOBODY = -100  # the target of examples that hold no word


class EveryWord(nn.Module):
    """A network of few labels has no reason to tell other words apart, and so a word that it is taught later is like
    many others to it. With this loss beside its own its features tell hundreds apart; the head itself is dropped."""

    def __init__(self, task: Task, clips: npt.NDArray[np.int64], channels: int, label_smoothing: float) -> None:
        """`clips`: the training clip of `task` behind each example, -1 where nobody said it (recipe.view_clips);
        `channels` of what the network's last layer takes."""
        super().__init__()
        words, which = np.unique(task.training.words, return_inverse=True)
        self._targets = torch.from_numpy(np.where(clips < 0, _NOBODY, which[clips]))
        self._label_smoothing = label_smoothing
        self.head = nn.Linear(channels, len(words))

    def loss(self, embedded: Tensor, examples: npt.NDArray[np.int64]) -> Tensor:
        """Cross-entropy in nats over the `examples` of a batch that hold a word; of what the last layer takes of all of
        them, [N, channels]."""
        targets = self._targets[examples]
        found = cross_entropy(self.head(embedded), targets, reduction="sum", label_smoothing=self._label_smoothing)
        return found / (targets != _NOBODY).sum().clamp(min=1)
