"""Training users: a speaker, perhaps a few words of hers, utterances to enrol with and others to be judged by."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mcu_codegen.errors import InputError

from ..data.task import Task
from .protocol import UNKNOWN

_LEAST = 4  # clips of the task's words that make a speaker a user


@dataclass(frozen=True)
class Batch:
    """U users. No clip that a user enrols with is among the half of her query that is her own.

    Users enrol with clips as they were recorded and are judged by augmented ones: what noise would do to their gates
    is nothing of theirs. Half of what they are judged by is not theirs but anybody's example, as the full network is
    trained on: a user who said ten clips would teach her network ten clips, and none of most words.
    """

    enrol: npt.NDArray[np.int64]  # [U, K] rows of the training clips; a user with fewer clips repeats them
    query: npt.NDArray[np.int64]  # [U, Q] rows of the views
    labels: npt.NDArray[np.int64]  # [U, Q]; another word than the user's is _unknown_
    allowed: npt.NDArray[np.bool_]  # [U, labels]: what may be decided: silence, unknown and the user's words


def speakers_of(task: Task, asked: npt.NDArray[np.bool_] | None = None) -> list[npt.NDArray[np.int64]]:
    """Rows of the training clips of every speaker who said enough to be a user, only those `asked`, bool[clips].

    Raises InputError where nobody did.
    """
    training = task.training
    word = training.labels > UNKNOWN
    if asked is not None:
        word = word & asked
    found = [
        np.flatnonzero(training.speakers == name) for name in np.unique(training.speakers[training.speakers != ""])
    ]
    found = [rows for rows in found if word[rows].sum() >= _LEAST]
    if not found:
        raise InputError(f"{task.name}: gates need a training speaker, named, with {_LEAST} clips of the words")
    return found


class Users:
    """The speakers of a task's training clips, with the augmented examples of each clip."""

    def __init__(self, task: Task, clips: np.ndarray, labels: np.ndarray) -> None:
        """`clips` int64[N]: the training clip behind each example (recipe.view_clips); `labels` int64[N], theirs.

        Raises InputError where nobody said enough to be a user.
        """
        self.labels = len(task.labels)
        self.clip_labels, self.example_labels = task.training.labels, labels
        order = np.argsort(clips, kind="stable")
        bounds = np.searchsorted(clips[order], np.arange(len(task.training) + 1))
        self._examples = [order[start:stop] for start, stop in itertools.pairwise(bounds)]
        held = np.bincount(self.clip_labels[np.unique(clips[clips >= 0])], minlength=self.labels)
        # how often a clip is asked: a class of few clips as often as one of many, _unknown_ twice as often
        self._weight = np.where(self.clip_labels == UNKNOWN, 2.0, 1.0) / np.maximum(held, 1)[self.clip_labels]
        asked = np.array([len(examples) > 0 for examples in self._examples])
        self._speakers = [rows[asked[rows]] for rows in speakers_of(task, asked)]
        # users are drawn by the weight of what they said: every class is asked as often then, whoever says it
        share = np.array([self._weight[rows].sum() for rows in self._speakers])
        self._share = share / share.sum()

    def batch(self, users: int, enrol: int, query: int, words_share: float, rng: np.random.Generator) -> Batch:
        """`words_share` of the users use half of the words. Half of the query is anybody's."""
        drawn = [self._user(enrol, query, rng.random() < words_share, rng) for _ in range(users)]
        return Batch(*(np.stack(each) for each in zip(*drawn, strict=True)))

    def _user(self, enrol: int, query: int, few: bool, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """The fields of `Batch` for one user, with `few` of half of the words where she said those twice or more."""
        clips = rng.permutation(self._speakers[rng.choice(len(self._speakers), p=self._share)])
        spoken = self.clip_labels[clips]
        allowed = np.ones(self.labels, bool)
        own, others = clips, clips[:0]
        if few:
            half = self._half(np.unique(spoken[spoken > UNKNOWN]), rng)
            mine = np.isin(spoken, half)
            if mine.sum() > 1:
                allowed[UNKNOWN + 1 :] = False
                allowed[half] = True
                own, others = clips[mine], clips[~mine]
        kept, judged = np.split(own, [max(1, min(enrol, len(own) // 2))])
        foreign = min(query // 6, len(others))
        asked = self._balanced(judged, query // 2 - foreign, rng)
        if foreign:
            asked = np.concatenate([asked, self._balanced(others, foreign, rng)])
        hers = [rng.choice(self._examples[clip]) for clip in asked]
        rows = np.concatenate([hers, rng.integers(len(self.example_labels), size=query - len(hers))])
        labels = self.example_labels[rows]
        return np.resize(kept, enrol), rows, np.where(allowed[labels], labels, UNKNOWN), allowed

    def _balanced(self, clips: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
        weight = self._weight[clips]
        return rng.choice(clips, count, p=weight / weight.sum())

    def _half(self, said: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Half of the words: as many as can be of those that the speaker `said`, others for the rest."""
        count = (self.labels - UNKNOWN - 1) // 2
        others = np.setdiff1d(np.arange(UNKNOWN + 1, self.labels), said)
        return np.concatenate([rng.permutation(said), rng.permutation(others)])[:count]
