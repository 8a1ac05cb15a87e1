"""What an integer network with early exits needs beside its layers: thresholds, and how its heads are to learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcu_codegen.graph import Graph
from mcu_codegen.users.exits import exits_of
from mcu_codegen.users.learning_constants import Constants
from mcu_codegen.users.regression import Rates, rates_of
from mcu_codegen.users.thresholds import UNIT, losses

from ..personalize import thresholds
from ..training.inference import exit_scores


@dataclass(frozen=True)
class Learning:
    """How the heads learn one person's voice; chosen on validation speakers."""

    rate: float = 0.02  # the step of a real weight over its gradient
    epochs: int = 4
    margin: int = 4  # the least error that teaches, in 1/256 of probability
    sure: int = 90  # code from which the last exit teaches
    tolerance: int = 2  # per mille of utterances that an exit may lose
    prior: int = 100  # utterances that the validation speakers count for
    rows: int = 12  # of the table of the prior
    capacity: int = 30
    fewest: int = 10
    bypass_utterances: int = 20
    every: int = 5


DEFAULTS = Learning()


def stop(
    graph: Graph, costs: Sequence[float], codes: np.ndarray, labels: np.ndarray, learning: Learning = DEFAULTS
) -> None:
    """Write into the metadata of `graph` how sure each early exit must be, and how its head learns: from int8 features
    [N, frames, coefficients] of validation clips with labels int[N]. `costs` are those of stopping at each exit."""
    scores = exit_scores(graph, codes)
    graph.metadata["exits"] = {
        "thresholds": thresholds.choose(scores, labels, costs),
        "costs": [round(cost, 4) for cost in costs],
    }
    rates = []
    for each in exits_of(graph):
        operator = graph.main.operators[each.head]
        weights = graph.tensors[operator.inputs[1]].quantization
        assert weights is not None
        rates.append(rates_of(learning.rate, graph.tensors[each.features].scale, np.array(weights.scale)))
    graph.metadata["exits"]["learning"] = constants(rates, scores, labels, learning).metadata()


def constants(rates: Sequence[Rates], scores: np.ndarray, labels: np.ndarray, learning: Learning) -> Constants:
    """How exits of these `rates` learn, from int8 `scores` [exits, N, labels] of validation clips, labels int[N]."""
    return Constants(
        learning.epochs,
        tuple(rates),
        learning.margin,
        learning.sure,
        learning.tolerance,
        tuple(_prior(row, scores[-1], labels, learning) for row in scores[:-1]),
        learning.capacity,
        learning.fewest,
        learning.bypass_utterances,
        learning.every,
    )


def _prior(
    scores: np.ndarray, last: np.ndarray, labels: np.ndarray, learning: Learning
) -> tuple[tuple[int, int, int], ...]:
    """Rows of code, weight and loss of an exit: equal parts of the clips, by rising code, each by its lowest code."""
    highest, lost = scores.max(1), losses(scores, last, labels)
    parts = np.array_split(np.argsort(highest, kind="stable"), min(learning.rows, len(labels)))
    whole = learning.prior * UNIT / len(labels)
    return tuple(
        (int(highest[part].min()), round(whole * len(part)), round(whole * int(lost[part].sum()))) for part in parts
    )
