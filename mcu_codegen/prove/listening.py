"""What listening costs on a core, from waveform to decision: instructions a second, flash, RAM and stack."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..emit.cortex_m.instruction_sets import RENDERERS
from ..emit.portable.renderer import Renderer
from ..emulate.board_program import loop
from ..emulate.build import RUNTIME, build, stubs
from ..emulate.frontend_program import PUSH, STAGES, FrontEndProgram
from ..emulate.machines import counting_machine
from ..emulate.stack import PAINTING
from ..emulate.toolchain import Toolchain
from ..listen.frontend import SAMPLE_RATE
from ..listen.pipeline import Pipeline
from ..report import Table
from ..targets import Target

_LOOP = "stream_push"
_AUDIO, _STACK = "audio.raw", "stack.bin"

_MAIN = f"""\
#include "kws_frontend.h"
#include "semihosting.h"
#include "stream.h"

{PAINTING}
static int16_t hop[KWS_FRONTEND_HOP];

int main(void)
{{
    const int32_t audio = semihosting_open("{_AUDIO}", SEMIHOSTING_READ);
    volatile uint32_t *stack;
    kws_decision_detection detection;
    uint32_t most = 0;
    int32_t file;

    stream_reset();
    __asm__ volatile("mov %0, sp" : "=r"(stack));
    stack -= PAINTED;
    while (semihosting_read(audio, hop, sizeof hop) == 0) {{
        paint(stack);
        (void)stream_push(hop, &detection);
        most = used(stack) > most ? used(stack) : most;
    }}
    file = semihosting_open("{_STACK}", SEMIHOSTING_WRITE);
    return semihosting_write(file, &most, sizeof most) == 0 ? 0 : 3;
}}
"""


@dataclass(frozen=True)
class Listening:
    """Of white noise, from the first full window on; exact counts of instructions, bytes."""

    front_end: str
    stages: dict[str, int]  # of a frame, in a build that marks their ends
    frame: int  # of a frame, whole
    frames_per_second: float
    inferences_per_second: float
    instructions_per_second: float  # of the whole loop: front end, network, decision and what joins them
    asleep_per_second: float | None  # the same while inferences are left out; None where they never are
    front_end_flash: int
    front_end_ram: int
    flash: int  # code and constants of the whole loop
    ram: int  # static
    stack: int  # the deepest that the loop went

    def to_dict(self) -> dict[str, Any]:
        """As ``measure --json`` prints it."""
        return asdict(self)

    def table(self, invoke: int) -> Table:
        """Where a second's instructions go; `invoke` are those of an inference."""
        parts = [
            (f"front end {self.front_end}", self.frame, self.frames_per_second),
            ("network", invoke, self.inferences_per_second),
        ]
        rows: list[list[object]] = [
            [name, each, f"{rate:g}", round(each * rate), f"{each * rate / self.instructions_per_second:.3f}"]
            for name, each, rate in parts
        ]
        rest = self.instructions_per_second - sum(each * rate for _, each, rate in parts)
        rows.append(["decision and loop", "", "", round(rest), f"{rest / self.instructions_per_second:.3f}"])
        rows.append(["listening", "", "", round(self.instructions_per_second), "1.000"])
        if self.asleep_per_second is not None:
            share = self.asleep_per_second / self.instructions_per_second
            rows.append(["listening, asleep", "", "", round(self.asleep_per_second), f"{share:.3f}"])
        return Table(["part", "instructions", "times a second", "instructions a second", "share"], rows)

    def text(self, invoke: int) -> str:
        """For a person."""
        stages = ", ".join(f"{name} {instructions:,}" for name, instructions in self.stages.items())
        return (
            f"{self.table(invoke).text()}\n\na frame: {stages}\n\n"
            f"flash  {self.flash:,} bytes of the whole loop, of which front end {self.front_end_flash:,}\n"
            f"RAM    {self.ram:,} bytes of the whole loop, of which front end {self.front_end_ram:,}\n"
            f"stack  {self.stack:,} bytes"
        )


def listening(pipeline: Pipeline, target: Target, toolchain: Toolchain, renderer: Renderer | None = None) -> Listening:
    """Build, run and count the loop of firmware_stubs. `renderer` is the network's, by default that of the target's
    instruction set. Raises InputError where no emulator here counts instructions of `target`.
    """
    machine = counting_machine(target)
    renderer = renderer or RENDERERS[target.instruction_set]()
    front_end, stride = pipeline.front_end, pipeline.decision.stride_hops
    # whole strides: those of the first full window, one that is counted, and with an activity those until it sleeps,
    # and the last, that is counted too; digital silence is quiet from the first frame on
    full = -(-front_end.window // front_end.hop)
    first = -(-full // stride)
    rest = 0 if pipeline.activity is None else -(-(full + pipeline.activity.hold_hops) // stride) + 1
    noise = np.random.default_rng(0).normal(0, 2000, (first + 1) * stride * front_end.hop)
    audio = np.pad(noise, (0, rest * stride * front_end.hop)).astype(np.int16)
    parts = loop(pipeline, target, renderer)
    with tempfile.TemporaryDirectory(prefix="kws-mcu-") as name:
        folder = Path(name)
        (folder / _AUDIO).write_bytes(audio.astype("<i2").tobytes())
        sources = {**parts, "main.c": _MAIN, **stubs(*RUNTIME)}
        program = build(folder, sources, target, toolchain, name="loop", optimize=renderer.optimize)
        bare = {**parts, **stubs("cortex_m/memory.c")}
        roots = [_LOOP, "stream_reset"]
        alone = build(folder, bare, target, toolchain, name="alone", keep=roots, optimize=renderer.optimize)
        calls, pushes = (
            [count.instructions[0] for count in machine.count(program, folder, function)] for function in (_LOOP, PUSH)
        )
        stack = int.from_bytes((folder / _STACK).read_bytes(), "little")
    counted = calls[first * stride : (first + 1) * stride]
    frames = FrontEndProgram(front_end, target, machine, toolchain, renderer.optimize)
    stages = max((count.instructions for count in frames.count_stages(audio[: len(noise)])), key=sum)
    hops_per_second = SAMPLE_RATE / front_end.hop
    return Listening(
        front_end.name,
        dict(zip((*STAGES, "history"), stages, strict=True)),
        max(pushes[: len(noise) // front_end.hop]),
        hops_per_second,
        # a step runs as soon as its frames are there, a whole window when a decision is due
        hops_per_second / (stride if pipeline.graph.step is None else pipeline.graph.step.frames),
        sum(counted) * hops_per_second / stride,
        sum(calls[-stride:]) * hops_per_second / stride if rest else None,
        *frames.memories(),
        alone.flash,
        alone.ram,
        stack,
    )
