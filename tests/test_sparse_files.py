"""Sparse weights, and weights behind the flatbuffer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from single_operators import activation

from mcu_codegen.errors import InputError
from mcu_codegen.execute import litert_executor
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.formats import flatbuffer, tflite
from mcu_codegen.formats.tflite_schema import BUILTIN_OPERATORS, IDENTIFIER, SCHEMA
from mcu_codegen.graph import Entry, FullyConnected, Graph, Operator, Quantization, Tensor

needs_litert = pytest.mark.skipif(bool(litert_executor.unavailable()), reason=litert_executor.unavailable())

_VECTORS = {"int32": 1, "uint16": 2, "uint8": 3}


def weights() -> np.ndarray:
    """int8 (8, 12), a row and many blocks of it empty."""
    rng = np.random.default_rng(4)
    values = rng.integers(-127, 128, (8, 12)) * np.repeat(rng.random((8, 3)) < 0.5, 4, axis=1)
    values[3] = 0
    return values.astype(np.int8)


def dense_model() -> dict[str, Any]:
    data = weights()
    tensors = [
        activation((1, 12), Quantization((0.5,), (3,))),
        Tensor("", data.shape, "int8", Quantization((0.02,), (0,)), data),
        activation((1, 8), Quantization((1.5,), (-9,))),
    ]
    for number, tensor in enumerate(tensors):
        tensor.name = f"tensor_{number}"
    entry = Entry("invoke", (0,), (2,), [Operator("FULLY_CONNECTED", (0, 1), (2,), FullyConnected())])
    return flatbuffer.read(tflite.write(Graph("dense", tensors, [entry])), SCHEMA, IDENTIFIER)


def compressed(mask: np.ndarray, kind: str) -> dict[str, Any]:
    """The metadata of an axis of which, for each row of `mask`, some indices are there."""
    segments = np.concatenate([[0], np.cumsum(mask.sum(axis=1))])
    vectors = {"array_segments": segments, "array_indices": np.nonzero(mask)[1]}
    made: dict[str, Any] = {"format": 1}
    for name, values in vectors.items():
        made |= {f"{name}_type": _VECTORS[kind], name: {"values": values.astype(kind)}}
    return made


def by_elements(kind: str) -> tuple[np.ndarray, dict[str, Any]]:
    data = weights()
    axes = [{"format": 0, "dense_size": 8}, compressed(data != 0, kind)]
    return data[data != 0], {"traversal_order": [0, 1], "block_map": [], "dim_metadata": axes}


def by_blocks(kind: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Blocks of four along the inputs."""
    data = weights().reshape(8, 3, 4)
    there = np.any(data != 0, axis=2)
    axes = [{"format": 0, "dense_size": 8}, compressed(there, kind), {"format": 0, "dense_size": 4}]
    return data[there].reshape(-1), {"traversal_order": [0, 1, 2], "block_map": [1], "dim_metadata": axes}


def sparse(values: np.ndarray, metadata: dict[str, Any], densify: bool) -> bytes:
    """The dense model with its weights so; `densify`: by an operator, else where they are read."""
    model = dense_model()
    subgraph = model["subgraphs"][0]
    tensor = subgraph["tensors"][1]
    if densify:
        subgraph["tensors"].append({**tensor, "buffer": 0, "name": "dense"})
        subgraph["operators"][0]["inputs"] = [0, 3]
        code = BUILTIN_OPERATORS.index("DENSIFY")
        model["operator_codes"].append({"deprecated_builtin_code": code, "builtin_code": code, "version": 1})
        subgraph["operators"].insert(0, {"opcode_index": 1, "inputs": [1], "outputs": [3]})
    tensor["sparsity"] = metadata
    model["buffers"][tensor["buffer"]]["data"] = values.view(np.uint8)
    return flatbuffer.write(model, SCHEMA, IDENTIFIER)


@pytest.mark.parametrize("kind", _VECTORS)
@pytest.mark.parametrize("form", [by_elements, by_blocks])
def test_sparse_weights_are_dense_in_the_graph(form: Any, kind: str) -> None:
    for densify in (False, True):
        graph = tflite.read_bytes(sparse(*form(kind), densify), "sparse")
        (operator,) = graph.main.operators
        np.testing.assert_array_equal(graph.tensors[operator.inputs[1]].data, weights(), strict=True)


@needs_litert
def test_densify_as_litert() -> None:
    model = sparse(*by_elements("uint8"), densify=True)
    graph = tflite.read_bytes(model, "sparse")
    inputs = [np.random.default_rng(0).integers(-128, 128, (9, 1, 12)).astype(np.int8)]
    (expected,) = litert_executor.run_file(model, inputs)
    difference = NumpyExecutor(graph).run(inputs)[2].astype(int) - expected
    assert np.abs(difference).max() <= 1  # a FULLY_CONNECTED layer


@pytest.mark.parametrize(
    "change, message",
    [
        ({"traversal_order": [0, 0]}, r"order \[0, 0\] of 2 axes"),
        ({"block_map": [7]}, "with 1 blocks"),
        (
            {"dim_metadata": [{"format": 0, "dense_size": 2**30}, {"format": 0, "dense_size": 8}]},
            "dense axis of 1073741",
        ),
        ({"dim_metadata": [{"format": 0, "dense_size": 8}, {"format": 1}]}, "0 segments over 0 indices at 8 positions"),
        ({"dim_metadata": [{"format": 0, "dense_size": 8}, {"format": 5}]}, "axis of format 5"),
        ({"dim_metadata": [{"format": 0, "dense_size": 8}, {"format": 0, "dense_size": 2}]}, "16 values of int8"),
    ],
)
def test_malformed_sparsity_is_refused(change: dict[str, Any], message: str) -> None:
    values, metadata = by_elements("int32")
    with pytest.raises(InputError, match=f"tensor 'tensor_1': sparse: .*{message}"):
        tflite.read_bytes(sparse(values, metadata | change, densify=False), "sparse")


def test_weights_behind_the_flatbuffer() -> None:
    model = dense_model()
    buffer = model["buffers"][model["subgraphs"][0]["tensors"][1]["buffer"]]
    buffer.update(data=None, offset=2**20, size=96)
    place = len(flatbuffer.write(model, SCHEMA, IDENTIFIER))
    buffer["offset"] = place
    whole = flatbuffer.write(model, SCHEMA, IDENTIFIER) + weights().tobytes()
    np.testing.assert_array_equal(tflite.read_bytes(whole, "outside").tensors[1].data, weights(), strict=True)
    with pytest.raises(
        InputError, match=rf"tensor 'tensor_1': buffer 1 is 96 bytes at {place}, outside .* {len(whole) - 1}"
    ):
        tflite.read_bytes(whole[:-1], "outside")
