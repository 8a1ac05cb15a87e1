"""Detections against the words that were spoken: misses, false accepts per hour, latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .decisions import Ints, starts
from .hearing import Heard

LATE = 1.5  # seconds after a word's end until which its detection is counted as one


@dataclass(frozen=True)
class Score:
    """What a decision got right and wrong. Arrays are int64[labels] unless they say otherwise.

    A word is hit by the first detection of its label between its start and `LATE` seconds after its end; without one
    it is missed. Any other detection in that time is a confusion: another label, or the same word twice. A detection
    at any other time is a false accept.
    """

    labels: tuple[str, ...]
    hours: float  # outside of words, to which false accepts are referred
    spoken: Ints
    hits: Ints
    false_accepts: Ints
    confusions: Ints
    latencies: np.ndarray  # float64[hits], seconds from a word's end to its detection, negative where it was earlier

    @property
    def miss_rate(self) -> float:
        """The share of the words that are not hit; NaN where none was spoken."""
        return 1 - float(self.hits.sum()) / spoken if (spoken := int(self.spoken.sum())) else float("nan")

    @property
    def fa_per_hour(self) -> float:
        return float(self.false_accepts.sum()) / self.hours

    @property
    def confusion_rate(self) -> float:
        """Confusions a spoken word."""
        return float(self.confusions.sum()) / max(1, int(self.spoken.sum()))

    def latency(self, share: float) -> float:
        """The seconds that `share` of the hits take at most; NaN without hits."""
        return float(np.quantile(self.latencies, share)) if len(self.latencies) else float("nan")


class Truth:
    """The words of recordings on the axis of `Candidates`, in hops."""

    def __init__(self, heard: Sequence[Heard], labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        rows = [
            (start + word.start / each.hop_seconds, start + word.end / each.hop_seconds, self.labels.index(word.word))
            for each, start in zip(heard, starts(heard), strict=True)
            for word in each.words
        ]
        self._hop_seconds = heard[0].hop_seconds
        self._starts, self._ends, which = np.array(rows, float).reshape(-1, 3).T
        self._which = which.astype(int)
        self._late = LATE / self._hop_seconds
        self._longest = float(np.max(self._ends - self._starts, initial=0)) + self._late
        total = sum(each.hops for each in heard) - _covered(self._starts, self._ends + self._late)
        self.hours = max(total, 1) * self._hop_seconds / 3600

    def score(self, hops: Ints, labels: Ints) -> Score:
        """Of detections in the order of their hops."""
        size = len(self.labels)
        hits, false_accepts, confusions = (np.zeros(size, np.int64) for _ in range(3))
        first: dict[int, float] = {}  # word to its latency
        earliest = np.searchsorted(self._starts, hops - self._longest)
        latest = np.searchsorted(self._starts, hops, "right")
        for hop, label, low, high in zip(hops, labels, earliest, latest, strict=True):
            near = [word for word in range(low, high) if hop <= self._ends[word] + self._late]
            fits = [word for word in near if self._which[word] == label and word not in first]
            if fits:
                first[fits[0]] = float(hop - self._ends[fits[0]]) * self._hop_seconds
                hits[label] += 1
            elif near:
                confusions[label] += 1
            else:
                false_accepts[label] += 1
        spoken = np.bincount(self._which, minlength=size)
        return Score(
            self.labels, self.hours, spoken, hits, false_accepts, confusions, np.array(list(first.values()), float)
        )


def _covered(begin: np.ndarray, end: np.ndarray) -> float:
    """The length of the union of intervals that are sorted by their beginnings."""
    reached = np.maximum.accumulate(np.concatenate([[-np.inf], end]))[:-1]
    return float(np.maximum(end - np.maximum(begin, reached), 0).sum())
