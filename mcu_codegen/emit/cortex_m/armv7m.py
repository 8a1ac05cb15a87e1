"""Kernels for Cortex-M3: one multiply-accumulate an instruction, and every register of the core.

As in `dsp`, constants lie in one stream and loops are written in assembly. Rows of input are widened to int32 once, so
that one load brings two of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from .assembly import divisor, gap
from .clamp import Clamp
from .thumb2 import Thumb2Renderer, pair_product, sums
from .thumb2_assembly import Thumb2Assembly, add_to, row_loop, to_codes
from .thumb2_dot import ONE


class Armv7mRenderer(Thumb2Renderer):
    """Cortex-M3."""

    instruction_set = "armv7m"
    element_bytes = 4
    multiply_add = "mla"
    scale = 1
    unrolled = (16, 4)  # inputs
    four = ONE * 4

    def interleave(self, weights: np.ndarray) -> np.ndarray:
        """By turns."""
        channels, depth = weights.shape
        return weights.reshape(channels // 2, 2, depth).transpose(0, 2, 1).reshape(channels // 2, 2 * depth)

    def chunks(self, columns: int, stride: int) -> tuple[list[tuple[int, int]], int]:
        """Rows of five, with their padding, come in two loads of four."""
        chunks = [(start, min(5, columns - start)) for start in range(0, columns, 5)]
        return chunks, (columns - 1) * stride + 3 + ((columns, stride) == (5, 1))

    def group(self, weights: np.ndarray) -> np.ndarray:
        return weights

    def tabulate(self, kinds: int) -> list[str]:
        registers = ("r2", "r3", "r5", "r6")
        loads = [f"ldrsb {register}, [r0], #1" for register in registers]
        return [*loads, *(f"lsl {register}, {register}, #1" for register in registers), "stm r1!, {r2, r3, r5, r6}"]

    def requantize(
        self, registers: Sequence[str], multiplier: str, twice_addend: str, shift: str, clamp: Clamp
    ) -> list[str]:
        return _requantize_doubled(registers, multiplier, twice_addend, shift, "r12", clamp)

    def tap(self, pointer: str, offset: int) -> list[str]:
        lines = []
        for channel, total in enumerate(("r4", "r5", "r6", "r7")):
            lines += [f"ldrsb r8, [{pointer}, #{offset + channel}]", "ldrsb r9, [r1], #1"]
            lines.append(f"mla {total}, r8, r9, {total}")
        return lines

    def pack_rows(self, depth: int, rows: int, pitch: int) -> Thumb2Assembly:
        registers = [f"r{3 + row}" for row in range(rows)]
        loads = [f"ldrsb {register}, [r0, #{row * pitch}]" for row, register in enumerate(registers) if row]
        store = f"stm r1!, {{{', '.join(registers)}}}" if rows > 1 else f"str {registers[0]}, [r1], #4"
        each = [*loads, f"ldrsb {registers[0]}, [r0], #1", store]
        whole = depth - depth % 4
        loop = [*add_to("r2", whole, "r0"), "1:", *each * 4, "cmp r0, r2", "bne 1b"]
        return Thumb2Assembly(
            f"Widens {rows} x {depth} inputs, by turns.",
            ("const int8_t *input", "void *wide"),
            [
                "push {r4-r7}",
                *(loop if whole else []),
                *each * (depth - whole),
                "pop {r4-r7}",
                "bx lr",
            ],
        )

    def multiply_rows(self, depth: int, channels: int, rows: int, clamp: Clamp) -> Thumb2Assembly:
        first, second = sums(rows)
        if rows == 1:
            return self._multiply_row(depth, channels, clamp)
        step = ["ldrsb r12, [r1], #1", "ldrsb lr, [r1], #1"]
        for row in range(rows):
            if row % 2 == 0:
                step.append("ldrd r2, r3, [r0], #8" if row + 1 < rows else "ldr r2, [r0], #4")
            source = "r2" if row % 2 == 0 else "r3"
            step += [f"mla {total}, {source}, {w}, {total}" for total, w in ((first[row], "r12"), (second[row], "lr"))]
        requantize = partial(_requantize, multiplier="r2", twice_addend="r3", shift="r12", spare="lr", clamp=clamp)
        return pair_product(step, depth, divisor(depth, self.most), 4 * depth * rows, depth, channels, rows, requantize)

    def multiply_lying(self, depth: int, channels: int, clamp: Clamp) -> Thumb2Assembly:
        load = [f"ldrsb {register}, [r0], #1" for register in ("r2", "r3", "r5", "r6")]
        return self._multiply_row(depth, channels, clamp, load, 1)

    def _multiply_row(
        self,
        depth: int,
        channels: int,
        clamp: Clamp,
        load: Sequence[str] = ("ldm r0!, {r2, r3, r5, r6}",),
        element_bytes: int = 4,
    ) -> Thumb2Assembly:
        """Four inputs at a time, of so many bytes each, in registers that sum up more rows elsewhere."""
        step = [*load]
        for source in ("r2", "r3", "r5", "r6"):
            step += [
                "ldrsb r12, [r1], #1",
                "ldrsb lr, [r1], #1",
                f"mla r4, {source}, r12, r4",
                f"mla r8, {source}, lr, r8",
            ]
        finish = partial(_requantize, multiplier="r2", twice_addend="r3", shift="r12", spare="lr", clamp=clamp)
        lines = row_loop(step, depth // 4, 2 * self.most)
        return pair_product(lines, 1, 1, element_bytes * depth, depth, channels, 1, finish)

    def depthwise_rows(
        self,
        height: int,
        columns: int,
        row_bytes: int,
        pitch: int,
        channels: int,
        stride: tuple[int, int],
        clamp: Clamp,
    ) -> Thumb2Assembly:
        """r4.. sum up the columns; r2, r3, lr hold a row of weights, r9-r12 of the plane, four values at a time."""
        totals = [f"r{4 + column}" for column in range(columns)]
        window = ["r9", "r10", "r11", "r12"]
        weights = ["r2", "r3", "lr"]
        values = (columns - 1) * stride[1] + 3
        row: list[str] = []
        loaded = 0
        while loaded < values:
            # one more than is used is read where the row then ends, so that the pointer is at the next row
            batch = window[: min(4, (pitch if pitch == values + 1 else values) - loaded)]
            row.append(f"ldm r0!, {{{', '.join(batch)}}}")
            if loaded == 0:
                row += [f"ldrsb {weight}, [r1], #1" for weight in weights]
            for column, total in enumerate(totals):
                for tap, weight in enumerate(weights):
                    at = column * stride[1] + tap - loaded
                    if 0 <= at < len(batch):
                        row.append(f"mla {total}, {window[at]}, {weight}, {total}")
            loaded += len(batch)
        if loaded < pitch:
            row += add_to("r0", 4 * (pitch - loaded))
        return Thumb2Assembly(
            f"{columns} columns of every row of a {height} x 3 depthwise convolution of one plane, {pitch} elements a"
            f" row; strides {stride}.",
            ("const int32_t *plane", "const uint32_t *stream", "int8_t *output", "int32_t rows"),
            [
                "push {r2-r11, lr}",
                "1:",
                "ldr r4, [r1], #4",
                *(f"mov {total}, r4" for total in totals[1:]),
                *row * height,
                *add_to("r0", 4 * (stride[0] - height) * pitch),
                f"ldrb r11, [r1, #{gap(3 * height)}]",
                f"ldrsh r10, [r1, #{gap(3 * height) + 1}]",
                f"ldr r9, [r1, #{gap(3 * height) + 3}]",
                f"sub r1, r1, #{4 + 3 * height}",
                "lsl r10, r10, r11",
                *_requantize(totals, "r9", "r10", "r11", "r12", clamp),
                "ldrd r2, r3, [sp]",
                *(f"strb {total}, [r2, #{column * channels}]" for column, total in enumerate(totals)),
                *add_to("r2", row_bytes),
                "subs r3, #1",
                "strd r2, r3, [sp]",
                "bne 1b",
                "add sp, #8",
                "pop {r4-r11, pc}",
            ],
        )


def _requantize(
    registers: Sequence[str], multiplier: str, twice_addend: str, shift: str, spare: str, clamp: Clamp
) -> list[str]:
    """Accumulators to int8 codes, in place."""
    doubled = [f"lsl {register}, {register}, #1" for register in registers]
    return doubled + _requantize_doubled(registers, multiplier, twice_addend, shift, spare, clamp)


def _requantize_doubled(
    registers: Sequence[str], multiplier: str, twice_addend: str, shift: str, spare: str, clamp: Clamp
) -> list[str]:
    """Doubled accumulators to int8 codes. The high half of the product is rounded by the low half's top bit."""
    lines = []
    for r, code in zip(registers, to_codes(registers, twice_addend, shift, clamp), strict=True):
        lines += [f"smull {spare}, {r}, {r}, {multiplier}", f"add {r}, {r}, {spare}, lsr #31", *code]
    return lines
