"""What both emulators have in common: a program runs in a folder, to its end or counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .elf import Elf

TIME_LIMIT = 3600.0
"""Seconds after which a program counts as hung. Minutes of audio on a busy host take many minutes."""


class MachineError(RuntimeError):
    """The program did not come to a good end: a fault, an exit status other than 0, or no end at all."""


@dataclass(frozen=True)
class Count:
    """Instructions executed from a function's first one to its return, in the segments between marks.

    Segment 0 ends at the first mark that execution reaches, segment k + 1 begins there. `cycles` is an estimate by the
    timing table of the Cortex-M4, and None where the emulator cannot see every instruction's kind.
    """

    instructions: tuple[int, ...]
    cycles: tuple[int, ...] | None


class Machine(Protocol):
    """An emulator of one target. Every run boots anew."""

    @property
    def name(self) -> str:
        """The emulator's."""
        ...

    def run(self, program: Elf, folder: Path) -> str:
        """The text that `program` wrote. Its files are relative to `folder`. Raises MachineError."""
        ...

    def cannot_count(self) -> str:
        """Why this emulator cannot count instructions here, or ""."""
        ...

    def count(self, program: Elf, folder: Path, function: str, marks: Sequence[Sequence[int]] = ()) -> list[Count]:
        """Run likewise, and count every call of `function`, which must not call itself.

        Each of `marks` is reached after the one before it, at one of its addresses; a call may end before all are.
        """
        ...
