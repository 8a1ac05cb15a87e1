"""The executors in Python: NumPy is the specification; tinygrad and LiteRT must agree with it."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import numpy as np
import pytest
from random_graphs import random_graph, random_inputs

from mcu_codegen.errors import InputError
from mcu_codegen.execute import litert_executor, tinygrad_executor
from mcu_codegen.execute.batches import BatchExecutor
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.execute.tinygrad_executor import TinygradExecutor
from mcu_codegen.formats import tflite
from mcu_codegen.graph import OPTIONS, STATES, Elementwise, Entry, Graph, Operator, Quantization, Softmax, Tensor

MODELS = Path(__file__).parents[2] / "shared" / "models"
KWS = MODELS / "mlperf_tiny_kws_int8.tflite"
needs_tinygrad = pytest.mark.skipif(bool(tinygrad_executor.unavailable()), reason=tinygrad_executor.unavailable())
needs_litert = pytest.mark.skipif(bool(litert_executor.unavailable()), reason=litert_executor.unavailable())
executors = pytest.mark.parametrize("executor", [NumpyExecutor, pytest.param(TinygradExecutor, marks=needs_tinygrad)])


def accumulating_graph() -> Graph:
    """state += x, with equal scales and zero points 0, so that the sum is exact."""
    one = Quantization((1.0,), (0,))
    initial = np.array([10, -20, 30], np.int8)
    tensors = [Tensor("x", (3,), "int8", one), Tensor("state", (3,), "int8", one, initial, persistent=True)]
    operator = Operator("ADD", (1, 0), (1,), Elementwise())
    return Graph("accumulating", tensors, [Entry("invoke", (0,), (1,), [operator])])


def assert_agree(graph: Graph, seed: int) -> None:
    """Every operator's output, in every entry, twice: what persistent tensors hold is carried on."""
    numpy, tinygrad = NumpyExecutor(graph), TinygradExecutor(graph)
    for entry in graph.entries * 2:
        inputs = random_inputs(graph, seed, 3, entry.name)
        expected, found = numpy.run(inputs, entry.name), tinygrad.run(inputs, entry.name)
        assert expected.keys() == found.keys()
        for index, values in expected.items():
            assert found[index].dtype == values.dtype
            np.testing.assert_array_equal(found[index], values, f"{graph.name}, {entry.name}, tensor {index}")


@needs_tinygrad
def test_tinygrad_agrees_on_a_random_graph_with_state() -> None:
    graph = random_graph(12, operators=8)
    assert any(tensor.persistent for tensor in graph.tensors)
    assert_agree(graph, 0)


@needs_tinygrad
@pytest.mark.slow
def test_tinygrad_agrees_on_every_kind_of_operator() -> None:
    graphs = [random_graph(seed, operators=30) for seed in (230, 409, 627, 614, 604)]
    alone = {"DIV", *STATES}  # test_operators and test_stateful have these
    assert {operator.kind for graph in graphs for operator in graph.main.operators} | alone == OPTIONS.keys()
    assert any(tensor.persistent for graph in graphs for tensor in graph.tensors)
    for graph in graphs:
        assert_agree(graph, 0)


@needs_tinygrad
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_tinygrad_agrees_on_random_graphs(seed: int) -> None:
    assert_agree(random_graph(seed), seed)


@needs_tinygrad
@pytest.mark.slow
@pytest.mark.skipif(not KWS.exists(), reason=f"{KWS.name} is not there")
def test_tinygrad_agrees_on_a_whole_network() -> None:
    graph = tflite.read(KWS)
    inputs = random_inputs(graph, 0, 300)
    expected, found = NumpyExecutor(graph).run(inputs), TinygradExecutor(graph).run(inputs)
    assert sum(int((found[index] != values).sum()) for index, values in expected.items()) == 0


