"""UNIDIRECTIONAL_SEQUENCE_LSTM in tinygrad: gemmlowp's fixed point in 16 bits, row by row.

Each row is realised before the next: all rows run the same few kernels, which are compiled once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import lower

if TYPE_CHECKING:
    from tinygrad import Tensor

_FACTORS = (25520, 19875, 12055, 4435, 600, 11, 0)  # exp(-2**k) as Q0.15 for k = -2..4


def logistic_16(a: Tensor) -> Tensor:
    """1 / (1 + exp(-a)) as Q0.15, for int32 `a`, Q3.12."""
    above = _saturated(_inverse(_exponential((a > 0).where(-a, a), 3)) * 2)
    return (a == 0).where(16384, (a > 0).where(above, 32767 - above))


def tanh_16(a: Tensor, integer_bits: int) -> Tensor:
    """tanh(a) as Q0.15, for int32 `a` with so many integer bits."""
    magnitude = _saturated((_inverse(_exponential((a > 0).where(-a, a), integer_bits + 1)) - 8192) * 4)
    return (a == 0).where(0, (a > 0).where(magnitude, -magnitude))


def rounded_shift(a: Tensor, exponent: int) -> Tensor:
    """a / 2**exponent, half away from zero."""
    magnitude = ((a < 0).where(-a, a) + ((1 << exponent) >> 1)) >> exponent
    return (a < 0).where(-magnitude, magnitude)


def next_cell(step: lower.Lstm, gates: dict[str, Tensor], cell: Tensor) -> Tensor:
    """The cell state after one row, of the sums of its gates, all int32."""
    kept = rounded_shift(logistic_16(gates["forget"]) * cell, 15)
    fresh = rounded_shift(logistic_16(gates["input"]) * tanh_16(gates["cell"], 3), 15 + step.cell_bits)
    total = _saturated(kept + fresh)
    return total.clip(-step.clip, step.clip) if step.clip else total


def _saturated(a: Tensor) -> Tensor:
    return a.clip(-32768, 32767)


def _multiply(a: Tensor, b: Tensor | int) -> Tensor:
    return _saturated((a * b + 16384) >> 15)


def _exponential(a: Tensor, integer_bits: int) -> Tensor:
    fraction_bits = 15 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    fraction = (a & (quarter - 1)) - quarter
    x = fraction * (1 << integer_bits) + 4096
    x2 = _multiply(x, x)
    cubic = _multiply(rounded_shift(_multiply(x2, x2), 2) + _multiply(x2, x), 10923)
    result = _saturated(_multiply(x + rounded_shift(cubic + x2, 1), 28918) + 28918)
    rest = fraction - a
    for place, factor in enumerate(_FACTORS[: integer_bits + 2]):
        taken = ((rest >> (fraction_bits + place - 2)) & 1) == 1
        result = taken.where(_multiply(result, factor), result)
    if integer_bits > 5:
        result = (a < -(32 << fraction_bits)).where(0, result)
    return (a == 0).where(32767, result)


def _inverse(a: Tensor) -> Tensor:
    half = (a + 32768) >> 1
    x = _multiply(half, -15420) + 23130
    for _ in range(3):
        x = x + _saturated(_multiply(x, 8192 - _multiply(half, x)) * 4)
    return x
