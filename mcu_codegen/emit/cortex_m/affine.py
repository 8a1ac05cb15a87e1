"""ADD and SUB as one affine function of both codes, proven by trying every pair of codes.

TFLite raises both inputs by 20 bits, so that its roundings lie far below one code of the output and matter only where a
sum falls next to the border between two codes. An affine function with as many fraction bits as int32 holds comes as
close; whether one lies on the right side of every border is decided here, for all 65,536 pairs. Rounding half away from
zero is no obstacle: factors that are greater by a trace do the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ... import arithmetic, lower
from .assembly import addend_of
from .clamp import clamp_of

_LOW, _HIGH = -128, 127
CODES = np.arange(_LOW, _HIGH + 1, dtype=np.int64)
MOST_SHIFT = 24  # two narrowing shifts of MVE, by 16 and by 8
_TRIED = 18  # how many units each factor is moved at most, both ways; 64 found no more of 3,000 draws
_UNBOUNDED = 2**40  # beyond every sum


@dataclass(frozen=True)
class Affine:
    """(factors[0] * first + factors[1] * second + addend) >> shift, saturated to int8.

    The sum fits int32 with a code of the output, 1 << shift, to spare.
    """

    factors: tuple[int, int]
    addend: int
    shift: int  # 2 to 24


def affine(op: lower.Add) -> Affine | None:
    """`op` in this form, equal for every pair of codes; None where none is found."""
    scaling = op.requantization
    if not clamp_of(scaling).whole:
        return None
    output = codes_of_pairs(op)
    real = real_factors(op)
    for shift in range(MOST_SHIFT, 1, -1):
        first_factor, second_factor = (round(factor * 2.0**shift) for factor in real)
        # half a code, so that the shift rounds; and where both inputs have their zero points, the output has its own
        addend = addend_of(scaling.zero_point, shift)
        addend -= first_factor * op.zero_points[0] + second_factor * op.zero_points[1]
        start = Affine((first_factor, second_factor), addend, shift)
        if _fits(start):
            found = _moved(start, output)
            return found if found and _fits(found) and equal(_sums(found), shift, output) else None
    return None


def codes_of_pairs(op: lower.Add) -> np.ndarray:
    """The code of every pair of `CODES`, int64 (256, 256)."""
    return op(CODES[:, None], CODES).astype(np.int64)


def rescaled(op: lower.Add) -> tuple[np.ndarray, np.ndarray]:
    """What `CODES` of either input add to the accumulator, int64 (256)."""
    first, second = (
        arithmetic.requantize((CODES - zero_point) << op.left_shift, multiplier, shift)
        for zero_point, multiplier, shift in zip(op.zero_points, op.multipliers, op.shifts, strict=True)
    )
    return first, op.sign * second


def borders(output: np.ndarray, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest sum that becomes each code of `output`; saturated codes have one border."""
    least = np.where(output > _LOW, output << shift, -_UNBOUNDED)
    return least, np.where(output < _HIGH, ((output + 1) << shift) - 1, _UNBOUNDED)


def equal(sums: np.ndarray, shift: int, output: np.ndarray) -> bool:
    """The proof: whatever led to `sums`, this is what kernels compute of them, and it is `output`. A code more than the
    sums fits int32, too."""
    fits = int(np.abs(sums).max()) + (1 << shift) <= arithmetic.INT32_MAX
    return fits and np.array_equal(np.clip(sums >> shift, _LOW, _HIGH), output)


def real_factors(op: lower.Add) -> tuple[float, float]:
    """Codes of the output by which a code of either input counts."""
    scaling = op.requantization
    outer = float(scaling.multiplier[0]) * 2.0 ** (int(scaling.shift[0]) - 31 + op.left_shift)
    first, second = (outer * m * 2.0 ** (shift - 31) for m, shift in zip(op.multipliers, op.shifts, strict=True))
    return first, op.sign * second


def _sums(form: Affine) -> np.ndarray:
    """Before the shift, int64 (256, 256)."""
    return form.factors[0] * CODES[:, None] + form.factors[1] * CODES + form.addend


def _fits(form: Affine) -> bool:
    if max(map(abs, (*form.factors, form.addend))) > arithmetic.INT32_MAX:
        return False
    return int(np.abs(_sums(form)).max()) + (1 << form.shift) <= arithmetic.INT32_MAX


def _moved(start: Affine, output: np.ndarray) -> Affine | None:
    """`start` with factors and addend moved by a trace, so that every sum lies between the borders of its code."""
    sums = _sums(start)
    # what may be added to a sum without its leaving the output's code
    least, most = (border - sums for border in borders(output, start.shift))
    # no sum moves by more than 2 * 128 * _TRIED, so that no other pair becomes the tightest
    reach = 4 * 128 * _TRIED
    below = np.nonzero(least >= least.max() - reach)
    above = np.nonzero(most <= most.min() + reach)
    steps = np.arange(-_TRIED, _TRIED + 1)
    for step in sorted(steps, key=abs):
        low = (least[below] - step * CODES[below[0]] - steps[:, None] * CODES[below[1]]).max(axis=1)
        high = (most[above] - step * CODES[above[0]] - steps[:, None] * CODES[above[1]]).min(axis=1)
        widest = int(np.argmax(high - low))
        if low[widest] <= high[widest]:
            factors = (start.factors[0] + int(step), start.factors[1] + int(steps[widest]))
            return Affine(factors, start.addend + int(np.clip(0, low[widest], high[widest])), start.shift)
    return None