@needs_litert
def test_every_operator_agrees_with_litert() -> None:
    """One operator at a time on the same inputs. FULLY_CONNECTED, requantised in float there, may differ by one."""
    compared = 0
    for seed in range(150):
        graph = random_graph(seed)
        executor = NumpyExecutor(graph)
        for entry in graph.entries:
            inputs = random_inputs(graph, seed, 4, entry.name)
            values = dict(zip(entry.inputs, inputs, strict=True)) | executor.run(inputs, entry.name)
            for layer, operator in graph.layers(entry):
                read = [i for i in dict.fromkeys(operator.inputs) if i >= 0 and not graph.tensors[i].constant]
                stateful = any(graph.tensors[index].persistent for index in (*read, *operator.outputs))
                without_bias = operator.kind == "CONV_2D" and (*operator.inputs, -1)[2] < 0  # LiteRT refuses it
                if stateful or without_bias or operator.kind == "ELU":  # which its resolver does not list
                    continue
                (expected,) = litert_executor.run_operator(graph, operator, [values[index] for index in read])
                difference = np.abs(values[operator.outputs[0]].astype(np.int64) - expected)
                assert difference.max() <= (operator.kind == "FULLY_CONNECTED"), f"{graph.name} {layer}"
                compared += difference.size
    assert compared > 50_000


@needs_litert
@pytest.mark.parametrize("scale", [1e-4, 0.003, 0.05, 0.7, 1.0, 4.0])
def test_softmax_agrees_with_litert(scale: float) -> None:
    quantization = Quantization((float(np.float32(scale)),), (5,))
    tensors = [Tensor("x", (1, 12), "int8", quantization)]
    tensors.append(Tensor("y", (1, 12), "int8", Quantization((1 / 256,), (-128,))))
    operator = Operator("SOFTMAX", (0,), (1,), Softmax(1.0))
    graph = Graph("softmax", tensors, [Entry("invoke", (0,), (1,), [operator])])
    inputs = random_inputs(graph, 0, 300)
    (expected,) = litert_executor.run_operator(graph, operator, inputs)
    np.testing.assert_array_equal(NumpyExecutor(graph).run(inputs)[1], expected)


@executors
def test_persistent_tensors_are_carried_and_reset(executor: type[BatchExecutor]) -> None:
    runner = executor(accumulating_graph())
    steps = np.array([[1, 2, 3], [10, 20, 30], [100, 100, 100]], np.int8)
    sums = [[11, -18, 33], [21, 2, 63], [121, 102, 127]]
    assert runner.run([steps[:2]])[1].tolist() == sums[:2]
    assert runner.run([steps[2:]])[1].tolist() == sums[2:]
    runner.reset()
    assert runner.run([steps])[1].tolist() == sums


@pytest.mark.parametrize("seed", range(20))
def test_a_batch_is_its_samples_one_after_the_other(seed: int) -> None:
    graph = random_graph(seed)
    together, alone = NumpyExecutor(graph), NumpyExecutor(graph)
    inputs = random_inputs(graph, seed, 19)
    whole = together.run(inputs)
    for sample in range(19):
        for index, values in alone.run([data[sample : sample + 1] for data in inputs]).items():
            assert np.array_equal(whole[index][sample], values[0])


def test_no_samples_give_no_values() -> None:
    assert NumpyExecutor(accumulating_graph()).run([np.empty((0, 3), np.int8)])[1].shape == (0, 3)


@pytest.mark.parametrize(
    ("inputs", "entry", "message"),
    [
        ([], None, "takes 1 inputs, not 0"),
        ([np.zeros((2, 4), np.int8)], None, r"input 'x' is int8 \(2, 4\); int8 \(N, 3\) is accepted"),
        ([np.zeros((2, 3), np.int16)], None, r"input 'x' is int16 \(2, 3\)"),
        ([np.zeros((2, 3), np.int8)], "enrol", "has no entry 'enrol'; accepted are invoke"),
    ],
)
def test_other_inputs_are_refused(inputs: list[np.ndarray], entry: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        NumpyExecutor(accumulating_graph()).run(inputs, entry)


def test_what_tinygrad_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*names: str) -> None:
        def find(name: str) -> object:
            return None if name in names else object()

        monkeypatch.setattr(importlib.util, "find_spec", find)

    absent("tinygrad")
    assert "tinygrad is not installed" in tinygrad_executor.unavailable()
    absent("ziglang")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CC", "gcc")
    monkeypatch.delenv("DEV", raising=False)
    assert "neither was found" in tinygrad_executor.unavailable()
    monkeypatch.setenv("CC", "/opt/llvm/bin/clang-18")
    assert tinygrad_executor.unavailable() == ""


@pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="the package ziglang is not installed")
def test_ziglang_serves_as_clang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    done = subprocess.run(
        [tinygrad_executor._ziglang_script(), "--version"], capture_output=True, text=True, check=True
    )
    assert "clang version" in done.stdout
