"""The C of a front end on an emulated core, for its own sake: audio from a file, features into another."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from ..emit.frontend import emit_frontend
from ..listen.frontend import FrontEnd
from ..targets import Target
from . import observers
from .build import RUNTIME, build, stubs
from .elf import Elf
from .machine import Count, Machine
from .toolchain import Toolchain

PUSH = "kws_frontend_push"
STAGES = ("window", "transform", "power", "mel and log", "projection")
"""Of a frame; each ends in a KWS_FRONTEND_STAGE."""

_AUDIO, _FEATURES = "audio.raw", "features.bin"

_MAIN = f"""\
#include "kws_frontend.h"
#include "semihosting.h"

static int16_t hop[KWS_FRONTEND_HOP];
static int8_t frame[KWS_FRONTEND_COEFFICIENTS];

int main(void)
{{
    const int32_t audio = semihosting_open("{_AUDIO}", SEMIHOSTING_READ);
    const int32_t features = semihosting_open("{_FEATURES}", SEMIHOSTING_WRITE);

    kws_frontend_reset();
    while (semihosting_read(audio, hop, sizeof hop) == 0) {{
        if (kws_frontend_push(hop, frame) && semihosting_write(features, frame, sizeof frame) != 0) {{
            return 3;
        }}
    }}
    return 0;
}}
"""


class FrontEndProgram:
    """A front end as `target` runs it; `machine` emulates that. Whatever builds it first raises BuildError."""

    def __init__(
        self,
        front_end: FrontEnd,
        target: Target,
        machine: Machine,
        toolchain: Toolchain,
        optimize: str = "speed",
    ) -> None:
        self._front_end, self._machine, self._target, self._toolchain = front_end, machine, target, toolchain
        self._optimize = optimize
        self._folder = tempfile.TemporaryDirectory(prefix="kws-mcu-")
        self._sources = emit_frontend(front_end, instruction_set=target.instruction_set)
        self._sources |= {"main.c": _MAIN, **stubs(*RUNTIME)}

    @cached_property
    def _plain(self) -> Elf:
        return self._build("plain", self._sources)

    @cached_property
    def _marked(self) -> Elf:
        return self._build("marked", self._sources | observers.marking("KWS_FRONTEND_STAGE(number)"), ["observe.h"])

    def _build(self, name: str, sources: dict[str, str], include: Sequence[str] = ()) -> Elf:
        folder = Path(self._folder.name)
        return build(
            folder, sources, self._target, self._toolchain, name=name, include=include, optimize=self._optimize
        )

    def run(self, audio: np.ndarray) -> np.ndarray:
        """int8 (frames, coefficients) of int16 `audio` [n] from a reset on; samples past the last hop are unused."""
        folder = self._hear(audio)
        self._machine.run(self._plain, folder)
        features = np.frombuffer((folder / _FEATURES).read_bytes(), np.int8)
        return features.reshape(-1, self._front_end.coefficients)

    def count(self, audio: np.ndarray) -> list[Count]:
        """Of every push of `audio`."""
        return self._machine.count(self._plain, self._hear(audio), PUSH)

    def count_stages(self, audio: np.ndarray) -> list[Count]:
        """The same in segments: STAGES, and what is around them."""
        marks = observers.marks(self._marked, range(len(STAGES)))
        return self._machine.count(self._marked, self._hear(audio), PUSH, marks)

    def memories(self) -> tuple[int, int]:
        """(flash, RAM without the stack) of the front end alone, bytes."""
        sources = {name: text for name, text in self._sources.items() if name.startswith("kws_frontend")}
        alone = build(
            Path(self._folder.name),
            {**sources, **stubs("cortex_m/memory.c")},
            self._target,
            self._toolchain,
            name="alone",
            optimize=self._optimize,
            keep=[PUSH, "kws_frontend_reset"],
        )
        return alone.flash, alone.ram

    def _hear(self, audio: np.ndarray) -> Path:
        folder = Path(self._folder.name)
        (folder / _AUDIO).write_bytes(audio.astype("<i2").tobytes())
        return folder
