"""What instructions accept: every line of a kernel is held against the forms that its cores have, before it is C.

A table has a form a row: mnemonics, two spaces or more, operands. In operands

    L R Q       a low register, any of r0 to r12 and lr, a vector register
    =           the form's first register once more
    #0..124/4   a constant of a range, a multiple of 4
    #const      what Thumb-2 calls a modified immediate: eight bits anywhere, or bytes repeated
    @-256..254  a local label, so many bytes from the instruction's address + 4
    {L, lr}     some of these registers in ascending order

and everything else stands for itself. A line that no form covers is refused, a mnemonic without a form like an offset
that is too far. Only a conditional branch that is too far is split, into one around an unconditional branch.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..kernel import Unencodable

_LOW, _ANY = tuple(f"r{number}" for number in range(8)), (*(f"r{number}" for number in range(13)), "lr")
_REGISTERS = {"L": "|".join(_LOW), "R": "|".join(reversed(_ANY)), "Q": "q[0-7]"}
_TOKEN = re.compile(r"#const|#-?\d+\.\.-?\d+(?:/\d+)?|@-?\d+\.\.-?\d+|\{[LR][^}]*\}|\b[LRQ]\b|=")
_OPPOSITE = {"beq": "bne", "bne": "beq"}
_BEHIND = 99  # the label behind a branch that is gone around


def encodable(value: int) -> bool:
    """Whether `value`, 0 or more, is a modified immediate."""
    low, high = value & 0xFF, value >> 8 & 0xFF
    below = max(value.bit_length() - 8, 0)
    repeated = value in (low * 0x00010001, high * 0x01000100, low * 0x01010101)
    return value < 1 << 32 and (value >> below << below == value or repeated)


@dataclass(frozen=True)
class Form:
    """A row of a table."""

    text: str
    operands: re.Pattern[str]
    accepts: tuple[Callable[[str], bool], ...]  # of each group of `operands`
    distances: tuple[int, int] | None  # of a branch

    def covers(self, operands: str) -> bool:
        found = self.operands.fullmatch(operands)
        if found is None:
            return False
        return all(accepts(operand) for accepts, operand in zip(self.accepts, found.groups(), strict=True))


class Ranges:
    """What the instructions of some cores accept."""

    def __init__(self, cores: str, instruction_bytes: int, *tables: str) -> None:
        """`instruction_bytes`: of the longest, as which branches count all."""
        self.cores, self._bytes = cores, instruction_bytes
        self.forms: dict[str, list[Form]] = {}
        for row in "\n".join(tables).split("\n"):
            names, _, operands = row.strip().partition("  ")
            for name in names.split():
                self.forms.setdefault(name, []).append(_form(f"{name} {operands.strip()}".strip()))
        self._form = functools.cache(self._find)

    def fitted(self, lines: Sequence[str]) -> list[str]:
        """`lines` with branches split where they must be. Raises Unencodable."""
        fitted, checked = list(lines), 0
        while checked < len(fitted):
            name, _, operands = fitted[checked].partition(" ")
            form = None if name.endswith(":") else self._form(fitted[checked])
            if form and form.distances and not self._reaches(fitted, checked, form.distances):
                if name not in _OPPOSITE:
                    raise Unencodable(f"'{fitted[checked]}' is farther than {form.text} of {self.cores} reaches")
                fitted[checked : checked + 1] = [f"{_OPPOSITE[name]} {_BEHIND}f", f"b {operands}", f"{_BEHIND}:"]
                checked = 0  # others are farther now
            else:
                checked += 1
        return fitted

    def _find(self, line: str) -> Form:
        name, _, operands = line.partition(" ")
        forms = self.forms.get(name, [])
        for form in forms:
            if form.covers(operands):
                return form
        accepted = "; ".join(form.text for form in forms) or "other instructions"
        raise Unencodable(f"'{line}' is no instruction of {self.cores}, which have: {accepted}")

    def _reaches(self, lines: Sequence[str], at: int, distances: tuple[int, int]) -> bool:
        label = lines[at].split()[-1]
        if label.endswith("b"):
            between = lines[_last(lines[:at], f"{label[:-1]}:") : at]
        else:
            between = lines[at : at + lines[at:].index(f"{label[:-1]}:")]
        size = self._bytes * sum(not line.endswith(":") for line in between)
        low, high = distances
        return low <= (-size if label.endswith("b") else size) - 4 <= high


def _last(lines: Sequence[str], line: str) -> int:
    return len(lines) - 1 - list(reversed(lines)).index(line)


def _form(text: str) -> Form:
    operands = text.partition(" ")[2]
    pattern, done, accepts = "", 0, []
    distances = None
    for token in _TOKEN.finditer(operands):
        pattern += re.escape(operands[done : token.start()])
        done = token.end()
        kind = token[0]
        if kind == "=":
            pattern += r"\1"
            continue
        if kind in _REGISTERS:
            group, accept = _REGISTERS[kind], _anything
        elif kind == "#const":
            group, accept = r"#\d+", _constant
        elif kind[0] == "#":
            group, accept = r"#-?\d+", functools.partial(_within, *_range(kind))
        elif kind[0] == "@":
            group, accept, distances = r"\d+[bf]", _anything, _range(kind)[:2]
        else:
            group, accept = r"\{[^}]*\}", functools.partial(_ascending, _members(kind))
        pattern += f"({group})"
        accepts.append(accept)
    return Form(text, re.compile(pattern + re.escape(operands[done:])), tuple(accepts), distances)


def _range(token: str) -> tuple[int, int, int]:
    """The ends, both included, and what values are multiples of."""
    ends, _, step = token[1:].partition("/")
    low, high = map(int, ends.split(".."))
    return low, high, int(step or 1)


def _anything(operand: str) -> bool:
    return True


def _constant(operand: str) -> bool:
    return encodable(int(operand[1:]))


def _within(low: int, high: int, step: int, operand: str) -> bool:
    value = int(operand[1:])
    return low <= value <= high and value % step == 0


def _members(token: str) -> tuple[str, ...]:
    named = {"L": _LOW, "R": _ANY}
    return tuple(register for word in token[1:-1].split(", ") for register in named.get(word, (word,)))


def _ascending(members: Sequence[str], operand: str) -> bool:
    """Whether a list such as {r2-r4, lr} names some of `members` in their order."""
    named: list[str] = []
    for word in operand[1:-1].split(", "):
        first, _, last = word.partition("-")
        if not {first, last or first} <= set(members):
            return False
        named += members[members.index(first) : members.index(last or first) + 1]
    places = [members.index(register) for register in named]
    return places == sorted(set(places))
