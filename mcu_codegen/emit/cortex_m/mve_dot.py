"""Layers of a single channel with MVE: rows are multiplied where they lie."""

from __future__ import annotations

import numpy as np

from ..kernel import Array
from ..portable.weighted import folded_bias
from .assembly import Scaled, packed, words
from .mve_assembly import VECTOR, Coding, MveAssembly, codes, coding_of, requantize, tails, vectors_of
from .thumb2_assembly import add_to, constant


def dot_stream(op: Scaled, weights: np.ndarray) -> Array:
    """The tail, what `codes` adds, the weights."""
    filled = np.pad(weights, ((0, 0), (0, -weights.shape[1] % 4)))
    return words(tails(op, folded_bias(op, weights)), np.array([[coding_of(op).addend]]), packed(filled))


def dot(depth: int, pitch: int, coding: Coding) -> MveAssembly:
    """The last vector of a row ends with it, and so does the loop's last predicate."""
    return MveAssembly(
        f"Rows of {depth} inputs, {pitch} bytes apart, times a single channel.",
        ("const int8_t *input", "const uint32_t *stream", "int8_t *output", "int32_t rows"),
        [
            "push {r4-r9, lr}",
            "ldm r1!, {r5, r6, r7, r8}",
            *constant("r9", depth),
            "1:",
            "mov r4, r5",
            "mov r12, r1",
            "dlstp.8 lr, r9",
            "2:",
            "vldrb.u8 q0, [r0], #16",
            "vldrb.u8 q1, [r12], #16",
            "vmladava.s8 r4, q0, q1",
            "letp lr, 2b",
            *add_to("r0", pitch - vectors_of(depth) * VECTOR),
            "vmov.32 q0[0], r4",
            *requantize("q0", ("r6", "r7"), coding, "q2"),
            *codes("q0", "q1", "r8", coding.clamp, "r4"),
            "vmov.32 r4, q0[0]",
            "strb r4, [r2], #1",
            "subs r3, #1",
            "bne 1b",
            "pop {r4-r9, pc}",
        ],
    )
