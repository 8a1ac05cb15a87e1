"""ADD and SUB in assembly: the affine form of both codes that `affine` proves, or the tables that `tabled` proves."""

from __future__ import annotations

from ... import lower
from ..kernel import Kernel, Site
from .affine import affine
from .assembly import Assembly, divisor
from .pairs import Loop, Pairs
from .tabled import requantized, tabled

TABLE = 4 * 256
"""Bytes of a table."""


class Addition(Pairs):
    """Instruction sets that have the loop."""

    rescaled = (1, 1)  # as `paired`, of loops whose sums of entries are requantised

    def add_codes(self, shift: int, elements: int) -> Assembly:
        """The loop, `elements` a round. Parameters: `PARAMETERS`. The stream: the factors of the first and the second
        code, the addend, and how many elements there are."""
        raise NotImplementedError

    def add_entries(self, shift: int, elements: int, scaled: bool) -> Assembly:
        """The loop, `elements` a round. Parameters: `PARAMETERS`. The stream: how many elements there are; where sums
        are `scaled`, multiplier and addend; then the entries of the first and the second code, as unsigned bytes."""
        raise NotImplementedError

    def add(self, op: lower.Add, site: Site) -> Kernel:
        return self.pairs(super().add(op, site), site, lambda together: self._loop(op, together))

    def _loop(self, op: lower.Add, together: int) -> Loop | str:
        """Of so many elements; or why there is none."""
        if form := affine(op):
            elements = divisor(together, self.by_goal(*self.paired))
            addend = form.addend - self.added_by_shift(form.shift)
            assembly = self.add_codes(form.shift, elements)
            return Loop(f"add_{elements}_{form.shift}", assembly, (*form.factors, addend, together))
        if self.optimize == "size":
            return "no affine function of both codes equals it, and tables of 2 KB are not for size"
        entries = tabled(op) or requantized(op)
        if entries is None:
            return "no affine function of both codes equals it, and kernels do not take its shift or its clamp"
        scaled = entries.multiplier > 0
        elements = divisor(together, self.by_goal(*(self.rescaled if scaled else self.paired)))
        assembly = self.add_entries(entries.shift, elements, scaled)
        constants = (together, *entries.constants(self.added_by_shift(entries.shift)))
        return Loop(f"add_{'scaled_' * scaled}entries_{elements}_{entries.shift}", assembly, constants)


def about(shift: int) -> str:
    return f"Sums of two codes times a factor each and an addend, shifted right by {shift}."


def about_entries(shift: int, scaled: bool) -> str:
    return f"Sums of a table's entry for either code{', rescaled' * scaled}, shifted right by {shift}."
