"""What the generated C of a network costs, as data and as tables."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..report import Table


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
class SamplesCost:
    """Instructions over several inputs: windows are copied faster in some, and what saturates takes other ways."""

    samples: int
    mean: float
    least: int
    most: int


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
    weights: str  # "int8", "int16" or "sparse": as which they lie in flash
    emulator: str
    instructions: int  # from the first instruction of invoke to its return
    cycles_estimate: int | None
    flash_code: int  # all functions that invoke needs, the compiler's and memcpy included
    flash_weights: int  # constants
    ram_arena: int
    ram_input_output: int  # the caller's buffers
    ram_least: int  # of arena and caller's buffers: less than this, these kernels cannot do with
    stack: int  # the deepest that invoke went
    ram_state: int  # persistent tensors, in the arena
    instructions_a_second: int | None  # of a stream, as the metadata have it
    layers: list[LayerCost]
    portable: dict[str, str]  # by layer of any entry that runs as portable C, why
    exits: list[ExitCost]
    clips: ClipsCost | None
    samples: SamplesCost | None

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
        memories = (
            "flash",
            "flash_code",
            "flash_weights",
            "ram",
            "ram_arena",
            "ram_state",
            "ram_input_output",
            "ram_least",
            "stack",
        )
        totals = ("macs", "instructions", "instructions_a_second", "cycles_estimate", *memories)
        fields = ("name", "macs", "instructions", "instructions_per_mac", "cycles_estimate")
        return {
            **{name: getattr(self, name) for name in ("model", "target", "compiler", "weights", "emulator")},
            "total": {name: getattr(self, name) for name in totals},
            "layers": [{name: getattr(layer, name) for name in fields} for layer in self.layers],
            "portable": self.portable,
            **({"exits": [asdict(each) for each in self.exits]} if self.exits else {}),
            **({"clips": asdict(self.clips)} if self.clips else {}),
            **({"samples": asdict(self.samples)} if self.samples else {}),
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
        second = self.instructions_a_second
        stream = "" if second is None else f"\nstream {second:,} instructions a second"
        left = "".join(f"\nportable C  {layer}: {reason}" for layer, reason in self.portable.items())
        over = ""
        if self.samples:
            found = self.samples
            over = f"over {found.samples} inputs: {found.mean:,.0f} on average, {found.least:,} to {found.most:,}\n"
        return (
            f"{self.model} on {self.target}, {built}\n\n{self.table().text()}\n{over}\n{exits}"
            f"flash  {self.flash:,} bytes: code {self.flash_code:,}, weights {self.flash_weights:,}\n"
            f"{ram_line(self.ram_arena, self.ram_state, self.ram_input_output, self.ram_least)}\n"
            f"stack  {self.stack:,} bytes{stream}{left}"
        )


def ram_line(arena: int, state: int, input_output: int, least: int) -> str:
    """What RAM is made of, and the lower bound."""
    of_state = f" of which {state:,} are state" if state else ""
    callers = f", input and output {input_output:,}" if input_output else ""
    return f"RAM    {arena + input_output:,} bytes: arena {arena:,}{of_state}{callers}; lower bound {least:,}"
