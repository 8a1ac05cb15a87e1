"""The one place where rounding is defined.

Everything here is TFLite's published int8 arithmetic, as its reference kernels, TensorFlow Lite Micro and CMSIS-NN
compute it: Q31 multipliers, double rounding (a doubling high multiply that rounds half up, then a right shift that
rounds half away from zero), gemmlowp's fixed-point exponential and reciprocal. Arrays are NumPy integers; int64 is the
working type and every result fits int32.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1


def wrap32(value: np.ndarray) -> np.ndarray:
    """int64 values reduced to int32 as two's complement, held as int64."""
    return ((value + 2**31) & 0xFFFFFFFF) - 2**31


def quantize_multiplier(real: float) -> tuple[int, int]:
    """(M, shift) with real = M * 2**(shift - 31), M in [2**30, 2**31); positive shifts go left.

    M rounds half away from zero. A shift below -31 gives (0, 0), as does zero.
    """
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier //= 2
        shift += 1
    return (0, 0) if shift < -31 else (multiplier, shift)


def doubling_high_multiply(a: np.ndarray | np.int64, b: np.ndarray | np.int64 | int) -> np.ndarray:
    """(a * b + 2**30) >> 31: half up. Saturates in its one overflow, INT32_MIN squared."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    return np.minimum((product + 2**30) >> 31, INT32_MAX)


def rounding_right_shift(a: np.ndarray, exponent: np.ndarray | int) -> np.ndarray:
    """a / 2**exponent, half away from zero; exponent in 0..31."""
    a = np.asarray(a, np.int64)
    mask = (np.int64(1) << np.asarray(exponent, np.int64)) - 1
    return (a >> exponent) + ((a & mask) > (mask >> 1) + (a < 0))


def requantize(accumulator: np.ndarray, multiplier: np.ndarray | int, shift: np.ndarray | int) -> np.ndarray:
    """accumulator * multiplier * 2**(shift - 31) with double rounding; multiplier and shift broadcast.

    A left shift wraps in int32, as the reference does in practice and as the C does by unsigned arithmetic.
    """
    shift = np.asarray(shift, np.int64)
    shifted = wrap32(np.asarray(accumulator, np.int64) << np.maximum(shift, 0))
    return rounding_right_shift(doubling_high_multiply(shifted, multiplier), np.maximum(-shift, 0))


def requantize_long(accumulator: np.ndarray, multiplier: np.ndarray | int, shift: np.ndarray | int) -> np.ndarray:
    """accumulator * multiplier * 2**(shift - 15), rounded once, half up: for int64 accumulators and `short_multiplier`.

    Shifts are up to 14.
    """
    exponent = 15 - np.asarray(shift, np.int64)
    product = np.asarray(accumulator, np.int64) * np.asarray(multiplier, np.int64)
    return (product + (np.int64(1) << (exponent - 1))) >> exponent


def short_multiplier(multiplier: int) -> int:
    """A Q31 multiplier reduced to Q15, half up, at most 32767."""
    return min((multiplier + (1 << 15)) >> 16, 32767)


def mean_multiplier(real: float, count: int) -> tuple[int, int]:
    """The multiplier of MEAN over `count` values: 1 / count folded into that of `real` by integer division."""
    multiplier, shift = quantize_multiplier(real)
    extra = min(count.bit_length() - 1, 32, 31 + shift)
    return (multiplier << extra) // count, shift - extra


def average(total: np.ndarray, count: np.ndarray | int, half_up: bool = False) -> np.ndarray:
    """total / count, half away from zero, as AVERAGE_POOL_2D of int8 computes it; or half up, as that of uint8."""
    if half_up:
        return (total + np.asarray(count) // 2) // count
    magnitude = (np.abs(total) + np.asarray(count) // 2) // count
    return np.where(total > 0, magnitude, -magnitude)


# Softmax: gemmlowp's fixed point. Qn.m has n integer bits beside the sign.

_SOFTMAX_INPUT_BITS = 5  # differences from the maximum are Q5.26
SOFTMAX_SUM_BITS = 12  # the sum of exponentials is Q12.19
# exp(-2**k) as Q0.31 for k = -2..4
_EXP_STEPS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)


def _shift_left_saturating(a: np.ndarray, bits: int) -> np.ndarray:
    return np.clip(np.asarray(a, np.int64) << bits, INT32_MIN, INT32_MAX)


def exp_on_negative_values(a: np.ndarray) -> np.ndarray:
    """exp(a) for a <= 0: Q5.26 in, Q0.31 out. A quartic on [-1/4, 0), then one factor per set bit of the rest."""
    a = np.asarray(a, np.int64)
    quarter = 1 << 24
    fraction = (a & (quarter - 1)) - quarter
    x = _shift_left_saturating(fraction, 5) + (1 << 28)
    x2 = doubling_high_multiply(x, x)
    x3, x4 = doubling_high_multiply(x2, x), doubling_high_multiply(x2, x2)
    tail = doubling_high_multiply(rounding_right_shift(x4, 2) + x3, 715827883) + x2
    exp_eighth = 1895147668  # exp(-1/8)
    result = exp_eighth + doubling_high_multiply(x + rounding_right_shift(tail, 1), exp_eighth)
    rest = fraction - a
    for position, factor in enumerate(_EXP_STEPS, start=24):
        result = np.where(rest & (1 << position), doubling_high_multiply(result, factor), result)
    return np.where(a == 0, INT32_MAX, result)


def softmax_exponentials(scale: float, beta: float) -> np.ndarray:
    """exp(-beta * scale * d) as Q0.31 for code differences d = 0, 1, ... up to the last that counts (at most 255).

    A difference beyond the table's end contributes nothing and gives the lowest output code.
    """
    multiplier, shift = quantize_multiplier(min(beta * scale * 2.0 ** (31 - _SOFTMAX_INPUT_BITS), float(INT32_MAX)))
    shift = max(shift, 0)
    radius = math.floor(((1 << _SOFTMAX_INPUT_BITS) - 1) * 2.0 ** (31 - _SOFTMAX_INPUT_BITS) / 2.0**shift)
    difference = -np.arange(min(radius, 255) + 1, dtype=np.int64)
    return exp_on_negative_values(doubling_high_multiply(difference << shift, multiplier)).astype(np.int32)


def reciprocal(total: int) -> tuple[int, int]:
    """(r, bits) with 1 / total = r * 2**-bits: total Q12.19 and positive, r Q0.31. Three Newton steps."""
    leading_zeros = 32 - int(total).bit_length()
    above_one = np.int64((int(total) << leading_zeros) - 2**31)
    half_denominator = (above_one + INT32_MAX + 1) // 2
    x = 1515870810 + doubling_high_multiply(half_denominator, -1010580540)  # 48/17 - 32/17 * half, Q2.29
    for _ in range(3):
        error = (1 << 29) - doubling_high_multiply(half_denominator, x)
        x = x + _shift_left_saturating(doubling_high_multiply(x, error), 2)
    return int(_shift_left_saturating(x, 1)), SOFTMAX_SUM_BITS - leading_zeros


def divide(a: np.ndarray, b: np.ndarray, multiplier: int, shift: int) -> np.ndarray:
    """a / b * multiplier * 2**(shift - 31), int64, of integers below 2**31 in magnitude; b is not 0.

    The reciprocal is that of softmax; `a` is raised as far as int32 holds it, and the last right shift rounds.
    """
    inverse, bits = (np.array(each, np.int64) for each in zip(*map(reciprocal, np.abs(b).reshape(-1)), strict=True))
    a, inverse, bits = np.where(b < 0, -a, a), inverse.reshape(b.shape), bits.reshape(b.shape)
    magnitude = np.where(a < 0, -a - 1, a).astype(np.float64)
    left = 31 - np.frexp(magnitude)[1].astype(np.int64)  # sign bits that say nothing
    value = doubling_high_multiply(doubling_high_multiply(a << left, inverse), multiplier)
    exponent = left + bits + 31 - SOFTMAX_SUM_BITS - shift
    return np.where(exponent > 31, 0, rounding_right_shift(value, np.minimum(exponent, 31)))


def softmax(codes: np.ndarray, exponentials: np.ndarray, dtype: str = "int8") -> np.ndarray:
    """Softmax over the last axis of int8 `codes`; the output's codes are all of `dtype`, the lowest being 0 and one
    beyond the highest 1."""
    rows = codes.reshape(-1, codes.shape[-1]).astype(np.int64)
    difference = rows.max(axis=1, keepdims=True) - rows
    counts = difference < len(exponentials)
    exponential = np.where(counts, exponentials[np.minimum(difference, len(exponentials) - 1)], 0).astype(np.int64)
    totals = rounding_right_shift(exponential, SOFTMAX_SUM_BITS).sum(axis=1)
    ends, output = np.iinfo(dtype), np.empty(rows.shape, dtype)
    for row, total in enumerate(totals):
        inverse, bits = reciprocal(int(total))
        share = rounding_right_shift(doubling_high_multiply(exponential[row], inverse), bits + 31 - ends.bits)
        output[row] = np.where(counts[row], np.clip(share + ends.min, ends.min, ends.max), ends.min)
    return output.reshape(codes.shape)


# Functions of one code


def through_float32(
    codes: np.ndarray,
    function: Callable[[np.ndarray], np.ndarray],
    scale: float,
    zero_point: int,
    output_scale: float,
    output_zero_point: int,
) -> np.ndarray:
    """int8 codes of `function` (float32 to float32) of the values of `codes`, as LOGISTIC and TANH are tabulated."""
    value = function(np.float32(scale) * (codes - zero_point).astype(np.float32))
    scaled = (value * np.float32(1 / output_scale)).astype(np.float64)
    rounded = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled)  # half away from zero
    return np.clip(rounded + output_zero_point, -128, 127).astype(np.int64)


def logistic(value: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-value)) in float32, whose exponential is rounded correctly."""
    with np.errstate(over="ignore"):
        exponential = np.exp(-value.astype(np.float64)).astype(np.float32)
    return np.float32(1) / (np.float32(1) + exponential)


