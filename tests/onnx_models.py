"""Quantised ONNX files to test with, written as exporters write them: QuantizeLinear and DequantizeLinear around float
operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class OnnxFile:
    """An ONNX graph as it grows; values are named by strings. Activations are `dtype`, int8 or uint8."""

    def __init__(self, dtype: str = "int8", opset: int = 17, seed: int = 0) -> None:
        self.dtype, self.opset = dtype, opset
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []

    def input(self, *shape: int | str, kind: int = TensorProto.FLOAT) -> str:
        name = f"in{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def constant(self, value: Any, dtype: str | None = None) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        number = len(self.nodes)
        names = [f"{kind.lower()}{number}_{each}" for each in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=f"{kind.lower()}_{number}", **attributes))
        return names[0] if outputs == 1 else names

    def quantized(self, value: str, scale: float = 0.05, zero_point: int = 0) -> str:
        """`value` through QuantizeLinear and DequantizeLinear; the zero point is that of int8 codes."""
        scales = self.constant(scale, "float32"), self._zero(zero_point)
        return self.node("DequantizeLinear", self.node("QuantizeLinear", value, *scales), *scales)

    def _zero(self, zero_point: int) -> str:
        return self.constant(zero_point + 128 if self.dtype == "uint8" else zero_point, self.dtype)

    def weights(self, *shape: int, axis: int | None = 0, scale: float = 0.01) -> str:
        """Random int8 codes, dequantised; a scale per index of `axis`, or one where that is None."""
        count = () if axis is None else (shape[axis],)
        scales = self.constant(self.rng.uniform(scale / 2, scale, count), "float32")
        zeros = self.constant(np.zeros(count), "int8")
        codes = self.constant(self.rng.integers(-127, 128, shape), "int8")
        return self.node("DequantizeLinear", codes, scales, zeros, **({} if axis is None else {"axis": axis}))

    def file(self, *outputs: str) -> bytes:
        ends = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs]
        for end in ends:
            end.ClearField("type")
        graph = helper.make_graph(self.nodes, "test", self.inputs, ends, self.constants)
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


Build = Callable[[OnnxFile, str], str]
"""From a file and its quantised input to a float value, which gets quantised."""


def one(shape: tuple[int, ...], build: Build, dtype: str = "int8", scale: float = 0.05, zero_point: int = 3) -> bytes:
    """A file of one input and the output of what `build` makes of it."""
    file = OnnxFile(dtype)
    value = build(file, file.quantized(file.input(*shape), 0.04, -5))
    return file.file(file.quantized(value, scale, zero_point))
