"""What each kind of ONNX node means: one row a kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import InputError
from . import onnx_elementwise, onnx_movement, onnx_pooling, onnx_resize, onnx_scales, onnx_shapes, onnx_weighted
from .onnx_builder import Builder
from .onnx_constants import fold
from .onnx_curves import CURVES
from .onnx_file import Node
from .onnx_values import Value

Handler = Callable[[Builder, Node, Sequence[Value | None]], Value | list[Value]]

OPERATORS: dict[str, Handler] = {
    "QuantizeLinear": onnx_scales.quantize,
    "DequantizeLinear": onnx_scales.dequantize,
    "Conv": onnx_weighted.conv,
    "ConvTranspose": onnx_weighted.conv_transpose,
    "Gemm": onnx_weighted.gemm,
    "MatMul": onnx_weighted.matmul,
    "MaxPool": onnx_pooling.max_pool,
    "GlobalMaxPool": onnx_pooling.reduce_max,
    "ReduceMax": onnx_pooling.reduce_max,
    "AveragePool": onnx_pooling.average_pool,
    "GlobalAveragePool": onnx_pooling.global_average_pool,
    "ReduceMean": onnx_pooling.reduce_mean,
    "Softmax": onnx_pooling.softmax,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min"), onnx_elementwise.binary),
    **dict.fromkeys(CURVES, onnx_elementwise.unary),
    "PRelu": onnx_elementwise.prelu,
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), onnx_shapes.reshape),
    "Transpose": onnx_shapes.transpose,
    "Cast": onnx_shapes.cast,
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), onnx_shapes.depth_to_space),
    "Slice": onnx_movement.slice_,
    "Split": onnx_movement.split,
    "Gather": onnx_movement.gather,
    "Concat": onnx_movement.concat,
    "Pad": onnx_movement.pad,
    "Resize": onnx_resize.resize,
    **dict.fromkeys(("Identity", "Dropout"), onnx_shapes.identity),
}

_HINTS = {
    "BatchNormalization": "not supported; fold it into the layer before it, then quantise",
    **dict.fromkeys(
        ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"),
        "of another form than QDQ; QuantizeLinear and DequantizeLinear around float operators are accepted"
        " (quantize_static with quant_format=QuantFormat.QDQ)",
    ),
}
"""Why a kind is refused, where that is more than that it is unknown."""


def hint(kind: str, default: str) -> str:
    return _HINTS.get(kind.removeprefix("com.microsoft."), default)


def computed(build: Builder, node: Node, values: Sequence[Value | None]) -> list[Value]:
    """The outputs of `node`, whose kind is known. Raises InputError."""
    found = fold(node, values)
    if found is None and node.kind not in OPERATORS:
        raise InputError("depends on an input; constants alone are accepted")
    result = OPERATORS[node.kind](build, node, values) if found is None else found
    return result if isinstance(result, list) else [result]
