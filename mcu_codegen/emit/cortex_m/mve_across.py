"""Depthwise convolutions with MVE that go through the channels of one output, sixteen at a time.

Products of two taps are added up in 16 bits, which hold 2 * 128 * 127, and pairs in 32 bits. Nothing is copied first,
so that few outputs cost as little each as many: what a step of a stream needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ... import lower
from ...memory import Demand
from ..kernel import fill, times
from ..portable.renderer import Array, Kernel, Renderer, Site, positions
from .assembly import folded_bias, packed, planes, requantizes, undilated, words
from .mve_assembly import (
    VECTOR,
    MveAssembly,
    requantize,
    shift_suffix,
    shifts_by_product,
    tails,
    vectors_of,
)
from .thumb2_assembly import add_to, constant

_REACH = 127  # the largest offset of a load or store of bytes in MVE
_LONGEST = 31  # taps: a loop, which cannot reach farther than 4 KiB, has them one by one


class MveAcross(Renderer):
    """The renderer's part that computes them."""

    def depthwise(self, op: lower.Convolution, site: Site) -> Kernel:
        whole, op = op, undilated(op)
        _, height, width, channels = op.weights.shape
        _, rows, columns, _ = site.output.shape
        fits = (
            (op.dilation[1], op.depth_multiplier, any(op.pads), channels % 4) == (1, 1, False, 0)
            and height * width <= _LONGEST
            and bool(np.all(op.weights > -128))
            and requantizes(op)
        )
        if not fits or rows * columns * vectors_of(channels) * (9.5 * height * width + 35) >= _others(op, site):
            return super().depthwise(whole, site)
        row_bytes = site.inputs[0].shape[2] * channels
        offsets = [i * row_bytes + j * channels for i in range(height) for j in range(width)]
        # outputs of a column are as evenly apart as those of a row
        step = op.stride[0] * row_bytes if columns == 1 else op.stride[1] * channels
        name = f"across_{height}x{width}_{step}_{row_bytes}_{channels}{shift_suffix(op)}"
        self.helpers[name] = _across(offsets, step, channels, shifts_by_product(op)).helper(name)
        if columns == 1:
            body = f"{site.prefix}_{name}(input, stream, output, {rows});"
        else:
            body = fill(
                """
                for (int32_t y = 0; y < $rows; y++) {
                    ${prefix}_$name(input + $inputs, stream, output + $outputs, $columns);
                }
                """,
                rows=rows,
                prefix=site.prefix,
                name=name,
                inputs=times("y", op.stride[0] * row_bytes),
                outputs=times("y", columns * channels),
                columns=columns,
            )
        return Kernel(
            body,
            # written over its input, an output reaches only the first pixel of its window or those before
            Demand(in_place=True),
            arrays=(_across_stream(op),),
            helpers=(name,),
            macs=positions(site) * whole.weights.size,
        )


def _others(op: lower.Convolution, site: Site) -> float:
    """Instructions, about, of a kernel that copies channel by channel; more than any where there is none."""
    _, height, width, channels = op.weights.shape
    _, rows, columns, _ = site.output.shape
    if (width, columns, site.inputs[0].shape[2]) == (1, 1, 1) and height <= VECTOR:
        return channels * (38 + ((rows - 1) * op.stride[0] + height) / 2 + 31 * -(-rows // 8))
    if planes(op):
        return channels * -(-columns // 4) * (60 + 21 * rows)
    return float("inf")


def _across_stream(op: lower.Convolution) -> Array:
    """The zero point; then per sixteen channels their biases, the weights of each tap, multipliers and what shifts.

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
    zero_point = np.array([op.requantization.zero_point & 0xFFFFFFFF], np.uint32)
    return Array("stream", "uint32_t", np.concatenate([zero_point, rows.reshape(-1)]))


def _across(offsets: Sequence[int], step: int, channels: int, by_product: bool) -> MveAssembly:
    """r0 reads pixels, r1 the stream, r2 writes, r3 counts outputs, lr channels; q4-q7 are accumulators.

    `offsets` are those of the taps, and `step` is between outputs, in bytes of the image.
    """
    vectors, taps = vectors_of(channels), len(offsets)
    moves = [after - before for before, after in pairwise((*offsets, VECTOR))]

    def load(vector: str, tap: int) -> list[str]:
        if abs(moves[tap]) <= _REACH:
            return [f"vldrb.u8 {vector}, [r0], #{moves[tap]}"]
        return [f"vldrb.u8 {vector}, [r0]", *add_to("r0", moves[tap])]

    body = [f"vldrw.u32 {vector}, [r1], #16" for vector in ("q4", "q5", "q6", "q7")]
    for tap in range(0, taps, 2):
        body += [*load("q0", tap), "vldrb.u8 q1, [r1], #16", "vmullb.s8 q2, q0, q1", "vmullt.s8 q3, q0, q1"]
        if tap + 1 < taps:
            body += [*load("q0", tap + 1), "vldrb.u8 q1, [r1]", "vmullb.s8 q1, q0, q1", "vadd.i16 q2, q2, q1"]
            body += ["vldrb.u8 q1, [r1], #16", "vmullt.s8 q1, q0, q1", "vadd.i16 q3, q3, q1"]
        for source, bottom, top in (("q2", "q4", "q5"), ("q3", "q6", "q7")):
            body += [f"vmovlb.s16 q0, {source}", f"vmovlt.s16 q1, {source}"]
            body += [f"vadd.i32 {bottom}, {bottom}, q0", f"vadd.i32 {top}, {top}, q1"]
    for vector in ("q4", "q5", "q6", "q7"):
        body += ["vldrw.u32 q0, [r1], #16", "vldrw.u32 q1, [r1], #16"]
        body += requantize(vector, ("q0", "q1"), by_product, "q2")
    for bottom, top in (("q4", "q5"), ("q6", "q7")):
        body += [f"vqmovnb.s32 {bottom}, {bottom}", f"vqmovnt.s32 {bottom}, {top}", f"vqadd.s16 {bottom}, {bottom}, r4"]
    return MveAssembly(
        f"Outputs of {taps} taps each, {step} bytes of the image apart, of {channels} channels.",
        ("const int8_t *input", "const uint32_t *stream", "int8_t *output", "int32_t outputs"),
        [
            "push {r4, r5, r6, lr}",
            "vpush {d8-d15}",
            "ldr r4, [r1], #4",
            "mov r5, r1",
            *constant("r6", channels),
            "1:",
            "mov r1, r5",
            "dlstp.8 lr, r6",
            "2:",
            *body,
            "vqmovnb.s16 q4, q4",
            "vqmovnt.s16 q4, q6",
            "vstrb.8 q4, [r2], #16",
            "letp lr, 2b",
            *add_to("r0", step - vectors * VECTOR),
            *add_to("r2", channels - vectors * VECTOR),
            "subs r3, #1",
            "bne 1b",
            "vpop {d8-d15}",
            "pop {r4, r5, r6, pc}",
        ],
    )
