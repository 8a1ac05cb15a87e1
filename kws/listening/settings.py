"""Which settings of a decision to choose: every smoothing, refractory time and threshold against the same scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mcu_codegen.errors import InputError
from mcu_codegen.listen.decision import Decision

from ..data.audio import progress
from .decisions import candidates
from .hearing import Heard
from .scoring import Score, Truth

REFRACTORY = (25, 50, 75, 100)  # hops: half a second to two
_AVERAGED = 50  # hops that smoothing reaches back at most
_THRESHOLDS = (*range(255, 192, -1), *range(192, 31, -8))  # scores crowd near 1


@dataclass(frozen=True)
class Point:
    """A decision, and what it does."""

    decision: Decision
    score: Score


class Trial:
    """Recordings that were heard, and every decision on them."""

    def __init__(self, heard: Sequence[Heard], labels: Sequence[str], words: Sequence[str] | None) -> None:
        """`words` are those that the model's user has, as in `listen.decision.allowed`."""
        self.heard, self.labels, self.words = heard, tuple(labels), words
        self.truth = Truth(heard, labels)

    def point(self, decision: Decision) -> Point:
        """What `decision`, with the stride at which the recordings were heard, does."""
        return next(self._points([decision]))

    def curve(self, decision: Decision) -> list[Point]:
        """`decision` at every threshold."""
        return list(self._points(_at_every_threshold(decision)))

    def _points(self, decisions: Sequence[Decision]) -> Iterator[Point]:
        """For decisions of one smoothing."""
        found = candidates(self.heard, decisions[0].smoothing, self.labels, self.words)
        for each in decisions:
            yield Point(each, self.truth.score(*found.detected(each.threshold, each.refractory_hops)))

    def choose(self, stride_hops: int, target: float) -> Point:
        """The settings with the fewest misses among those that are to give at most `target` false accepts an hour; of
        equals those with fewer confusions, then those that answer sooner.

        n false accepts in a time speak for a rate of n + 1 in that time: of many settings some have luck, and none at
        all in an hour is no promise. Raises InputError where the time is too short to say so, or no settings do it.
        """
        hours = self.truth.hours
        if target * hours < 1:
            raise InputError(
                f"--target-fa {target:g}: {hours:.2f} hours without words are too few to choose by;"
                f" {1 / target:.1f} or more are needed"
            )
        lengths = sorted({round(1.5**power) for power in range(10)} & set(range(1, _AVERAGED // stride_hops + 2)))
        grid = [
            Decision(stride_hops, smoothing, refractory_hops=refractory)
            for smoothing in lengths
            for refractory in REFRACTORY
        ]
        every = []
        for each in progress(grid, "settings", len(grid), "setting"):
            for point in self._points(_at_every_threshold(each)):
                every.append(point)
                if point.score.fa_per_hour > 10 * target + 10:  # lower thresholds give more
                    break
        hearing = [point for point in every if point.score.hits.any()]
        fitting = [point for point in hearing if point.score.false_accepts.sum() + 1 <= target * hours]
        if not fitting:
            least = min(((point.score.false_accepts.sum() + 1) / hours for point in hearing), default=float("nan"))
            raise InputError(
                f"--target-fa {target:g}: of settings that hear any word, {hours:.2f} hours promise {least:.2f} false"
                " accepts an hour at best; train with more of what it should not hear, or accept more"
            )
        return min(fitting, key=lambda point: _order(point.score))


def _at_every_threshold(decision: Decision) -> list[Decision]:
    """From the highest on."""
    return [replace(decision, threshold=threshold) for threshold in _THRESHOLDS]


def _order(score: Score) -> tuple[float, float, float]:
    return score.miss_rate, score.confusion_rate, float(np.median(score.latencies))
