"""Reasons for refusing a file, collected, so that one reading finds them all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..errors import InputError


@dataclass(frozen=True)
class Refusal:
    """Why a file, or a part of it, is refused; one line."""

    where: str  # subgraph, operator or tensor; "" where it is the whole
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}" if self.where else self.reason


@dataclass
class Refusals:
    """Each once, in the order in which they were found."""

    found: list[Refusal] = field(default_factory=list)

    @contextmanager
    def of(self, where: str = "") -> Iterator[None]:
        """Note an InputError of the block, as that of `where`, and go on behind it."""
        try:
            yield
        except InputError as error:
            self.add(where, str(error))

    def add(self, where: str, reason: str) -> None:
        refusal = Refusal(where, reason)
        if refusal not in self.found:
            self.found.append(refusal)
