"""Kernels for Cortex-M3: one multiply-accumulate an instruction, and every register of the core.

As in `dsp`, constants lie in one stream and loops are written in assembly. Rows of input are widened to int32 once, so
that one load brings two of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import lower
from ..memory import Demand
from .assembly import REACH, Assembly, folded_bias, packed, requantizes, tails, words
from .blocks import BlockRenderer, Product
from .renderer import Array, Kernel, Site, fill

_UNROLLED = 16  # inputs that the matrix kernel unrolls at most
_COLUMNS = 5  # columns that the depthwise kernel computes at a time, at most


class Armv7mRenderer(BlockRenderer):
    """Cortex-M3."""

    def multiplies(self, op: lower.Convolution | lower.FullyConnected, channels: int, depth: int) -> bool:
        return requantizes(op) and channels % 2 == 0 and max(channels, depth) * (self.block - 1) < REACH

    def product(self, op: lower.Convolution | lower.FullyConnected, depth: int, channels: int, rows: int) -> Product:
        pack, multiply = f"pack_{depth}x{rows}", f"multiply_{depth}x{rows}_{channels}"
        self.helpers[pack] = _pack(depth, rows).helper(pack)
        self.helpers[multiply] = _multiply(depth, channels, rows).helper(multiply)
        return Product(pack, multiply, 4 * depth * rows, channels // 2)

    def stream(self, op: lower.Convolution | lower.FullyConnected, weights: np.ndarray) -> Array:
        """Per pair of channels: two biases, the weights of both by turns, the tails of both."""
        channels, depth = weights.shape
        pairs = channels // 2
        turns = weights.reshape(pairs, 2, depth).transpose(0, 2, 1).reshape(pairs, 2 * depth)
        bias = folded_bias(op, weights).reshape(pairs, 2)
        return words(bias, packed(turns), tails(op, channels).reshape(pairs, 6))

    def depthwise(self, op: lower.Convolution, site: Site) -> Kernel:
        """Widens one channel's plane into a padded buffer, then computes its rows, a few columns at a time."""
        _, height, width, channels = op.weights.shape
        _, rows, columns, _ = site.inputs[0].shape
        if (
            (height, width, op.stride, op.dilation, op.depth_multiplier) != (3, 3, (1, 1), (1, 1), 1)
            or op.pads != (1, 1, 1, 1)
            or not requantizes(op)
            or _COLUMNS * channels > REACH
        ):
            return super().depthwise(op, site)
        chunks = [(start, min(_COLUMNS, columns - start)) for start in range(0, columns, _COLUMNS)]
        pitch = columns + 2 + (columns == _COLUMNS)  # rows of eight come in two loads of four
        widen = f"widen_{columns}_{channels}_{pitch}"
        helpers = {widen: _widen(columns, channels, pitch)}
        calls = []
        for start, size in chunks:
            name = f"rows_{size}_{columns * channels}_{pitch}_{channels}"
            helpers[name] = _depthwise_rows(size, columns * channels, pitch, channels)
            calls.append(
                f"{site.prefix}_{name}(plane + {start}, stream + 7 * channel, output + {start * channels}, {rows});"
            )
        self.helpers |= {name: assembly.helper(name) for name, assembly in helpers.items()}
        return Kernel(
            fill(
                """
                int32_t *const plane = (int32_t *)(void *)scratch;

                for (int32_t i = 0; i < $elements; i++) {
                    plane[i] = $zero_point;
                }
                for (int32_t channel = 0; channel < $channels; channel++) {
                    ${prefix}_$widen(input, plane + $first, $rows);
                    $calls
                    input++;
                    output++;
                }
                """,
                elements=(rows + 2) * pitch,
                zero_point=op.input_zero_point,
                channels=channels,
                prefix=site.prefix,
                widen=widen,
                first=pitch + 1,
                rows=rows,
                calls="\n".join(calls),
            ),
            Demand(scratch_bytes=4 * (rows + 2) * pitch, in_place=True),
            arrays=(_depthwise_stream(op),),
            helpers=tuple(helpers),
            macs=rows * columns * op.weights.size,
        )


def _depthwise_stream(op: lower.Convolution) -> Array:
    """Per channel, seven words: the bias, nine weights and three bytes of nothing, the tail."""
    channels = op.weights.shape[3]
    weights = op.weights.reshape(9, channels).T
    return words(folded_bias(op, weights)[:, None], packed(np.pad(weights, ((0, 0), (0, 3)))), tails(op, channels))


def _requantize(registers: Sequence[str], multiplier: str, addend: str, shift: str, spare: str) -> list[str]:
    """Accumulators to int8 codes, in place. The high half of the doubled product, rounded by the low half's top bit."""
    lines = []
    for r in registers:
        lines += [
            f"lsl {r}, {r}, #1",
            f"smull {spare}, {r}, {r}, {multiplier}",
            f"add {r}, {r}, {spare}, lsr #31",
            f"add {r}, {r}, {r}, asr #31",
            f"add {r}, {r}, {addend}",
            f"asr {r}, {r}, {shift}",
            f"ssat {r}, #8, {r}",
        ]
    return lines


def _pack(depth: int, rows: int) -> Assembly:
    registers = [f"r{3 + row}" for row in range(rows)]
    loads = [f"ldrsb {register}, [r0, #{row * depth}]" for row, register in enumerate(registers) if row]
    store = f"stm r1!, {{{', '.join(registers)}}}" if rows > 1 else f"str {registers[0]}, [r1], #4"
    return Assembly(
        f"Widens {rows} x {depth} inputs, by turns.",
        ("const int8_t *input", "void *wide"),
        [
            "push {r4-r7}",
            f"add r2, r0, #{depth}",
            "1:",
            *[*loads, f"ldrsb {registers[0]}, [r0], #1", store] * 4,
            "cmp r0, r2",
            "bne 1b",
            "pop {r4-r7}",
            "bx lr",
        ],
    )


