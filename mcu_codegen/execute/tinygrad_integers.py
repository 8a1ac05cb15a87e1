"""Integers in tinygrad: constants, and how accumulators become codes.

Whoever calls has made sure that tinygrad is there, with a device (`tinygrad_executor`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import lower

if TYPE_CHECKING:
    from tinygrad import Tensor


def int32(values: np.ndarray | int) -> Tensor:
    """A constant."""
    from tinygrad import Tensor

    return Tensor(np.asarray(values, np.int32))


def int64(values: np.ndarray | int) -> Tensor:
    """A constant."""
    from tinygrad import Tensor

    return Tensor(np.asarray(values, np.int64))


def high_product(a: Tensor, b: Tensor | int) -> Tensor:
    """a * b / 2**31, rounded half up; int64."""
    return (a.cast("int64") * b + (1 << 30)) >> 31


def scaled(accumulator: Tensor, multiplier: np.ndarray | int, shift: np.ndarray | int) -> Tensor:
    """accumulator * multiplier * 2**(shift - 31) rounded twice; int32 in, int64 out."""
    raised = accumulator * int32(1 << np.maximum(shift, 0))  # wraps
    product = high_product(raised, int64(multiplier))
    exponent = np.maximum(-np.asarray(shift, np.int64), 0)
    magnitude = ((product < 0).where(-product, product) + int64((1 << exponent) >> 1)) >> int64(exponent)
    return (product < 0).where(-magnitude, magnitude)  # half away from zero


def requantized(parameters: lower.Requantization, accumulator: Tensor) -> Tensor:
    """Codes of an accumulator, int32 or, where requantisation is long, int64; channels last."""
    if isinstance(parameters, lower.LongRequantization):
        exponent = 15 - parameters.shift.astype(np.int64)
        product = accumulator * int64(parameters.multiplier) + int64(1 << (exponent - 1))
        return ((product >> int64(exponent)) + parameters.zero_point).clip(parameters.low, parameters.high)
    value = scaled(accumulator, parameters.multiplier, parameters.shift)
    return (value + parameters.zero_point).clip(parameters.low, parameters.high)
