"""What the generated C of a network costs on a core: instructions, flash and RAM."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..emit.cortex_m.instruction_sets import RENDERERS
from ..emit.model import emit_model
from ..emit.plan import Plan, compile_plan
from ..emit.portable.renderer import Renderer
from ..emulate import exchange, harness
from ..emulate.build import RUNTIME, build, stubs
from ..emulate.machine import Count
from ..emulate.machines import counting_machine
from ..emulate.toolchain import OPTIMIZE, Toolchain
from ..errors import InputError
from ..graph import Graph
from ..report import Table
from ..targets import Target
from ..users.exits import NEVER
from .parity import random_inputs

_CYCLES_OF = "cortex-m4"  # whose timing table the estimate follows


@dataclass(frozen=True)
class LayerCost:
    name: str
    macs: int
    instructions: int
    cycles_estimate: int | None

    @property
    def instructions_per_mac(self) -> float | None:
        return self.instructions / self.macs if self.macs else None


@dataclass(frozen=True)
class ExitCost:
    """Of an inference that stops at an early exit."""

    name: str
    macs: int
    instructions: int


@dataclass(frozen=True)
class ClipsCost:
    """Of many clips, with the factory's thresholds: means over them."""

    clips: int
    exits: list[int]  # how many clips stopped at each exit; the last: nowhere
    macs: float
    instructions: float


@dataclass(frozen=True)
class Measurement:
    """Of the main entry, on one pseudo-random input; bytes and executed instructions.

    A network with early exits is measured to its end, and up to each exit; with clips, up to where each of them stops.
    Layers are counted in a build that marks their ends; the total in one without marks, in which the compiler may have
    merged a little across layers. Cycles are an estimate from the executed instructions, and only for Cortex-M4.
    """

    model: str
    target: str
    compiler: str  # with what it was told to optimise for
    weights: str  # "int8" or "int16": as which they lie in flash
    emulator: str
    instructions: int  # from the first instruction of invoke to its return
    cycles_estimate: int | None
    flash_code: int  # all functions that invoke needs, the compiler's and memcpy included
    flash_weights: int  # constants
    ram_arena: int
    ram_input_output: int  # the caller's buffers
    stack: int  # the deepest that invoke went
    layers: list[LayerCost]
    exits: list[ExitCost]
    clips: ClipsCost | None

    @property
    def flash(self) -> int:
        return self.flash_code + self.flash_weights

    @property
    def ram(self) -> int:
        return self.ram_arena + self.ram_input_output

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """As ``measure --json`` prints it."""
        memories = ("flash", "flash_code", "flash_weights", "ram", "ram_arena", "ram_input_output", "stack")
        totals = ("macs", "instructions", "cycles_estimate", *memories)
        fields = ("name", "macs", "instructions", "instructions_per_mac", "cycles_estimate")
        return {
            **{name: getattr(self, name) for name in ("model", "target", "compiler", "weights", "emulator")},
            "total": {name: getattr(self, name) for name in totals},
            "layers": [{name: getattr(layer, name) for name in fields} for layer in self.layers],
            **({"exits": [asdict(each) for each in self.exits]} if self.exits else {}),
            **({"clips": asdict(self.clips)} if self.clips else {}),
        }

    def table(self) -> Table:
        """The layers and their sum, then the total."""
        cycles = self.cycles_estimate is not None
        header = ["layer", "MACs", "instructions", "per MAC", *(["cycles (estimate)"] if cycles else [])]

        def row(name: str, macs: int, instructions: int, estimate: int | None) -> list[object]:
            ratio = f"{instructions / macs:.2f}" if macs else "-"
            return [name, macs, instructions, ratio, *([estimate] if cycles else [])]

        rows = [row(layer.name, layer.macs, layer.instructions, layer.cycles_estimate) for layer in self.layers]
        return Table(header, [*rows, row("invoke", self.macs, self.instructions, self.cycles_estimate)])

    def exit_table(self) -> Table:
        """An inference that stops at each exit, and at none; with clips, how many do, and their mean."""
        ends = [
            *((each.name, each.macs, each.instructions) for each in self.exits),
            ("none", self.macs, self.instructions),
        ]
        rows: list[list[object]] = [
            [name, macs, f"{macs / self.macs:.3f}", instructions, f"{instructions / self.instructions:.3f}"]
            for name, macs, instructions in ends
        ]
        header = ["exit", "MACs", "share", "instructions", "share"]
        if self.clips:
            header.append("clips")
            for row, taken in zip(rows, self.clips.exits, strict=True):
                row.append(taken)
            macs, instructions = self.clips.macs, self.clips.instructions
            shares = f"{macs / self.macs:.3f}", f"{instructions / self.instructions:.3f}"
            rows.append(["mean", round(macs), shares[0], round(instructions), shares[1], self.clips.clips])
        return Table(header, rows)

    def text(self) -> str:
        """Everything, for a person."""
        built = f"{self.compiler}, {self.weights} weights, counted in {self.emulator}"
        exits = f"{self.exit_table().text()}\n\n" if self.exits else ""
        return (
            f"{self.model} on {self.target}, {built}\n\n{self.table().text()}\n\n{exits}"
            f"flash  {self.flash:,} bytes: code {self.flash_code:,}, weights {self.flash_weights:,}\n"
            f"RAM    {self.ram:,} bytes: arena {self.ram_arena:,}, input and output {self.ram_input_output:,}\n"
            f"stack  {self.stack:,} bytes"
        )


