"""What an integer network with early exits needs beside its layers: thresholds, and how its heads are to learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcu_codegen.graph import Graph
from mcu_codegen.users.costs import costs as exit_costs
from mcu_codegen.users.exits import NEVER, exits_of, stopped
from mcu_codegen.users.learning_constants import Constants
from mcu_codegen.users.regression import Rates, rates_of
from mcu_codegen.users.thresholds import UNIT, Point, alone, losses

from ..personalize import thresholds
from ..training.inference import exit_scores


@dataclass(frozen=True)
class Learning:
    """How the heads learn one person's voice; chosen on validation speakers."""

    rate: float = 0.02  # the step of a real weight over its gradient
    epochs: int = 4
    margin: int = 4  # the least error that teaches, in 1/256 of probability
    sure: int = 90  # code from which the last exit teaches
    tolerance: int = 2  # per mille of utterances that stopping may lose
    prior: int = 200  # utterances that the validation speakers count for
    capacity: int = 30
    fewest: int = 10
    bypass_utterances: int = 20
    every: int = 5


DEFAULTS = Learning()


def stop(graph: Graph, codes: np.ndarray, labels: np.ndarray, learning: Learning = DEFAULTS) -> None:
    """Write into the metadata of `graph`, whose outputs are the scores of its exits, how sure each early exit must be,
    and how its head learns: from int8 features [N, frames, coefficients] of validation clips with labels int[N]."""
    scores = exit_scores(graph, codes)
    graph.metadata["exits"] = {"thresholds": [NEVER] * (len(scores) - 1)}
    costs = exit_costs(graph)
    graph.metadata["exits"] = {
        "thresholds": list(thresholds.choose(scores, labels, costs)),
        "costs": [round(cost, 4) for cost in costs],
    }
    rates = []
    for each in exits_of(graph):
        operator = graph.main.operators[each.head]
        weights = graph.tensors[operator.inputs[1]].quantization
        assert weights is not None
        rates.append(rates_of(learning.rate, graph.tensors[each.features].scale, np.array(weights.scale)))
    graph.metadata["exits"]["learning"] = constants(rates, scores, labels, costs, learning).metadata()


def constants(
    rates: Sequence[Rates], scores: np.ndarray, labels: np.ndarray, costs: Sequence[float], learning: Learning
) -> Constants:
    """How exits of these `rates` learn, from int8 `scores` [exits, N, labels] of validation clips, labels int[N], and
    the `costs` of stopping at each."""

    def lost(limits: Sequence[int]) -> int:
        taken = stopped(scores[:-1], limits)
        total = losses(scores[taken, np.arange(len(labels))], scores[-1], labels).sum()
        return round(learning.prior * UNIT * int(total) / len(labels))

    bypasses = [alone(exit, len(rates), 0).thresholds for exit in range(len(rates))]
    return Constants(
        learning.epochs,
        tuple(rates),
        learning.margin,
        learning.sure,
        learning.tolerance,
        learning.prior * UNIT,
        tuple(Point(each, lost(each)) for each in thresholds.points(scores, labels, costs)),
        tuple(map(lost, bypasses)),
        learning.capacity,
        learning.fewest,
        learning.bypass_utterances,
        learning.every,
    )
