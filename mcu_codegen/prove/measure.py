"""What the generated C of a network costs on a core, measured: instructions, flash and RAM."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ..emit.cortex_m.instruction_sets import RENDERERS
from ..emit.model import emit_plan
from ..emit.plan import INPUTS, Plan, compile_plan
from ..emit.portable.renderer import Renderer
from ..emulate import core_harness, exchange, observers
from ..emulate.build import RUNTIME, build, stubs
from ..emulate.machine import Count
from ..emulate.machines import counting_machine
from ..emulate.toolchain import OPTIMIZE, Toolchain
from ..errors import InputError
from ..graph import Graph
from ..listen.decision import Decision
from ..listen.frontend import PRESETS, SAMPLE_RATE
from ..targets import Target
from ..users.exits import NEVER
from .measurement import ClipsCost, ExitCost, LayerCost, Measurement, SamplesCost
from .parity import random_inputs

_CYCLES_OF = "cortex-m4"  # whose timing table the estimate follows


def measure(
    graph: Graph,
    target: Target,
    toolchain: Toolchain,
    renderer: Renderer | None = None,
    clips: np.ndarray | None = None,
    samples: int = 1,
    inputs: str = INPUTS[0],
) -> Measurement:
    """Build, run and count. `renderer` is by default that of the target's instruction set.

    `clips` are int8 (N, *input shape), for a network with early exits; `samples`, how many pseudo-random inputs are
    counted, for one without; `inputs` is as in `compile_plan`. Raises InputError where that does not fit, or no
    emulator here counts instructions of `target`.
    """
    machine = counting_machine(target)
    renderer = renderer or RENDERERS[target.instruction_set]()
    plan = compile_plan(graph, renderer, inputs=inputs)
    if clips is not None and not plan.exits:
        raise InputError(
            f"model '{graph.name}': it has no early exits, so every clip costs the same; none are accepted"
        )
    if samples > 1 and plan.exits:
        raise InputError(
            f"model '{graph.name}': it has early exits, and costs what its clips cost; no samples are accepted"
        )
    layers = plan.of(plan.graph.main)
    network = emit_plan(plan)
    del network["kws_model_selftest.c"]
    program = {**network, **core_harness.sources(graph, inputs), **stubs(*RUNTIME)}
    invoke = f"kws_model_{graph.main.name}"
    roots = [*(f"kws_model_{entry.name}" for entry in graph.entries), "kws_model_reset"]
    with tempfile.TemporaryDirectory(prefix="kws-mcu-") as name:
        folder = Path(name)
        (folder / exchange.INPUTS).write_bytes(_inputs(graph, plan, samples))
        make = partial(build, folder, target=target, toolchain=toolchain, optimize=renderer.optimize)
        marked = make({**program, **observers.MARK}, name="marked", include=["observe.h"])
        plain = make(program, name="plain")
        alone = make({**network, **stubs("cortex_m/memory.c")}, name="alone", keep=roots)
        parts, *_ = machine.count(marked, folder, invoke, observers.marks(marked, [layer.index for layer in layers]))
        total, *others = machine.count(plain, folder, invoke)
        stopping = others if plan.exits else []
        stack = int.from_bytes((folder / exchange.STACK).read_bytes(), "little")
        exits = _exit_costs(plan, stopping)
        costs = [*(each.macs for each in exits), sum(layer.kernel.macs for layer in layers)]
        over_clips = None
        if clips is not None:
            limits = np.repeat(np.array([[each.threshold] for each in plan.exits], np.int16), len(clips), axis=1)
            (folder / exchange.INPUTS).write_bytes(_until_stopped(graph, [clips], limits))
            counts = [count.instructions[0] for count in machine.count(plain, folder, invoke)]
            taken, _ = exchange.answers(graph, (folder / exchange.ANSWERS).read_bytes())
            over_clips = ClipsCost(
                len(clips),
                np.bincount(taken, minlength=len(costs)).tolist(),
                float(np.mean([costs[each] for each in taken])),
                float(np.mean(counts)),
            )
    timed = target.name == _CYCLES_OF and total.cycles is not None
    layer_costs = [
        LayerCost(
            layer.name,
            layer.kernel.macs,
            parts.instructions[position],
            parts.cycles[position] if timed and parts.cycles else None,
        )
        for position, layer in enumerate(layers)
    ]
    return Measurement(
        graph.name,
        target.name,
        f"{toolchain.version} {OPTIMIZE[renderer.optimize]}",
        plan.weights,
        machine.name,
        total.instructions[0],
        total.cycles[0] if timed and total.cycles else None,
        alone.size(".text") + alone.size(".ARM.exidx"),
        alone.size(".rodata"),
        alone.size(".data") + alone.size(".bss"),
        plan.callers_bytes,
        plan.least_bytes,
        stack,
        plan.memory.persistent_bytes,
        _a_second(graph, total.instructions[0]),
        layer_costs,
        plan.portable,
        exits,
        over_clips,
        _over_samples([total, *others]) if samples > 1 else None,
    )


def _a_second(graph: Graph, instructions: int) -> int | None:
    """Of an always listening board: a step whenever its frames are there, a whole network whenever its decision is
    due. None where the metadata name no front end, or no decision."""
    front_end, decision = PRESETS.get(graph.metadata.get("front_end", "")), graph.metadata.get("decision")
    if front_end is None or not (graph.step or decision):
        return None
    hops = graph.step.frames if graph.step else Decision.from_dict(decision).stride_hops
    return round(instructions * SAMPLE_RATE / (front_end.hop * hops))


def _inputs(graph: Graph, plan: Plan, count: int) -> bytes:
    """What the harness runs: so many random inputs; or one, to the end and then up to each early exit."""
    # the third is random, as are those behind it; the two before hold one code everywhere
    samples = [values[2 : 2 + count] for values in random_inputs(graph, count + 2)[graph.main.name]]
    if not plan.exits:
        return bytes([0]) + exchange.samples(graph, graph.main, samples)
    thresholds = np.full((len(plan.exits), len(plan.exits) + 1), NEVER, np.int16)
    thresholds[:, 1:][np.diag_indices(len(plan.exits))] = -128
    return _until_stopped(graph, [np.repeat(each, thresholds.shape[1], axis=0) for each in samples], thresholds)


def _until_stopped(graph: Graph, inputs: list[np.ndarray], thresholds: np.ndarray) -> bytes:
    return bytes([len(graph.entries)]) + exchange.stopping_samples(graph, inputs, thresholds)


def _over_samples(counts: Sequence[Count]) -> SamplesCost:
    found = [count.instructions[0] for count in counts]
    return SamplesCost(len(found), float(np.mean(found)), min(found), max(found))


def _exit_costs(plan: Plan, counts: Sequence[Count]) -> list[ExitCost]:
    """`counts` are of one inference up to each exit."""
    layers = plan.of(plan.graph.main)
    found = []
    for each, count in zip(plan.exits, counts, strict=True):
        last = next(at for at, layer in enumerate(layers) if layer.operator.outputs[0] == each.scores)
        macs = sum(layer.kernel.macs for layer in layers[: last + 1])
        found.append(ExitCost(each.name, macs, count.instructions[0]))
    return found
