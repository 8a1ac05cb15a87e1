"""What an inference costs one user: multiply-accumulates up to each exit, of the channels that her gates leave open."""

from __future__ import annotations

import math

from ..graph import Graph, Operator
from .bake import bake
from .exits import exits_of, needed_for
from .gates import Gates

_SPATIAL = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})


def costs(graph: Graph, gates: Gates | None = None) -> list[float]:
    """The multiply-accumulates of an inference that stops at each exit, heads passed by included, and last of one that
    stops at none, with these `gates` open or all; as shares of the network's without exits and with all gates open."""
    own, last = needed_for(graph, graph.main.outputs[-1]), graph.main.outputs[-1]
    whole = sum(multiply_accumulates(graph, graph.main.operators[position]) for position in own)
    small = graph if gates is None else bake(graph, gates)  # of the same operators, in the same order
    macs = [multiply_accumulates(small, operator) for operator in small.main.operators]
    place = {operator.outputs[0]: position for position, operator in enumerate(graph.main.operators)}
    ends = [place[index] + 1 for index in (*(each.scores for each in exits_of(graph)), last)]
    return [sum(macs[:end]) / whole for end in ends]


def multiply_accumulates(graph: Graph, operator: Operator) -> int:
    """Those of convolutions and fully connected layers, padded positions included; 0 of other operators."""
    if operator.kind in _SPATIAL or operator.kind == "FULLY_CONNECTED":
        output, weights = graph.tensors[operator.outputs[0]], graph.tensors[operator.inputs[1]]
        positions = math.prod(output.shape[1:3]) if operator.kind in _SPATIAL else 1
        return positions * math.prod(weights.shape)
    return 0
