"""How sure an exit must be to answer: thresholds for everybody, chosen on validation clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcu_codegen.users import exits
from mcu_codegen.users.exits import ALWAYS, NEVER

MARGIN = 0.002  # of accuracy that stopping may cost on validation clips
PRICES = np.geomspace(1000, 2, 60)  # of an error, in inferences of the network without exits
_OTHER = 0.25  # of an error: an answer other than the network's, for errors are few, and some are luck


@dataclass(frozen=True)
class Stopped:
    """What becomes of clips when inference may stop."""

    exits: np.ndarray  # int64[N], which exit answers each clip; the last is the whole network
    right: np.ndarray  # bool[N]
    macs: float  # mean, as a share of the network without exits

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())


def stopped(scores: np.ndarray, labels: np.ndarray, thresholds: Sequence[int], costs: Sequence[float]) -> Stopped:
    """`scores` int8[exits, N, labels] by depth, the network's own last; `costs` of stopping at each of them."""
    taken = exits.stopped(scores[:-1], thresholds)
    answers = scores[taken, np.arange(len(labels))].argmax(1)
    return Stopped(taken, answers == labels, float(np.asarray(costs)[taken].mean()))


def points(scores: np.ndarray, labels: np.ndarray, costs: Sequence[float]) -> list[tuple[int, ...]]:
    """Operating points: thresholds of all exits together, each cheaper than the one before; the first stops nowhere.

    Each has the least mean of cost plus price times errors, at one of `PRICES`; the minimum is sought one exit after
    the other, from the last to the first, until none changes.
    """
    chosen = scores.argmax(2)
    errors = (1 - _OTHER) * (chosen != labels) + _OTHER * (chosen != chosen[-1])
    found = [(NEVER,) * (len(scores) - 1)]
    for price in PRICES:
        values = np.asarray(costs)[:, np.newaxis] + price * errors
        limits, before = list(found[-1]), None
        while limits != before:
            before = limits.copy()
            for exit in reversed(range(len(limits))):
                limits[exit] = _best(scores[:-1].max(2), values, limits, exit)
        if stopped(scores, labels, limits, costs).macs < stopped(scores, labels, found[-1], costs).macs:
            found.append(tuple(limits))
    return found


def choose(scores: np.ndarray, labels: np.ndarray, costs: Sequence[float], margin: float = MARGIN) -> tuple[int, ...]:
    """The cheapest of `points` with the whole network's accuracy less `margin`, at least."""
    wanted = float((scores[-1].argmax(1) == labels).mean()) - margin
    good = [each for each in points(scores, labels, costs) if stopped(scores, labels, each, costs).accuracy >= wanted]
    return good[-1]  # the first point is always good


def _best(highest: np.ndarray, values: np.ndarray, limits: Sequence[int], exit: int) -> int:
    """The threshold of `exit` at which the sum of `values` [exits, N] of the exits taken is least, beside the `limits`
    of the others; the highest of several."""
    later = [NEVER if place <= exit else limit for place, limit in enumerate(limits)]
    reached = np.all(highest[:exit] < np.array(limits[:exit])[:, np.newaxis], axis=0)
    onwards = exits.stopped(highest[..., np.newaxis], later)
    change = np.where(reached, values[exit] - values[onwards, np.arange(len(reached))], 0.0)
    by_code = np.bincount(highest[exit].astype(int) - ALWAYS, change, NEVER - ALWAYS + 1)
    sums = by_code[::-1].cumsum()[::-1]  # of leaving with each code or more
    return int(np.flatnonzero(sums <= sums.min() + 1e-9)[-1]) + ALWAYS
