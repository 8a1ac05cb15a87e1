"""What an inference costs one user: multiply-accumulates of the channels that her gates leave open, up to each exit."""

from __future__ import annotations

import math

from ..graph import Graph, Operator
from .bake import bake
from .exits import exits_of, needed_for
from .gates import Gates

_SPATIAL = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})


def costs(graph: Graph, gates: Gates | None = None) -> list[float]:
    """Of an inference that stops at each exit, heads passed by included, and last of one that stops at none, with these
    `gates` open, or all: as shares of those of the network without exits and with all gates open."""
    macs = _by_operator(graph, gates)
    place = {operator.outputs[0]: position for position, operator in enumerate(graph.main.operators)}
    ends = [place[index] for index in (*(each.scores for each in exits_of(graph)), graph.main.outputs[-1])]
    return [sum(macs[: end + 1]) / _without_exits(graph, None) for end in ends]


def kept(graph: Graph, gates: Gates) -> float:
    """The share that `gates` leave of those of the network without exits."""
    return _without_exits(graph, gates) / _without_exits(graph, None)


def multiply_accumulates(graph: Graph, operator: Operator) -> int:
    """Those of convolutions and fully connected layers, padded positions included; 0 of other operators."""
    if operator.kind not in _SPATIAL and operator.kind != "FULLY_CONNECTED":
        return 0
    output, weights = graph.tensors[operator.outputs[0]], graph.tensors[operator.inputs[1]]
    positions = math.prod(output.shape[1:3]) if operator.kind in _SPATIAL else 1
    return positions * math.prod(weights.shape)


def _by_operator(graph: Graph, gates: Gates | None) -> list[int]:
    small = graph if gates is None else bake(graph, gates)  # of the same operators, in the same order
    return [multiply_accumulates(small, operator) for operator in small.main.operators]


def _without_exits(graph: Graph, gates: Gates | None) -> int:
    macs = _by_operator(graph, gates)
    return sum(macs[position] for position in needed_for(graph, graph.main.outputs[-1]))
