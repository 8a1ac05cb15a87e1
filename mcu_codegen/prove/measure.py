"""What the generated C of a network costs on a core: instructions, flash and RAM."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..emit.cortex_m.instruction_sets import RENDERERS
from ..emit.model import emit_model
from ..emit.plan import compile_plan
from ..emit.portable.renderer import Renderer
from ..emulate import harness
from ..emulate.build import RUNTIME, build, stubs
from ..emulate.machines import counting_machine
from ..emulate.toolchain import OPTIMIZE, Toolchain
from ..graph import Graph
from ..report import Table
from ..targets import Target
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
class Measurement:
    """Of the main entry, on one pseudo-random input; bytes and executed instructions.

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

    def text(self) -> str:
        """Everything, for a person."""
        built = f"{self.compiler}, {self.weights} weights, counted in {self.emulator}"
        return (
            f"{self.model} on {self.target}, {built}\n\n{self.table().text()}\n\n"
            f"flash  {self.flash:,} bytes: code {self.flash_code:,}, weights {self.flash_weights:,}\n"
            f"RAM    {self.ram:,} bytes: arena {self.ram_arena:,}, input and output {self.ram_input_output:,}\n"
            f"stack  {self.stack:,} bytes"
        )


def measure(graph: Graph, target: Target, toolchain: Toolchain, renderer: Renderer | None = None) -> Measurement:
    """Build, run and count. `renderer` is by default that of the target's instruction set.

    Raises InputError where no emulator here counts instructions of `target`.
    """
    machine = counting_machine(target)
    renderer = renderer or RENDERERS[target.instruction_set]()
    plan = compile_plan(graph, renderer)
    layers = plan.of(graph.main)
    network = emit_model(graph, renderer=renderer)
    del network["kws_model_selftest.c"]
    program = {**network, **harness.core(graph), **stubs(*RUNTIME)}
    invoke = f"kws_model_{graph.main.name}"
    roots = [*(f"kws_model_{entry.name}" for entry in graph.entries), "kws_model_reset"]
    with tempfile.TemporaryDirectory(prefix="kws-mcu-") as name:
        folder = Path(name)
        sample = harness.samples(graph, graph.main, random_inputs(graph, 3)[graph.main.name])
        # the third is random; the two before hold one code everywhere
        (folder / harness.INPUTS).write_bytes(bytes([0]) + sample[-len(sample) // 3 :])
        make = partial(build, folder, target=target, toolchain=toolchain, optimize=renderer.optimize)
        marked = make({**program, **harness.MARK}, name="marked", include=["observe.h"])
        plain = make(program, name="plain")
        alone = make({**network, **stubs("cortex_m/memory.c")}, name="alone", keep=roots)
        parts = machine.count(marked, folder, invoke, harness.marks(marked, [layer.index for layer in layers]))
        total = machine.count(plain, folder, invoke)
        stack = int.from_bytes((folder / harness.STACK).read_bytes(), "little")
    timed = target.name == _CYCLES_OF and total.cycles is not None
    costs = [
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
        costs,
    )
