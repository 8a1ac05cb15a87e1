"""Operators on each element: of two values of codes, of a value and a constant, of a value alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import InputError
from ..graph import Elementwise, NoOptions, Quantization
from .onnx_builder import Builder
from .onnx_curves import curve
from .onnx_file import Node
from .onnx_layout import Layout
from .onnx_values import Codes, Function, Pending, Real, Value, Weights, codes_of, named

Values = Sequence[Value | None]

_FUNCTIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Max": np.maximum,
    "Min": np.minimum,
}
_KINDS = {"Add": "ADD", "Sub": "SUB", "Mul": "MUL", "Max": "MAXIMUM", "Min": "MINIMUM"}


def unary(_build: Builder, node: Node, values: Values) -> Value:
    """A function of one code is a table, however many nodes it takes; a clamp may also end what is computed before."""
    value, (function, clamp) = values[0], curve(node, values)
    if isinstance(value, Real):
        return value.then(function)
    if isinstance(value, Pending) and clamp is not None:
        return value.clamped(*clamp)
    return Real(codes_of(node, values, 0))


def binary(build: Builder, node: Node, values: Values) -> Value:
    if len(values) != 2 or values[0] is None or values[1] is None:
        raise InputError("has not two inputs; two are accepted")
    function = _FUNCTIONS[node.kind]
    first, second = (_single(value) for value in (values[0], values[1]))
    if isinstance(first, Real) and isinstance(second, Real) and _same(first.codes, second.codes):
        return first.then(function, second)
    if isinstance(second, np.ndarray):
        found = _with_constant(node, first, second, function)
    else:
        found = _with_constant(node, second, first, lambda real, constant: function(constant, real), turned=True)
    return _of_codes(build, node, (first, second)) if found is None else found


def _with_constant(node: Node, value: Value, constant: Value, function: Function, turned: bool = False) -> Value | None:
    """`function` of a value and a float constant; None where that is neither a table nor a bias. `turned`: the constant
    comes first in the file."""
    if not isinstance(constant, np.ndarray) or constant.dtype != np.float32:
        return None
    if isinstance(value, Real) and constant.size == 1 and constant.ndim <= len(value.shape):
        scalar = constant.reshape(())
        return value.then(lambda real: function(real, scalar))
    if isinstance(value, Pending) and value.biased is not None:
        if node.kind == "Add":
            return value.biased(constant)
        if node.kind == "Sub" and not turned:
            return value.biased(-constant)
    return None


def _single(value: Value) -> Value:
    """A quantised constant of one value, as that value."""
    return value.real if isinstance(value, Weights) and value.codes.size == 1 else value


def _same(first: Codes, second: Codes) -> bool:
    return first.index == second.index and first.layout == second.layout


def _of_codes(build: Builder, node: Node, values: tuple[Value, Value]) -> Pending:
    if node.kind not in _KINDS:
        raise InputError("of two values that change; a constant is accepted as one of them")
    operands = [_operand(build, node, values, number) for number in (0, 1)]
    try:
        shape = np.broadcast_shapes(*(operand.shape for operand in operands))
    except ValueError:
        raise InputError(f"shapes {operands[0].shape} and {operands[1].shape}") from None
    extreme = node.kind in ("Max", "Min")

    def emit(quantization: Quantization, activation: str) -> Codes:
        chosen = [build.quantized(node, Real(each), quantization) for each in operands] if extreme else operands
        wide = [_widened(build, node, each, len(shape)) for each in chosen]
        largest = max(wide, key=lambda each: math.prod(each.shape))
        order = largest.layout.order or tuple(range(len(shape)))
        inputs = [build.arranged(node, each, order) for each in wide]
        options = NoOptions() if extreme else Elementwise(activation)
        kind, held = _KINDS[node.kind], [shape[axis] for axis in order]
        there = build.operator(node, kind, inputs, held, quantization, options)
        return Codes(there, Layout.of(shape, order), quantization)

    return Pending(shape, emit, clampable=not extreme)


def _operand(build: Builder, node: Node, values: tuple[Value, Value], number: int) -> Codes:
    value = values[number]
    if isinstance(value, Weights):
        if value.scale.ndim or value.codes.dtype != np.int8:
            raise InputError(f"reads {named(node, number)}, a constant that is not int8 of one scale; such is accepted")
        quantization = Quantization((float(value.scale),), (int(value.zero_point),))
        return Codes(build.constant_codes(value.name, value.codes, quantization), Layout.of(value.shape), quantization)
    if isinstance(value, np.ndarray):
        raise InputError(
            f"reads {named(node, number)}, a {value.dtype} constant of shape {value.shape}; a quantised one,"
            " dequantised, or a single float32 is accepted"
        )
    return codes_of(node, values, number)


def _widened(build: Builder, node: Node, codes: Codes, rank: int) -> Codes:
    """With axes of size 1 before its own."""
    layout = codes.layout.reshaped((1,) * (rank - len(codes.shape)) + codes.shape)
    assert layout is not None
    return Codes(codes.index, layout, codes.quantization)


def prelu(build: Builder, node: Node, values: Values) -> Value:
    """One slope for all is a function of one code; others must be codes, too."""
    value, slope = values[0], _single(values[1]) if len(values) > 1 and values[1] is not None else None
    if isinstance(value, Real) and isinstance(slope, np.ndarray) and slope.size == 1 and slope.dtype == np.float32:
        return value.then(lambda real: np.where(real < 0, real * slope.reshape(()), real))
    source = codes_of(node, values, 0)
    if slope is None:
        raise InputError("no slope")
    slopes = _operand(build, node, (values[0] if values[0] is not None else slope, slope), 1)
    if len(slopes.shape) > len(source.shape):
        raise InputError(f"slopes {slopes.shape} of {source.shape}")
    order = source.layout.order or tuple(range(len(source.shape)))

    def emit(quantization: Quantization, _activation: str) -> Codes:
        inputs = [build.arranged(node, _widened(build, node, each, len(order)), order) for each in (source, slopes)]
        shape = [source.shape[axis] for axis in order]
        there = build.operator(node, "PRELU", inputs, shape, quantization)
        return Codes(there, Layout.of(source.shape, order), quantization)

    return Pending(source.shape, emit)
