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
from functools import partial

import numpy as np

from ... import lower
from ..kernel import Kernel, Site, positions
from .assembly import divisor
from .clamp import Clamp
from .dsp_across import DspAcross
from .dsp_assembly import requantize
from .dsp_extremes import DspExtremes
from .dsp_five import FiveRows
from .dsp_planes import DspPlanes
from .dsp_pooling import DspPooling
from .thumb2 import Thumb2Renderer, pair_product, sums
from .thumb2_assembly import Thumb2Assembly, add_to, row_loop


class DspRenderer(DspAcross, DspExtremes, DspPlanes, DspPooling, Thumb2Renderer):
    """Cortex-M4, M7, M33."""

    instruction_set = "dsp"
    element_bytes = 2
    multiply_add = "smlad"
    scale = 2
    unrolled = (32, 4)  # steps of two inputs
    four = (
        *("ldr r8, [r0], #4", "ldr r9, [r1], #4"),
        *("sxtb16 r12, r8, ror #8", "sxtb16 r8, r8", "sxtb16 lr, r9, ror #8", "sxtb16 r9, r9"),
        *("smlad r11, r8, r9, r11", "smlad r11, r12, lr, r11"),
    )
    # r12 and lr become two weights of the first and of the second channel: instructions that load, and that compute
    load: tuple[str, ...] = ("ldr r12, [r1], #4",)
    widen: tuple[str, ...] = ("sxtb16 lr, r12, ror #8", "sxtb16 r12, r12")

    def convolution(self, op: lower.Convolution, site: Site) -> Kernel:
        """Five rows have kernels of their own, where flash may be given for speed."""
        five_rows = positions(site) == FiveRows.block and not op.depthwise and not self.is_sparse(op)
        if five_rows and self.optimize != "size" and not self.at_most:
            five = FiveRows(self.optimize, self.helpers, self.weights)
            if op.dilation == (1, 1) and not five.obstacle(op, len(op.weights)):
                return five.convolution(op, site)
        return super().convolution(op, site)

    def is_sparse(self, op: lower.Convolution | lower.FullyConnected) -> bool:
        """Whether a subclass keeps only the weights of `op` that are not zero."""
        return False

    def interleave(self, weights: np.ndarray) -> np.ndarray:
        """A word per two inputs (k, k + 2); its bytes 0 and 2 are the first channel's."""
        channels, depth = weights.shape
        # pair, channel, group, k >> 1 & 1, k & 1 becomes pair, group, k & 1, k >> 1 & 1, channel
        octets = weights.reshape(channels // 2, 2, depth // 4, 2, 2).transpose(0, 2, 4, 3, 1)
        return octets.reshape(channels // 2, 2 * depth)

    def group(self, weights: np.ndarray) -> np.ndarray:
        # bytes 0 and 2 are the first pair
        return weights.reshape(len(weights), -1, 2, 2).swapaxes(2, 3).reshape(weights.shape)

    def tabulate(self, kinds: int) -> list[str]:
        """Two pairs; between them, the second weight of the pair before, which is in r4, with the first of the next."""
        pairs = ["ldr r2, [r0], #4", "sxtb16 r5, r2", "sxtb16 r7, r2, ror #8", "sadd16 r5, r5, r5", "sadd16 r7, r7, r7"]
        if kinds == 1:
            return [*pairs, "stm r1!, {r5, r7}"]
        shifted = ["lsr r6, r4, #16", "pkhbt r6, r6, r5, lsl #16", "lsr r8, r5, #16", "pkhbt r8, r8, r7, lsl #16"]
        return [*pairs, *shifted, "mov r4, r7", "stm r1!, {r5, r6, r7, r8}"]

    def requantize(
        self, registers: Sequence[str], multiplier: str, twice_addend: str, shift: str, clamp: Clamp
    ) -> list[str]:
        return requantize(registers, multiplier, twice_addend, shift, clamp)

    def high_product(self, total: str) -> list[str]:
        return [f"smmulr {total}, {total}, r11"]

    def tap(self, pointer: str, offset: int) -> list[str]:
        lines = [f"ldr r8, [{pointer}, #{offset}]", "ldr r9, [r1], #4"]
        for word, odd in (("r8", "r10"), ("r9", "r12")):
            lines += [f"sxtb16 {odd}, {word}, ror #8", f"sxtb16 {word}, {word}"]
        lines += ["smlabb r4, r8, r9, r4", "smlabb r5, r10, r12, r5"]
        return [*lines, "smlatt r6, r8, r9, r6", "smlatt r7, r10, r12, r7"]

    def pack_rows(self, depth: int, rows: int, pitch: int) -> Thumb2Assembly:
        raw = [f"r{2 + row}" for row in range(rows)]
        pairs = [f"r{6 + row}" for row in range(rows)]

        whole, rest = depth - depth % 4, depth % 4

        def load_rest() -> list[str]:
            """One to three inputs of each row at its word's beginning."""
            lines = []
            for row, word in reversed(list(enumerate(raw))):
                at = row * pitch
                lines += [f"ldrb {word}, [r0, #{at}]"] if rest == 1 else [f"ldrh {word}, [r0, #{at}]"]
                if rest == 3:
                    lines += [f"ldrb r10, [r0, #{at + 2}]", f"add {word}, {word}, r10, lsl #16"]
            return lines

        def widen(rotation: str) -> list[str]:
            lines = [f"sxtb16 {pair}, {word}{rotation}" for pair, word in zip(pairs, raw, strict=True)]
            lines += [f"sadd16 {pair}, {pair}, {pair}" for pair in pairs]
            return [*lines, f"stm r1!, {{{', '.join(pairs)}}}" if rows > 1 else f"str {pairs[0]}, [r1], #4"]

        loop = [
            *add_to("lr", whole, "r0"),
            "1:",
            *(f"ldr {word}, [r0, #{row * pitch}]" for row, word in enumerate(raw) if row),
            f"ldr {raw[0]}, [r0], #4",
            *widen(""),
            *widen(", ror #8"),
            "cmp r0, lr",
            "bne 1b",
        ]
        return Thumb2Assembly(
            f"Widens and doubles {rows} x {depth} inputs: for every four of a row, the pair (0, 2), then (1, 3).",
            ("const int8_t *input", "int16_t *wide"),
            [
                "push {r4-r10, lr}",
                *(loop if whole else []),
                *([*load_rest(), *widen(""), *widen(", ror #8")] if rest else []),
                "pop {r4-r10, pc}",
            ],
        )

    def multiply_rows(self, depth: int, channels: int, rows: int, clamp: Clamp) -> Thumb2Assembly:
        first, second = sums(rows)
        if rows == 1 and self.widen:
            return self._multiply_row(depth, channels, clamp)
        # single loads in a row take a cycle each after the first; the later pair is as quick as one LDRD
        inputs = [f"ldr {register}, [r0], #4" for register in ("r2", "r3")[:rows]]
        step = [*self.load, *inputs, *self.widen]
        for row in range(rows):
            if row == 2:
                step.append("ldrd r2, r3, [r0], #8" if rows > 3 else "ldr r2, [r0], #4")
            source = "r2" if row % 2 == 0 else "r3"
            step += [f"smlad {a}, {source}, {w}, {a}" for a, w in ((first[row], "r12"), (second[row], "lr"))]
        most = self.most if rows > 1 else self.most // 4  # what is left over is not worth the flash
        finish = partial(requantize, multiplier="r2", twice_addend="r3", shift="r12", clamp=clamp)
        steps = depth // 2
        return pair_product(step, steps, divisor(steps, most), 2 * depth * rows, depth, channels, rows, finish)

    def _multiply_row(self, depth: int, channels: int, clamp: Clamp) -> Thumb2Assembly:
        """Eight inputs and their weights at a time, in registers that sum up more rows elsewhere."""
        inputs, weights = ("r2", "r3", "r5", "r6"), ("r9", "r10", "r11", "r12")

        def step(pairs: int) -> list[str]:
            lines = [f"ldm r0!, {{{', '.join(inputs[:pairs])}}}", f"ldm r1!, {{{', '.join(weights[:pairs])}}}"]
            for source, word in zip(inputs[:pairs], weights, strict=False):
                lines += [f"sxtb16 lr, {word}, ror #8", f"sxtb16 {word}, {word}"]
                lines += [f"smlad r4, {source}, {word}, r4", f"smlad r8, {source}, lr, r8"]
            return lines

        lines = row_loop(step(4), depth // 8, self.most) + (step(2) if depth % 8 else [])
        finish = partial(requantize, multiplier="r2", twice_addend="r3", shift="r12", clamp=clamp)
        return pair_product(lines, 1, 1, 2 * depth, depth, channels, 1, finish)

    def multiply_lying(self, depth: int, channels: int, clamp: Clamp) -> Thumb2Assembly | None:
        """Four inputs at a time. They are not doubled, so the sums are; biases are halved before."""
        if not self.widen:
            return None
        step = ["ldr r2, [r0], #4", "ldr r9, [r1], #4", "ldr r10, [r1], #4"]
        step += ["sxtb16 r3, r2", "sxtb16 r2, r2, ror #8"]
        for source, word in (("r3", "r9"), ("r2", "r10")):
            step += [f"sxtb16 lr, {word}, ror #8", f"sxtb16 {word}, {word}"]
            step += [f"smlad r4, {source}, {word}, r4", f"smlad r8, {source}, lr, r8"]
        lines = [f"asr {total}, {total}, #1" for total in ("r4", "r8")]
        lines += row_loop(step, depth // 4, 2 * self.most)
        lines += [f"lsl {total}, {total}, #1" for total in ("r4", "r8")]
        finish = partial(requantize, multiplier="r2", twice_addend="r3", shift="r12", clamp=clamp)
        return pair_product(lines, 1, 1, depth, depth, channels, 1, finish)


class WideDspRenderer(DspRenderer):
    """The same with weights that lie in flash as int16, which needs no widening."""

    weights = "int16"
    load = ("ldr r12, [r1], #4", "ldr lr, [r1], #4")
    widen = ()

    def interleave(self, weights: np.ndarray) -> np.ndarray:
        """A word of the first channel's inputs (k, k + 2), then one of the second's."""
        channels, depth = weights.shape
        # pair, channel, group, k >> 1 & 1, k & 1 becomes pair, group, k & 1, channel, k >> 1 & 1
        halves = weights.reshape(channels // 2, 2, depth // 4, 2, 2).transpose(0, 2, 4, 1, 3)
        return halves.astype("<i2").reshape(channels // 2, 2 * depth).view(np.int8)
