"""What one user's exits have learnt, and the network that runs with it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from ..graph import Entry, Graph
from .exits import ALWAYS, NEVER, exits_of
from .learning_constants import heads_of
from .regression import MOST_BIAS, MOST_WEIGHT


@dataclass(frozen=True, eq=False)
class Learnt:
    """Heads and thresholds by early exit."""

    weights: tuple[np.ndarray, ...]  # int8 [labels, features], -MOST_WEIGHT..MOST_WEIGHT
    biases: tuple[np.ndarray, ...]  # int32 [labels], -MOST_BIAS..MOST_BIAS
    thresholds: tuple[int, ...]  # as estimated
    met: tuple[bool, ...]  # which exits met the goal of bypass in the last estimate
    bypass: int  # the exit after which nothing is run; their number where there is none

    def applied(self) -> tuple[int, ...]:
        """The thresholds to run with: exits before the bypass keep theirs, for they may be sure yet earlier."""
        return tuple(ALWAYS if place == self.bypass else code for place, code in enumerate(self.thresholds))


def check_learnt(graph: Graph, learnt: Learnt) -> None:
    """Raises InputError where `learnt` does not fit `graph`."""
    heads = heads_of(graph)
    found = [(weights.shape, bias.shape) for weights, bias in zip(learnt.weights, learnt.biases, strict=True)]
    wanted = [(head.weights.shape, head.bias.shape) for head in heads]
    if found != wanted or {len(learnt.thresholds), len(learnt.met)} != {len(heads)}:
        raise InputError(f"exits: heads {found} and {len(learnt.thresholds)} thresholds; accepted are {wanted}")
    for each, weights, bias, code in zip(
        exits_of(graph), learnt.weights, learnt.biases, learnt.thresholds, strict=True
    ):
        if not fits(weights, bias):
            raise InputError(
                f"exits: the head of '{each.name}' has a weight or a bias beyond {MOST_WEIGHT} and {MOST_BIAS}"
            )
        if not ALWAYS <= code <= NEVER:
            raise InputError(f"exits: threshold {code} of '{each.name}'; {ALWAYS} to {NEVER} are accepted")
    if not 0 <= learnt.bypass <= len(heads) or not [*learnt.met, True][learnt.bypass]:
        raise InputError(
            f"exits: bypass after exit {learnt.bypass}; accepted is one that met its goal, or {len(heads)}"
        )


def fits(weights: np.ndarray, bias: np.ndarray) -> bool:
    """Whether these are codes that can be learnt."""
    return bool(np.all(weights >= -MOST_WEIGHT) and np.all((bias >= -MOST_BIAS) & (bias <= MOST_BIAS)))


def with_exits(graph: Graph, learnt: Learnt) -> Graph:
    """`graph` with the heads and thresholds of a user, an ordinary graph. Raises InputError."""
    check_learnt(graph, learnt)
    tensors, operators = list(graph.tensors), list(graph.main.operators)
    for each, weights, bias in zip(exits_of(graph), learnt.weights, learnt.biases, strict=True):
        operator = operators[each.head]
        first = len(tensors)
        for index, data in zip(operator.inputs[1:], (weights, bias), strict=True):
            tensors.append(replace(tensors[index], data=data.reshape(tensors[index].shape)))
        operators[each.head] = replace(operator, inputs=(operator.inputs[0], first, first + 1))
    main = Entry(graph.main.name, graph.main.inputs, graph.main.outputs, operators)
    exits = graph.metadata["exits"] | {"thresholds": list(learnt.applied())}
    metadata = graph.metadata | {"exits": exits}
    return Graph(graph.name, tensors, [main, *graph.entries[1:]], metadata, graph.sha256)
