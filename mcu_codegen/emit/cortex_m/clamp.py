"""Codes that end before int8 does: RELU, RELU6 and RELU_N1_TO_1 fused into a layer.

Instructions saturate to int8 for nothing. A narrower end is one of theirs for codes that are moved there and back, and
where codes begin at the zero point, as behind RELU and RELU6, it is enough that what is below 0 becomes 0 before the
zero point is added.
"""

from __future__ import annotations

from dataclasses import dataclass

from ... import lower


@dataclass(frozen=True)
class Clamp:
    """The lowest and the highest code of a layer, and its zero point between them."""

    low: int
    high: int
    zero_point: int

    @property
    def whole(self) -> bool:
        """Whether saturation to int8 is all."""
        return (self.low, self.high) == (-128, 127)

    @property
    def rectified(self) -> bool:
        """Whether the zero point is the lowest code, and saturation to int8 not all."""
        return self.low == self.zero_point and not self.whole

    @property
    def top(self) -> int:
        """From the highest code to the end of int8."""
        return 127 - self.high

    @property
    def bottom(self) -> int:
        """From the beginning of int8 to the lowest code."""
        return self.low + 128

    @property
    def suffix(self) -> str:
        """Of the names of kernels."""
        return "" if self.whole else f"_of_{self.bottom}_{255 - self.top}{'_rectified' * self.rectified}"


def clamp_of(scaling: lower.Requantization) -> Clamp:
    return Clamp(scaling.low, scaling.high, scaling.zero_point)