def hyperbolic_tangent(value: np.ndarray) -> np.ndarray:
    """tanh(value) in float32, rounded correctly."""
    return np.tanh(value.astype(np.float64)).astype(np.float32)


def exponential(value: np.ndarray) -> np.ndarray:
    """exp(value) in float32, rounded correctly."""
    with np.errstate(over="ignore"):
        return np.exp(value.astype(np.float64)).astype(np.float32)


def logarithm(value: np.ndarray) -> np.ndarray:
    """log(value) in float32, rounded correctly; below all codes where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(value > 0, np.log(value.astype(np.float64)), -np.inf).astype(np.float32)


def exponential_linear(value: np.ndarray) -> np.ndarray:
    """ELU in float32: the value, or below 0 exp(value) - 1, rounded correctly."""
    return np.where(value < 0, np.expm1(np.minimum(value, 0).astype(np.float64)), value).astype(np.float32)


def hard_swish(difference: np.ndarray, scale: float, output_scale: float) -> np.ndarray:
    """HARD_SWISH of codes less their zero point: output codes less theirs, not clamped.

    16 bits: the input is raised by 7 bits; x / 3 saturates to [-1, 1), becomes [0, 1) and multiplies x, which is on the
    output's scale but for a last right shift.
    """
    fine_scale = np.float32(1 / 128) * np.float32(scale)
    multiplier, shift = _short_multiplier(float(fine_scale / np.float32(output_scale)))
    gate_multiplier, gate_shift = _short_multiplier(float(fine_scale / np.float32(3 / 32768)))
    fine = np.asarray(difference, np.int64) << 7
    gate = fine
    if gate_shift > 0:
        gate = _saturated16(gate << (gate_shift - 1))
    gate = _short_high_multiply(gate, gate_multiplier)
    if gate_shift > 0:
        gate = _saturated16(gate << 1)
    gate = (rounding_right_shift(gate, max(-gate_shift, 0)) + (1 << 15)) >> 1
    product = gate * _short_high_multiply(fine, multiplier)
    truncated = np.sign(product) * (np.abs(product) >> 15)
    return rounding_right_shift(truncated, -shift)


def _short_multiplier(real: float) -> tuple[int, int]:
    """`quantize_multiplier`, and its multiplier reduced to Q15."""
    multiplier, shift = quantize_multiplier(real)
    return short_multiplier(multiplier), shift


def _short_high_multiply(a: np.ndarray, b: np.ndarray | int) -> np.ndarray:
    """a * b / 2**15, rounded half up."""
    return (a * b + (1 << 14)) >> 15


def _saturated16(a: np.ndarray) -> np.ndarray:
    return np.clip(a, -32768, 32767)


# gemmlowp's fixed point in 16 bits, as the gates of an LSTM are computed. Results are Q0.15.


def _multiply_16(a: np.ndarray, b: np.ndarray | int) -> np.ndarray:
    """a * b / 2**15, rounded half up; saturates in its one overflow."""
    return _saturated16(_short_high_multiply(a, b))


def _exp_16(a: np.ndarray, integer_bits: int) -> np.ndarray:
    """exp(a) for a <= 0 with so many integer bits (1 to 7); the steps of `exp_on_negative_values`."""
    fraction_bits = 15 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    fraction = (a & (quarter - 1)) - quarter
    x = (fraction << integer_bits) + (1 << 12)
    x2 = _multiply_16(x, x)
    x3, x4 = _multiply_16(x2, x), _multiply_16(x2, x2)
    tail = rounding_right_shift(_multiply_16(rounding_right_shift(x4, 2) + x3, 10923) + x2, 1)
    exp_eighth = 28918  # exp(-1/8)
    result = _saturated16(exp_eighth + _multiply_16(x + tail, exp_eighth))
    rest = fraction - a
    for step in range(-2, min(integer_bits, 5)):
        factor = rounding_right_shift(np.array(_EXP_STEPS[step + 2]), 16)
        result = np.where(rest & (1 << (fraction_bits + step)), _multiply_16(result, factor), result)
    if integer_bits > 5:
        result = np.where(a < -(32 << fraction_bits), 0, result)
    return np.where(a == 0, 32767, result)


def _inverse_16(a: np.ndarray) -> np.ndarray:
    """2 / (1 + a) for a Q0.15 from 0 on, Q2.13. Three Newton steps."""
    half_denominator = (a + 32768) >> 1
    x = 23130 + _multiply_16(half_denominator, -15420)
    for _ in range(3):
        x = x + _saturated16(_multiply_16(x, 8192 - _multiply_16(half_denominator, x)) << 2)
    return x


def logistic_16(a: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-a)) of Q3.12, int64."""
    a = np.asarray(a, np.int64)
    above = _saturated16(_inverse_16(_exp_16(-np.abs(a), 3)) << 1)
    return np.where(a == 0, 16384, np.where(a > 0, above, 32767 - above))


def tanh_16(a: np.ndarray, integer_bits: int) -> np.ndarray:
    """tanh(a), where `a` has so many integer bits (0 to 6), int64."""
    a = np.asarray(a, np.int64)
    magnitude = _saturated16((_inverse_16(_exp_16(-np.abs(a), integer_bits + 1)) - 8192) << 2)
    return np.where(a == 0, 0, np.where(a > 0, magnitude, -magnitude))
