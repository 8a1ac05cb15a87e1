"""DIV: quotients of codes, by gemmlowp's reciprocal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import arithmetic
from ..errors import InputError
from ..graph import Graph, Operator
from .common import Requantization, int8_tensor, requantization
from .elementwise import operands


@dataclass(frozen=True)
class Divide:
    """out = scaling's zero point + arithmetic.divide of both codes less their zero points, clamped; inputs broadcast as
    NumPy does.

    Where the divisor is 0, on which the reference fails, the output is the end of the codes on the dividend's side.
    """

    zero_points: tuple[int, int]
    scaling: Requantization  # its multiplier and shift are those of `divide`


def lower_divide(graph: Graph, operator: Operator) -> Divide:
    first, second, output = operands(graph, operator)
    int8_tensor(graph, operator.outputs[0])
    # in float32, as the reference computes it
    with np.errstate(over="ignore", divide="ignore"):
        real = np.float32(first.scale) / (np.float32(second.scale) * np.float32(output.scale))
    if not np.isfinite(real) or arithmetic.quantize_multiplier(float(real))[1] > 23:
        raise InputError(f"tensor '{output.name}': its scale {output.scale} is too small for the operator's inputs")
    scaling = requantization(np.array([real], np.float64), output, operator.options.activation)
    return Divide((first.zero_point, second.zero_point), scaling)
