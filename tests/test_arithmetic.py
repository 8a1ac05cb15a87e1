"""The integer arithmetic against exact rationals, big integers and real functions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mcu_codegen import arithmetic
from mcu_codegen.arithmetic import INT32_MAX, INT32_MIN

int32 = st.integers(INT32_MIN, INT32_MAX) | st.sampled_from([INT32_MIN, INT32_MIN + 1, -1, 0, 1, INT32_MAX])
q31 = st.integers(2**30, 2**31 - 1) | st.sampled_from([2**30, 2**31 - 1])
half = Fraction(1, 2)


def half_up(value: Fraction) -> int:
    return math.floor(value + half)


def half_away(value: Fraction) -> int:
    return half_up(value) if value >= 0 else -half_up(-value)


@given(st.floats(2.0**-40, 2.0**30))
@example(1.0)
@example(0.5)
@example(math.nextafter(1.0, 0.0))
@example(2.0**-32)
@example(2.0**-33)
def test_a_multiplier_is_the_nearest_there_is(real: float) -> None:
    multiplier, shift = arithmetic.quantize_multiplier(real)
    if multiplier == 0:
        assert shift == 0 and real < 2.0**-32
        return
    assert 2**30 <= multiplier < 2**31 and shift >= -31
    unit = Fraction(2) ** (shift - 31)
    assert abs(Fraction(real) - multiplier * unit) <= unit / 2


@given(int32, q31, st.integers(-31, 30))
@example(INT32_MIN, 2**31 - 1, 0)
@example(INT32_MIN, 2**31 - 1, -31)
@example(INT32_MAX, 2**31 - 1, 30)
@example(-1, 2**30, 0)
@example(-3, 2**30, -1)
def test_requantisation_rounds_twice(accumulator: int, multiplier: int, shift: int) -> None:
    raised = (accumulator * 2 ** max(shift, 0) + 2**31) % 2**32 - 2**31
    high = half_up(Fraction(raised * multiplier, 2**31))
    expected = half_away(Fraction(high, 2 ** max(-shift, 0)))
    assert int(arithmetic.requantize(np.int64(accumulator), multiplier, shift)) == expected


def test_requantisation_broadcasts_over_channels() -> None:
    accumulator = np.arange(-6, 6).reshape(2, 2, 3) * 10**7
    multiplier, shift = np.array([2**30, 2**31 - 1, 0]), np.array([-3, 2, 0])
    together = arithmetic.requantize(accumulator, multiplier, shift)
    for channel in range(3):
        alone = arithmetic.requantize(accumulator[..., channel], multiplier[channel], shift[channel])
        assert np.array_equal(together[..., channel], alone)


def test_the_high_multiply_saturates_in_its_one_overflow() -> None:
    assert int(arithmetic.doubling_high_multiply(np.int64(INT32_MIN), INT32_MIN)) == INT32_MAX


@given(int32, st.integers(0, 31))
def test_the_right_shift_rounds_half_away_from_zero(value: int, exponent: int) -> None:
    assert int(arithmetic.rounding_right_shift(value, exponent)) == half_away(Fraction(value, 2**exponent))


@given(st.integers(-(2**62), 2**62))
def test_wrapping_keeps_the_low_32_bits(value: int) -> None:
    wrapped = int(arithmetic.wrap32(np.int64(value)))
    assert INT32_MIN <= wrapped <= INT32_MAX and (wrapped - value) % 2**32 == 0


@given(st.integers(-(2**31), 2**31 - 1), st.integers(1, 10**6))
@example(3, 2)
@example(-3, 2)
@example(0, 1)
def test_an_average_rounds_half_away_from_zero(total: int, count: int) -> None:
    assert int(arithmetic.average(np.array(total, np.int64), count)) == half_away(Fraction(total, count))


@given(st.floats(2.0**-12, 2.0**8), st.integers(1, 4096))
def test_the_mean_multiplier_divides_by_the_count(real: float, count: int) -> None:
    multiplier, shift = arithmetic.mean_multiplier(real, count)
    exact = Fraction(real) / count
    assert 0 < multiplier < 2**31
    assert abs(multiplier * Fraction(2) ** (shift - 31) - exact) <= exact / 2**28


@given(st.integers(-(31 * 2**26), 0))
@example(0)
@example(-1)
@example(-(1 << 24))
@example(-(31 << 26))
def test_the_exponential_is_exp(a: int) -> None:
    result = int(arithmetic.exp_on_negative_values(np.int64(a)))
    assert 0 <= result <= INT32_MAX
    assert abs(result / 2**31 - math.exp(a / 2**26)) < 2.0**-22  # that of its quartic


@given(st.integers(2**19, 2**31 - 1))
@example(2**19)
@example(2**31 - 1)
@example(2**30)
def test_the_reciprocal_is_one_over(total: int) -> None:
    inverse, bits = arithmetic.reciprocal(total)
    exact = 1 / (total / 2.0**19)
    assert abs(inverse / 2.0**31 * 2.0**-bits / exact - 1) < 2.0**-27


@given(st.floats(1e-4, 4.0), st.sampled_from([0.5, 1.0, 2.0]))
def test_the_table_of_exponentials(scale: float, beta: float) -> None:
    table = arithmetic.softmax_exponentials(scale, beta)
    assert 1 <= len(table) <= 256 and table[0] == INT32_MAX and np.all(np.diff(table.astype(np.int64)) <= 0)
    real = np.exp(-beta * scale * np.arange(len(table)))
    assert np.abs(table / 2**31 - real).max() < 2.0**-22
    if len(table) < 256:
        assert math.exp(-beta * scale * len(table)) < 2.0**-22  # what is left out is nothing


@settings(deadline=None)
@given(hnp.arrays(np.int8, st.tuples(st.integers(1, 3), st.integers(1, 40))), st.floats(1e-3, 2.0))
def test_softmax_is_softmax(codes: np.ndarray, scale: float) -> None:
    output = arithmetic.softmax(codes, arithmetic.softmax_exponentials(scale, 1.0)).astype(np.int64)
    real = np.exp(scale * (codes.astype(np.float64) - codes.max(axis=1, keepdims=True)))
    real /= real.sum(axis=1, keepdims=True)
    assert np.abs(output + 128 - np.minimum(real * 256, 255)).max() <= 0.51
    for row, result in zip(codes, output, strict=True):
        assert np.all(np.diff(result[np.argsort(row)]) >= 0)  # a higher code never gets a lower score


@settings(deadline=None)
@given(hnp.arrays(np.int8, st.integers(1, 20)), st.integers(-255, 255))
def test_softmax_depends_on_differences_only(codes: np.ndarray, offset: int) -> None:
    moved = codes.astype(np.int64) + offset
    assume(moved.min() >= -128 and moved.max() <= 127)
    table = arithmetic.softmax_exponentials(0.1, 1.0)
    assert np.array_equal(arithmetic.softmax(codes, table), arithmetic.softmax(moved.astype(np.int8), table))
