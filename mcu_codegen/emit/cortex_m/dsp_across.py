"""Depthwise convolutions of few outputs for Cortex-M4, M7 and M33: one row of output at a time, through all channels.

Kernels that first copy a channel into a plane of its own earn that back over many rows; a step of a stream has one or
two. Here the bytes of a channel are loaded from the image where they lie, two become a word, and each word serves all
outputs of the row that meet it. Weights lie in flash as the words that SMLAD wants, doubled, as accumulators must be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ... import lower
from ...memory import Demand, Over
from ..kernel import Array, Kernel, Site, fill, times
from ..portable.renderer import Renderer
from ..portable.weighted import folded_bias
from .assembly import REACH, requantizes, scaling, undilated, words
from .clamp import Clamp, clamp_of
from .dsp_assembly import requantize
from .thumb2_assembly import Thumb2Assembly, moved_rounding

_TOTALS = ("r4", "r5", "r6", "r7", "r8")
_MOST_ROWS = 5  # of output: beyond, a plane of its own costs a channel less
_LONGEST = 63  # taps of a kernel, without a jump


@dataclass(frozen=True)
class _Row:
    """Outputs of one row that are computed together: `lines` are the lines of taps that each has, in the image.

    A line is the offsets of neighbouring bytes of a channel; output number n takes its taps from the one numbered
    n * `stride` on, `taps` of them.
    """

    lines: tuple[tuple[int, ...], ...]
    outputs: int
    stride: int
    taps: int
    distance: int  # bytes between outputs


class DspAcross(Renderer):
    """The renderer's part that computes them."""

    def depthwise(self, op: lower.Convolution, site: Site) -> Kernel:
        whole, op = op, undilated(op)
        _, height, width, channels = op.weights.shape
        _, rows, columns, _ = site.output.shape
        row_bytes = site.inputs[0].shape[2] * channels
        if (
            any(op.pads)
            or (op.dilation[1], op.depth_multiplier) != (1, 1)
            or (width != 3 and columns > 1)
            or height * width > _LONGEST
            or rows > _MOST_ROWS
            or (height - 1) * row_bytes + site.inputs[0].shape[2] * channels > REACH
            or self.optimize == "size"
            or not requantizes(op)
        ):
            return super().depthwise(whole, site)
        parts = -(-columns // len(_TOTALS))
        clamp = clamp_of(op.requantization)
        calls, helpers = [], []
        # as even as can be: one output alone would read its weights in another order
        for start, end in pairwise(columns * part // parts for part in range(parts + 1)):
            row = _row(op, end - start, row_bytes)
            name = f"across_{height}x{width}_{row.outputs}_{row.stride}_{row_bytes}_{channels}{clamp.suffix}"
            self.helpers[name] = _across(row, clamp).helper(name)
            helpers.append(name)
            step = start * op.stride[1] * channels
            calls.append(
                f"{site.prefix}_{name}(input + {times('y', op.stride[0] * row_bytes)} + {step}, stream,"
                f" output + {times('y', columns * channels)} + {start * channels}, {channels});"
            )
        return Kernel(
            fill("for (int32_t y = 0; y < $rows; y++) {\n    $calls\n}", rows=rows, calls="\n".join(calls)),
            # a channel's outputs reach only its own inputs, and only those above or before what is still read
            Demand(over=(Over(every=channels, most=0),)),
            arrays=(_stream(op, columns > 1),),
            helpers=tuple(dict.fromkeys(helpers)),
            macs=rows * columns * whole.weights.size,
        )


def _row(op: lower.Convolution, outputs: int, row_bytes: int) -> _Row:
    _, height, width, channels = op.weights.shape
    if outputs == 1:
        line = tuple(i * row_bytes + j * channels for i in range(height) for j in range(width))
        return _Row((line,), 1, 1, len(line), channels)
    across = (outputs - 1) * op.stride[1] + width
    lines = tuple(tuple(i * row_bytes + j * channels for j in range(across)) for i in range(height))
    return _Row(lines, outputs, op.stride[1], width, channels)


def _stream(op: lower.Convolution, several: bool) -> Array:
    """Per channel: the bias; pairs of weights, for several outputs (0, 1) and (1, 2) of every line, else of all taps in
    order; the multiplier; a word that holds the shift and, in its upper half, `rounding`."""
    channels = op.weights.shape[3]
    taps = 2 * op.weights.astype(np.int64).reshape(-1, channels).T
    if several:
        pairs = taps.reshape(channels, -1, 3)[:, :, [[0, 1], [1, 2]]].reshape(channels, -1, 2)
    else:
        pairs = np.pad(taps, ((0, 0), (0, taps.shape[1] % 2))).reshape(channels, -1, 2)
    bias = 2 * folded_bias(op, op.weights.reshape(-1, channels).T)
    multipliers, shifts = (each[:, None] for each in scaling(op, channels))
    low, high = pairs[:, :, 0] & 0xFFFF, pairs[:, :, 1] & 0xFFFF
    return words(bias[:, None], low + (high << 16), multipliers, shifts + (moved_rounding(op) << 16))


def _across(row: _Row, clamp: Clamp) -> Thumb2Assembly:
    """r0 reads bytes, r1 the stream, r2 writes, r12 is where the channels end; r3 and lr are weights."""
    totals = _TOTALS[: row.outputs]
    body = ["ldr r4, [r1], #4", *(f"mov {total}, r4" for total in totals[1:])]
    for line in row.lines:
        body += _products(line, row, totals)
    body += ["ldrd r9, r10, [r1], #8", "asr r11, r10, #16", "lsl r11, r11, r10"]
    # the shift is the lowest byte of r10, which is all that a shift by a register looks at
    body += requantize(totals, "r9", "r11", "r10", clamp)
    stores = [f"strb {total}, [r2, #{number * row.distance}]" for number, total in enumerate(totals) if number]
    return Thumb2Assembly(
        f"{row.outputs} outputs of every channel, of {row.taps * len(row.lines)} taps each.",
        ("const int8_t *input", "const uint32_t *stream", "int8_t *output", "int32_t channels"),
        [
            "push {r4-r11, lr}",
            "add r12, r0, r3",
            "1:",
            *body,
            *stores,
            f"strb {totals[0]}, [r2], #1",
            "add r0, r0, #1",
            "cmp r0, r12",
            "bne 1b",
            "pop {r4-r11, pc}",
        ],
    )


def _products(line: Sequence[int], row: _Row, totals: Sequence[str]) -> list[str]:
    """Two bytes of a line become a word in r9; what it takes is multiplied before the next one is loaded."""
    lines = []
    if row.outputs > 1:
        lines.append("ldrd r3, lr, [r1], #8")
    for pair in range(0, len(line), 2):
        if row.outputs == 1 and pair % 4 == 0:
            lines.append("ldrd r3, lr, [r1], #8" if pair + 2 < len(line) else "ldr r3, [r1], #4")
        lines.append(f"ldrsb r9, [r0, #{line[pair]}]")
        if pair + 1 < len(line):
            lines += [f"ldrsb r10, [r0, #{line[pair + 1]}]", "pkhbt r9, r9, r10, lsl #16"]
        for number, total in enumerate(totals):
            tap = pair - number * row.stride  # of the first of the two bytes
            if row.outputs == 1:
                lines.append(f"smlad {total}, r9, {'lr' if pair % 4 else 'r3'}, {total}")
            elif tap == 0:
                lines.append(f"smlad {total}, r9, r3, {total}")
            elif tap == 1:
                lines.append(f"smlad {total}, r9, lr, {total}")
            elif tap == 2:
                lines.append(f"smlabt {total}, r9, lr, {total}")
            elif tap == -1:
                lines.append(f"smlatb {total}, r9, r3, {total}")
    return lines
