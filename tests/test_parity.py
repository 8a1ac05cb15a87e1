"""Parity: executors agree, and where one does not, the report says so and where."""

from __future__ import annotations

import json

import numpy as np
import pytest
from random_graphs import random_graph, random_inputs
from test_emulate import small_graph

from mcu_codegen import arithmetic, cli, targets
from mcu_codegen.emulate import host, toolchain
from mcu_codegen.emulate.core_executor import CoreExecutor
from mcu_codegen.emulate.host_executor import HostExecutor
from mcu_codegen.emulate.machine import MachineError
from mcu_codegen.errors import InputError
from mcu_codegen.execute import litert_executor, tinygrad_executor
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Entry, Graph, NoOptions, Operator, Quantization, Tensor
from mcu_codegen.prove import parity


def two_cores(graph: Graph) -> list[parity.Executor | parity.Absent]:
    """The smallest core and, where QEMU is, the largest."""
    return parity.on_cores(
        [targets.find("cortex-m0"), targets.find("cortex-m55")], None, lambda *core: CoreExecutor(graph, *core)
    )


def inputs_of(graph: Graph, seed: int) -> parity.Inputs:
    return {entry.name: random_inputs(graph, seed, entry=entry.name) for entry in graph.entries}


def special_seeds(count: int) -> list[int]:
    """Seeds of graphs with several entries and persistent tensors."""

    def special(seed: int) -> bool:
        graph = random_graph(seed)
        return len(graph.entries) > 1 and any(tensor.persistent for tensor in graph.tensors)

    return [seed for seed in range(200) if special(seed)][:count]


@pytest.mark.parametrize("seed", special_seeds(2))
def test_random_graphs_agree_on_the_host_and_two_cores(seed):
    graph = random_graph(seed)
    report = parity.compare(graph, [HostExecutor(graph), *two_cores(graph)], inputs_of(graph, seed))
    assert report.passed, report.table().text()
    every = sum(graph.tensors[op.outputs[0]].bytes for entry in graph.entries for op in entry.operators) * 4
    for comparison in report.comparisons:
        # LiteRT's states are compared, too; it does not run what it has no int8 kernel of, and says so
        assert comparison.absent or comparison.compared >= every or comparison.remark


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1002))
def test_random_graphs_agree_on_every_core(seed):
    graph = random_graph(seed, operators=12)
    executors = parity.executors(graph, targets.find_all(None))
    report = parity.compare(graph, executors, inputs_of(graph, seed))
    assert report.passed, report.table().text()


class Wrong:
    """NumPy with one value of `tensor` changed, at `at`."""

    name = "wrong"

    def __init__(self, graph: Graph, tensor: int, at: tuple[int, ...]) -> None:
        self.inner, self.tensor, self.at = NumpyExecutor(graph), tensor, at

    def reset(self) -> None:
        self.inner.reset()

    def run(self, inputs, entry=None):
        values = self.inner.run(inputs, entry)
        values[self.tensor][self.at] ^= 1
        return values


def test_the_first_difference_is_told_with_its_accumulator():
    graph = small_graph()
    inputs = parity.random_inputs(graph, 5)
    at = (3, 0, 2, 3, 5)
    report = parity.compare(graph, [Wrong(graph, 4, at)], inputs)
    comparison = report.comparisons[0]
    first = comparison.first
    assert not comparison.passed and comparison.differing == 1 and first is not None
    assert (first.layer, first.sample, first.index) == ("01_depthwise_conv_2d", at[0], at[1:])
    assert first.found == first.expected ^ 1
    # by hand: the accumulator is the dot product of the window, and it requantises to the expected code
    step = NumpyExecutor(graph).steps["invoke"][1][1]
    hidden = NumpyExecutor(graph).run(inputs["invoke"])[2][3, 0].astype(np.int64) - step.input_zero_point
    window = np.pad(hidden, ((1, 1), (1, 1), (0, 0)))[2:5, 3:6, 5]
    assert first.accumulator == int((window * step.weights[0, :, :, 5]).sum() + step.bias[5])
    quantized = arithmetic.requantize(
        np.array(first.accumulator), step.requantization.multiplier[5], step.requantization.shift[5]
    )
    assert np.clip(quantized + step.requantization.zero_point, -128, 127) == first.expected
    text = report.table().text()
    assert f"accumulator {first.accumulator}" in text and "DIFFERS" in text


