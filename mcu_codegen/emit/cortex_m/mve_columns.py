"""Depthwise convolutions along a column of pixels with MVE: windows of one column on an image of one column.

Two kernels. One copies a channel's column side by side, where a whole window lies in one vector and VMLADAV makes an
output of it; its work per channel pays where there are enough outputs. The other goes through the channels of one
output, sixteen at a time: products of two taps are added up in 16 bits, which hold 2 * 128 * 127, and pairs in 32 bits.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from ... import lower
from ...memory import Demand
from ..portable.renderer import Array, Kernel, Renderer, Site, fill, positions
from .assembly import folded_bias, packed, requantizes, undilated, words
from .mve_assembly import (
    ACCUMULATORS,
    OFFSETS,
    VECTOR,
    Coding,
    MveAssembly,
    coding_of,
    eight_codes,
    requantize,
    sixteen_codes,
    spread,
    tails,
    vectors_of,
)
from .thumb2_assembly import add_to, constant

_REACH = 127  # the largest offset of a load or store of bytes in MVE
_LONGEST = 31  # taps: a loop, which cannot reach farther than 4 KiB, has them one by one
_SHIFTED = ("q0", "q1", "q5")  # a window's weights, and the same by one and two strides later


class MveColumns(Renderer):
    """The renderer's part that computes them."""

    def depthwise(self, op: lower.Convolution, site: Site) -> Kernel:
        whole, op = op, undilated(op)
        _, taps, width, channels = op.weights.shape
        if (
            (width, op.dilation[0], op.depth_multiplier) != (1, 1, 1)
            or (site.inputs[0].shape[2], site.output.shape[2]) != (1, 1)
            or op.stride[0] > _REACH
            or not requantizes(op)
            or 8 * channels >= OFFSETS
        ):
            return super().depthwise(whole, site)
        alone = taps <= VECTOR
        across = taps <= _LONGEST and not any(op.pads) and channels % 4 == 0 and bool(np.all(op.weights > -128))
        outputs = site.output.shape[1]
        inputs = (outputs - 1) * op.stride[0] + taps
        # instructions, about
        one_by_one = channels * (38 + inputs / 2 + 31 * -(-outputs // 8))
        side_by_side = outputs * vectors_of(channels) * (9.5 * taps + 35)
        if across and (not alone or side_by_side < one_by_one):
            kernel = self._across(op, site)
        elif alone:
            kernel = self._alone(op, site)
        else:
            return super().depthwise(whole, site)
        return replace(kernel, macs=positions(site) * whole.weights.size)

    def _alone(self, op: lower.Convolution, site: Site) -> Kernel:
        """Channel by channel."""
        _, taps, _, channels = op.weights.shape
        top, (stride, _) = op.pads[0], op.stride
        outputs = site.output.shape[1]
        coding = coding_of(op)
        name = f"column_{taps}_{stride}_{top}_{channels}{coding.suffix}"
        self.helpers[name] = _column(taps, stride, top, channels, coding).helper(name)
        stream = _column_stream(op)
        # eight outputs are computed at a time, and a window is read as a vector
        strip_bytes = ((-(-outputs // 8) * 8 - 1) * stride // VECTOR + 2) * VECTOR
        body = fill(
            """
            $each_channel
                ${prefix}_$name(input, scratch, stream + $words * channel, output, $inside, $outputs,
                    $addend);
            }
            """,
            prefix=site.prefix,
            name=name,
            each_channel=self.each_channel(channels, "input++", "output++"),
            words=stream.values.shape[1],
            inside=min(site.inputs[0].shape[1], (outputs - 1) * stride + taps - top),
            outputs=outputs,
            addend=coding.addend,
        )
        helpers: tuple[str, ...] = (name,)
        if any(op.pads):
            body = f"{site.prefix}_fill(scratch, {op.input_zero_point}, {strip_bytes});\n{body}"
            helpers = ("fill", name)
        return Kernel(
            body,
            # written over its input, a channel's output reaches only that channel's input, which has been copied
            Demand(scratch_bytes=strip_bytes, in_place=True),
            arrays=(stream,),
            helpers=helpers,
        )

    def _across(self, op: lower.Convolution, site: Site) -> Kernel:
        """Output by output."""
        _, taps, _, channels = op.weights.shape
        coding = coding_of(op)
        name = f"across_{taps}_{op.stride[0]}_{channels}{coding.suffix}"
        self.helpers[name] = _across(taps, op.stride[0], channels, coding).helper(name)
        return Kernel(
            f"{site.prefix}_{name}(input, stream, output, {site.output.shape[1]});",
            # written over its input, an output reaches only the first pixel of its window or those before
            Demand(in_place=True),
            arrays=(_across_stream(op),),
            helpers=(name,),
        )


def _column_stream(op: lower.Convolution) -> Array:
    """Per channel: the weights, filled up to words, and the tail."""
    _, taps, _, channels = op.weights.shape
    weights = op.weights.reshape(taps, channels).T
    return words(packed(np.pad(weights, ((0, 0), (0, -taps % 4)))), tails(op, folded_bias(op, weights)))


def _column(taps: int, stride: int, top: int, channels: int, coding: Coding) -> MveAssembly:
    """r1 reads the strip, r3 writes, r11 counts down; q6 holds the addends, q7 the offsets of eight pixels."""
    shifted = _SHIFTED[: (VECTOR - taps) // stride + 1 if stride <= 4 else 1]  # VSHLC shifts by up to 32 bits
    weights = [f"mov r12, #{taps}", "vctp.8 r12", "vpst", f"vldrbt.u8 q0, [r2], #{-(-taps // 4) * 4}"]
    for before, after in pairwise(shifted):
        weights += ["mov r12, #0", f"vmov {after}, {before}", f"vshlc {after}, r12, #{8 * stride}"]
    body = []
    for output, accumulator in enumerate(ACCUMULATORS):
        late = output % len(shifted)
        if late == 0:
            body.append(f"vldrb.u8 q2, [r1], #{min(len(shifted), 8 - output) * stride}")
        body.append(f"vmladav.s8 {accumulator}, q2, {shifted[late]}")
    eight_pixels = add_to("r3", 8 * channels)
    return MveAssembly(
        f"One channel of a depthwise convolution by {taps} x 1, stride {stride}. A pixel has {channels} bytes.",
        (
            "const int8_t *input",
            "int8_t *strip",
            "const uint32_t *stream",
            "int8_t *output",
            "int32_t inside",
            "int32_t outputs",
            "int32_t addend",
        ),
        [
            "push {r4-r11, lr}",
            "vpush {d8-d15}",
            "mov r4, r0",
            *spread("q7", "q2", 8, 0, channels),
            "ldr r5, [sp, #100]",
            *constant("r6", 8 * channels),
            f"add r7, r1, #{top}",
            "dlstp.16 lr, r5",
            "1:",
            "vldrb.u16 q0, [r4, q7]",
            "add r4, r4, r6",
            "vstrb.16 q0, [r7], #8",
            "letp lr, 1b",
            *weights,
            "ldm r2, {r5, r7, r9}",
            "ldrd r11, r12, [sp, #104]",
            "vdup.16 q6, r12",
            "2:",
            *body,
            *eight_codes("r5", ("r7", "r9"), "q6", coding),
            "vctp.16 r11",
            "vpst",
            "vstrbt.16 q3, [r3, q7]",
            *eight_pixels,
            "subs r11, #8",
            "bgt 2b",
            "vpop {d8-d15}",
            "pop {r4-r11, pc}",
        ],
    )


def _across_stream(op: lower.Convolution) -> Array:
    """The addend of codes; then per sixteen channels biases, the weights of each tap, multipliers and what shifts.

    Four vectors of 32 bits hold every fourth channel, in the order in which products are taken apart.
    """
    _, taps, _, channels = op.weights.shape
    missing = -channels % VECTOR
    weights = op.weights.reshape(taps, channels)

    def by_turns(values: np.ndarray) -> np.ndarray:
        groups = np.pad(values, (0, missing)).reshape(-1, VECTOR // 4, 4)
        return groups[:, :, [0, 2, 1, 3]].transpose(0, 2, 1).reshape(-1, VECTOR)

    groups = np.pad(weights, ((0, 0), (0, missing))).reshape(taps, -1, VECTOR).transpose(1, 0, 2)
    bias, multipliers, shifts = map(by_turns, tails(op, folded_bias(op, weights.T)).T)
    scalings = np.stack([each.reshape(-1, 4, 4) for each in (multipliers, shifts)], axis=2)
    rows = words(bias, packed(groups.reshape(len(groups), -1)), scalings.reshape(len(groups), -1)).values
    addend = np.array([coding_of(op).addend & 0xFFFFFFFF], np.uint32)
    return Array("stream", "uint32_t", np.concatenate([addend, rows.reshape(-1)]))


def _across(taps: int, stride: int, channels: int, coding: Coding) -> MveAssembly:
    """r0 reads pixels, r1 the stream, r2 writes, r3 counts outputs, lr channels; q4-q7 are accumulators."""
    vectors = vectors_of(channels)
    near = channels <= _REACH

    def load(vector: str) -> list[str]:
        return (
            [f"vldrb.u8 {vector}, [r0], #{channels}"] if near else [f"vldrb.u8 {vector}, [r0]", *add_to("r0", channels)]
        )

    body = [f"vldrw.u32 {vector}, [r1], #16" for vector in ("q4", "q5", "q6", "q7")]
    for tap in range(0, taps, 2):
        body += [*load("q0"), "vldrb.u8 q1, [r1], #16", "vmullb.s8 q2, q0, q1", "vmullt.s8 q3, q0, q1"]
        if tap + 1 < taps:
            body += [*load("q0"), "vldrb.u8 q1, [r1]", "vmullb.s8 q1, q0, q1", "vadd.i16 q2, q2, q1"]
            body += ["vldrb.u8 q1, [r1], #16", "vmullt.s8 q1, q0, q1", "vadd.i16 q3, q3, q1"]
        for source, bottom, top in (("q2", "q4", "q5"), ("q3", "q6", "q7")):
            body += [f"vmovlb.s16 q0, {source}", f"vmovlt.s16 q1, {source}"]
            body += [f"vadd.i32 {bottom}, {bottom}, q0", f"vadd.i32 {top}, {top}, q1"]
    for vector in ("q4", "q5", "q6", "q7"):
        body += ["vldrw.u32 q0, [r1], #16", "vldrw.u32 q1, [r1], #16"]
        body += requantize(vector, ("q0", "q1"), coding.by_product, "q2")
    body += sixteen_codes(("q4", "q5", "q6", "q7"), "r4", coding.clamp, "r12")
    return MveAssembly(
        f"A depthwise convolution by {taps} x 1, stride {stride}, of {channels} channels.",
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
            "vstrb.8 q4, [r2], #16",
            *add_to("r0", VECTOR - taps * channels),
            "letp lr, 2b",
            *add_to("r0", stride * channels - vectors * VECTOR),
            *add_to("r2", channels - vectors * VECTOR),
            "subs r3, #1",
            "bne 1b",
            "vpop {d8-d15}",
            "pop {r4, r5, r6, pc}",
        ],
    )
