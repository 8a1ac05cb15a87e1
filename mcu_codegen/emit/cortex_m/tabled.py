"""ADD and SUB as a sum of two table entries, for scales whose sums no affine function follows.

Entries that are TFLite's own rescaled codes always do, but their sums are requantised.

With scales such as 0.1, 0.2 and 0.3 many sums are halves of a code. TFLite's roundings take each of them to one side,
now and then in an order that no straight line has. Entries of their own for each code of either input may follow:
whether there are some is a system of difference constraints, two for each of the 65,536 pairs, which relaxation solves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ... import arithmetic, lower
from .affine import CODES, MOST_SHIFT, borders, codes_of_pairs, equal, real_factors, rescaled
from .assembly import LONGEST, addend_of
from .clamp import clamp_of

_ROUNDS = 200  # of 144 draws that had a solution, none took more than 110


@dataclass(frozen=True)
class Tabled:
    """(first[a] + second[b]) >> shift, saturated to int8, of codes a and b as unsigned bytes.

    The sum fits int32 with a code of the output, 1 << shift, to spare. With a multiplier it is twice an accumulator of
    the short requantisation (`assembly`).
    """

    first: np.ndarray  # int64 (256)
    second: np.ndarray
    shift: int  # 2 to 24
    multiplier: int = 0
    addend: int = 0  # of the short requantisation

    def constants(self, added: int) -> tuple[int, ...]:
        """The stream of a loop whose shift adds `added` to a sum by itself."""
        if self.multiplier:
            return (self.multiplier, self.addend - added, *self.first, *self.second)
        return (*(self.first - added), *self.second)


def tabled(op: lower.Add) -> Tabled | None:
    """`op` in this form, equal for every pair of codes; None where it has none, or ends before int8 does."""
    scaling = op.requantization
    if not clamp_of(scaling).whole:
        return None
    output = codes_of_pairs(op)
    first, second = (
        factor * (CODES - zero_point) for factor, zero_point in zip(real_factors(op), op.zero_points, strict=True)
    )
    first += scaling.zero_point + 0.5  # so that the shift rounds
    most = float(np.abs(first).max() + np.abs(second).max()) + 2
    shift = min(MOST_SHIFT, int(np.log2(arithmetic.INT32_MAX / most)))
    if shift < 2:
        return None
    start = tuple(np.rint(each * 2.0**shift).astype(np.int64) for each in (first, second))
    found = _solved(start[0], start[1], output, shift)
    if found is None or not equal(found[0][:, None] + found[1], shift, output):
        return None
    return Tabled(_by_byte(found[0]), _by_byte(found[1]), shift)


def requantized(op: lower.Add) -> Tabled | None:
    """`op` as it is defined; None where the short requantisation is not proven."""
    scaling = op.requantization
    shift = -int(scaling.shift[0])
    first, second = rescaled(op)
    if not clamp_of(scaling).whole or not 2 <= shift <= LONGEST:
        return None
    if int(np.abs(first).max() + np.abs(second).max()) >= 1 << 28:  # what Cortex-M0 requantises
        return None
    addend = addend_of(scaling.zero_point, shift)
    return Tabled(_by_byte(2 * first), _by_byte(2 * second), shift, int(scaling.multiplier[0]), addend)


def _by_byte(entries: np.ndarray) -> np.ndarray:
    """Of codes from the lowest on, by codes as unsigned bytes."""
    return np.roll(entries, 128)


def _solved(
    first: np.ndarray, second: np.ndarray, output: np.ndarray, shift: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Entries, near those given, whose sums lie within the borders of `output`."""
    least, most = borders(output, shift)
    for _ in range(_ROUNDS):
        lower_first = np.minimum(first, (most - second).min(axis=1))
        higher_second = np.maximum(second, (least - lower_first[:, None]).max(axis=0))
        if np.array_equal(lower_first, first) and np.array_equal(higher_second, second):
            return first, second
        first, second = lower_first, higher_second
    return None