def test_a_core_that_fails_fails_the_report():
    class Broken(Wrong):
        def run(self, inputs, entry=None):
            raise MachineError("program.elf on cortex-m4 in QEMU: exit status 99")

    graph = small_graph()
    report = parity.compare(graph, [Broken(graph, 4, ())], parity.random_inputs(graph, 2))
    assert not report.passed
    assert "DIFFERS: program.elf on cortex-m4 in QEMU: exit status 99" in report.table().text()


@pytest.mark.parametrize(("step", "passes"), [(1, True), (2, False)])
def test_litert_may_be_off_by_one_in_fully_connected_only(monkeypatch, step, passes):
    if reason := litert_executor.unavailable():
        pytest.skip(reason)
    graph, run = small_graph(), litert_executor.run_operator

    def off(kind):
        def altered(graph, operator, inputs):
            (values,) = run(graph, operator, inputs)
            if operator.kind == kind:
                values[0, ..., 0] -= step * np.sign(values[0, ..., 0])  # towards 0, so that int8 holds it
            return [values]

        return altered

    inputs = parity.random_inputs(graph, 3)
    monkeypatch.setattr(litert_executor, "run_operator", off("FULLY_CONNECTED"))
    report = parity.compare(graph, [NumpyExecutor(graph)], inputs)
    alone = next(each for each in report.comparisons if each.name == "litert, by operator")
    assert (alone.differing, alone.tolerated, alone.passed) == (1, int(passes), passes)
    monkeypatch.setattr(litert_executor, "run_operator", off("CONV_2D"))
    assert not parity.compare(graph, [NumpyExecutor(graph)], inputs).passed


def test_a_difference_that_begins_in_a_fully_connected_layer_of_litert_is_explained(monkeypatch):
    if reason := litert_executor.unavailable():
        pytest.skip(reason)
    graph, run = small_graph(), litert_executor.LiteRTExecutor.run
    (dense,) = (each.outputs[0] for each in graph.main.operators if each.kind == "FULLY_CONNECTED")

    def altered(self, inputs, entry=None):
        values = run(self, inputs, entry)
        return {index: each ^ np.int8(index == dense) for index, each in values.items()}

    inputs = parity.random_inputs(graph, 3)
    assert "in float" not in parity.compare(graph, [NumpyExecutor(graph)], inputs).table().text()
    monkeypatch.setattr(litert_executor.LiteRTExecutor, "run", altered)
    report = parity.compare(graph, [NumpyExecutor(graph)], inputs)
    assert report.passed
    assert "up to 1 code from there on: LiteRT requantises FULLY_CONNECTED in float" in report.table().text()


def test_what_litert_does_not_run_is_named():
    if reason := litert_executor.unavailable():
        pytest.skip(reason)
    quantization = Quantization((0.1,), (5,))
    tensors = [Tensor(name, (1, 4), "int8", quantization) for name in ("x", "y", "z")]
    operators = [Operator("ELU", (0,), (1,), NoOptions()), Operator("RELU", (1,), (2,), NoOptions())]
    graph = Graph("elu", tensors, [Entry("invoke", (0,), (2,), operators)])
    report = parity.compare(graph, [NumpyExecutor(graph)], parity.random_inputs(graph, 3))
    assert report.passed
    assert "LiteRT does not run 00_elu" in report.table().text()


