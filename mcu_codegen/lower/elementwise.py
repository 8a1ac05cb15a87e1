"""Operators on each element, and softmax."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from .. import arithmetic
from ..errors import InputError
from ..graph import Graph, Operator, Tensor
from .common import Requantization, activations, check_same_codes, codes, int8_tensor, requantization, scale_of
from .functions import Lookup, tabulated


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

    def __call__(self, *codes: np.ndarray) -> np.ndarray:
        first, second = (
            arithmetic.requantize((each - zero_point) << self.left_shift, multiplier, shift)
            for each, zero_point, multiplier, shift in zip(
                codes, self.zero_points, self.multipliers, self.shifts, strict=True
            )
        )
        return self.requantization(first + self.sign * second)


@dataclass(frozen=True)
class Multiply:
    """out = requantization(product of (code - zero_point) over both inputs), broadcast as NumPy does."""

    zero_points: tuple[int, int]
    requantization: Requantization

    def __call__(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return self.requantization((first - self.zero_points[0]) * (second - self.zero_points[1]))


@dataclass(frozen=True)
class Extreme:
    """MAXIMUM and MINIMUM of both codes, which mean the same; broadcast as NumPy does."""

    largest: bool

    def __call__(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return (np.maximum if self.largest else np.minimum)(first, second)


Pair = TypeVar("Pair", Add, Multiply, Extreme)


@dataclass(frozen=True)
class Prelu:
    """`positive` of the input's code less its zero point; where that is below 0, `negative` of its product with the
    slope's code less the slope's zero point. The slope broadcasts as NumPy does."""

    zero_points: tuple[int, int]
    positive: Requantization
    negative: Requantization


@dataclass(frozen=True)
class Softmax:
    exponentials: np.ndarray  # int32, Q0.31 by code difference
    dtype: str  # of the output


def lower_add(graph: Graph, operator: Operator) -> Add | Lookup:
    first, second, output = operands(graph, operator)
    if first.dtype == "int16" and all(math.frexp(each.scale)[0] == 0.5 for each in (first, second, output)):
        raise InputError(
            f"tensor '{output.name}': its scale and those of the inputs are powers of two, which is refused"
            " in 16 bits: TFLite computes them otherwise"
        )
    left_shift = 15 if first.dtype == "int16" else 20
    twice_largest = 2.0 * max(scale_of(first), scale_of(second))
    pairs = [arithmetic.quantize_multiplier(scale_of(tensor) / twice_largest) for tensor in (first, second)]
    real = twice_largest / (2.0**left_shift * scale_of(output))
    step = Add(
        left_shift,
        (first.zero_point, second.zero_point),
        (pairs[0][0], pairs[1][0]),
        (pairs[0][1], pairs[1][1]),
        -1 if operator.kind == "SUB" else 1,
        requantization(np.array([real]), output, operator.options.activation),
    )
    return _of_one_code(step, first, second, output)


def lower_multiply(graph: Graph, operator: Operator) -> Multiply | Lookup:
    first, second, output = operands(graph, operator)
    # in float32, as the reference computes it
    with np.errstate(over="ignore"):
        real = np.float32(first.scale) * np.float32(second.scale) / np.float32(output.scale)
    if not np.isfinite(real):
        raise InputError(f"tensor '{output.name}': its scale {output.scale} is too small for the operator's inputs")
    step = Multiply(
        (first.zero_point, second.zero_point),
        requantization(np.array([real], np.float64), output, operator.options.activation),
    )
    return _of_one_code(step, first, second, output)


def _of_one_code(step: Pair, first: Tensor, second: Tensor, output: Tensor) -> Pair | Lookup:
    """`step`; where the second code is the same all over, the function of the first that it is."""
    if second.data is None or second.persistent or second.elements > 1:
        return step
    if output.dtype != "int8" or first.shape != output.shape:
        return step
    constant = second.data.astype(np.int64).reshape(())
    return tabulated(first, output, lambda codes: step(codes, constant))


def operands(graph: Graph, operator: Operator) -> tuple[Tensor, Tensor, Tensor]:
    """(first, second, output) of an operator whose inputs broadcast."""
    first, second, output = activations(graph, *operator.inputs[:2], operator.outputs[0])
    try:
        shape = np.broadcast_shapes(first.shape, second.shape)
    except ValueError:
        shape = None
    if shape != output.shape:
        raise InputError(
            f"tensor '{output.name}': {first.shape} and {second.shape} do not give {output.shape} element by element"
        )
    return first, second, output


def lower_extreme(graph: Graph, operator: Operator) -> Extreme | Lookup:
    first, second, output = operands(graph, operator)
    for tensor in (first, second):
        check_same_codes(tensor, output, operator.kind)
    return _of_one_code(Extreme(operator.kind == "MAXIMUM"), first, second, output)


def lower_prelu(graph: Graph, operator: Operator) -> Prelu:
    source, slope, output = operands(graph, operator)
    int8_tensor(graph, operator.outputs[0])
    if source.shape != output.shape:
        raise InputError(f"tensor '{output.name}' {output.shape} does not have the shape {source.shape} of the input")
    # in float32, as the reference computes them
    with np.errstate(over="ignore"):
        positive = np.float32(source.scale) / np.float32(output.scale)
        negative = np.float32(source.scale) * np.float32(slope.scale) / np.float32(output.scale)
    if not np.isfinite(positive) or not np.isfinite(negative):
        raise InputError(f"tensor '{output.name}': its scale {output.scale} is too small for the operator's inputs")
    return Prelu(
        (source.zero_point, slope.zero_point),
        requantization(np.array([positive], np.float64), output, "NONE"),
        requantization(np.array([negative], np.float64), output, "NONE"),
    )


def lower_softmax(graph: Graph, operator: Operator) -> Softmax:
    source, output = int8_tensor(graph, operator.inputs[0]), codes(graph, operator.outputs[0])
    ends = np.iinfo(output.dtype)
    near = 0.001 if output.dtype == "int16" else 0.0  # as the reference accepts it
    scaled = abs(output.scale * 2**ends.bits - 1) <= near
    if not scaled or output.zero_point != ends.min or source.shape != output.shape:
        raise InputError(
            f"tensor '{output.name}': softmax gives scale 1/{2**ends.bits} and zero point {ends.min} in the input's"
            " shape"
        )
    if not source.shape or source.shape[-1] >= 1 << arithmetic.SOFTMAX_SUM_BITS:
        raise InputError(f"tensor '{source.name}' {source.shape}: softmax over 1 to 4095 values is accepted")
    if operator.options.beta * source.scale <= 2.0**-26:
        raise InputError(
            f"tensor '{source.name}': beta {operator.options.beta} x scale {source.scale} is not above 2^-26"
        )
    exponentials = arithmetic.softmax_exponentials(float(np.float32(source.scale)), operator.options.beta)
    return Softmax(exponentials, output.dtype)
