"""What the loop from waveform to decision costs: counts that add up, and where `measure` shows them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from test_stream import small_pipeline

from mcu_codegen import cli, targets
from mcu_codegen.emulate import toolchain
from mcu_codegen.emulate.machines import counting_machine
from mcu_codegen.errors import InputError
from mcu_codegen.formats import tflite
from mcu_codegen.prove.listening import listening
from mcu_codegen.prove.measure import measure


@pytest.fixture
def compiler() -> toolchain.Toolchain:
    """The quicker one, where there are two."""
    try:
        counting_machine(targets.find("cortex-m4"))
        gcc = toolchain.available()["gcc"]
        return toolchain.choose() if isinstance(gcc, str) else gcc
    except InputError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_a_second_is_the_sum_of_its_parts(compiler: toolchain.Toolchain) -> None:
    pipeline, target = small_pipeline(), targets.find("cortex-m4")
    often = listening(pipeline, target, compiler)
    seldom = listening(replace(pipeline, decision=replace(pipeline.decision, stride_hops=10)), target, compiler)
    invoke = measure(pipeline.graph, target, compiler).instructions
    assert (often.frames_per_second, often.inferences_per_second, seldom.inferences_per_second) == (50, 10, 5)
    assert abs(sum(often.stages.values()) - often.frame) < 0.02 * often.frame
    for found in (often, seldom):
        parts = found.frame * found.frames_per_second + invoke * found.inferences_per_second
        assert 0 < found.instructions_per_second - parts < 0.2 * parts
    # five inferences less a second, and their decisions
    saved = often.instructions_per_second - seldom.instructions_per_second
    assert 5 * invoke < saved < 5 * (invoke + 1000)
    assert often.flash > often.front_end_flash > 1000 and often.ram > often.front_end_ram > 2000
    assert 50 < often.stack < 1000


@pytest.mark.slow
def test_a_loop_that_sleeps_costs_its_front_end(compiler: toolchain.Toolchain) -> None:
    target = targets.find("cortex-m4")
    plain = listening(small_pipeline(), target, compiler)
    found = listening(small_pipeline().resting(3.0), target, compiler)
    assert plain.asleep_per_second is None and found.asleep_per_second is not None
    ears = found.frame * found.frames_per_second
    assert ears < found.asleep_per_second < 1.1 * ears  # silence costs 160 instructions more than noise does
    assert found.instructions_per_second - plain.instructions_per_second < 50 * 100
    assert "listening, asleep" in found.table(1).text() and "asleep" not in plain.table(1).text()


@pytest.mark.slow
def test_measure_shows_it_where_a_model_listens(tmp_path: Path, compiler: toolchain.Toolchain, capsys) -> None:
    graph = small_pipeline().graph
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite.write(graph))
    command = ["measure", str(path), "--target", "cortex-m4", "--compiler", compiler.name]
    assert cli.main(command) == 0
    shown = capsys.readouterr().out
    assert "front end mfcc10" in shown and "decision and loop" in shown
    assert cli.main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["listening"]
    assert f"{found['frame']:,}" in shown and f"{found['flash']:,}" in shown
    path.write_bytes(tflite.write(replace(graph, metadata={})))
    assert cli.main([*command, "--json"]) == 0
    assert "listening" not in json.loads(capsys.readouterr().out)
