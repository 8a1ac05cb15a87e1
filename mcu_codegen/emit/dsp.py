"""Kernels for cores with the DSP extension: Cortex-M4, M7 and M33.

Three ideas carry them. Activations are widened to int16 once, outside the loop over output channels, so that SMLAD
multiplies two pairs at a time. One operand is doubled on the way, so that accumulators arrive doubled, which is what
SMMULR wants: requantisation is then five instructions. And constants lie in the order in which the kernel reads them,
biases, weights, multipliers and shifts in one stream, so that one pointer serves all; the loops that need every
register of the core are written in assembly.

A layer for which this is not proven (`assembly`), or whose shape has no kernel here, is rendered as portable C.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import lower
from ..memory import Demand
from .assembly import REACH, Assembly, folded_bias, packed, requantizes, tails, words
from .blocks import BlockRenderer, Product
from .renderer import Array, Kernel, Site, fill

_UNROLLED = 32  # steps (of two inputs) that the matrix kernel unrolls at most


class DspRenderer(BlockRenderer):
    """Cortex-M4, M7, M33."""

    def multiplies(self, op: lower.Convolution | lower.FullyConnected, channels: int, depth: int) -> bool:
        # pairs of channels, and offsets within one instruction's reach
        return requantizes(op) and channels % 2 == 0 and max(channels, depth) * (self.block - 1) < REACH

    def product(self, op: lower.Convolution | lower.FullyConnected, depth: int, channels: int, rows: int) -> Product:
        pack = f"pack_{depth}x{rows}"
        # a single row has no neighbour whose distance would matter
        multiply = f"multiply_{depth}x{rows}" + (f"_{channels}" if rows > 1 else "")
        self.helpers[pack] = _pack(depth, rows).helper(pack)
        self.helpers[multiply] = _multiply(depth, channels, rows).helper(multiply)
        return Product(pack, multiply, 2 * depth * rows, channels // 2)

    def stream(self, op: lower.Convolution | lower.FullyConnected, weights: np.ndarray) -> Array:
        """Per pair of channels: two doubled biases; a word per two inputs (k, k + 2); the tails of both channels.

        Bytes 0 and 2 of a word of weights are the first channel's.
        """
        channels, depth = weights.shape
        pairs = channels // 2
        # pair, channel, group, k >> 1 & 1, k & 1 becomes pair, group, k & 1, k >> 1 & 1, channel
        octets = weights.reshape(pairs, 2, depth // 4, 2, 2).transpose(0, 2, 4, 3, 1).reshape(pairs, 2 * depth)
        bias = 2 * folded_bias(op, weights).reshape(pairs, 2)
        return words(bias, packed(octets), tails(op, channels).reshape(pairs, 6))

    def depthwise(self, op: lower.Convolution, site: Site) -> Kernel:
        """Widens one channel's plane into a padded buffer, then computes its rows, a few columns at a time."""
        _, height, width, channels = op.weights.shape
        _, rows, columns, _ = site.inputs[0].shape
        if (
            (height, width, op.stride, op.dilation, op.depth_multiplier) != (3, 3, (1, 1), (1, 1), 1)
            or op.pads != (1, 1, 1, 1)
            or not requantizes(op)
            or 4 * channels > REACH
        ):
            return super().depthwise(op, site)
        widths = _chunks(columns)
        pitch = max(start + 2 * ((size + 3) // 2) for start, size in widths)
        helpers = {f"widen_{columns}_{channels}_{pitch}": _widen(columns, channels, pitch)}
        calls = []
        for start, size in widths:
            name = f"rows_{size}_{columns * channels}_{pitch}_{channels}"
            helpers[name] = _depthwise_rows(size, columns * channels, pitch, channels)
            calls.append(
                f"{site.prefix}_{name}(plane + {start}, stream + 7 * channel, output + {start * channels}, {rows});"
            )
        self.helpers |= {name: assembly.helper(name) for name, assembly in helpers.items()}
        return Kernel(
            fill(
                """
                int16_t *const plane = (int16_t *)(void *)scratch;

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
                widen=next(iter(helpers)),
                first=pitch + 1,
                rows=rows,
                calls="\n".join(calls),
            ),
            Demand(scratch_bytes=2 * (rows + 2) * pitch, in_place=True),
            arrays=(_depthwise_stream(op),),
            helpers=tuple(helpers),
            macs=rows * columns * op.weights.size,
        )


def _depthwise_stream(op: lower.Convolution) -> Array:
    """Per channel, seven words: the doubled bias, nine weights and three bytes of nothing, the tail."""
    channels = op.weights.shape[3]
    weights = op.weights.reshape(9, channels).T
    bias = 2 * folded_bias(op, weights)
    return words(bias[:, None], packed(np.pad(weights, ((0, 0), (0, 3)))), tails(op, channels))


def _chunks(columns: int) -> list[tuple[int, int]]:
    """(start, size) of the columns computed together: even starts, five registers' worth at most."""
    if columns == 5:
        return [(0, 5)]
    return [(start, min(4, columns - start)) for start in range(0, columns, 4)]


def _requantize(registers: Sequence[str], multiplier: str, addend: str, shift: str) -> list[str]:
    """Doubled accumulators to int8 codes, in place."""
    lines = []
    for r in registers:
        lines += [
            f"smmulr {r}, {r}, {multiplier}",
            f"add {r}, {r}, {r}, asr #31",
            f"add {r}, {r}, {addend}",
            f"asr {r}, {r}, {shift}",
            f"ssat {r}, #8, {r}",
        ]
    return lines


def _pack(depth: int, pixels: int) -> Assembly:
    raw = [f"r{2 + pixel}" for pixel in range(pixels)]
    pairs = [f"r{6 + pixel}" for pixel in range(pixels)]

    def widen(rotation: str) -> list[str]:
        lines = [f"sxtb16 {pair}, {word}{rotation}" for pair, word in zip(pairs, raw, strict=True)]
        lines += [f"sadd16 {pair}, {pair}, {pair}" for pair in pairs]
        return [*lines, f"stm r1!, {{{', '.join(pairs)}}}" if pixels > 1 else f"str {pairs[0]}, [r1], #4"]

    return Assembly(
        f"Widens and doubles {pixels} x {depth} inputs: for every four of a pixel, the pair (0, 2), then (1, 3).",
        ("const int8_t *input", "int16_t *wide"),
        [
            "push {r4-r10, lr}",
            f"add lr, r0, #{depth}",
            "1:",
            *(f"ldr {word}, [r0, #{pixel * depth}]" for pixel, word in enumerate(raw) if pixel),
            f"ldr {raw[0]}, [r0], #4",
            *widen(""),
            *widen(", ror #8"),
            "cmp r0, lr",
            "bne 1b",
            "pop {r4-r10, pc}",
        ],
    )


def _multiply(depth: int, channels: int, pixels: int) -> Assembly:
    """r4-r7 sum up the first channel of a pair, r8-r11 the second, a register a pixel."""
    first, second = ([f"r{base + pixel}" for pixel in range(pixels)] for base in (4, 8))
    widen = ["sxtb16 lr, r12, ror #8", "sxtb16 r12, r12"]
    if pixels == 1:
        step = ["ldr r12, [r1], #4", "ldr r2, [r0], #4", *widen, "smlad r4, r2, r12, r4", "smlad r8, r2, lr, r8"]
    else:
        # single loads in a row take a cycle each after the first; the later pair is as quick as one LDRD
        step = ["ldr r12, [r1], #4", "ldr r2, [r0], #4", "ldr r3, [r0], #4", *widen]
        for pixel in range(pixels):
            if pixel == 2:
                step.append("ldrd r2, r3, [r0], #8")
            source = "r2" if pixel % 2 == 0 else "r3"
            step += [f"smlad {a}, {source}, {w}, {a}" for a, w in ((first[pixel], "r12"), (second[pixel], "lr"))]
    steps = depth // 2
    most = _UNROLLED if pixels > 1 else _UNROLLED // 4  # what is left over is not worth the flash
    unrolled = max(count for count in range(1, most + 1) if steps % count == 0)
    body = step * unrolled
    if unrolled < steps:
        count = ["ldr r2, [sp]", "subs r2, #1", "str r2, [sp]", "bne 2b"]
        body = [f"mov r2, #{steps // unrolled}", "str r2, [sp]", "2:", *body, *count]
    return Assembly(
        f"{pixels} packed x {depth} inputs times pairs of channels"
        + (f". The outputs of a pixel are {channels} bytes." if pixels > 1 else "."),
        ("const int16_t *wide", "const uint32_t *stream", "int8_t *output", "int32_t pairs"),
        [
            "push {r2-r11, lr}",
            "sub sp, #4",  # now sp points at the loop counter, the output and the pairs left
            "1:",
            "ldrd r4, r8, [r1], #8",
            *(f"mov {register}, {group[0]}" for group in (first, second) for register in group[1:]),
            *body,
            f"sub r0, r0, #{2 * depth * pixels}",
            "ldm r1!, {r2, r3, r12}",
            *_requantize(first, "r2", "r3", "r12"),
            "ldm r1!, {r2, r3, r12}",
            *_requantize(second, "r2", "r3", "r12"),
            "ldrd r2, r3, [sp, #4]",
            *(
                f"strb {register}, [r2, #{pixel * channels + channel}]"
                for channel, group in enumerate((first, second))
                for pixel, register in enumerate(group)
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
    step = f"ldrsb r3, [r0], #{channels}" if channels < 256 else f"ldrsb r3, [r0]; add r0, r0, #{channels}"
    return Assembly(
        f"One channel's rows of {columns} columns, {channels} bytes apart, as rows of int16, {pitch} elements apart.",
        ("const int8_t *input", "int16_t *plane", "int32_t rows"),
        [
            "1:",
            *(line for _ in range(columns) for line in (*step.split("; "), "strh r3, [r1], #2")),
            f"adds r1, #{2 * (pitch - columns)}",
            "subs r2, #1",
            "bne 1b",
            "bx lr",
        ],
    )


def _depthwise_rows(columns: int, row_bytes: int, pitch: int, channels: int) -> Assembly:
    """r4.. sum up the columns; r9.. hold a row of the plane, two columns a register; r3 and lr the row's weights."""
    sums = [f"r{4 + column}" for column in range(columns)]
    row = [f"r{9 + word}" for word in range((columns + 3) // 2)]
    products = []
    for column, total in enumerate(sums):
        left, right = row[column // 2], row[column // 2 + 1]
        products += (
            [f"smlad {total}, {left}, r3, {total}", f"smlabt {total}, {right}, lr, {total}"]
            if column % 2 == 0
            else [f"smlatb {total}, {left}, r3, {total}", f"smlad {total}, {right}, lr, {total}"]
        )
    load = [f"ldm r0!, {{{', '.join(row)}}}"]
    if len(row) * 2 != pitch:
        load = [f"ldm r0, {{{', '.join(row)}}}", f"add r0, #{2 * pitch}"]
    unpack = []
    for at in range(0, 24, 8):
        for register in ("r4", "r5", "r6"):
            unpack += [f"ldrsb {register}, [r1], #1", f"lsl {register}, {register}, #1"]
        unpack += ["pkhbt r7, r4, r5, lsl #16", "pkhbt r8, r5, r6, lsl #16", f"strd r7, r8, [sp, #{at}]"]
    return Assembly(
        f"{columns} columns of every row of a 3 x 3 depthwise convolution of one plane, {pitch} elements a row.",
        ("const int16_t *plane", "const uint32_t *stream", "int8_t *output", "int32_t rows"),
        [
            "push {r3-r11, lr}",
            "sub sp, #28",  # now sp points at six pairs of weights, the bias and the rows left
            "ldr r4, [r1], #4",
            "str r4, [sp, #24]",
            *unpack,
            "adds r1, #3",
            "1:",
            "ldr r4, [sp, #24]",
            *(f"mov {total}, r4" for total in sums[1:]),
            *(line for at in range(0, 24, 8) for line in (*load, f"ldrd r3, lr, [sp, #{at}]", *products)),
            f"sub r0, #{4 * pitch}",
            "ldm r1, {r9, r10, r11}",
            *_requantize(sums, "r9", "r10", "r11"),
            *(f"strb {total}, [r2, #{column * channels}]" for column, total in enumerate(sums)),
            f"add r2, r2, #{row_bytes}",
            "ldr r3, [sp, #28]",
            "subs r3, #1",
            "str r3, [sp, #28]",
            "bne 1b",
            "add sp, #32",
            "pop {r4-r11, pc}",
        ],
    )
