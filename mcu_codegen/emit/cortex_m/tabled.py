"""ADD and SUB as a sum of two table entries, for scales whose sums no affine function follows.

With scales such as 0.1, 0.2 and 0.3 many sums are halves of a code. TFLite's roundings take each of them to one side,
now and then in an order that no straight line has. Entries of their own for each code of either input may follow:
whether there are some is a system of difference constraints, two for each of the 65,536 pairs, which relaxation solves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ... import arithmetic, lower
from .affine import CODES, MOST_SHIFT, borders, codes_of_pairs, equal, real_factors

_ROUNDS = 200  # of 144 draws that had a solution, none took more than 110


@dataclass(frozen=True)
class Tabled:
    """(first[a] + second[b]) >> shift, saturated to int8, of codes a and b as unsigned bytes.

    The sum fits int32 with a code of the output, 1 << shift, to spare.
    """

    first: np.ndarray  # int64 (256)
    second: np.ndarray
    shift: int  # 2 to 24


def tabled(op: lower.Add) -> Tabled | None:
    """`op` in this form, equal for every pair of codes; None where it has none, or ends before int8 does."""
    scaling = op.requantization
    if (scaling.low, scaling.high) != (CODES[0], CODES[-1]):
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
    first, second = (np.roll(each, 128) for each in found)  # as unsigned bytes, codes begin with 0
    return Tabled(first, second, shift)


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
