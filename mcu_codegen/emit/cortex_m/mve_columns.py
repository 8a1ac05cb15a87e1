"""Depthwise convolutions along a column of pixels with MVE: windows of one column on an image of one column.

Two kernels. One copies a channel's column side by side, where a whole window lies in one vector and VMLADAV makes an
output of it; its work per channel pays where there are enough outputs. The other is `mve_across`.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from ... import lower
from ...memory import Demand, Over
from ..kernel import Array, Kernel, Site, fill, positions
from ..portable.weighted import folded_bias
from .assembly import packed, requantizes, undilated, words
from .mve_across import MveAcross
from .mve_assembly import (
    ACCUMULATORS,
    OFFSETS,
    VECTOR,
    Coding,
    MveAssembly,
    coding_of,
    eight_codes,
    spread,
    tails,
    vectors_of,
)
from .thumb2_assembly import add_to, constant

_REACH = 127  # the largest offset of a load or store of bytes in MVE
_SHIFTED = ("q0", "q1", "q5")  # a window's weights, and the same by one and two strides later


class MveColumns(MveAcross):
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
        across = self.crosses(whole) and not any(op.pads)
        outputs = site.output.shape[1]
        inputs = (outputs - 1) * op.stride[0] + taps
        # instructions, about
        one_by_one = channels * (38 + inputs / 2 + 31 * -(-outputs // 8))
        side_by_side = outputs * vectors_of(channels) * (9.5 * taps + 35)
        if across and (not alone or side_by_side < one_by_one):
            return self.across_rows(*_transposed(whole, site))
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
        loop = self.channel_loop(op, _column_stream(op), outputs, site, "input++", "output++")
        # eight outputs are computed at a time, and a window is read as a vector
        strip_bytes = ((-(-outputs // 8) * 8 - 1) * stride // VECTOR + 2) * VECTOR
        body = fill(
            """
            $each_channel
                ${prefix}_$name(input, scratch, row, output, $inside, $outputs, $addend);
            }
            """,
            prefix=site.prefix,
            name=name,
            each_channel=loop.head,
            inside=min(site.inputs[0].shape[1], (outputs - 1) * stride + taps - top),
            outputs=outputs,
            addend=coding.addend,
        )
        helpers = (name, *loop.helpers)
        if any(op.pads):
            body = f"{site.prefix}_fill(scratch, {op.input_zero_point}, {strip_bytes});\n{body}"
            helpers = ("fill", *helpers)
        return Kernel(
            body,
            # a channel's output reaches only that channel's input, which has been copied
            Demand(strip_bytes, (Over(every=channels),)),
            arrays=(loop.stream,),
            helpers=helpers,
        )


def _transposed(op: lower.Convolution, site: Site) -> tuple[lower.Convolution, Site]:
    """The same convolution of an image that has rows and columns exchanged; of one column, the bytes are the same."""
    source, output = (
        replace(each, shape=(1, 1, each.shape[1], each.shape[3])) for each in (*site.inputs[:1], site.output)
    )
    across = replace(
        op,
        weights=op.weights.swapaxes(1, 2),
        pads=(*op.pads[2:], *op.pads[:2]),
        stride=op.stride[::-1],
        dilation=op.dilation[::-1],
    )
    return across, replace(site, inputs=(source,), output=output)


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
