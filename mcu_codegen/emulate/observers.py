"""C that looks at a program from inside: what passes is written to a file, or the places of marks are noted."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from .elf import Elf
from .exchange import OBSERVED

_OBSERVER = """\
#include "observe.h"
#include "semihosting.h"

static int32_t file = -1;

void harness_observe(int32_t what, const void *data, uint32_t bytes)
{
    const uint32_t header[2] = {(uint32_t)what, bytes};

    if (file < 0) {
        file = semihosting_open("%s", SEMIHOSTING_WRITE);
    }
    if (semihosting_write(file, header, sizeof header) != 0 || semihosting_write(file, data, bytes) != 0) {
        machine_stop(3);
    }
}
"""


def observing(macro: str) -> str:
    """The header by which `macro`(what, data, bytes) calls harness_observe; it goes before every file."""
    return f"""\
#ifndef OBSERVE_H
#define OBSERVE_H
#include <stdint.h>
void harness_observe(int32_t what, const void *data, uint32_t bytes);
#define {macro}(what, data, bytes) harness_observe(what, data, bytes)
#endif
"""


def observer(macro: str) -> dict[str, str]:
    """C of an emulated core by which `macro`(what, data, bytes) writes to OBSERVED: what, bytes (words) and data.

    Its observe.h goes before every file.
    """
    return {"observe.h": observing(macro), "observe.c": _OBSERVER % OBSERVED}


_MARKS = ".debug_marks"  # a section of this prefix survives the removal of unused ones


def marking(macro: str) -> dict[str, str]:
    """An observe.h for counting, which goes before every file: `macro`, whose first parameter is called ``number``,
    notes where a part of a function ends. `marks` reads what it noted."""
    return {
        "observe.h": f"""\
/* Where a part ends is noted, with its number, in a section that is not loaded: no instruction is added. The compiler
   may have copied the place; then each copy is noted. */
#ifndef OBSERVE_H
#define OBSERVE_H
#define {macro} \\
    __asm__ volatile("0:\\n\\t.pushsection {_MARKS}\\n\\t.long %c0, 0b\\n\\t.popsection" : : "i"(number) : "memory")
#endif
"""
    }


MARK = marking("KWS_MODEL_OBSERVE(number, data, bytes)")
"""Of a network's layers."""


def marks(program: Elf, parts: Iterable[int]) -> list[list[int]]:
    """For each of `parts`, the addresses at which it ends in a program built with `marking`."""
    pairs = list(struct.iter_unpack("<II", program.section(_MARKS)))
    return [[address & ~1 for number, address in pairs if number == part] for part in parts]
