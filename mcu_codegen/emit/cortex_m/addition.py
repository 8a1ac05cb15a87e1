"""ADD and SUB in assembly: a loop over elements that lie together in both inputs, of the affine form of both codes that
`affine` proves, or of the two tables that `tabled` proves. Where an input is repeated, C calls it again and again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ... import lower
from ...memory import Demand
from ..kernel import Kernel, Site, loops, place, runs
from ..portable.elementwise import broadcast_strides, same_shape
from ..portable.renderer import Renderer
from .affine import affine
from .assembly import Assembly, divisor, words
from .tabled import requantized, tabled

PARAMETERS = ("const int8_t *first", "const int8_t *second", "int8_t *output", "const uint32_t *stream")

TABLE = 4 * 256
"""Bytes of a table."""


class Addition(Renderer):
    """Instruction sets that have the loop."""

    added: tuple[int, int]  # for speed and for size, how many elements the loop adds in a round, at most

    def add_codes(self, shift: int, elements: int) -> Assembly:
        """The loop, `elements` a round. Parameters: `PARAMETERS`. The stream: the factors of the first and the second
        code, the addend, and how many elements there are."""
        raise NotImplementedError

    def add_entries(self, shift: int, elements: int, scaled: bool) -> Assembly:
        """The loop, `elements` a round. Parameters: `PARAMETERS`. The stream: how many elements there are; where sums
        are `scaled`, multiplier and addend; then the entries of the first and the second code, as unsigned bytes."""
        raise NotImplementedError

    def added_by_shift(self, shift: int) -> int:
        """What the loops' right shift adds to a sum, because it rounds."""
        return 0

    def add(self, op: lower.Add, site: Site) -> Kernel:
        shape = site.output.shape
        steps = (broadcast_strides(each.shape, shape) for each in (*site.inputs, site.output))
        found = runs(shape, *steps)
        if not found or found[-1][1:] != (1, 1, 1):
            return replace(super().add(op, site), portable="an input is repeated along channels")
        together = found.pop()[0]
        loop = self._loop(op, together)
        if isinstance(loop, str):
            return replace(super().add(op, site), portable=f"no affine function of both codes equals it, {loop}")
        name, assembly, constants = loop
        self.helpers[name] = assembly.helper(name)
        places = (
            f"{pointer} + {place(found, number)}" if found else pointer
            for number, pointer in enumerate(("first", "second", "output"))
        )
        return Kernel(
            loops(found, f"{site.prefix}_{name}({', '.join(places)}, stream);"),
            Demand(over=same_shape(site)),
            parameters=("first", "second"),
            arrays=(words(np.array([constants], np.int64)),),
            helpers=(name,),
        )

    def _loop(self, op: lower.Add, together: int) -> tuple[str, Assembly, tuple[int, ...]] | str:
        """Name, loop and stream for so many elements; or why there is none."""
        elements = divisor(together, self.by_goal(*self.added))
        if form := affine(op):
            addend = form.addend - self.added_by_shift(form.shift)
            assembly = self.add_codes(form.shift, elements)
            return f"add_{elements}_{form.shift}", assembly, (*form.factors, addend, together)
        if self.optimize == "size":
            return "and tables of 2 KB are not for size"
        entries = tabled(op) or requantized(op)
        if entries is None:
            return "and kernels do not take its shift or its clamp"
        scaled = entries.multiplier > 0
        name = f"add_{'scaled_' * scaled}entries_{elements}_{entries.shift}"
        assembly = self.add_entries(entries.shift, elements, scaled)
        return name, assembly, (together, *entries.constants(self.added_by_shift(entries.shift)))


def about(shift: int) -> str:
    return f"Sums of two codes times a factor each and an addend, shifted right by {shift}."


def about_entries(shift: int, scaled: bool) -> str:
    return f"Sums of a table's entry for either code{', rescaled' * scaled}, shifted right by {shift}."