def measure(
    graph: Graph,
    target: Target,
    toolchain: Toolchain,
    renderer: Renderer | None = None,
    clips: np.ndarray | None = None,
) -> Measurement:
    """Build, run and count. `renderer` is by default that of the target's instruction set.

    `clips` are int8 (N, *input shape), for a network with early exits. Raises InputError where it has none, or no
    emulator here counts instructions of `target`.
    """
    machine = counting_machine(target)
    renderer = renderer or RENDERERS[target.instruction_set]()
    plan = compile_plan(graph, renderer)
    if clips is not None and not plan.exits:
        raise InputError(
            f"model '{graph.name}': it has no early exits, so every clip costs the same; none are accepted"
        )
    layers = plan.of(plan.graph.main)
    network = emit_model(graph, renderer=renderer)
    del network["kws_model_selftest.c"]
    program = {**network, **harness.core(graph), **stubs(*RUNTIME)}
    invoke = f"kws_model_{graph.main.name}"
    roots = [*(f"kws_model_{entry.name}" for entry in graph.entries), "kws_model_reset"]
    with tempfile.TemporaryDirectory(prefix="kws-mcu-") as name:
        folder = Path(name)
        (folder / exchange.INPUTS).write_bytes(_inputs(graph, plan))
        make = partial(build, folder, target=target, toolchain=toolchain, optimize=renderer.optimize)
        marked = make({**program, **harness.MARK}, name="marked", include=["observe.h"])
        plain = make(program, name="plain")
        alone = make({**network, **stubs("cortex_m/memory.c")}, name="alone", keep=roots)
        parts, *_ = machine.count(marked, folder, invoke, harness.marks(marked, [layer.index for layer in layers]))
        total, *stopping = machine.count(plain, folder, invoke)
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
        renderer.weights,
        machine.name,
        total.instructions[0],
        total.cycles[0] if timed and total.cycles else None,
        alone.size(".text") + alone.size(".ARM.exidx"),
        alone.size(".rodata"),
        alone.size(".data") + alone.size(".bss"),
        sum(graph.tensors[index].bytes for index in (*graph.main.inputs, *graph.main.outputs)),
        stack,
        layer_costs,
        exits,
        over_clips,
    )


def _inputs(graph: Graph, plan: Plan) -> bytes:
    """What the harness runs: one random input, to the end and then up to each early exit."""
    # the third is random; the two before hold one code everywhere
    samples = [values[2:] for values in random_inputs(graph, 3)[graph.main.name]]
    if not plan.exits:
        return bytes([0]) + exchange.samples(graph, graph.main, samples)
    thresholds = np.full((len(plan.exits), len(plan.exits) + 1), NEVER, np.int16)
    thresholds[:, 1:][np.diag_indices(len(plan.exits))] = -128
    return _until_stopped(graph, [np.repeat(each, thresholds.shape[1], axis=0) for each in samples], thresholds)


def _until_stopped(graph: Graph, inputs: list[np.ndarray], thresholds: np.ndarray) -> bytes:
    return bytes([len(graph.entries)]) + exchange.stopping_samples(graph, inputs, thresholds)


def _exit_costs(plan: Plan, counts: Sequence[Count]) -> list[ExitCost]:
    """`counts` are of one inference up to each exit."""
    layers = plan.of(plan.graph.main)
    found = []
    for each, count in zip(plan.exits, counts, strict=True):
        last = next(at for at, layer in enumerate(layers) if layer.operator.outputs[0] == each.scores)
        macs = sum(layer.kernel.macs for layer in layers[: last + 1])
        found.append(ExitCost(each.name, macs, count.instructions[0]))
    return found
