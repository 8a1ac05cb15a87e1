"""Operators on each element, and softmax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .. import arithmetic
from ..errors import InputError
from ..graph import Graph, Operator, Tensor
from .common import Requantization, int8_tensor, quantized_tensor, requantization


@dataclass(frozen=True)
class Add:
    """ADD and SUB: out = requantization(a + sign * b), where a and b are requantize((code - zero_point) << left_shift,
    ...) of the two inputs, broadcast as NumPy does."""

    left_shift: int
    zero_points: tuple[int, int]
    multipliers: tuple[int, int]
    shifts: tuple[int, int]
    sign: int  # -1 in SUB
    requantization: Requantization


@dataclass(frozen=True)
class Multiply:
    """out = requantization(product of (code - zero_point) over both inputs), broadcast as NumPy does."""

    zero_points: tuple[int, int]
    requantization: Requantization


@dataclass(frozen=True)
class Lookup:
    """Any function of one code, uint8 or int8: `table` holds, for every byte of the input, the byte of the output."""

    table: np.ndarray  # uint8[256]


@dataclass(frozen=True)
class Softmax:
    exponentials: np.ndarray  # int32, Q0.31 by code difference


def lower_add(graph: Graph, operator: Operator) -> Add:
    first, second, output = _operands(graph, operator)
    left_shift = 20
    twice_largest = 2.0 * max(_scale(first), _scale(second))
    pairs = [arithmetic.quantize_multiplier(_scale(tensor) / twice_largest) for tensor in (first, second)]
    real = twice_largest / (2.0**left_shift * _scale(output))
    return Add(
        left_shift,
        (first.zero_point, second.zero_point),
        (pairs[0][0], pairs[1][0]),
        (pairs[0][1], pairs[1][1]),
        -1 if operator.kind == "SUB" else 1,
        requantization(np.array([real]), output, operator.options.activation),
    )


def lower_multiply(graph: Graph, operator: Operator) -> Multiply:
    first, second, output = _operands(graph, operator)
    # in float32, as the reference computes it
    with np.errstate(over="ignore"):
        real = np.float32(first.scale) * np.float32(second.scale) / np.float32(output.scale)
    if not np.isfinite(real):
        raise InputError(f"tensor '{output.name}': its scale {output.scale} is too small for the operator's inputs")
    return Multiply(
        (first.zero_point, second.zero_point),
        requantization(np.array([real], np.float64), output, operator.options.activation),
    )


def _operands(graph: Graph, operator: Operator) -> tuple[Tensor, Tensor, Tensor]:
    """(first, second, output) of an operator whose inputs broadcast."""
    first, second = (int8_tensor(graph, index) for index in operator.inputs[:2])
    output = int8_tensor(graph, operator.outputs[0])
    try:
        shape = np.broadcast_shapes(first.shape, second.shape)
    except ValueError:
        shape = None
    if shape != output.shape:
        raise InputError(
            f"tensor '{output.name}': {first.shape} and {second.shape} do not give {output.shape} element by element"
        )
    return first, second, output


def _scale(tensor: Tensor) -> float:
    return float(np.float32(tensor.scale))


def lower_relu(graph: Graph, operator: Operator) -> Lookup:
    source, output = _same_shape(graph, operator)
    # the quotient is taken in float32 here, and in float64 by QUANTIZE, as the reference does
    real = np.float32(source.scale) / np.float32(output.scale)
    function = requantization(np.array([real], np.float64), output, operator.kind)
    return _lookup(source, output, lambda codes: function(codes - source.zero_point))


def lower_quantize(graph: Graph, operator: Operator) -> Lookup:
    source = quantized_tensor(graph, operator.inputs[0], "int8", "uint8")
    output = quantized_tensor(graph, operator.outputs[0], "int8", "uint8")
    if source.bytes != output.bytes:
        raise InputError(f"tensor '{output.name}' {output.shape} does not have the shape {source.shape} of the input")
    multiplier, shift = arithmetic.quantize_multiplier(_scale(source) / _scale(output))
    if shift > 22:
        raise InputError(f"tensor '{output.name}': its scale {output.scale} is too small for the operator's input")
    ends = np.iinfo(output.dtype)

    def function(codes: np.ndarray) -> np.ndarray:
        value = arithmetic.requantize(codes - source.zero_point, multiplier, shift) + output.zero_point
        return np.clip(value, ends.min, ends.max)

    return _lookup(source, output, function)


_CURVES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float, int]] = {
    "LOGISTIC": (arithmetic.logistic, 1 / 256, -128),
    "TANH": (arithmetic.hyperbolic_tangent, 1 / 128, 0),
}
"""The float32 function of an operator, and the scale and zero point that its output must have."""


def lower_curve(graph: Graph, operator: Operator) -> Lookup:
    source, output = _same_shape(graph, operator)
    function, scale, zero_point = _CURVES[operator.kind]
    if (output.scale, output.zero_point) != (scale, zero_point):
        raise InputError(
            f"tensor '{output.name}' has scale {output.scale} and zero point {output.zero_point};"
            f" {operator.kind} gives scale 1/{round(1 / scale)} and zero point {zero_point}"
        )

    def curve(codes: np.ndarray) -> np.ndarray:
        return arithmetic.through_float32(codes, function, source.scale, source.zero_point, scale, zero_point)

    return _lookup(source, output, curve)


def lower_hard_swish(graph: Graph, operator: Operator) -> Lookup:
    source, output = _same_shape(graph, operator)
    if not 2**-20 <= source.scale <= 512 or not source.scale / 128 < output.scale <= source.scale * 256:
        # beyond, the reference's 16 bits shift by more than they hold
        raise InputError(
            f"tensor '{output.name}' has scale {output.scale}, '{source.name}' {source.scale}; 1e-6..512 is accepted"
            " for the input, above a 128th and up to 256 times of it for the output"
        )

    def function(codes: np.ndarray) -> np.ndarray:
        value = arithmetic.hard_swish(codes - source.zero_point, source.scale, output.scale) + output.zero_point
        return np.clip(value, -128, 127)

    return _lookup(source, output, function)


def _same_shape(graph: Graph, operator: Operator) -> tuple[Tensor, Tensor]:
    source, output = int8_tensor(graph, operator.inputs[0]), int8_tensor(graph, operator.outputs[0])
    if source.shape != output.shape:
        raise InputError(f"tensor '{output.name}' {output.shape} does not have the shape {source.shape} of the input")
    return source, output


def _lookup(source: Tensor, output: Tensor, function: Callable[[np.ndarray], np.ndarray]) -> Lookup:
    """`function` from int64 codes to codes, tabulated."""
    codes = np.arange(256).astype(np.uint8).view(source.dtype).astype(np.int64)
    return Lookup(function(codes).astype(output.dtype).view(np.uint8))


def lower_softmax(graph: Graph, operator: Operator) -> Softmax:
    source, output = int8_tensor(graph, operator.inputs[0]), int8_tensor(graph, operator.outputs[0])
    if (output.scale, output.zero_point) != (1 / 256, -128) or source.shape != output.shape:
        raise InputError(f"tensor '{output.name}': softmax gives scale 1/256 and zero point -128 in the input's shape")
    if not source.shape or source.shape[-1] >= 1 << arithmetic.SOFTMAX_SUM_BITS:
        raise InputError(f"tensor '{source.name}' {source.shape}: softmax over 1 to 4095 values is accepted")
    if operator.options.beta * source.scale <= 2.0**-26:
        raise InputError(
            f"tensor '{source.name}': beta {operator.options.beta} x scale {source.scale} is not above 2^-26"
        )
    return Softmax(arithmetic.softmax_exponentials(float(np.float32(source.scale)), operator.options.beta))
