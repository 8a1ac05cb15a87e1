"""Training users: a speaker, perhaps a few words of hers, utterances to enrol with and others to be judged by."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..data.corpus import SILENCE, UNKNOWN
from ..data.task import Task

_LEAST = 6  # clips of the task's words that make a speaker a user


@dataclass(frozen=True)
class Batch:
    """U users. No clip is both enrolled and judged.

    Users enrol with clips as they were recorded and are judged by augmented ones: what noise would do to their gates
    is nothing of theirs.
    """

    enrol: npt.NDArray[np.int64]  # [U, K] rows of the training clips; a user with fewer clips repeats them
    query: npt.NDArray[np.int64]  # [U, Q] rows of the views
    labels: npt.NDArray[np.int64]  # [U, Q]; another word than the user's is _unknown_
    allowed: npt.NDArray[np.bool_]  # [U, labels]: what may be decided: silence, unknown and the user's words


class Users:
    """The speakers of a task's training clips, with the augmented examples of each clip."""

    def __init__(self, task: Task, clips: np.ndarray, labels: np.ndarray) -> None:
        """`clips` int64[N]: the training clip behind each example (recipe.view_clips); `labels` int64[N], theirs."""
        self.labels = len(task.labels)
        self.silence, self.unknown = task.labels.index(SILENCE), task.labels.index(UNKNOWN)
        self.clip_labels = self._label = task.training.labels
        order = np.argsort(clips, kind="stable")
        bounds = np.searchsorted(clips[order], np.arange(len(task.training) + 1))
        self._examples = [order[start:stop] for start, stop in itertools.pairwise(bounds)]
        nobody = order[: bounds[0]]
        self._nobody = {label: nobody[labels[nobody] == label] for label in (self.silence, self.unknown)}
        self._speakers = []
        for speaker in np.unique(task.training.speakers):
            held = [row for row in np.flatnonzero(task.training.speakers == speaker) if len(self._examples[row])]
            if speaker and sum(self._label[row] > self.unknown for row in held) >= _LEAST:
                self._speakers.append(np.array(held))

    def batch(self, users: int, enrol: int, query: int, words_share: float, rng: np.random.Generator) -> Batch:
        """`words_share` of the users use half of the words. A sixth of the query is silence and words nobody says."""
        rows, asked, labels, allowed = [], [], [], np.ones((users, self.labels), bool)
        for user in range(users):
            clips = rng.permutation(self._speakers[rng.integers(len(self._speakers))])
            said = np.unique(self._label[clips])
            said = said[said > self.unknown]
            if rng.random() < words_share and len(said) > 1:
                few = (self.labels - 2) // 2
                mine = rng.permutation(said)[:few]
                rest = np.setdiff1d(np.arange(self.unknown + 1, self.labels), mine)
                mine = np.concatenate([mine, rng.permutation(rest)[: few - len(mine)]])
                allowed[user, self.unknown + 1 :] = False
                allowed[user, mine] = True
            own = clips[allowed[user, self._label[clips]] & (self._label[clips] > self.unknown)]
            others = clips[~np.isin(clips, own)]
            if allowed[user].all():
                own, others = clips, clips[:0]
            kept = own[: max(1, min(enrol, len(own) // 2))]
            judged = own[len(kept) :]
            rows.append(np.resize(kept, enrol))
            strangers = max(1, query // 6)
            foreign = min(query // 3, 2 * len(others)) if len(others) else 0
            told = query - strangers - foreign
            whose = np.concatenate([rng.choice(judged, told), rng.choice(others, foreign) if foreign else others[:0]])
            quiet = np.where(rng.random(strangers) < 0.5, self.silence, self.unknown)
            nobody = [rng.choice(self._nobody[label]) for label in quiet]
            truth = np.where(allowed[user, self._label[whose]], self._label[whose], self.unknown)
            asked.append(np.concatenate([[rng.choice(self._examples[clip]) for clip in whose], nobody]))
            labels.append(np.concatenate([truth, quiet]))
        return Batch(np.array(rows), np.array(asked, np.int64), np.array(labels, np.int64), allowed)
