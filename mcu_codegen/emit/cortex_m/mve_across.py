"""Depthwise convolutions with MVE, sixteen channels of an output at a time.

Products of two taps are added up in 16 bits, which hold 2 * 128 * 127, and pairs in 32 bits.
"""

from __future__ import annotations

import numpy as np

from ... import lower
from ..kernel import Array
from ..portable.weighted import folded_bias
from .across import Across, Windows
from .assembly import packed, words
from .mve_assembly import VECTOR, MveAssembly, coding_of, requantize, sixteen_codes, tails, vectors_of
from .thumb2_assembly import add_to, constant

_REACH = 127  # the largest offset of a load or store of bytes in MVE
_SUMS = ("q4", "q5", "q6", "q7")


class MveAcross(Across):
    """The renderer's part that computes them."""

    def crosses(self, op: lower.Convolution) -> bool:
        return super().crosses(op) and bool(np.all(op.weights > -128))

    def across_suffix(self, op: lower.Convolution) -> str:
        return coding_of(op).suffix

    def across_stream(self, op: lower.Convolution) -> Array:
        """The addend of codes; then per sixteen channels biases, the weights of each tap, multipliers and what shifts.

        Four vectors of 32 bits hold every fourth channel, in the order in which products are taken apart.
        """
        channels = op.weights.shape[3]
        missing = -channels % VECTOR
        weights = op.weights.reshape(-1, channels)

        def by_turns(values: np.ndarray) -> np.ndarray:
            groups = np.pad(values, (0, missing)).reshape(-1, VECTOR // 4, 4)
            return groups[:, :, [0, 2, 1, 3]].transpose(0, 2, 1).reshape(-1, VECTOR)

        groups = np.pad(weights, ((0, 0), (0, missing))).reshape(len(weights), -1, VECTOR).transpose(1, 0, 2)
        bias, multipliers, shifts = map(by_turns, tails(op, folded_bias(op, weights.T)).T)
        scalings = np.stack([each.reshape(-1, 4, 4) for each in (multipliers, shifts)], axis=2)
        rows = words(bias, packed(groups.reshape(len(groups), -1)), scalings.reshape(len(groups), -1)).values
        addend = np.array([coding_of(op).addend & 0xFFFFFFFF], np.uint32)
        return Array("stream", "uint32_t", np.concatenate([addend, rows.reshape(-1)]))

    def across(self, op: lower.Convolution, windows: Windows) -> MveAssembly:
        """r0 reads pixels, or lists them where r3 is how far beyond them; r1 reads the stream, r2 writes, r3 counts
        windows, lr channels."""
        coding, channels = coding_of(op), windows.channels
        done = vectors_of(channels) * VECTOR
        body = [f"vldrw.u32 {vector}, [r1], #16" for vector in _SUMS]
        for tap in range(0, windows.taps, 2):
            body += [*_load(windows, tap), "vldrb.u8 q1, [r1], #16", "vmullb.s8 q2, q0, q1", "vmullt.s8 q3, q0, q1"]
            if tap + 1 < windows.taps:
                body += [*_load(windows, tap + 1), "vldrb.u8 q1, [r1]", "vmullb.s8 q1, q0, q1", "vadd.i16 q2, q2, q1"]
                body += ["vldrb.u8 q1, [r1], #16", "vmullt.s8 q1, q0, q1", "vadd.i16 q3, q3, q1"]
            for source, bottom, top in (("q2", "q4", "q5"), ("q3", "q6", "q7")):
                body += [f"vmovlb.s16 q0, {source}", f"vmovlt.s16 q1, {source}"]
                body += [f"vadd.i32 {bottom}, {bottom}, q0", f"vadd.i32 {top}, {top}, q1"]
        for vector in _SUMS:
            body += ["vldrw.u32 q0, [r1], #16", "vldrw.u32 q1, [r1], #16"]
            body += requantize(vector, ("q0", "q1"), coding, "q2")
        body += [*sixteen_codes(_SUMS, "r4", coding.clamp, "r12"), "vstrb.8 q4, [r2], #16"]
        listed = windows.offsets is None
        following = [
            *(add_to("r0", windows.step - done) if windows.step != done else []),
            *(add_to("r2", channels - done) if channels != done else []),
            "subs r3, #1",
            "bne 1b",
        ]
        return MveAssembly(
            windows.about,
            windows.parameters,
            [
                "push {r4, r5, r6, lr}",
                "vpush {d8-d15}",
                "ldr r4, [r1], #4",
                "mov r5, r1",
                *constant("r6", channels),
                *(["mov r3, #0"] if listed else []),
                "1:",
                "mov r1, r5",
                "dlstp.8 lr, r6",
                "2:",
                *body,
                *(["adds r3, #16"] if listed else []),
                "letp lr, 2b",
                *([] if listed else following),
                "vpop {d8-d15}",
                "pop {r4, r5, r6, pc}",
            ],
        )


def _load(windows: Windows, tap: int) -> list[str]:
    """Sixteen codes under a tap in q0; from the last one, on to the next sixteen channels."""
    if windows.offsets is None:
        return [f"ldr r12, [r0, #{4 * tap}]", "add r12, r12, r3", "vldrb.u8 q0, [r12]"]
    offset, following = (*windows.offsets, VECTOR)[tap : tap + 2]
    step = following - offset
    return [f"vldrb.u8 q0, [r0], #{step}"] if abs(step) <= _REACH else ["vldrb.u8 q0, [r0]", *add_to("r0", step)]
