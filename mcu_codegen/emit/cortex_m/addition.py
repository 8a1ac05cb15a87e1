"""ADD and SUB in assembly: a loop over elements that lie together in both inputs, of the affine form of both codes that
`affine` proves, or of the two tables that `tabled` proves. Where an input is repeated, C calls it again and again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ... import lower
from ...memory import Demand
from ..kernel import loops, place, runs
from ..portable.elementwise import broadcast_strides, same_shape
from ..portable.renderer import Kernel, Renderer, Site
from .affine import affine
from .assembly import Assembly, divisor, words
from .tabled import tabled

PARAMETERS = ("const int8_t *first", "const int8_t *second", "int8_t *output", "const uint32_t *stream")

TABLE = 4 * 256
"""Bytes of a table."""

NOT_AFFINE = "no affine function of both codes equals it for all of them"


class Addition(Renderer):
    """Instruction sets that have the loop."""

    added: tuple[int, int]  # for speed and for size, how many elements the loop adds in a round, at most

    def add_codes(self, shift: int, elements: int) -> Assembly:
        """The loop, `elements` a round. Parameters: `PARAMETERS`. The stream: the factors of the first and the second
        code, the addend, and how many elements there are."""
        raise NotImplementedError

    def add_entries(self, shift: int, elements: int) -> Assembly:
        """The loop, `elements` a round. Parameters: `PARAMETERS`. The stream: how many elements there are, then the
        entries of the first and the second code, as unsigned bytes."""
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
        elements = divisor(together, self.by_goal(*self.added))
        if form := affine(op):
            name = f"add_{elements}_{form.shift}"
            assembly = self.add_codes(form.shift, elements)
            constants = (*form.factors, form.addend - self.added_by_shift(form.shift), together)
        elif self.optimize == "size":
            return replace(super().add(op, site), portable=f"{NOT_AFFINE}, and tables of 2 KB are not for size")
        elif entries := tabled(op):
            name = f"add_entries_{elements}_{entries.shift}"
            assembly = self.add_entries(entries.shift, elements)
            constants = (together, *(entries.first - self.added_by_shift(entries.shift)), *entries.second)
        else:
            return replace(super().add(op, site), portable=f"{NOT_AFFINE}, and no sum of two tables")
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


def about(shift: int) -> str:
    return f"Sums of two codes times a factor each and an addend, shifted right by {shift}."


def about_entries(shift: int) -> str:
    return f"Sums of a table's entry for either code, shifted right by {shift}."
