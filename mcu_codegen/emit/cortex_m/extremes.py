"""MAXIMUM and MINIMUM in assembly: the greater or the lesser of two codes."""

from __future__ import annotations

from ... import lower
from ..kernel import Kernel, Site
from .assembly import Assembly, divisor
from .pairs import Loop, Pairs


class Extremes(Pairs):
    """Instruction sets that have the loop."""

    compared = 1  # codes that are compared at once, and must lie together

    def extreme_codes(self, largest: bool, codes: int) -> Assembly:
        """The loop, `codes` a round. Parameters: `PARAMETERS`. The stream: how many codes there are."""
        raise NotImplementedError

    def extreme(self, op: lower.Extreme, site: Site) -> Kernel:
        return self.pairs(super().extreme(op, site), site, lambda together: self._extreme(op.largest, together))

    def _extreme(self, largest: bool, together: int) -> Loop | str:
        if together % self.compared:
            return f"{together} codes that lie together are no multiple of {self.compared}"
        codes = self.compared * divisor(together // self.compared, self.by_goal(*self.paired))
        name = "greater" if largest else "lesser"
        return Loop(f"{name}_{codes}", self.extreme_codes(largest, codes), (together,))


def about(largest: bool) -> str:
    return f"The {'greater' if largest else 'lesser'} of two codes each."
