"""ONNX in QDQ form: what is read computes what ONNX Runtime does, and the same bytes in every executor."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx_cases import CASES, IMAGE, all_cases
from onnx_models import OnnxFile
from onnx_networks import NETWORKS, quantized, quantized_by_pytorch

from mcu_codegen import cli, targets
from mcu_codegen.emulate import toolchain
from mcu_codegen.emulate.core_executor import CoreExecutor
from mcu_codegen.emulate.host_executor import HostExecutor
from mcu_codegen.emulate.machines import machines
from mcu_codegen.execute import onnx_executor
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.formats import opening
from mcu_codegen.graph import Graph
from mcu_codegen.prove import against_onnxruntime, parity


@functools.cache
def network(name: str, dtype: str, per_channel: bool = True) -> tuple[bytes, Graph]:
    model = quantized(name, dtype, per_channel)
    return model, read(model)


def read(model: bytes) -> Graph:
    return opening.examine(model, "model.onnx").accepted("model.onnx")


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_every_kind_beside_onnx_runtime(dtype: str) -> None:
    """Tables and moves are exact; what rounds sums may differ by one code for each operator in a row."""
    model = all_cases(dtype)
    graph = read(model)
    inputs = parity.random_inputs(graph, 3)["invoke"]
    expected, found = NumpyExecutor(graph).run(inputs), onnx_executor.run(model, graph, inputs)
    for (name, (_, _, tolerance)), index, values in zip(CASES.items(), graph.main.outputs, found, strict=True):
        distance = np.abs(expected[index].astype(int) - values)
        assert distance.max() <= tolerance, (name, distance.max())
        assert np.unique(values).size > 3, name  # saturated outputs would show nothing
        assert np.mean(distance[2] == 0) > 0.7, name  # the least where a mean is rounded, then rescaled


@pytest.mark.slow
def test_every_kind_as_c() -> None:
    assert_same(read(all_cases("uint8")), HostExecutor)


@pytest.mark.slow
def test_every_kind_on_a_core() -> None:
    core, compiler = targets.find("cortex-m4"), toolchain.choose(None)
    emulator = machines(core)["unicorn"]
    if isinstance(emulator, str):
        pytest.skip(emulator)
    assert_same(read(all_cases("int8")), lambda graph: CoreExecutor(graph, core, emulator, compiler))


def assert_same(graph: Graph, make: Callable[[Graph], HostExecutor | CoreExecutor]) -> None:
    """Every layer of C, and all outputs among them, as NumPy computes them."""
    inputs = parity.random_inputs(graph, 3)["invoke"]
    expected, found = NumpyExecutor(graph).run(inputs), make(graph).run(inputs)
    for layer, operator in graph.layers():
        index = operator.outputs[0]
        assert index not in found or np.array_equal(expected[index], found[index]), layer
    assert set(graph.main.outputs) <= found.keys()


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_pytorch(name: str, dtype: str) -> None:
    """What is float at the edges of the file is int8 codes of its scales."""
    model, graph = network(name, dtype)
    assert {graph.tensors[index].dtype for index in (*graph.main.inputs, *graph.main.outputs)} == {"int8"}
    comparison = against_onnxruntime.compare(model, graph, parity.random_inputs(graph, 16)["invoke"])
    assert comparison.largest <= 2 and comparison.differing < comparison.compared / 5 and not comparison.trouble


@pytest.mark.parametrize("aware", [False, True])
def test_networks_that_pytorch_quantises(aware: bool) -> None:
    """Its converted modules write types of codes twice; training that knows of quantisation keeps weights in float."""
    model = quantized_by_pytorch(aware)
    graph = read(model)
    comparison = against_onnxruntime.compare(model, graph, parity.random_inputs(graph, 8)["invoke"])
    assert comparison.largest <= 2 and comparison.differing < comparison.compared / 5 and not comparison.trouble


@pytest.mark.slow
@pytest.mark.parametrize("name", ["residual", "mobile"])
def test_networks_on_every_executor(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(network(name, "uint8")[0])
    cores = [word for core in ("cortex-m4", "cortex-m55") for word in ("--target", core)]
    status = cli.main(["verify", str(path), *cores, "--samples", "2", "--json"])
    executors = {each["name"]: each for each in json.loads(capsys.readouterr().out)["executors"]}
    assert status == 0 and executors["host cc"]["compared"] and executors["onnxruntime, end to end"]["compared"]


@pytest.mark.parametrize("opset", [11, 13, 18, 26])
def test_operator_sets(opset: int) -> None:
    """Scales per channel came with 13; axes became an input with 18."""
    file = OnnxFile(opset=opset)
    weights = file.weights(8, 6, 3, 3, axis=None if opset < 13 else 0)
    value = file.quantized(file.node("Conv", file.quantized(file.input(*IMAGE), 0.04, -5), weights))
    axes = {"axes": [2, 3]} if opset < 18 else {}
    inputs = [] if axes else [file.constant([2, 3], "int64")]
    model = file.file(file.quantized(file.node("ReduceMean", value, *inputs, keepdims=0, **axes)))
    graph = read(model)
    comparison = against_onnxruntime.compare(model, graph, parity.random_inputs(graph, 4)["invoke"])
    assert comparison.compared == 32 and comparison.largest <= 1


def test_channels_stay_behind() -> None:
    """Between convolutions nothing is transposed, nor before a layer that takes the flattened image."""
    kinds = [operator.kind for operator in network("residual", "int8")[1].main.operators]
    assert kinds.count("TRANSPOSE") == 1 and kinds[0] == "TRANSPOSE"
    kinds = [operator.kind for operator in network("ds_cnn", "int8")[1].main.operators]
    assert "TRANSPOSE" not in kinds and kinds.count("DEPTHWISE_CONV_2D") == 2


def test_transposes_cancel() -> None:
    """A file that takes channels behind and turns them itself gives C that does so, too, and turns nothing."""
    file = OnnxFile()
    turned = file.node("Transpose", file.quantized(file.input(1, 9, 8, 6)), perm=[0, 3, 1, 2])
    convolved = file.node("Conv", turned, file.weights(8, 6, 3, 3))
    graph = read(file.file(file.quantized(file.node("Transpose", convolved, perm=[0, 2, 3, 1]), 0.1)))
    assert [operator.kind for operator in graph.main.operators] == ["CONV_2D"]
    assert graph.tensors[graph.main.inputs[0]].shape == (1, 9, 8, 6)


def test_codes_at_the_edges_stay() -> None:
    """uint8 that the file itself takes and gives is uint8 in C, with the file's zero points."""
    file = OnnxFile("uint8")
    scales = file.constant(0.04, "float32"), file.constant(120, "uint8")
    value = file.node("DequantizeLinear", file.input("batch", 6, 9, 8, kind=2), *scales)
    convolved = file.node("Conv", value, file.weights(8, 6, 3, 3))
    model = file.file(
        file.node("QuantizeLinear", convolved, file.constant(0.05, "float32"), file.constant(99, "uint8"))
    )
    graph = read(model)
    ends = [graph.tensors[index] for index in (*graph.main.inputs, *graph.main.outputs)]
    assert [(tensor.dtype, tensor.zero_point) for tensor in ends] == [("uint8", 120), ("uint8", 99)]
    assert ends[0].shape == (1, 6, 9, 8)  # a symbolic batch is one image
    comparison = against_onnxruntime.compare(model, graph, parity.random_inputs(graph, 3)["invoke"])
    assert comparison.largest <= 1 and comparison.differing < comparison.compared / 5 and not comparison.trouble


def test_a_bias_on_the_scale_of_the_accumulator_stays() -> None:
    """ONNX Runtime multiplies the scales in float32: its codes are taken as they are."""
    model, graph = network("ds_cnn", "int8")
    biases = {tensor.name: tensor for tensor in graph.tensors if tensor.dtype == "int32" and tensor.quantization}
    found = opening.examine(model, "model.onnx")
    codes = [tensor.data for tensor in found.tensors if tensor.dtype == "int32" and "quantized" in tensor.name]
    stored = [each for each in codes if each is not None and each.any()]
    assert len(stored) == len(biases) == 6
    for tensor in biases.values():
        assert any(np.array_equal(tensor.data, each) for each in stored), tensor.name
