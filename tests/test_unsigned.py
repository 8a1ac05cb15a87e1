"""Layers of uint8, read as layers of int8."""

from __future__ import annotations

import numpy as np
import pytest
from single_operators import integers
from whole_files import assert_as_litert, file, needs_litert

from mcu_codegen.errors import InputError
from mcu_codegen.formats import tflite
from mcu_codegen.graph import (
    Concatenation,
    Conv2D,
    DepthwiseConv2D,
    Elementwise,
    FullyConnected,
    Mean,
    NoOptions,
    Operator,
    Pool2D,
    Quantization,
    Softmax,
    Tensor,
)


def unsigned(shape: tuple[int, ...], scale: float, zero_point: int, data: np.ndarray | None = None) -> Tensor:
    return Tensor("", shape, "uint8", Quantization((float(np.float32(scale)),), (zero_point,)), data)


@needs_litert
@pytest.mark.parametrize("spread", [60, 127])
def test_layers_of_uint8(spread: int) -> None:
    """As MobileNet's first converters wrote them; with `spread` 127 differences from the zero point are beyond int8."""
    rng = np.random.default_rng(spread)

    def weights(*shape: int) -> Tensor:
        data = rng.integers(128 - spread, 128 + spread + 1, shape).astype(np.uint8)
        return unsigned(shape, 0.01, 131, data)

    def bias(count: int) -> Tensor:
        data = rng.integers(-2000, 2000, count).astype(np.int32)
        return Tensor("", (count,), "int32", Quantization((float(np.float32(0.0005)),), (0,)), data)

    tensors = [
        *(unsigned((1, 9, 8, 3), 0.05, 120), weights(6, 3, 3, 3), bias(6), unsigned((1, 9, 8, 6), 0.08, 0)),
        *(weights(1, 3, 3, 6), bias(6), unsigned((1, 5, 4, 6), 0.06, 0)),
        *(weights(6, 1, 1, 6), bias(6), unsigned((1, 5, 4, 6), 0.05, 140), unsigned((1, 5, 4, 6), 0.07, 130)),
        *(unsigned((1, 2, 2, 6), 0.07, 130), unsigned((1, 1, 1, 6), 0.07, 130), integers(1, 6)),
        *(unsigned((1, 6), 0.07, 130), weights(4, 6), bias(4), unsigned((1, 4), 0.05, 128)),
        unsigned((1, 4), 1 / 256, 0),
    ]
    operators = [
        Operator("CONV_2D", (0, 1, 2), (3,), Conv2D("SAME", activation="RELU6")),
        Operator("DEPTHWISE_CONV_2D", (3, 4, 5), (6,), DepthwiseConv2D("SAME", (2, 2), activation="RELU")),
        Operator("CONV_2D", (6, 7, 8), (9,), Conv2D("SAME")),
        Operator("ADD", (9, 6), (10,), Elementwise()),
        Operator("AVERAGE_POOL_2D", (10,), (11,), Pool2D("VALID", (1, 2), (4, 2))),
        Operator("AVERAGE_POOL_2D", (11,), (12,), Pool2D("VALID", (2, 2), (2, 2))),
        Operator("RESHAPE", (12, 13), (14,), NoOptions()),
        Operator("FULLY_CONNECTED", (14, 15, 16), (17,), FullyConnected()),
        Operator("SOFTMAX", (17,), (18,), Softmax()),
    ]
    model = file(tensors, (0,), (18, 10, 12), operators)
    kinds = {operator.kind for operator in operators}
    graph = assert_as_litert(model, spread, "QUANTIZE", *kinds)
    assert {graph.tensors[index].dtype for index in (*graph.main.inputs, *graph.main.outputs)} == {"uint8"}
    assert sum(operator.kind == "QUANTIZE" for operator in graph.main.operators) == 4
    with pytest.raises(InputError, match="no file holds"):
        tflite.write(graph)


@needs_litert
@pytest.mark.parametrize(
    "kind, options, source, output",
    [
        ("MAX_POOL_2D", Pool2D("SAME", (2, 2), (3, 2)), (0.05, 120), (0.05, 120)),
        ("LOGISTIC", NoOptions(), (0.05, 120), (1 / 256, 0)),
        ("TANH", NoOptions(), (0.02, 120), (1 / 128, 128)),
        ("RELU6", NoOptions(), (0.05, 120), (0.03, 0)),
        ("RELU", NoOptions(), (0.05, 120), (0.08, 7)),
        ("AVERAGE_POOL_2D", Pool2D("SAME", (1, 2), (3, 2)), (0.05, 120), (0.05, 120)),
    ],
)
def test_an_operator_of_uint8(kind: str, options: object, source: tuple[float, int], output: tuple[float, int]) -> None:
    shape = (1, 6, 7, 8)
    out = (1, 3, 4, 8) if kind == "MAX_POOL_2D" else (1, 6, 4, 8) if kind == "AVERAGE_POOL_2D" else shape
    model = file([unsigned(shape, *source), unsigned(out, *output)], (0,), (1,), [Operator(kind, (0,), (1,), options)])
    assert_as_litert(model, 3, "QUANTIZE", kind)


def test_uint8_that_rounds_otherwise_is_refused() -> None:
    tensors = [unsigned((1, 4), 0.05, 3), unsigned((1, 4), 0.06, 3), unsigned((1, 8), 0.05, 3)]
    model = file(tensors, (0, 1), (2,), [Operator("CONCATENATION", (0, 1), (2,), Concatenation(1))])
    with pytest.raises(InputError, match=r"CONCATENATION, tensor 'tensor_2'\): rescales uint8, in float"):
        tflite.read_bytes(model, "unsigned")
    tensors = [unsigned((1, 2, 4), 0.05, 3), integers(1), unsigned((1, 4), 0.06, 3)]
    model = file(tensors, (0,), (2,), [Operator("MEAN", (0, 1), (2,), Mean())])
    with pytest.raises(InputError, match=r"MEAN, tensor 'tensor_2'\): computes with uint8, which rounds otherwise"):
        tflite.read_bytes(model, "unsigned")
