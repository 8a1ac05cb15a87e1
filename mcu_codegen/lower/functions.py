"""Functions of one code: whatever they are, a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .. import arithmetic
from ..errors import InputError
from ..graph import Graph, Operator, Tensor
from .common import int8_tensor, quantized_tensor, requantization, scale_of


@dataclass(frozen=True)
class Lookup:
    """Any function of one code, uint8 or int8: `table` holds, for every byte of the input, the byte of the output."""

    table: np.ndarray  # uint8[256]


def lower_relu(graph: Graph, operator: Operator) -> Lookup:
    source, output = _same_shape(graph, operator)
    # the quotient is taken in float32 here, and in float64 by QUANTIZE, as the reference does
    real = np.float32(source.scale) / np.float32(output.scale)
    function = requantization(np.array([real], np.float64), output, operator.kind)
    return tabulated(source, output, lambda codes: function(codes - source.zero_point))


def lower_quantize(graph: Graph, operator: Operator) -> Lookup:
    source = quantized_tensor(graph, operator.inputs[0], "int8", "uint8")
    output = quantized_tensor(graph, operator.outputs[0], "int8", "uint8")
    if source.bytes != output.bytes:
        raise InputError(f"tensor '{output.name}' {output.shape} does not have the shape {source.shape} of the input")
    multiplier, shift = arithmetic.quantize_multiplier(scale_of(source) / scale_of(output))
    if shift > 22:
        raise InputError(f"tensor '{output.name}': its scale {output.scale} is too small for the operator's input")
    ends = np.iinfo(output.dtype)

    def function(codes: np.ndarray) -> np.ndarray:
        value = arithmetic.requantize(codes - source.zero_point, multiplier, shift) + output.zero_point
        return np.clip(value, ends.min, ends.max)

    return tabulated(source, output, function)


def lower_lookup(graph: Graph, operator: Operator) -> Lookup:
    """A table that is there already."""
    source, output = int8_tensor(graph, operator.inputs[0]), int8_tensor(graph, operator.outputs[0])
    if source.shape != output.shape or len(operator.options.table) != 256:
        raise InputError(
            f"tensor '{output.name}' {output.shape}: {len(operator.options.table)} codes for {source.shape}"
        )
    return Lookup(np.frombuffer(operator.options.table, np.uint8))


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

    return tabulated(source, output, curve)


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

    return tabulated(source, output, function)


_FLOAT_FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "EXP": arithmetic.exponential,
    "LOG": arithmetic.logarithm,
    "ELU": arithmetic.exponential_linear,
}


def lower_float_function(graph: Graph, operator: Operator) -> Lookup:
    """Any function that the reference tabulates through float32, on any scales."""
    source, output = _same_shape(graph, operator)
    function = _FLOAT_FUNCTIONS[operator.kind]
    if operator.kind == "EXP":
        largest = float(function(np.array([source.scale * (127 - source.zero_point)], np.float32))[0])
        if not largest / output.scale < 2**31 - 256:  # the reference converts to int32 and then clamps
            raise InputError(
                f"tensor '{output.name}': its scale {output.scale} is too small for values up to {largest}"
            )

    def curve(codes: np.ndarray) -> np.ndarray:
        return arithmetic.through_float32(
            codes, function, source.scale, source.zero_point, output.scale, output.zero_point
        )

    return tabulated(source, output, curve)


def lower_abs(graph: Graph, operator: Operator) -> Lookup:
    source, output = _same_shape(graph, operator)
    # the quotient is taken in float32; of equal scales the reference does not multiply, which is the same
    real = np.float32(source.scale) / np.float32(output.scale)
    function = requantization(np.array([real], np.float64), output, "NONE")
    return tabulated(source, output, lambda codes: function(np.abs(codes - source.zero_point)))


def lower_sqrt(graph: Graph, operator: Operator) -> Lookup:
    """The reference fails on negative values, which have the code of 0 here; it truncates."""
    source, output = _same_shape(graph, operator)

    def function(codes: np.ndarray) -> np.ndarray:
        value = np.float32(source.scale) * np.maximum(codes - source.zero_point, 0).astype(np.float32)
        root = np.trunc(np.sqrt(value) / np.float32(output.scale)).astype(np.float64)
        return np.clip(root + output.zero_point, -128, 127)

    return tabulated(source, output, function)


def lower_leaky_relu(graph: Graph, operator: Operator) -> Lookup:
    source, output = _same_shape(graph, operator)
    # in float32, as the reference computes them
    positive = np.float32(source.scale) / np.float32(output.scale)
    negative = np.float32(source.scale) * np.float32(operator.options.alpha) / np.float32(output.scale)
    above, below = (requantization(np.array([real], np.float64), output, "NONE") for real in (positive, negative))

    def function(codes: np.ndarray) -> np.ndarray:
        value = codes - source.zero_point
        return np.where(value >= 0, above(value), below(value))

    return tabulated(source, output, function)


def _same_shape(graph: Graph, operator: Operator) -> tuple[Tensor, Tensor]:
    source, output = int8_tensor(graph, operator.inputs[0]), int8_tensor(graph, operator.outputs[0])
    if source.shape != output.shape:
        raise InputError(f"tensor '{output.name}' {output.shape} does not have the shape {source.shape} of the input")
    return source, output


def tabulated(source: Tensor, output: Tensor, function: Callable[[np.ndarray], np.ndarray]) -> Lookup:
    """`function` from int64 codes to codes, tabulated."""
    codes = np.arange(256).astype(np.uint8).view(source.dtype).astype(np.int64)
    return Lookup(function(codes).astype(output.dtype).view(np.uint8))
