"""Where one user's inference stops: the thresholds of all exits together, and which exit later blocks are never run
after.

Both compare what a stop answers with the whole network, on the utterances of a buffer and with scores of heads that
did not learn from the utterance they score. The *loss* of answering with other scores than the network's is

- without a label: 1 where their best label is another than the network's, else 0 (agreement);
- with one: 1 where the network is right and they are not, -1 the other way round, else 0 (accuracy).

The best label is the first one of the highest score. An utterance's loss under some thresholds is that of the first
exit that is sure, and 0 where none is.

Thresholds are not estimated one by one, for then each exit could lose what all may lose together: the metadata list
*operating points*, thresholds of all exits that were chosen together on training speakers, each point cheaper than the
one before. With each stands what those speakers lose there, as a *prior* of so many pseudo-utterances, without which a
buffer of ten would say too much. A point is good enough where the losses of buffer and prior, times 1000, do not exceed
`tolerance` times the weight of both; weights and losses are in 1/`UNIT` of an utterance. A user's thresholds are those
of the last point that is good enough; `NEVER` for all exits where there is none.

An exit *meets the goal* where answering everything by it alone is good enough, with a prior of its own. Bypass is a
state machine whose state is which exits did at the last estimate:

    bypass after an estimate = the first exit that meets the goal in this estimate and met it in the one before, if any.

So one estimate is never enough to begin, one that misses ends it, and nothing is forgotten by it: utterances for the
buffer always run the whole network. Below `bypass_utterances` no exit meets the goal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .exits import ALWAYS, NEVER, stopped

UNIT = 256
PER_MILLE = 1000
MOST_UTTERANCES = 255
MOST_POINTS = 64
MOST_PRIOR = 1 << 20  # in 1/UNIT: a sum of losses times 1000, buffer included, is below 2^31


@dataclass(frozen=True)
class Point:
    """Thresholds of the early exits, and what the prior loses with them."""

    thresholds: tuple[int, ...]
    loss: int  # in 1/UNIT of an utterance


@dataclass(frozen=True)
class Goal:
    """How much may be lost."""

    tolerance: int  # per mille of utterances
    weight: int  # of the prior, in 1/UNIT of an utterance

    def good(self, point: Point, codes: np.ndarray, lost: np.ndarray) -> bool:
        """Whether `point` is good enough for utterances with highest scores `codes` and losses `lost`, both
        int [early exits, N]."""
        taken = stopped(codes[..., np.newaxis], point.thresholds)
        whole = np.vstack([lost, np.zeros((1, lost.shape[1]), np.int64)])
        sum_of_losses = UNIT * int(whole[taken, np.arange(len(taken))].sum()) + point.loss
        return PER_MILLE * sum_of_losses <= self.tolerance * (UNIT * len(taken) + self.weight)

    def choose(self, points: Sequence[Point], codes: np.ndarray, lost: np.ndarray) -> tuple[int, ...]:
        """The thresholds of the last of `points` that is good enough."""
        good = [point.thresholds for point in points if self.good(point, codes, lost)]
        return good[-1] if good else (NEVER,) * len(codes)


def alone(exit: int, exits: int, loss: int) -> Point:
    """Where everything is answered by one of so many early exits."""
    return Point(tuple(ALWAYS if each == exit else NEVER for each in range(exits)), loss)


def losses(scores: np.ndarray, last: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """int [N], -1..1: of leaving with `scores` int8 [N, labels], where the network says `last`.

    `labels` is int [N], below 0 where there is none.
    """
    chosen, final = scores.argmax(axis=1), last.argmax(axis=1)
    accuracy = (final == labels).astype(np.int64) - (chosen == labels)
    return np.where(labels < 0, chosen != final, accuracy)


def bypass(before: Sequence[bool], now: Sequence[bool]) -> int:
    """After which exit nothing is run; the number of exits where all is. `before` and `now`: which meet the goal."""
    both = [first and second for first, second in zip(before, now, strict=True)]
    return both.index(True) if True in both else len(both)
