"""What a kernel asks of the memory plan, and where its output may lie on an input."""

from __future__ import annotations

from dataclasses import dataclass

ALIGNMENT = 16
"""Of the arena and of every offset in it, in bytes: enough for every load of every core, MVE included."""


@dataclass(frozen=True)
class Over:
    """Where an output may begin on an input that nobody reads afterwards, in bytes behind the input's beginning.

    A kernel that writes in order behind what it still reads allows everything up to a `last` distance, which is below 0
    where it writes faster than it reads. One that takes a channel out before it writes that channel allows multiples of
    the distance between pixels, up to the multiple `most`, whatever is read afterwards.
    """

    last: int | None = None
    every: int = 0  # 0: no multiple is allowed but by `last`
    most: int | None = None  # None: all multiples

    def allows(self, distance: int) -> bool:
        """Whether the output may begin `distance` bytes behind the input."""
        if self.last is not None and distance <= self.last:
            return True
        return self.every > 0 and distance % self.every == 0 and (self.most is None or distance <= self.most)


@dataclass(frozen=True)
class Demand:
    """What the kernel of one operator asks for."""

    scratch_bytes: int = 0
    over: tuple[Over | None, ...] = ()  # by input; None, or none: the output may not touch it
    part: int | None = None  # its output is nothing but the bytes of its first input from this one on

    def over_input(self, number: int) -> Over:
        """How the output may lie on this input."""
        return (self.over[number] if number < len(self.over) else None) or Over()


def aligned(size: int) -> int:
    """`size`, rounded up to the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT
