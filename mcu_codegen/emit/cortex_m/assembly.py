"""What kernels in assembly share: functions made of instructions, and the constants of their requantisation.

Requantisation in a handful of instructions equals arithmetic.requantize for a right shift of 0..22, accumulators below
2**29 and codes that saturate to int8: with p the doubling high product, it is
(2 * p + (p >> 31) + twice_addend) >> (shift + 1), and no term leaves int32. Twice the addend,
(2 * zero_point + 1) << shift, holds rounding and zero point; kernels make it of `rounding` and the shift, so that
streams hold no addends. The 1 that a negative p loses is less than the step between values of 2 * p: it decides halves
of a code, and without a right shift, where there are none, nothing. From a shift of 1 on,
(p + (p >> 31) + addend_of(zero_point, shift)) >> shift is the same, which sums and products of two codes take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ... import lower
from ..kernel import Array, Helper
from .ranges import Ranges

Scaled = lower.Convolution | lower.FullyConnected
"""What sums up products and requantises the sums."""

REACH = 4095
"""The largest offset of a load or store in Thumb-2."""

BOUND = 2**29
"""Accumulators that requantisation takes are smaller."""

LONGEST = 22
"""The longest right shift that it takes."""

GUARD = "cores"
"""The helper that every kernel uses: it ends compilation for other cores."""


@dataclass(frozen=True)
class Assembly:
    """A C function whose body is assembly; its arguments are in r0, r1, ... A subclass has the ranges of its cores."""

    ranges: ClassVar[Ranges]

    about: str
    parameters: tuple[str, ...]
    instructions: Sequence[str]
    result: str = "void "

    def helper(self, name: str) -> Helper:
        """The function as a helper called `name`. Raises Unencodable where a line is no instruction of these cores."""
        signature = ", ".join(f"{parameter} __attribute__((unused))" for parameter in self.parameters)
        instructions = self.ranges.fitted(self.instructions)
        # gcc reads assembly for Cortex-M0 in the older syntax unless told
        lines = "\n".join(f'        "{line}\\n"' for line in (".syntax unified", *instructions))
        return Helper(
            f"/* {self.about} */\n"
            f"__attribute__((naked, noinline)) static {self.result}${{prefix}}_{name}(\n    {signature})\n"
            f"{{\n    __asm__ volatile(\n{lines}\n    );\n}}\n",
            (GUARD,),
        )


def taken(op: Scaled, bound: int = BOUND) -> np.ndarray:
    """bool (channels): for which the short requantisation is proven, with accumulators below `bound`."""
    shifts = np.broadcast_to(-op.requantization.shift, op.bound.shape)
    return np.asarray((shifts >= 0) & (shifts <= LONGEST) & (op.bound < bound))


def requantizes(op: Scaled) -> bool:
    """Whether the short requantisation is proven for every channel of `op`."""
    return not unscaled(op)


def unscaled(op: Scaled, bound: int = BOUND) -> str:
    """The first channel of `op` for which the short requantisation is not proven, and why; "" where there is none."""
    strange = np.nonzero(~taken(op, bound))[0]
    if not len(strange):
        return ""
    channel = int(strange[0])
    shift = int(np.broadcast_to(-op.requantization.shift, op.bound.shape)[channel])
    return (
        f"channel {channel} has a right shift of {shift} and accumulators up to {op.bound[channel]}; kernels take"
        f" shifts of 0 to {LONGEST} and accumulators below {bound}"
    )


def unshifted(op: Scaled) -> bool:
    """Whether a channel without a right shift has codes below the zero point, where a lost 1 must not show."""
    scaling = op.requantization
    return bool(np.any(scaling.shift == 0)) and scaling.low < scaling.zero_point


def scaling(op: Scaled, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """(multiplier, right shift) of each channel, int64 (channels)."""
    requantization = op.requantization
    multipliers = np.broadcast_to(requantization.multiplier, (channels,)).astype(np.int64)
    return multipliers, np.broadcast_to(-requantization.shift, (channels,)).astype(np.int64)


def rounding(op: Scaled, moved: int = 0) -> int:
    """What makes twice the addend when it is shifted left by the right shift: -255..255, for codes that are `moved`."""
    return 2 * (op.requantization.zero_point + moved) + 1


def addend_of(zero_point: int, shift: int) -> int:
    """What a right shift makes the zero point, and rounds; 1 or more."""
    return (2 * zero_point + 1) << (shift - 1)


def planes(op: lower.Convolution) -> bool:
    """Whether kernels that compute a depthwise convolution plane by plane have its shape."""
    _, height, width, _ = op.weights.shape
    shape = (width, op.dilation, op.depth_multiplier) == (3, (1, 1), 1)
    return shape and height in (1, 3) and max(op.stride) <= 2


def windows(op: lower.Convolution, rounding: int) -> np.ndarray:
    """int64 (channels, words): the weights of a depthwise convolution, `gap` bytes, the right shift, `rounding` in 16
    bits."""
    channels = op.weights.shape[3]
    taps = op.weights.reshape(-1, channels).T
    octets = np.zeros((channels, taps.shape[1] + gap(taps.shape[1]) + 3), np.int8)
    octets[:, : taps.shape[1]] = taps
    octets[:, -3] = scaling(op, channels)[1]
    octets[:, -2:] = np.array([rounding], "<i2").view(np.int8)
    return packed(octets)


def gap(taps: int) -> int:
    """Bytes of `windows` between so many weights and the shift, so that a row ends with a word."""
    return -(taps + 3) % 4


def undilated(op: lower.Convolution) -> lower.Convolution:
    """`op` without dilation over rows: zeros stand between the taps of its kernel."""
    step = op.dilation[0]
    images, height, width, channels = op.weights.shape
    weights = np.zeros((images, (height - 1) * step + 1, width, channels), np.int8)
    weights[:, ::step] = op.weights
    return replace(op, weights=weights, dilation=(1, op.dilation[1]))


def words(*parts: np.ndarray) -> Array:
    """The stream of a kernel: `parts`, each (rounds, words a round), side by side, as uint32."""
    return Array("stream", "uint32_t", (np.concatenate(parts, axis=1) & 0xFFFFFFFF).astype(np.uint32))


def packed(octets: np.ndarray) -> np.ndarray:
    """int8 (rounds, bytes a round) as int64 words, the first byte lowest."""
    return np.ascontiguousarray(octets.astype(np.int8)).view("<u4").astype(np.int64)


def divisor(count: int, most: int) -> int:
    """The largest divisor of `count` that is at most `most`."""
    return max(each for each in range(1, most + 1) if count % each == 0)
