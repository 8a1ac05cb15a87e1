"""Quantised ONNX in QDQ form, as ONNX Runtime's quantiser and PyTorch's export write it, to a graph.

`onnx_file` decodes, `onnx_operators` has a row for each kind of node, `onnx_values` says what a value is in between.
Nothing is trusted, and all reasons for a refusal are collected: whatever depends on a refused node is passed over.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..graph import Entry, Graph, NoOptions, Operator, Quantization, Tensor
from .found import NOT_SUPPORTED, Found, Listed, check_whole
from .names import identifier, printable
from .onnx_builder import Builder
from .onnx_constants import FOLDED
from .onnx_file import Input, Model, Node, decode
from .onnx_layout import Layout
from .onnx_operators import OPERATORS, computed, hint
from .onnx_values import Codes, CodesInput, Pending, Real, Value, Weights
from .refusals import Refusals
from .rewrite import rewrite


def examine(data: bytes, name: str) -> Found:
    """What `data` holds, as far as it can be read. Raises InputError naming `name` where it is no ONNX."""
    refusals = Refusals()
    try:
        check_whole(data)
        model = decode(data, refusals)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    reader = _Reader(model, refusals)
    entry = reader.entry()
    rewrite(reader.build.tensors, entry, reader.build.owners, refusals)
    graph = Graph(identifier(Path(name).stem), reader.build.tensors, [entry], {}, hashlib.sha256(data).hexdigest())
    return Found(graph, *reader.listed(), refusals.found, tuple(sorted({*OPERATORS, *FOLDED})))


class _Reader:
    def __init__(self, model: Model, refusals: Refusals) -> None:
        self.model = model
        self.refusals = refusals
        self.build = Builder()
        self.inputs: dict[str, int] = {}  # tensor of the graph, by input of the model that is read
        self.values: dict[str, Value] = dict(model.constants)

    def entry(self) -> Entry:
        """All of the file that can be read."""
        for each in self.model.inputs:
            self.values[each.name] = self._input(each)
        known = {*self.model.constants, *self.values, *(name for node in self.model.nodes for name in node.outputs)}
        for node in self.model.nodes:
            with self.refusals.of(node.owner):
                self._node(node, known)
        outputs = []
        for name in self.model.outputs:
            with self.refusals.of(f"output '{printable(name)}'"):
                outputs += self._output(name)
        inputs = [self.inputs[each.name] for each in self.model.inputs if each.name in self.inputs]
        for each in self.model.inputs:
            if each.name not in self.inputs and not self.refusals.found:
                self.refusals.add(f"input '{printable(each.name)}'", "nothing reads its codes")
        if not self.build.operators and not self.refusals.found:
            self.refusals.add("", "nothing is computed between the inputs and the outputs")
        return Entry("invoke", tuple(inputs), tuple(outputs), self.build.operators)

    def _input(self, given: Input) -> Pending:
        """What is float in the file is codes in C, quantised by the caller; uint8 and int8 stay what they are."""
        node = Node("input", (), (given.name,), {}, printable(given.name), 0)

        def emit(quantization: Quantization, _activation: str) -> Codes:
            outside = given.dtype == "uint8"
            dtype, held = ("uint8", _raised(quantization)) if outside else ("int8", quantization)
            index = self.build.add(Tensor(node.name, given.shape, dtype, held))
            self.inputs[given.name] = index
            if outside:
                index = self.build.operator(node, "QUANTIZE", (index,), given.shape, quantization)
            return Codes(index, Layout.of(given.shape), quantization, outside)

        if given.dtype == "float32":
            return Pending(given.shape, emit)
        return CodesInput(given.shape, emit, unsigned=given.dtype == "uint8")

    def _node(self, node: Node, known: set[str]) -> None:
        if node.kind not in OPERATORS and node.kind not in FOLDED:
            raise InputError(hint(node.kind, NOT_SUPPORTED))
        missing = [name for name in node.inputs if name and name not in self.values]
        stray = [name for name in missing if name not in known]
        if stray:
            raise InputError(f"reads '{printable(stray[0])}', which is nowhere")
        if missing:
            return  # refused before, or read before it is written
        if any(name in self.values for name in node.outputs):
            raise InputError("writes a value that is there already")
        try:
            results = computed(self.build, node, [self.values[name] if name else None for name in node.inputs])
        except RecursionError:
            raise InputError("is behind too many nodes that wait for a QuantizeLinear") from None
        self.values |= {name: value for name, value in zip(node.outputs, results, strict=False) if name}

    def _output(self, name: str) -> list[int]:
        """The tensor of an output, with axes as in the file; none where it depends on what is refused."""
        if name not in self.values:
            if not self.refusals.found:
                raise InputError("no node gives it, or one before its inputs are there")
            return []
        value = self.values[name]
        codes = value.codes if isinstance(value, Real) and value.table is None else value
        if not isinstance(codes, Codes):
            what = "constant" if isinstance(codes, np.ndarray | Weights) else "float"
            raise InputError(f"is {what}; codes are accepted, or codes behind DequantizeLinear")
        node = Node("output", (name,), (), {}, printable(name), 0)
        index = self.build.contiguous(node, codes).index
        index = self.build.shaped(node, index, codes.shape)
        if isinstance(value, Codes) and value.unsigned:
            index = self._unsigned(node, index)
        if index in self.inputs.values() or self.build.tensors[index].constant:
            raise InputError("is an input or a constant; something computed is accepted")
        return [index]

    def _unsigned(self, node: Node, index: int) -> int:
        """An output that is uint8 in the file."""
        tensor = self.build.tensors[index]
        raised = _raised(self.build.quantization(index))
        output = self.build.add(replace(tensor, name=node.name, dtype="uint8", quantization=raised, data=None))
        self.build.owners[output] = node.owner
        self.build.operators.append(Operator("QUANTIZE", (index,), (output,), NoOptions()))
        return output

    def listed(self) -> tuple[list[Tensor], list[list[Listed]]]:
        """The values of the file as tensors, and its nodes."""
        names = dict.fromkeys(name for node in self.model.nodes for name in (*node.inputs, *node.outputs) if name)
        tensors = [self._described(name) for name in names]
        places = {name: number for number, name in enumerate(names)} | {"": -1}
        nodes = []
        for node in self.model.nodes:
            inputs, outputs = (tuple(places[name] for name in side) for side in (node.inputs, node.outputs))
            nodes.append(Listed(node.kind, inputs, outputs, node.owner))
        return tensors, [nodes]

    def _described(self, name: str) -> Tensor:
        value, shown = self.values.get(name), printable(name)
        if value is None:
            return Tensor(shown, (), "unread")
        if isinstance(value, np.ndarray):
            return Tensor(shown, value.shape, value.dtype.name, None, value)
        if isinstance(value, Weights):
            scale, zero = (each.reshape(-1).tolist() for each in (value.scale, value.zero_point))
            quantization = Quantization(tuple(scale), tuple(zero), value.axis)
            return Tensor(shown, value.shape, value.codes.dtype.name, quantization, value.codes)
        if isinstance(value, Codes):
            dtype, quantization = (
                ("uint8", _raised(value.quantization)) if value.unsigned else ("int8", value.quantization)
            )
            return Tensor(shown, value.shape, dtype, quantization)
        return Tensor(shown, value.shape, "float32")


def _raised(quantization: Quantization) -> Quantization:
    """That of uint8 codes which are int8 here."""
    return Quantization(quantization.scale, (quantization.zero_point[0] + 128,))
