"""Operators with scales become operators with integers.

Every executor and every emitter starts from what `lower` returns, so that scales, padding, activation ranges and
requantisation parameters are derived once. What cannot be computed as specified is refused here, by layer and tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import InputError
from ..graph import Graph, Operator
from .batch import Batch, each_image
from .common import LongRequantization, Requantization, activation_range, padding, require_codes
from .convolution import Convolution, FullyConnected, lower_convolution, lower_fully_connected
from .division import Divide, lower_divide
from .elementwise import (
    Add,
    Extreme,
    Multiply,
    Prelu,
    Softmax,
    lower_add,
    lower_extreme,
    lower_multiply,
    lower_prelu,
    lower_softmax,
)
from .functions import (
    Lookup,
    lower_abs,
    lower_curve,
    lower_float_function,
    lower_hard_swish,
    lower_leaky_relu,
    lower_lookup,
    lower_quantize,
    lower_relu,
    lower_sqrt,
)
from .gather import Bilinear, Gather, Interpolation, lower_gather, lower_resize_bilinear, lower_resize_nearest
from .int16 import Int16, on_int16
from .lstm import GATES, Gate, Lstm, Product, lower_lstm
from .movement import (
    Copy,
    Piece,
    Rearrange,
    Walk,
    lower_concatenation,
    lower_copy,
    lower_pack,
    lower_pad,
    lower_strided_slice,
    lower_transpose,
)
from .phases import lower_batch_to_space, lower_space_to_batch
from .pooling import AveragePool, MaxPool, Mean, Pool, Position, lower_mean, lower_pool, lower_position
from .rescale import Rescale, by_width, rescale_leaky_relu, rescale_quantize, rescale_relu
from .stepping import MeanOfSums, ShiftIn, SlidingSum, lower_mean_of_sums, lower_shift_in, lower_sliding_sum
from .svdf import Svdf, lower_svdf

__all__ = [
    "GATES",
    "Add",
    "AveragePool",
    "Batch",
    "Bilinear",
    "Convolution",
    "Copy",
    "Divide",
    "Extreme",
    "FullyConnected",
    "Gate",
    "Gather",
    "Int16",
    "Interpolation",
    "LongRequantization",
    "Lookup",
    "Lowered",
    "Lstm",
    "MaxPool",
    "Mean",
    "MeanOfSums",
    "Multiply",
    "Piece",
    "Pool",
    "Position",
    "Prelu",
    "Product",
    "Rearrange",
    "Requantization",
    "Rescale",
    "ShiftIn",
    "SlidingSum",
    "Softmax",
    "Svdf",
    "Walk",
    "activation_range",
    "lower",
    "padding",
    "require_codes",
]

Image = Convolution | Pool
Lowered = (
    Image
    | Batch[Image]
    | FullyConnected
    | Mean
    | Position
    | Add
    | Multiply
    | Divide
    | Extreme
    | Prelu
    | Lookup
    | Rescale
    | Softmax
    | Copy
    | Rearrange
    | Gather
    | Bilinear
    | ShiftIn
    | SlidingSum
    | MeanOfSums
    | Svdf
    | Lstm
    | Int16[Any]
)


_NARROW = (Convolution, Pool, Batch, FullyConnected, Add, Multiply, Extreme)
"""What goes into an `Int16` where codes are int16; other types know their width."""


def lower(graph: Graph, operator: Operator, layer: str) -> Lowered:
    """The integer form of `operator`, which is called `layer` in errors. Raises InputError."""
    if operator.kind not in _LOWERINGS:
        name = graph.tensors[operator.outputs[0]].name
        raise InputError(f"{layer}: operator {operator.kind} (tensor '{name}') is not supported")
    try:
        lowered = _LOWERINGS[operator.kind](graph, operator)
        return on_int16(lowered, graph.tensors[operator.outputs[0]]) if isinstance(lowered, _NARROW) else lowered
    except InputError as error:
        raise InputError(f"{layer}: {error}") from None


_LOWERINGS: dict[str, Callable[[Graph, Operator], Lowered]] = {
    "CONV_2D": each_image(lower_convolution),
    "DEPTHWISE_CONV_2D": each_image(lower_convolution),
    "FULLY_CONNECTED": lower_fully_connected,
    "AVERAGE_POOL_2D": each_image(lower_pool),
    "MAX_POOL_2D": each_image(lower_pool),
    "MEAN": lower_mean,
    "ARG_MAX": lower_position,
    "ARG_MIN": lower_position,
    "ADD": lower_add,
    "SUB": lower_add,
    "MUL": lower_multiply,
    "DIV": lower_divide,
    "RELU": by_width(lower_relu, rescale_relu),
    "RELU6": by_width(lower_relu, rescale_relu),
    "RELU_N1_TO_1": lower_relu,
    "RELU_0_TO_1": lower_relu,
    "LEAKY_RELU": by_width(lower_leaky_relu, rescale_leaky_relu),
    "ABS": lower_abs,
    "SQRT": lower_sqrt,
    "EXP": lower_float_function,
    "LOG": lower_float_function,
    "ELU": lower_float_function,
    "PRELU": lower_prelu,
    "MAXIMUM": lower_extreme,
    "MINIMUM": lower_extreme,
    "LOGISTIC": lower_curve,
    "TANH": lower_curve,
    "HARD_SWISH": lower_hard_swish,
    "QUANTIZE": by_width(lower_quantize, rescale_quantize),
    "LOOKUP": lower_lookup,
    "SOFTMAX": lower_softmax,
    "RESHAPE": lower_copy,
    "SQUEEZE": lower_copy,
    "EXPAND_DIMS": lower_copy,
    "TRANSPOSE": lower_transpose,
    "STRIDED_SLICE": lower_strided_slice,
    "CONCATENATION": lower_concatenation,
    "PACK": lower_pack,
    "GATHER": lower_gather,
    "RESIZE_NEAREST_NEIGHBOR": lower_resize_nearest,
    "RESIZE_BILINEAR": lower_resize_bilinear,
    "PAD": lower_pad,
    "SPACE_TO_BATCH_ND": lower_space_to_batch,
    "BATCH_TO_SPACE_ND": lower_batch_to_space,
    "SVDF": lower_svdf,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": lower_lstm,
    "SHIFT_IN": lower_shift_in,
    "SLIDING_SUM": lower_sliding_sum,
    "MEAN_OF_SUMS": lower_mean_of_sums,
}
