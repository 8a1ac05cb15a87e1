"""Who is tested on what, and what the differences are worth: the protocol of every personal table.

The unit is the speaker: draws are averaged inside a speaker, seeds too, and intervals come from a bootstrap over
speakers. No clip that a user enrolled with is one that he is judged by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mcu_codegen.errors import InputError

from ..data.task import Examples

SILENCE, UNKNOWN = 0, 1  # labels of every task; the words follow
RESAMPLES = 10_000


@dataclass(frozen=True)
class Trial:
    """One user once: rows of the examples to enrol with and to be judged by."""

    speaker: int  # among the speakers of the protocol
    enrol: npt.NDArray[np.int64]  # [K]
    query: npt.NDArray[np.int64]  # [Q]
    truth: npt.NDArray[np.int64]  # [Q], label of each query; another word than the user's is _unknown_
    allowed: npt.NDArray[np.bool_]  # [labels] that may be decided


class Speakers:
    """The clips of speakers who said enough, silence aside."""

    def __init__(self, examples: Examples, labels: Sequence[str], keywords: int = 0, each: int = 0) -> None:
        """Speakers with `keywords` clips of the keywords in all and `each` of every keyword, at least.

        Raises InputError where fewer than two qualify.
        """
        self.labels = len(labels)
        self.label = examples.labels
        silent = examples.labels == SILENCE
        self.rows: list[npt.NDArray[np.int64]] = []
        self.names: list[str] = []
        for name in np.unique(examples.speakers[~silent]):
            rows = np.flatnonzero((examples.speakers == name) & ~silent)
            held = np.bincount(examples.labels[rows], minlength=self.labels)[UNKNOWN + 1 :]
            if held.sum() >= keywords and held.min() >= each:
                self.rows.append(rows)
                self.names.append(str(name))
        if len(self.rows) < 2:
            raise InputError(
                f"{len(self.rows)} speakers with {keywords} clips of the words, {each} of each; two or more are needed"
            )

    def __len__(self) -> int:
        return len(self.rows)

    def with_clips(self, least: int) -> list[str]:
        """Names of those who said `least` clips or more, of any words."""
        return [name for name, rows in zip(self.names, self.rows, strict=True) if len(rows) >= least]

    def voice(self, count: int, draws: int, least: int, rng: np.random.Generator) -> list[Trial]:
        """Every speaker with `least` clips beside `count` to enrol with, of any words; all labels may be decided."""
        allowed = np.ones(self.labels, bool)
        trials = []
        for _ in range(draws):
            for speaker, rows in enumerate(self.rows):
                order = rng.permutation(rows)
                if len(order) >= count + least:
                    query = np.sort(order[count:])
                    trials.append(Trial(speaker, order[:count], query, self.label[query], allowed))
        return trials

    def words(self, count: int, sets: Sequence[Sequence[int]], rng: np.random.Generator) -> list[Trial]:
        """Every speaker with every set of keyword labels in `sets`. He enrols with up to `count` clips of them, in
        turn, and leaves one of each word to be judged by, beside all his other clips, which are _unknown_ then."""
        trials = []
        for few in sets:
            allowed = np.arange(self.labels) <= UNKNOWN
            allowed[list(few)] = True
            for speaker, rows in enumerate(self.rows):
                order = rng.permutation(rows)
                own = [order[self.label[order] == word][:-1] for word in few]
                turns = [clips[turn] for turn in range(max(map(len, own))) for clips in own if turn < len(clips)]
                if turns:
                    enrol = np.array(turns[:count])
                    query = np.sort(np.setdiff1d(order, enrol))
                    truth = np.where(allowed[self.label[query]], self.label[query], UNKNOWN)
                    trials.append(Trial(speaker, enrol, query, truth, allowed))
        return trials

    def stream(self, count: int, sets: Sequence[Sequence[int]], least: int, rng: np.random.Generator) -> list[Trial]:
        """Every speaker with every set of keyword labels in `sets`, of whose words and _unknown_ alone he says `count`
        to learn from and `least` or more to be judged by: a user who never says the other words."""
        trials = []
        for few in sets:
            allowed = np.arange(self.labels) <= UNKNOWN
            allowed[list(few)] = True
            for speaker, rows in enumerate(self.rows):
                order = rng.permutation(rows[allowed[self.label[rows]]])
                if len(order) >= count + least:
                    query = np.sort(order[count:])
                    trials.append(Trial(speaker, order[:count], query, self.label[query], allowed))
        return trials


def merged(outputs: Tensor, allowed: Tensor) -> Tensor:
    """Logits [N, labels] in which every label that is not `allowed`, bool [N or 1, labels], speaks for _unknown_: its
    logit becomes that of all of them together."""
    others = ~allowed
    others[:, UNKNOWN] = True
    unknown = outputs.masked_fill(~others, -1e4).logsumexp(1)
    return torch.cat([outputs[:, :1], unknown[:, None], outputs[:, 2:]], 1)


def per_speaker(trials: Sequence[Trial], right: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The mean over each speaker's trials, in order of the speakers; `right` is the accuracy in each trial."""
    owners = np.array([trial.speaker for trial in trials])
    return np.array([np.mean(np.asarray(right)[owners == owner]) for owner in np.unique(owners)])


def overlap(trials: Sequence[Trial], chosen: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """The mean Jaccard index of what two trials chose, bool[trials, gates]: of the same speaker, of two speakers."""
    owners = np.array([trial.speaker for trial in trials])
    both = chosen.astype(np.float32) @ chosen.T.astype(np.float32)
    held = chosen.sum(1)
    index = both / (held[:, None] + held - both)
    same = owners[:, None] == owners
    pairs = ~np.eye(len(owners), dtype=bool)
    return float(index[same & pairs].mean()), float(index[~same].mean())


def interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the mean of `values`, one per speaker, by bootstrap."""
    picks = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[picks].mean(1), [2.5, 97.5])
    return float(low), float(high)


def worst_tenth(values: np.ndarray) -> float:
    """The mean of the tenth of `values`, one per speaker, that are lowest; of one at least."""
    return float(np.sort(values)[: max(1, len(values) // 10)].mean())


@dataclass(frozen=True)
class Summary:
    """A method's accuracy over speakers, and how the user's own gates compare with it."""

    mean: float
    median: float
    worst_tenth: float  # mean of the tenth of the speakers, one at least, that fare worst
    harmed: float  # share of speakers for whom the own gates are worse than this
    own_minus: float
    low: float  # of the 95 % interval of own_minus
    high: float

    @staticmethod
    def of(values: np.ndarray, own: np.ndarray) -> Summary:
        """From accuracies by speaker, of a method and of the own gates."""
        difference = own - values
        return Summary(
            float(values.mean()),
            float(np.median(values)),
            worst_tenth(values),
            float(np.mean(difference < 0)),
            float(difference.mean()),
            *interval(difference),
        )
