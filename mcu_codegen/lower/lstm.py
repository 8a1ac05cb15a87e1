"""UNIDIRECTIONAL_SEQUENCE_LSTM: the gates in 16-bit fixed point, the hidden state in int8, the cell state in int16."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .. import arithmetic
from ..errors import InputError
from ..graph import Graph, Operator, Tensor
from .common import Requantization, int8_tensor, quantized_tensor, requantization
from .convolution import accumulator_bound

GATES = ("input", "forget", "cell", "output")
_LEFT_OUT = {
    "peephole": (9, 10, 11),
    "projection": (16, 17),
    "layer normalisation": (20, 21, 22, 23),
}
_GATE_SCALE = np.float32(2.0**-12)  # Q3.12


@dataclass(frozen=True)
class Product:
    """requantize(bias + weights @ codes): the zero point of the codes is in the bias."""

    weights: np.ndarray  # int8, (cells, codes)
    bias: np.ndarray  # int32
    multiplier: int
    shift: int

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """int64 (N, cells), not clamped."""
        accumulator = codes.astype(np.int64) @ self.weights.T.astype(np.int64) + self.bias
        return arithmetic.requantize(accumulator, self.multiplier, self.shift)


@dataclass(frozen=True)
class Gate:
    """The product of the values saturates to int16, and so does its sum with that of the hidden state: Q3.12."""

    values: Product
    hidden: Product


@dataclass(frozen=True)
class Lstm:
    """For each of `steps` rows of values, with gates through logistic_16, but the cell's through tanh_16:

    cell = forget * cell / 2**15 + input * cell gate / 2**(15 + cell_bits), each product rounded half away from zero,
    the sum saturated to int16 and clipped to +-`clip` (0: not clipped); hidden = requantization(output *
    tanh_16(cell, cell_bits)). Every hidden state is a row of the output.
    """

    steps: int
    gates: dict[str, Gate]  # by GATES
    cell_bits: int  # integer bits of the cell state
    clip: int
    requantization: Requantization

    @property
    def cells(self) -> int:
        return len(self.gates["cell"].values.bias)


def lower_lstm(graph: Graph, operator: Operator) -> Lstm:
    source, output = int8_tensor(graph, operator.inputs[0]), int8_tensor(graph, operator.outputs[0])
    places = (*operator.inputs, *(-1,) * (24 - len(operator.inputs)))
    for what, numbers in _LEFT_OUT.items():
        for number in numbers:
            if (extra := graph.tensor(places[number])) is not None:
                raise InputError(f"tensor '{extra.name}', input {number}: {what} is not supported")
    hidden, cell = int8_tensor(graph, places[18]), quantized_tensor(graph, places[19], "int16")
    gates = {
        name: Gate(
            _product(graph, places[1 + number], source, places[12 + number]),
            _product(graph, places[5 + number], hidden, -1),
        )
        for number, name in enumerate(GATES)
    }
    cells, depth = gates["cell"].values.weights.shape
    for gate in gates.values():
        if gate.values.weights.shape != (cells, depth) or gate.hidden.weights.shape != (cells, cells):
            raise InputError(f"tensor '{output.name}': gates differ in the shapes of their weights")
    steps = source.elements // depth
    one = len(source.shape) == 3 and source.shape[1 if operator.options.time_major else 0] == 1
    if not one or source.shape[2] != depth or output.shape != (*source.shape[:2], cells):
        raise InputError(
            f"tensor '{source.name}' {source.shape} to {output.shape}: one sequence of {depth} values to {cells} is"
            " accepted"
        )
    if hidden.elements != cells or cell.elements != cells or not hidden.persistent or not cell.persistent:
        raise InputError(f"states '{hidden.name}' {hidden.shape} and '{cell.name}' {cell.shape} do not hold {cells}")
    if (hidden.scale, hidden.zero_point) != (output.scale, output.zero_point):
        raise InputError(f"state '{hidden.name}' is not on the scale of the output")
    power = math.log2(cell.scale)
    if power not in range(-15, -8) or cell.zero_point:
        raise InputError(
            f"state '{cell.name}' has scale {cell.scale} and zero point {cell.zero_point}; 2^-15 to 2^-9 and 0 are"
            " accepted"
        )
    clip = min(int(np.float32(operator.options.cell_clip) / np.float32(cell.scale)), 32767)
    real = np.float32(2.0**-30 / float(np.float32(output.scale)))
    return Lstm(steps, gates, 15 + int(power), clip, requantization(np.array([real], np.float64), output, "NONE"))


def _product(graph: Graph, index: int, source: Tensor, bias_index: int) -> Product:
    weights, bias = graph.tensor(index), graph.tensor(bias_index)
    if weights is None:
        raise InputError("a gate without weights (input and forget gate coupled) is not supported")
    quantized_tensor(graph, index, "int8")
    if not weights.constant or weights.data is None or weights.zero_point or len(weights.shape) != 2:
        raise InputError(f"weights '{weights.name}' {weights.shape} are not a constant matrix with zero point 0")
    cells = len(weights.data)
    given = np.zeros(cells, np.int32)
    if bias is not None:
        if bias.dtype != "int32" or not bias.constant or bias.data is None or bias.data.size != cells:
            raise InputError(f"bias '{bias.name}' ({bias.dtype}, {bias.shape}) is not {cells} constant int32")
        given = bias.data.reshape(cells)
    accumulator_bound(weights.data, 0, given, source, weights.name)
    # in float32, as the reference computes it
    real = np.float32(weights.scale) * np.float32(source.scale) / _GATE_SCALE
    multiplier, shift = arithmetic.quantize_multiplier(float(real))
    if shift > 30:
        raise InputError(f"weights '{weights.name}' have scale {weights.scale}, too large for a gate")
    folded = given - source.zero_point * weights.data.astype(np.int64).sum(axis=1)
    return Product(weights.data, folded.astype(np.int32), multiplier, shift)
