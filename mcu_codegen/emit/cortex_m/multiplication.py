"""MUL in assembly: the product of two codes less their zero points, by the short requantisation."""

from __future__ import annotations

from ... import lower
from ..kernel import Kernel, Site
from .assembly import Assembly, addend_of, divisor
from .clamp import clamp_of
from .pairs import Loop, Pairs

ABOUT = "Products of two codes less their zero points, rescaled."


class Multiplication(Pairs):
    """Instruction sets that have the loop."""

    def multiply_codes(self, shift: int, elements: int) -> Assembly:
        """The loop, `elements` a round. The stream: both zero points, multiplier and addend, and how many elements
        there are."""
        raise NotImplementedError

    def multiply(self, op: lower.Multiply, site: Site) -> Kernel:
        return self.pairs(super().multiply(op, site), site, lambda together: self._product(op, together))

    def _product(self, op: lower.Multiply, together: int) -> Loop | str:
        scaling, shift = op.requantization, -int(op.requantization.shift[0])
        if not 2 <= shift <= 23:
            return f"its product has a right shift of {shift}; kernels take shifts of 2 to 23"
        if not clamp_of(scaling).whole:
            return "kernels do not take its clamp"
        elements = divisor(together, self.by_goal(*self.paired))
        addend = addend_of(scaling.zero_point, shift) - self.added_by_shift(shift)
        stream = (*op.zero_points, int(scaling.multiplier[0]), addend, together)
        return Loop(f"product_{elements}_{shift}", self.multiply_codes(shift, elements), stream)