def test_absent_executors_are_named(monkeypatch):
    graph = small_graph()
    monkeypatch.setattr(tinygrad_executor, "unavailable", lambda: "no tinygrad here")
    monkeypatch.setattr(litert_executor, "unavailable", lambda: "no litert here")
    monkeypatch.setattr(toolchain, "available", lambda: {"clang": "no ziglang here", "gcc": "no gcc here"})

    def no_compiler():
        raise InputError("no host compiler here")

    monkeypatch.setattr(host, "compiler", no_compiler)
    executors = parity.executors(graph, [targets.find("cortex-m4")])
    with pytest.raises(InputError, match="no executor to compare with"):
        parity.compare(graph, executors, parity.random_inputs(graph, 1))
    text = parity.compare(graph, [*executors, NumpyExecutor(graph)], parity.random_inputs(graph, 1)).table().text()
    for reason in ("no tinygrad here", "no litert here", "no ziglang here; gcc: no gcc here", "no host compiler here"):
        assert f"absent: {'no cross compiler: clang: ' if 'ziglang' in reason else ''}{reason}" in text


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "small.tflite"
    path.write_bytes(tflite.write(small_graph()))
    return path


def test_verify_compares_and_reports(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tinygrad_executor, "unavailable", lambda: "left out of a quick test")
    np.save(tmp_path / "inputs.npy", np.full((2, 1, 8, 6, 1), 7, np.int8))
    arguments = ["verify", str(model), "--target", "cortex-m3", "--inputs", str(tmp_path / "inputs.npy"), "--json"]
    assert cli.main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passed"] and all({"name", "compared", "differing"} <= each.keys() for each in found["executors"])
    names = [each["name"] for each in found["executors"]]
    assert any("cortex-m3" in name for name in names) and not any("cortex-m4" in name for name in names)
    assert {each["trouble"] for each in found["executors"] if each["name"] == "tinygrad"} == {
        "left out of a quick test"
    }


def test_verify_fails_on_a_difference(model, capsys, monkeypatch):
    def executors(graph, *_):
        return [Wrong(graph, 2, (0, 0, 0, 0, 0))]

    monkeypatch.setattr(parity, "executors", executors)
    assert cli.main(["verify", str(model), "--samples", "2"]) == 1
    assert "DIFFERS: 00_conv_2d, sample 0, index (0, 0, 0, 0)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((2, 1, 8, 6, 1)), "found float64 (2, 1, 8, 6, 1); accepted is int8 (N, *(1, 8, 6, 1))"),
        (np.zeros((2, 8, 6), np.int8), "found int8 (2, 8, 6)"),
        (np.zeros((0, 1, 8, 6, 1), np.int8), "found int8 (0, 1, 8, 6, 1)"),
        (b"garbage", "not a readable .npy file"),
        (None, "not a readable .npy file"),
    ],
)
def test_bad_inputs_are_refused_in_one_line(model, tmp_path, capsys, content, message):
    path = tmp_path / "inputs.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    assert cli.main(["verify", str(model), "--inputs", str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_bad_sample_counts_are_refused(model, capsys):
    assert cli.main(["verify", str(model), "--samples", "0"]) == 2
    assert "--samples 0: 1 or more is accepted" in capsys.readouterr().err


def test_executors_refuse_what_is_no_input():
    graph = small_graph()
    executor = HostExecutor(graph)
    with pytest.raises(InputError, match="accepted are int8"):
        executor.run([np.zeros((1, 1, 8, 6, 1), np.uint8)])
    with pytest.raises(InputError, match="no entry 'enrol'; accepted are invoke"):
        executor.run([np.zeros((1, 1, 8, 6, 1), np.int8)], "enrol")


def test_a_host_executor_carries_persistent_tensors_like_numpy():
    (seed,) = special_seeds(1)
    graph = random_graph(seed)
    executor, specification = HostExecutor(graph), NumpyExecutor(graph)
    for _ in range(2):  # the second time without a reset
        for entry, inputs in inputs_of(graph, seed).items():
            expected, found = specification.run(inputs, entry), executor.run(inputs, entry)
            values = {operator.outputs[0] for operator in graph.entry(entry).operators}  # C shows no state beside them
            assert found.keys() == values and all(np.array_equal(expected[index], found[index]) for index in found)
