"""`--input reusable`: inputs and outputs in the arena, where other tensors take their place."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fuzz_graphs import merged
from random_graphs import random_graph, random_inputs
from test_emit import HOST_COMPILERS, every_operator, failures, selftests
from test_stopping import chain
from test_stream import babble, compared, small_pipeline

from mcu_codegen import cli, targets
from mcu_codegen.emit.model import ARENAS, emit_model
from mcu_codegen.emit.plan import INPUTS, compile_plan
from mcu_codegen.emit.selftest import SELFTESTS
from mcu_codegen.emulate import host
from mcu_codegen.emulate.host_executor import HostExecutor
from mcu_codegen.errors import InputError
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph
from mcu_codegen.prove import pipelines


def test_selftests_pass() -> None:
    """In every variant of arena and self-test, and without a warning."""
    sources, names = {}, []
    for seed, (arena, selftest) in enumerate((arena, selftest) for arena in ARENAS for selftest in SELFTESTS):
        names.append(f"g{seed}")
        golden = {}
        graph = random_graph(seed)
        for entry in graph.entries:
            golden[entry.name] = [data[0] for data in random_inputs(graph, seed, 1, entry.name)]
        sources |= emit_model(graph, names[-1], arena=arena, selftest=selftest, golden=golden, inputs="reusable")
    assert failures(sources, names, HOST_COMPILERS["cc"], "undefined") == {}


def test_a_changed_selftest_fails() -> None:
    sources = emit_model(every_operator(), inputs="reusable")
    text = sources["kws_model_selftest.c"]
    begin = text.index("{", text.index("kws_model_selftest_invoke_output_0[")) + 1
    first = text[begin:].split(",")[0]
    changed = text[:begin] + text[begin:].replace(first, f" {int(first) ^ 1}", 1)
    library = host.build_shared_library(sources | {"kws_model_selftest.c": changed}, defines=selftests(["kws_model"]))
    assert ctypes.CDLL(str(library)).kws_model_selftest() != 0


@pytest.mark.parametrize("inputs", INPUTS)
def test_random_graphs_equal_numpy(inputs: str) -> None:
    """With undefined behaviour trapped."""
    graph = merged(range(40, 46))
    executor, reference = HostExecutor(graph, sanitize=["undefined"], inputs=inputs), NumpyExecutor(graph)
    for entry in graph.entries:
        values = random_inputs(graph, 1, entry=entry.name)
        executor.reset()
        reference.reset()
        expected = reference.run(values, entry.name)
        for tensor, found in executor.run(values, entry.name).items():
            np.testing.assert_array_equal(found, expected[tensor], f"{entry.name}, {graph.tensors[tensor].name}")


def test_the_interface() -> None:
    header = emit_model(every_operator(), arena="caller", inputs="reusable")["kws_model.h"]
    for line in (
        "void kws_model_invoke(void *memory);",
        "int8_t *kws_model_input(void *memory);",
        "const int8_t *kws_model_output_0(void *memory);",
        "#define KWS_MODEL_INPUT_REUSABLE 1",
    ):
        assert line in header, line
    assert "REUSABLE" not in emit_model(every_operator())["kws_model.h"]


def test_functions_need_names_of_their_own() -> None:
    graph = every_operator()
    graph.entries[1] = replace(graph.entries[1], name="other_input")
    with pytest.raises(InputError, match="--input reusable: entry 'other_input': a name that does not end as"):
        compile_plan(graph, inputs="reusable")


def written(graph: Graph, tmp_path: Path) -> str:
    (tmp_path / "model.tflite").write_bytes(tflite.write(graph))
    return str(tmp_path / "model.tflite")


def test_emit_prints_ram_and_its_bound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = written(small_pipeline().graph, tmp_path)
    for inputs in INPUTS:
        plan = compile_plan(tflite.read(model), inputs=inputs)
        assert cli.main(["emit", model, "--input", inputs, "-o", str(tmp_path / "out")]) == 0
        arena, callers = plan.memory.arena_bytes, plan.callers_bytes
        line = next(each for each in capsys.readouterr().out.splitlines() if each.startswith("RAM"))
        assert line.startswith(f"RAM    {arena + callers:,} bytes: arena {arena:,}")
        assert line.endswith(f"; lower bound {plan.least_bytes:,}")
        assert f"--input {inputs}" in (tmp_path / "out" / "kws_model.h").read_text()
    assert not callers


def test_what_does_not_go_together_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = written(chain(), tmp_path), str(tmp_path / "out")
    for arguments, message in (
        (["emit", model, "-o", out], "--input reusable: accepted of a network without early exits"),
        (["emit", model, "-o", out, "--learn"], "--input reusable: accepted without --learn"),
        (["verify", model, "--user", "someone"], "--input reusable: accepted without --user"),
    ):
        assert cli.main([*arguments, "--input", "reusable"]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert not Path(out).exists()


def test_the_loop_takes_a_whole_network_with_reusable_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """`stream.c` keeps the context outside, and carries it in."""
    from mcu_codegen.emulate import board_program

    def reusable(*arguments, **options):
        return emit_model(*arguments, **options | {"inputs": "reusable"})

    monkeypatch.setattr(board_program, "emit_model", reusable)
    pipeline = small_pipeline()
    programs = pipelines.programs(pipeline, targets.find_all(["cortex-m4"]))
    report = compared(pipeline, programs[-1:], babble(2.0))
    assert report.passed, report.table().text()
