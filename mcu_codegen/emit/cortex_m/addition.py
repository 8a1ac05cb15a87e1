"""ADD and SUB in assembly: one loop over the elements, of the affine form of both codes that `affine` proves."""

from __future__ import annotations

import numpy as np

from ... import lower
from ...memory import Demand
from ..portable.renderer import OPTIMIZE, Kernel, Renderer, Site
from .affine import affine
from .assembly import Assembly, divisor, words

PARAMETERS = ("const int8_t *first", "const int8_t *second", "int8_t *output", "const uint32_t *stream")


class Addition(Renderer):
    """Instruction sets that have the loop."""

    added: tuple[int, ...]  # in the order of OPTIMIZE, how many elements the loop adds in a round, at most

    def add_codes(self, shift: int, elements: int) -> Assembly:
        """The loop, `elements` a round. Parameters: `PARAMETERS`. The stream: the factors of the first and the second
        code, the addend, and how many elements there are."""
        raise NotImplementedError

    def add(self, op: lower.Add, site: Site) -> Kernel:
        form = None
        if all(source.shape == site.output.shape for source in site.inputs):
            form = affine(op)
        if form is None:
            return super().add(op, site)
        elements = divisor(site.output.bytes, self.added[OPTIMIZE.index(self.optimize)])
        name = f"add_{elements}_{form.shift}"
        self.helpers[name] = self.add_codes(form.shift, elements).helper(name)
        constants = (*form.factors, form.addend, site.output.bytes)
        return Kernel(
            f"{site.prefix}_{name}(first, second, output, stream);",
            Demand(in_place=True),
            parameters=("first", "second"),
            arrays=(words(np.array([constants], np.int64)),),
            helpers=(name,),
        )


def about(shift: int) -> str:
    return f"Sums of two codes times a factor each and an addend, shifted right by {shift}."
