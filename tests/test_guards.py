"""A network that writes behind its arena or an output is caught, whatever the linker put there."""

from __future__ import annotations

import pytest
from fuzz_graphs import machine_of
from random_graphs import random_graph, random_inputs

from mcu_codegen import targets
from mcu_codegen.emulate import core_executor, toolchain
from mcu_codegen.emulate.core_executor import CoreExecutor
from mcu_codegen.emulate.machine import MachineError


def run(seed: int, core: str, entry: str | None = None) -> None:
    target = targets.find(core)
    machine = machine_of(target)
    if isinstance(machine, str):
        pytest.skip(machine)
    graph = random_graph(seed)
    executor = CoreExecutor(graph, target, machine, toolchain.choose())
    executor.run(random_inputs(graph, seed, entry=entry), entry)


@pytest.mark.parametrize(
    ("line", "behind"),
    [
        ("*(volatile int8_t *)((uintptr_t)kws_model_arena + KWS_MODEL_ARENA_BYTES) = 0;", "the arena"),
        ("*(volatile int8_t *)((uintptr_t)output_0 + KWS_MODEL_OUTPUT_0_BYTES + 15) = 0;", "invoke_output_0"),
    ],
)
def test_a_byte_behind_is_reported(line, behind, monkeypatch):
    emit = core_executor.emit_plan

    def spoiled(*arguments: object) -> dict[str, str]:
        sources = emit(*arguments)
        begin = sources["kws_model.c"].index("void kws_model_invoke(")
        end = sources["kws_model.c"].index("\n}\n", begin) + 1
        sources["kws_model.c"] = sources["kws_model.c"][:end] + f"    {line}\n" + sources["kws_model.c"][end:]
        return sources

    run(3, "cortex-m4")
    monkeypatch.setattr(core_executor, "emit_plan", spoiled)
    with pytest.raises(MachineError, match=f"exit status 4; 'the network wrote behind {behind}'"):
        run(3, "cortex-m4")


def test_windows_of_a_single_channel_stay_in_their_scratch():
    """Nothing that absorbs the end of a vector lies behind them, for such rows are multiplied where they lie."""
    run(389, "cortex-m55", "enrol")
