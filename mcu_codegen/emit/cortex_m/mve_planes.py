"""Depthwise convolutions by 3 x 3 and 1 x 3 with MVE, plane by plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np

from ... import lower
from ...memory import Demand, Over
from ..kernel import Array, Kernel, Site, fill, positions
from ..portable.weighted import folded_bias
from .assembly import packed, planes, requantizes, words
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

_PITCH = 6  # bytes between the rows of a strip: three rows of three taps then span 15 bytes, or 16 shifted by one


class MvePlanes(MveAcross):
    """The renderer's part that computes them."""

    def depthwise(self, op: lower.Convolution, site: Site) -> Kernel:
        """Copies one channel's plane into padded strips of a few columns, where a whole window lies in one vector."""
        _, height, width, channels = op.weights.shape
        _, rows, columns, _ = site.inputs[0].shape
        _, output_rows, output_columns, _ = site.output.shape
        far = 8 * max(output_columns, _PITCH) * channels >= OFFSETS
        if self.at_most or far or not planes(op) or not requantizes(op):
            return super().depthwise(op, site)
        outputs = output_rows * output_columns
        # instructions, about
        plane_by_plane = channels * (60 + 5.3 * outputs)
        side_by_side = outputs * (vectors_of(channels) * (35 + 12 * height * width) + 12 * height * width)
        if self.crosses(op) and side_by_side < plane_by_plane:
            return super().depthwise(op, site)
        top, _, left, right = op.pads
        # the right padding of a row is the left padding of the next, so that five columns fit too
        shared = (columns, op.stride[1], left, right) == (5, 1, 1, 1)
        size = min(output_columns, 5 if shared else (_PITCH - width) // op.stride[1] + 1)
        strip_rows = (output_rows - 1) * op.stride[0] + height
        strip_bytes = -(-(strip_rows * _PITCH + VECTOR) // VECTOR) * VECTOR
        inside = min(rows, strip_rows - top)
        together = 8 // gcd(8, size)
        kernel = _Rows(size, op.stride, channels, output_columns, coding_of(op))
        helpers: dict[str, MveAssembly] = {}
        gathers, calls = [], []
        for strip, first in enumerate(range(0, output_columns, size)):
            start = min(first, output_columns - size)  # the last strip may overlap the one before
            begin = start * op.stride[1] - left
            end = min(begin + (size - 1) * op.stride[1] + width, columns)
            gather = f"gather_{end - max(begin, 0)}_{channels}_{columns * channels}"
            helpers[gather] = _gather(end - max(begin, 0), channels, columns * channels)
            at = strip * strip_bytes + top * _PITCH + max(-begin, 0)
            gathers.append(f"{site.prefix}_{gather}(input + {max(begin, 0) * channels}, scratch + {at}, {inside});")
            done = 0
            for taken, times in ((together, output_rows // together), (output_rows % together, 1)):
                if taken and times:
                    name = kernel.name(taken)
                    helpers[name] = kernel.assembly(taken)
                    calls.append(
                        f"{site.prefix}_{name}(scratch + {strip * strip_bytes + done * op.stride[0] * _PITCH},"
                        f" row, output + {(done * output_columns + start) * channels}, {times});"
                    )
                    done += taken * times
        self.helpers |= {name: assembly.helper(name) for name, assembly in helpers.items()}
        scratch_bytes = len(gathers) * strip_bytes
        loop = self.channel_loop(op, _depthwise_stream(op), outputs, site, "input++", "output++")
        return Kernel(
            fill(
                """
                ${prefix}_fill(scratch, $zero_point, $scratch_bytes);
                $each_channel
                    $gathers
                    $calls
                }
                """,
                prefix=site.prefix,
                scratch_bytes=scratch_bytes,
                zero_point=op.input_zero_point,
                each_channel=loop.head,
                gathers="\n".join(gathers),
                calls="\n".join(calls),
            ),
            # a channel's output reaches only that channel's input, which has been copied
            Demand(scratch_bytes, (Over(every=channels),)),
            arrays=(loop.stream,),
            helpers=("fill", *helpers, *loop.helpers),
            macs=positions(site) * op.weights.size,
        )


def _depthwise_stream(op: lower.Convolution) -> Array:
    """Per channel, nine words: a word of zeros, the window's vector of weights, the tail, what `codes` adds.

    The weights one byte later are read from one byte before.
    """
    _, height, _, channels = op.weights.shape
    taps = op.weights.reshape(-1, channels).T
    vectors = np.zeros((channels, 4 + VECTOR), np.int8)
    for row in range(height):
        vectors[:, 4 + row * _PITCH : 7 + row * _PITCH] = taps[:, 3 * row : 3 * row + 3]
    addends = np.full((channels, 1), coding_of(op).addend)
    return words(packed(vectors), tails(op, folded_bias(op, taps)), addends)


def _gather(columns: int, channels: int, row_bytes: int) -> MveAssembly:
    return MveAssembly(
        f"One channel of {columns} columns of every row as rows of a strip. A pixel has {channels} bytes.",
        ("const int8_t *input", "int8_t *strip", "int32_t rows"),
        [
            "push {r7, lr}",
            "mov r12, #0",
            "vidup.u16 q1, r12, #1",
            *constant("r3", channels),
            "vmul.i16 q1, q1, r3",
            f"mov r3, #{columns}",
            "vctp.16 r3",
            *constant("r3", row_bytes),
            "dls lr, r2",
            "1:",
            "vpstt",
            "vldrbt.u16 q0, [r0, q1]",
            f"vstrbt.16 q0, [r1], #{_PITCH}",
            "add r0, r0, r3",
            "le lr, 1b",
            "pop {r7, pc}",
        ],
    )


@dataclass(frozen=True)
class _Rows:
    """The depthwise kernel of `size` output columns of a strip; outputs are computed eight at a time, in order."""

    size: int
    stride: tuple[int, int]
    channels: int
    output_columns: int
    coding: Coding

    def name(self, rows: int) -> str:
        stride = "_".join(map(str, self.stride))
        return f"rows_{rows}x{self.size}_{stride}_{self.channels}_{self.output_columns}{self.coding.suffix}"

    def assembly(self, rows: int) -> MveAssembly:
        """q0 and q1 hold the weights, the latter one byte later, q6 the addends, q7 the offsets of eight outputs."""
        whole = self.size == self.output_columns
        row_bytes = self.output_columns * self.channels
        offsets = (
            spread("q7", "q2", 8, 0, self.channels)
            if whole
            else spread("q7", "q2", self.size, row_bytes, self.channels)
        )
        outputs = [(row, column) for row in range(rows) for column in range(self.size)]
        groups = [outputs[start : start + 8] for start in range(0, len(outputs), 8)]
        body = []
        for group in groups:
            advance = len(group) * self.channels if whole else 8 // self.size * row_bytes
            body += [*self._group(group), *add_to("r3", advance)]
        return MveAssembly(
            f"Times {rows} rows of {self.size} outputs of one channel of a depthwise convolution by 3 columns.",
            ("const int8_t *strip", "const uint32_t *stream", "int8_t *output", "int32_t times"),
            [
                "push {r4-r11, lr}",
                "vpush {d8-d15}",
                "vldrb.u8 q0, [r1, #4]",
                "vldrb.u8 q1, [r1, #3]",
                "add r1, #20",
                "ldm r1, {r5, r7, r9, r12}",
                "vdup.16 q6, r12",
                "mov r1, r0",
                "mov r11, r3",
                "mov r3, r2",
                *offsets,
                "1:",
                *body,
                *add_to("r1", rows * self.stride[0] * _PITCH),
                "subs r11, #1",
                "bne 1b",
                "vpop {d8-d15}",
                "pop {r4-r11, pc}",
            ],
        )

    def _group(self, outputs: Sequence[tuple[int, int]]) -> list[str]:
        lines, loaded = [], -2
        for register, (row, column) in zip(ACCUMULATORS, outputs, strict=False):
            at = row * self.stride[0] * _PITCH + column * self.stride[1]
            if at != loaded + 1:
                lines.append(f"vldrb.u8 q2, [r1, #{at}]")
                loaded = at
            lines.append(f"vmladav.s8 {register}, q2, q{at - loaded}")
            if at != loaded:
                loaded = -2  # used up
        lines += eight_codes("r5", ("r7", "r9"), "q6", self.coding)
        if len(outputs) == 8:
            return [*lines, "vstrb.16 q3, [r3, q7]"]
        return [*lines, f"mov r0, #{len(outputs)}", "vctp.16 r0", "vpst", "vstrbt.16 q3, [r3, q7]"]
