"""Operators with scales become operators with integers.

Every executor and every emitter starts from what `lower` returns, so that scales, padding, activation ranges and
requantisation parameters are derived once. What cannot be computed as specified is refused here, by layer and tensor.
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import InputError
from ..graph import Graph, Operator
from .common import Requantization, activation_range, padding
from .convolution import Convolution, FullyConnected, lower_convolution, lower_fully_connected
from .elementwise import (
    Add,
    Lookup,
    Multiply,
    Softmax,
    lower_add,
    lower_curve,
    lower_hard_swish,
    lower_multiply,
    lower_quantize,
    lower_relu,
    lower_softmax,
)
from .movement import (
    Copy,
    Piece,
    Rearrange,
    Walk,
    lower_concatenation,
    lower_copy,
    lower_pad,
    lower_strided_slice,
    lower_transpose,
)
from .pooling import AveragePool, MaxPool, Mean, Pool, lower_mean, lower_pool
from .stepping import MeanOfSums, ShiftIn, SlidingSum, lower_mean_of_sums, lower_shift_in, lower_sliding_sum

__all__ = [
    "Add",
    "AveragePool",
    "Convolution",
    "Copy",
    "FullyConnected",
    "Lookup",
    "Lowered",
    "MaxPool",
    "Mean",
    "MeanOfSums",
    "Multiply",
    "Piece",
    "Pool",
    "Rearrange",
    "Requantization",
    "ShiftIn",
    "SlidingSum",
    "Softmax",
    "Walk",
    "activation_range",
    "lower",
    "padding",
]

Lowered = (
    Convolution
    | FullyConnected
    | Pool
    | Mean
    | Add
    | Multiply
    | Lookup
    | Softmax
    | Copy
    | Rearrange
    | ShiftIn
    | SlidingSum
    | MeanOfSums
)


def lower(graph: Graph, operator: Operator, layer: str) -> Lowered:
    """The integer form of `operator`, which is called `layer` in errors. Raises InputError."""
    if operator.kind not in _LOWERINGS:
        name = graph.tensors[operator.outputs[0]].name
        raise InputError(f"{layer}: operator {operator.kind} (tensor '{name}') is not supported")
    try:
        return _LOWERINGS[operator.kind](graph, operator)
    except InputError as error:
        raise InputError(f"{layer}: {error}") from None


_LOWERINGS: dict[str, Callable[[Graph, Operator], Lowered]] = {
    "CONV_2D": lower_convolution,
    "DEPTHWISE_CONV_2D": lower_convolution,
    "FULLY_CONNECTED": lower_fully_connected,
    "AVERAGE_POOL_2D": lower_pool,
    "MAX_POOL_2D": lower_pool,
    "MEAN": lower_mean,
    "ADD": lower_add,
    "SUB": lower_add,
    "MUL": lower_multiply,
    "RELU": lower_relu,
    "RELU6": lower_relu,
    "LOGISTIC": lower_curve,
    "TANH": lower_curve,
    "HARD_SWISH": lower_hard_swish,
    "QUANTIZE": lower_quantize,
    "SOFTMAX": lower_softmax,
    "RESHAPE": lower_copy,
    "SQUEEZE": lower_copy,
    "EXPAND_DIMS": lower_copy,
    "TRANSPOSE": lower_transpose,
    "STRIDED_SLICE": lower_strided_slice,
    "CONCATENATION": lower_concatenation,
    "PAD": lower_pad,
    "SHIFT_IN": lower_shift_in,
    "SLIDING_SUM": lower_sliding_sum,
    "MEAN_OF_SUMS": lower_mean_of_sums,
}
