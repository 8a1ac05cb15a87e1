"""Generated C beside a network, executed: a stream of bytes goes in and one comes out, on this host and on a core.

What the bytes mean is for the C that a test program says it with: a static function `exercise`, which calls
``take(to, bytes)`` for what it is given and ``give(from, bytes)`` for what it answers. Numbers are little endian.
"""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..targets import Target
from . import host
from .build import RUNTIME, build, stubs
from .machine import Machine
from .toolchain import Toolchain

_GIVEN, _ANSWERS = "given.bin", "answers.bin"

_ON_HOST = """\
#include <stdint.h>

static const uint8_t *given;
static uint8_t *answers;
static uint32_t answered;

static void take(void *to, uint32_t bytes)
{
    uint8_t *next = (uint8_t *)to;

    while (bytes-- > 0u) {
        *next++ = *given++;
    }
}

static void give(const void *from, uint32_t bytes)
{
    const uint8_t *next = (const uint8_t *)from;

    answered += bytes;
    while (bytes-- > 0u) {
        *answers++ = *next++;
    }
}
"""

_HOST_RUN = """
uint32_t run(const uint8_t *from, uint8_t *to);

uint32_t run(const uint8_t *from, uint8_t *to)
{
    given = from;
    answers = to;
    answered = 0;
    exercise();
    return answered;
}
"""

_ON_CORE = f"""\
#include <stdint.h>

#include "semihosting.h"

int main(void);

static int32_t given, answers;

static void take(void *to, uint32_t bytes)
{{
    if (bytes > 0u && semihosting_read(given, to, bytes) != 0) {{
        machine_stop(2);
    }}
}}

static void give(const void *from, uint32_t bytes)
{{
    if (semihosting_write(answers, from, bytes) != 0) {{
        machine_stop(3);
    }}
}}
#define ANSWERS "{_ANSWERS}"
#define GIVEN "{_GIVEN}"
"""

_CORE_RUN = """
int main(void)
{
    given = semihosting_open(GIVEN, SEMIHOSTING_READ);
    answers = semihosting_open(ANSWERS, SEMIHOSTING_WRITE);
    exercise();
    return 0;
}
"""

_NUMBERS = """
static uint32_t number(void)
{
    uint32_t value = 0;

    take(&value, sizeof value);
    return value;
}

static void tell(int32_t value)
{
    give(&value, sizeof value);
}

"""


class HostDialogue:
    """On this host."""

    name: str

    def __init__(self, sources: Mapping[str, str], exercise: str, *, sanitize: Sequence[str] = ()) -> None:
        """Builds `sources` and `exercise`, the includes and functions of the test program; `sanitize` as in
        `host.build_shared_library`."""
        program = {**sources, "main.c": _ON_HOST + _NUMBERS + exercise + _HOST_RUN}
        self._library = ctypes.CDLL(str(host.build_shared_library(program, sanitize=sanitize)))

    def run(self, given: bytes, room: int) -> bytes:
        """The answers to `given`, which have `room` bytes at most."""
        answers = ctypes.create_string_buffer(room)
        length = self._library.run(given, answers)
        return answers.raw[:length]


class CoreDialogue:
    """On an emulated core."""

    name: str

    def __init__(
        self, sources: Mapping[str, str], exercise: str, target: Target, machine: Machine, toolchain: Toolchain
    ) -> None:
        """Builds; `machine` emulates `target`."""
        self._machine = machine
        self._folder = tempfile.TemporaryDirectory(prefix="kws-mcu-")
        main = {"main.c": _ON_CORE + _NUMBERS + exercise + _CORE_RUN}
        self._program = build(Path(self._folder.name), {**sources, **main, **stubs(*RUNTIME)}, target, toolchain)

    def run(self, given: bytes, _room: int = 0) -> bytes:
        """The answers to `given`. Raises MachineError."""
        folder = Path(self._folder.name)
        (folder / _GIVEN).write_bytes(given)
        self._machine.run(self._program, folder)
        return (folder / _ANSWERS).read_bytes()

    def count(self, given: bytes, function: str) -> int:
        """Instructions of the first call of a C function. Raises MachineError where its machine cannot count."""
        folder = Path(self._folder.name)
        (folder / _GIVEN).write_bytes(given)
        first, *_ = self._machine.count(self._program, folder, function)
        return sum(first.instructions)
