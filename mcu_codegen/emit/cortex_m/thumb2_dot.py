"""Layers of a single channel on Cortex-M3, M4, M7 and M33.

Rows are multiplied where they lie: to widen them first pays off only where several channels read them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..kernel import Array
from ..portable.weighted import folded_bias
from .assembly import Scaled, packed, scaling, words
from .thumb2_assembly import Thumb2Assembly, add_to, moved_rounding, row_loop

ONE = ("ldrsb r8, [r0], #1", "ldrsb r9, [r1], #1", "mla r11, r8, r9, r11")
"""Adds the product of an input and its weight to r11; may use r8, r9, r12 and lr."""


def dot_stream(op: Scaled, weights: np.ndarray) -> Array:
    """Twice the bias, the multiplier, a word that holds the shift and, in its upper half, `rounding`; the weights."""
    multiplier, shift = (each[:, None] for each in scaling(op, 1))
    word = shift + (moved_rounding(op) << 16)
    return words(2 * folded_bias(op, weights)[:, None], multiplier, word, packed(weights))


def dot(four: Sequence[str], depth: int, pitch: int, most: int, requantize: Sequence[str]) -> Thumb2Assembly:
    """`four` does what `ONE` does, for four inputs, and `requantize` makes a code of r11, which holds a doubled
    accumulator; the multiplier is in r5, twice the addend in r10, the shift in r6. `most` is as in `row_loop`."""
    return Thumb2Assembly(
        f"Rows of {depth} inputs, {pitch} bytes apart, times a single channel.",
        ("const int8_t *input", "const uint32_t *stream", "int8_t *output", "int32_t rows"),
        [
            "push {r4-r11, lr}",
            # the shift is the lowest byte of r6, which is all that a shift by a register looks at
            "ldm r1!, {r4, r5, r6}",
            "asr r10, r6, #16",
            "lsl r10, r10, r6",
            "1:",
            "mov r11, #0",
            *row_loop(four, depth // 4, most),
            *ONE * (depth % 4),
            "add r11, r4, r11, lsl #1",
            *requantize,
            "strb r11, [r2], #1",
            *add_to("r0", pitch - depth),
            *add_to("r1", -depth),
            "subs r3, #1",
            "bne 1b",
            "pop {r4-r11, pc}",
        ],
    )
