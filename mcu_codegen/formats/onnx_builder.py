"""From values of an ONNX file to tensors and operators of a graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import InputError
from ..graph import NoOptions, Operator, Quantization, StridedSlice, Table, Tensor
from .made import Made
from .onnx_file import Node
from .onnx_layout import Atom, Layout
from .onnx_values import EVERY_CODE, Codes, Pending, Real, Value, Weights, codes_of
from .tensors import MAX_TENSOR_BYTES

_CLAMPS = {
    "NONE": (-np.inf, np.inf),
    "RELU": (0.0, np.inf),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
    "RELU_0_TO_1": (0.0, 1.0),
}
"""Activations of a graph's operators."""


def to_codes(values: np.ndarray, quantization: Quantization) -> np.ndarray:
    """int8: QuantizeLinear of float32 `values`, half to even. What is no number is taken for 0."""
    scaled = np.rint(np.asarray(values, np.float32) / np.float32(quantization.scale[0])).astype(np.float64)
    return np.clip(np.nan_to_num(scaled, nan=0.0) + quantization.zero_point[0], -128, 127).astype(np.int8)


class Builder(Made):
    """Adds what nodes mean to a graph. Activations are int8 everywhere; the reader shifts those of uint8."""

    def __init__(self) -> None:
        super().__init__([])
        self.operators: list[Operator] = []
        self.owners: dict[int, str] = {}  # what errors call an operator, by its output
        self._arranged: dict[tuple[int, tuple[Atom, ...]], int] = {}

    def operator(
        self,
        node: Node,
        kind: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        quantization: Quantization,
        options: Any = None,
    ) -> int:
        """Add an operator whose output of `shape`, the graph's, is called as `node` is; the output's index. Raises
        InputError."""
        if math.prod(shape) > MAX_TENSOR_BYTES:
            raise InputError(f"a value of shape {tuple(shape)} is beyond {MAX_TENSOR_BYTES >> 20} MiB")
        output = self.add(Tensor(node.name, tuple(shape), "int8", quantization))
        self.owners[output] = node.owner
        self.operators.append(Operator(kind, tuple(inputs), (output,), options or NoOptions()))
        return output

    def constant_codes(self, name: str, codes: np.ndarray, quantization: Quantization) -> int:
        return self.add(Tensor(name, codes.shape, codes.dtype.name, quantization, codes))

    def quantized(self, node: Node, value: Value, quantization: Quantization) -> Codes:
        """Codes of `value`, as QuantizeLinear makes them; `node` is who wants them. Raises InputError."""
        if isinstance(value, Codes):
            value = Real(value)
        if isinstance(value, Real):
            if value.table is None and value.codes.quantization == quantization:
                return value.codes
            return self._tabulated(node, value, quantization)
        if isinstance(value, Pending):
            return self._computed(node, value, quantization)
        real = value.real if isinstance(value, Weights) else value
        if real.dtype != np.float32:
            raise InputError(f"reads {real.dtype} as a value; float32 is accepted")
        index = self.constant_codes(f"{node.name}/constant", to_codes(real, quantization), quantization)
        return Codes(index, Layout.of(real.shape), quantization)

    def _tabulated(self, node: Node, value: Real, quantization: Quantization) -> Codes:
        """A function of one code, whatever it is, as a table."""
        with np.errstate(all="ignore"):
            table = to_codes(value.of_every_code, quantization)
        if value.codes.quantization == quantization and np.array_equal(table, EVERY_CODE):
            return value.codes
        index, shape = value.codes.index, self.tensors[value.codes.index].shape
        output = self.operator(node, "LOOKUP", (index,), shape, quantization, Table(table.tobytes()))
        return Codes(output, value.codes.layout, quantization)

    def _computed(self, node: Node, value: Pending, quantization: Quantization) -> Codes:
        """The clamp is the operator's own activation, where it has one that gives the very same codes; else a table."""

        def ends(low: float, high: float) -> tuple[int, ...]:
            return tuple(to_codes(np.array([low, high]), quantization).tolist())

        wanted = ends(value.low, value.high)
        activation = "NONE"
        if value.clampable:
            activation = next((name for name, clamp in _CLAMPS.items() if ends(*clamp) == wanted), "NONE")
        codes = value.codes(quantization, activation)
        if ends(*_CLAMPS[activation]) == wanted:
            return codes
        low, high = value.low, value.high
        return self._tabulated(node, Real(codes).then(lambda real: np.clip(real, low, high)), quantization)

    def arranged(self, node: Node, codes: Codes, order: Sequence[int], shape: Sequence[int] | None = None) -> int:
        """The tensor of `codes` with its axes in `order`, of `shape` where that is not what they make."""
        wanted = [codes.shape[axis] for axis in order] if shape is None else list(shape)
        here = codes.index if codes.layout.lies(order) else self._transposed(node, codes, codes.layout.atoms(order))
        return self.shaped(node, here, wanted)

    def contiguous(self, node: Node, codes: Codes) -> Codes:
        """With axes as ONNX has them."""
        index = self.arranged(node, codes, range(len(codes.shape)))
        return Codes(index, Layout.of(codes.shape), codes.quantization, codes.unsigned)

    def shaped(self, node: Node, index: int, shape: Sequence[int]) -> int:
        """The same bytes under another shape."""
        tensor = self.tensors[index]
        if tensor.shape == tuple(shape):
            return index
        if tensor.constant and tensor.data is not None:
            return self.constant_codes(tensor.name, tensor.data.reshape(shape), self.quantization(index))
        values = self.integers(f"{node.name}/shape", tuple(shape))
        return self.operator(node, "RESHAPE", (index, values), shape, self.quantization(index))

    def sliced(
        self, node: Node, source: int, begin: Sequence[int], end: Sequence[int], step: Sequence[int] | None = None
    ) -> int:
        """A part of the tensor `source`; steps are 1 or more."""
        step = [1] * len(begin) if step is None else step
        shape = [len(range(*each)) for each in zip(begin, end, step, strict=True)]
        where = [
            self.integers(f"{node.name}/{what}", each)
            for what, each in (("begin", begin), ("end", end), ("step", step))
        ]
        return self.operator(node, "STRIDED_SLICE", (source, *where), shape, self.quantization(source), StridedSlice())

    def moved(
        self,
        node: Node,
        value: Value | None,
        move: Callable[[Codes], Codes],
        shape_of: Callable[[tuple[int, ...]], tuple[int, ...]],
        permutes: bool = False,
    ) -> Value:
        """`value` as `move` moves its codes, which does not change them; `shape_of` says where to.

        What is computed before is quantised first. A function of codes may follow only where `move` takes every one of
        them as it is (`permutes`).
        """
        if isinstance(value, Codes):
            return move(value)
        if isinstance(value, Real) and (permutes or value.table is None):
            return replace(value, codes=move(value.codes))
        if isinstance(value, Pending):
            return value.moved(shape_of(value.shape), move)
        return Real(codes_of(node, (value,), 0))

    def _transposed(self, node: Node, codes: Codes, atoms: list[Atom]) -> int:
        """Memory in the order of `atoms`, which are all of it; made once."""
        key, memory = (codes.index, tuple(atoms)), codes.layout.memory
        if key not in self._arranged:
            axes = [memory.index(atom) for atom in atoms]
            source = self.shaped(node, codes.index, [atom.size for atom in memory])
            tensor, after = self.tensors[source], [atom.size for atom in atoms]
            if tensor.constant and tensor.data is not None:
                turned = np.ascontiguousarray(tensor.data.transpose(axes))
                self._arranged[key] = self.constant_codes(tensor.name, turned, codes.quantization)
            else:
                order = self.integers(f"{node.name}/order", axes)
                self._arranged[key] = self.operator(node, "TRANSPOSE", (source, order), after, codes.quantization)
        return self._arranged[key]

    def quantization(self, index: int) -> Quantization:
        quantization = self.tensors[index].quantization
        assert quantization is not None
        return quantization
