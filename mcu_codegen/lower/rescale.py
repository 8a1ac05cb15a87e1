"""Functions of one code for which a table would be too long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .. import arithmetic
from ..errors import InputError
from ..graph import Graph, Operator, Tensor
from .common import Requantization, quantized_tensor, requantization, scale_of
from .functions import Lookup

_TYPES = ("int8", "int16", "int32")


@dataclass(frozen=True)
class Rescale:
    """`positive` of the input's code less its zero point; where that is below 0, `negative` of it."""

    zero_point: int
    positive: Requantization
    negative: Requantization


def by_width(
    table: Callable[[Graph, Operator], Lookup], wide: Callable[[Graph, Operator], Rescale]
) -> Callable[[Graph, Operator], Lookup | Rescale]:
    """`wide` where the input or the output is wider than a byte, else `table`."""

    def lowered(graph: Graph, operator: Operator) -> Lookup | Rescale:
        ends = (graph.tensors[index] for index in (operator.inputs[0], operator.outputs[0]))
        return (wide if any(tensor.dtype in ("int16", "int32") for tensor in ends) else table)(graph, operator)

    return lowered


def rescale_quantize(graph: Graph, operator: Operator) -> Rescale:
    source, output = _ends(graph, operator, *_TYPES)
    function = _requantization(source, output, scale_of(source) / scale_of(output), "NONE")
    return Rescale(source.zero_point, function, function)


def rescale_relu(graph: Graph, operator: Operator) -> Rescale:
    source, output = _ends(graph, operator, "int16")
    # the quotient is taken in float32 here, and in float64 by QUANTIZE, as the reference does
    real = float(np.float32(source.scale) / np.float32(output.scale))
    function = _requantization(source, output, real, operator.kind)
    return Rescale(source.zero_point, function, function)


def rescale_leaky_relu(graph: Graph, operator: Operator) -> Rescale:
    source, output = _ends(graph, operator, "int16")
    # in float32, as the reference computes them
    positive = np.float32(source.scale) / np.float32(output.scale)
    negative = np.float32(source.scale) * np.float32(operator.options.alpha) / np.float32(output.scale)
    above, below = (_requantization(source, output, float(real), "NONE") for real in (positive, negative))
    return Rescale(source.zero_point, above, below)


def _ends(graph: Graph, operator: Operator, *dtypes: str) -> tuple[Tensor, Tensor]:
    source, output = (quantized_tensor(graph, index, *dtypes) for index in (operator.inputs[0], operator.outputs[0]))
    if source.shape != output.shape:
        raise InputError(f"tensor '{output.name}' {output.shape} does not have the shape {source.shape} of the input")
    for tensor in (source, output):
        if tensor.dtype == "int32" and tensor.zero_point:
            raise InputError(f"tensor '{tensor.name}' is int32 with zero point {tensor.zero_point}; 0 is accepted")
    return source, output


def _requantization(source: Tensor, output: Tensor, real: float, activation: str) -> Requantization:
    """What cannot wrap: no code of `source` leaves int32 when it is shifted to the left."""
    _, shift = arithmetic.quantize_multiplier(real)
    if shift > 30 - (8 * np.dtype(source.dtype).itemsize if source.dtype != "int32" else 30):
        raise InputError(f"tensor '{output.name}': its scale {output.scale} is too small for the operator's input")
    return requantization(np.array([real]), output, activation)