def _multiply(depth: int, channels: int, rows: int) -> Assembly:
    """r4-r7 sum up the first channel of a pair, r8-r11 the second, a register a row."""
    first, second = ([f"r{base + row}" for row in range(rows)] for base in (4, 8))
    step = ["ldrsb r12, [r1], #1", "ldrsb lr, [r1], #1"]
    for row in range(rows):
        if row % 2 == 0:
            step.append("ldrd r2, r3, [r0], #8" if rows > 1 else "ldr r2, [r0], #4")
        source = "r2" if row % 2 == 0 else "r3"
        step += [f"mla {total}, {source}, {w}, {total}" for total, w in ((first[row], "r12"), (second[row], "lr"))]
    unrolled = max(count for count in range(1, _UNROLLED + 1) if depth % count == 0)
    body = step * unrolled
    if unrolled < depth:
        count = ["ldr r2, [sp]", "subs r2, #1", "str r2, [sp]", "bne 2b"]
        body = [f"mov r2, #{depth // unrolled}", "str r2, [sp]", "2:", *body, *count]
    return Assembly(
        f"{rows} packed x {depth} inputs times pairs of channels. The outputs of a row are {channels} bytes.",
        ("const void *wide", "const uint32_t *stream", "int8_t *output", "int32_t pairs"),
        [
            "push {r2-r11, lr}",
            "sub sp, #4",  # now sp points at the loop counter, the output and the pairs left
            "1:",
            "ldrd r4, r8, [r1], #8",
            *(f"mov {register}, {group[0]}" for group in (first, second) for register in group[1:]),
            *body,
            f"sub r0, r0, #{4 * depth * rows}",
            "ldm r1!, {r2, r3, r12}",
            *_requantize(first, "r2", "r3", "r12", "lr"),
            "ldm r1!, {r2, r3, r12}",
            *_requantize(second, "r2", "r3", "r12", "lr"),
            "ldrd r2, r3, [sp, #4]",
            *(
                f"strb {register}, [r2, #{row * channels + channel}]"
                for channel, group in enumerate((first, second))
                for row, register in enumerate(group)
            ),
            "adds r2, #2",
            "subs r3, #1",
            "strd r2, r3, [sp, #4]",
            "bne 1b",
            "add sp, #12",
            "pop {r4-r11, pc}",
        ],
    )


def _widen(columns: int, channels: int, pitch: int) -> Assembly:
    load = [f"ldrsb r3, [r0], #{channels}"] if channels < 256 else ["ldrsb r3, [r0]", f"add r0, r0, #{channels}"]
    return Assembly(
        f"One channel's rows of {columns} columns, {channels} bytes apart, as rows of int32, {pitch} elements apart.",
        ("const int8_t *input", "int32_t *plane", "int32_t rows"),
        [
            "1:",
            *[*load, "str r3, [r1], #4"] * columns,
            f"adds r1, #{4 * (pitch - columns)}",
            "subs r2, #1",
            "bne 1b",
            "bx lr",
        ],
    )


def _depthwise_rows(columns: int, row_bytes: int, pitch: int, channels: int) -> Assembly:
    """r4.. sum up the columns; r2, r3, lr hold a row of weights, r9-r12 the row of the plane, four values at a time."""
    sums = [f"r{4 + column}" for column in range(columns)]
    window = ["r9", "r10", "r11", "r12"]
    weights = ["r2", "r3", "lr"]
    values = columns + 2
    row: list[str] = []
    loaded = 0
    while loaded < values:
        # a row of eight is read whole, so that the pointer ends at the next row
        batch = window[: 4 if pitch == 8 else min(4, values - loaded)]
        row.append(f"ldm r0!, {{{', '.join(batch)}}}")
        if loaded == 0:
            row += [f"ldrsb {weight}, [r1], #1" for weight in weights]
        for column, total in enumerate(sums):
            for tap, weight in enumerate(weights):
                if loaded <= column + tap < loaded + len(batch):
                    row.append(f"mla {total}, {window[column + tap - loaded]}, {weight}, {total}")
        loaded += len(batch)
    if loaded < pitch:
        row.append(f"add r0, r0, #{4 * (pitch - loaded)}")
    return Assembly(
        f"{columns} columns of every row of a 3 x 3 depthwise convolution of one plane, {pitch} elements a row.",
        ("const int32_t *plane", "const uint32_t *stream", "int8_t *output", "int32_t rows"),
        [
            "push {r2-r11, lr}",
            "1:",
            "ldr r4, [r1], #4",
            *(f"mov {total}, r4" for total in sums[1:]),
            *row * 3,
            f"sub r0, r0, #{8 * pitch}",
            "adds r1, #3",
            "ldm r1, {r9, r10, r11}",
            "sub r1, r1, #16",
            *_requantize(sums, "r9", "r10", "r11", "r12"),
            "ldrd r2, r3, [sp]",
            *(f"strb {total}, [r2, #{column * channels}]" for column, total in enumerate(sums)),
            f"add r2, r2, #{row_bytes}",
            "subs r3, #1",
            "strd r2, r3, [sp]",
            "bne 1b",
            "add sp, #8",
            "pop {r4-r11, pc}",
        ],
    )
