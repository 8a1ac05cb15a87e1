"""How sure an exit must be to answer: thresholds for everybody, chosen on validation clips."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcu_codegen.users import exits
from mcu_codegen.users.exits import NEVER

MARGIN = 0.002  # of accuracy that stopping may cost on validation clips
_LEVELS = 24  # candidates an exit


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


def choose(scores: np.ndarray, labels: np.ndarray, costs: Sequence[float], margin: float = MARGIN) -> list[int]:
    """The thresholds, a code an exit, with the least mean cost at an accuracy of the whole network's less `margin`, at
    least; NEVER for an exit that does not help. All combinations of a few candidates an exit are looked at."""
    wanted = float((scores[-1].argmax(1) == labels).mean()) - margin
    highest = scores[:-1].max(2)
    levels = np.linspace(0, 1, _LEVELS)
    candidates = [[*np.unique(np.quantile(row, levels, method="nearest")).tolist(), NEVER] for row in highest]
    tried = ((stopped(scores, labels, thresholds, costs), thresholds) for thresholds in itertools.product(*candidates))
    good = [(result.macs, -result.accuracy, thresholds) for result, thresholds in tried if result.accuracy >= wanted]
    return list(min(good)[2])  # stopping nowhere is always good
