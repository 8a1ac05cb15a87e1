"""ADD and SUB in assembly: both inputs and their sum requantised in one loop over the elements."""

from __future__ import annotations

import numpy as np

from ... import lower
from ...memory import Demand
from ..portable.renderer import Kernel, Renderer, Site
from .assembly import Assembly, words

_NAMES = {1: "add", -1: "subtract"}


class Addition(Renderer):
    """Instruction sets that have the loop."""

    added_together = 1  # there are a multiple of so many codes

    def add_codes(self, op: lower.Add, shifts: tuple[int, int, int]) -> Assembly:
        """The loop. `shifts` go right: the inputs', 0 or more, and the sum's, 1 or more. Parameters: first, second,
        output, stream. The stream: of each input its zero point, negative, and multiplier; multiplier and addend of
        the sum; how many elements there are."""
        raise NotImplementedError

    def add_variant(self, op: lower.Add) -> str:
        """The end of the loop's name, where it depends on more of `op` than `shifts`."""
        return ""

    def add(self, op: lower.Add, site: Site) -> Kernel:
        scaling = op.requantization
        first, second, last = shifts = (-op.shifts[0], -op.shifts[1], -int(scaling.shift[0]))
        # within these limits `assembly` proves the short requantisation: no difference of codes reaches 2**8, and no
        # multiplier of an input a half, so that sums stay below 2**28
        if (
            any(source.shape != site.output.shape for source in site.inputs)
            or not (0 <= first <= 23 and 0 <= second <= 23 and 1 <= last <= 23)
            or op.left_shift > 20
            or site.output.bytes % self.added_together
            or (scaling.low, scaling.high) != (-128, 127)
        ):
            return super().add(op, site)
        zero_points = [-zero_point for zero_point in op.zero_points]
        name = "_".join(map(str, (_NAMES[op.sign], *shifts))) + self.add_variant(op)
        self.helpers[name] = self.add_codes(op, shifts).helper(name)
        (a, b), (multiplier_a, multiplier_b) = zero_points, op.multipliers
        addend = (2 * scaling.zero_point + 1) << (last - 1)
        constants = (a, multiplier_a, b, multiplier_b, int(scaling.multiplier[0]), addend, site.output.bytes)
        return Kernel(
            f"{site.prefix}_{name}(first, second, output, stream);",
            Demand(in_place=True),
            parameters=("first", "second"),
            arrays=(words(np.array([constants], np.int64)),),
            helpers=(name,),
        )


PARAMETERS = ("const int8_t *first", "const int8_t *second", "int8_t *output", "const uint32_t *stream")


def about(op: lower.Add, shifts: tuple[int, int, int]) -> str:
    return f"{'Sums' if op.sign > 0 else 'Differences'} of codes, element by element; right shifts {shifts}."
