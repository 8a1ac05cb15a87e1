"""Products of just five rows for Cortex-M4, M7 and M33, which other kernels would compute as four and one.

A step of a network whose frames are five columns has them: five rows, one channel at a time, for there are accumulators
for five. A load of five registers brings what the rows have of two inputs.
"""

from __future__ import annotations

import numpy as np

from ..kernel import Array, Helper
from ..portable.weighted import folded_bias
from .assembly import REACH, Scaled, divisor, packed, scaling, unscaled, words
from .blocks import BlockRenderer, Product, pack_name
from .clamp import Clamp, clamp_of
from .dsp_assembly import requantize
from .thumb2_assembly import Thumb2Assembly, add_to, moved_rounding

_VALUES = ("r2", "r3", "r9", "r10", "r11")
_TOTALS = ("r4", "r5", "r6", "r7", "r8")


class FiveRows(BlockRenderer):
    """Renders layers of five rows for another renderer, whose helpers it adds to."""

    instruction_set = "dsp"
    block = 5
    together = 1
    farthest = REACH // 4
    unrolled = (16, 4)  # groups of four inputs

    def __init__(self, optimize: str, helpers: dict[str, Helper], weights: str) -> None:
        """`weights` is as in `Renderer`."""
        super().__init__(optimize)
        self.helpers, self.weights = helpers, weights

    def obstacle(self, op: Scaled, channels: int) -> str:
        depth = op.weights.size // channels
        taken = depth % 4 == 0 and max(channels, depth) * (self.block - 1) < REACH
        return unscaled(op) or ("" if taken else "its rows are no whole words, or too long")

    def product(self, op: Scaled, depth: int, channels: int, rows: int, pitch: int) -> Product:
        clamp = clamp_of(op.requantization)
        name = f"multiply_{depth}x5_{channels}{clamp.suffix}"
        self.helpers[name] = self._multiply(depth, channels, clamp).helper(name)
        pack = pack_name(depth, rows, pitch)
        self.helpers[pack] = _pack(depth, pitch).helper(pack)
        return Product(pack, name, 2 * depth * self.block)

    def stream(self, op: Scaled, weights: np.ndarray) -> Array:
        """Per channel: the bias, the weights, the multiplier, a word that holds the shift and, in its upper half,
        `rounding`."""
        multipliers, shifts = (each[:, None] for each in scaling(op, len(weights)))
        octets = weights
        if self.weights == "int16":  # as if widened: of every four inputs (0, 2), then (1, 3)
            turned = weights.reshape(len(weights), -1, 2, 2).swapaxes(2, 3)
            octets = turned.astype("<i2").reshape(weights.shape).view(np.int8)
        bias = 2 * folded_bias(op, weights)[:, None]
        return words(bias, packed(octets), multipliers, shifts + (moved_rounding(op) << 16))

    def _multiply(self, depth: int, channels: int, clamp: Clamp) -> Thumb2Assembly:
        """r0 moves through the packed rows, r1 through the stream; r12 and lr are weights of two inputs each."""
        load = ["ldr r12, [r1], #4", "sxtb16 lr, r12, ror #8", "sxtb16 r12, r12"]
        if self.weights == "int16":
            load = ["ldrd r12, lr, [r1], #8"]
        group = list(load)
        for pair in ("r12", "lr"):
            group.append(f"ldm r0!, {{{', '.join(_VALUES)}}}")
            group += [f"smlad {a}, {value}, {pair}, {a}" for a, value in zip(_TOTALS, _VALUES, strict=True)]
        groups = depth // 4
        unrolled = divisor(groups, self.most)
        body = group * unrolled
        if unrolled < groups:
            count = ["ldr r2, [sp]", "subs r2, #1", "str r2, [sp]", "bne 2b"]
            body = [f"mov r2, #{groups // unrolled}", "str r2, [sp]", "2:", *body, *count]
        return Thumb2Assembly(
            f"Five packed x {depth} inputs times channels, one by one. The outputs of a row are {channels} bytes.",
            ("const void *wide", "const uint32_t *stream", "int8_t *output", "int32_t channels"),
            [
                "push {r2-r11, lr}",
                "sub sp, #4",  # now sp points at the loop counter, the output and the channels left
                "1:",
                "ldr r4, [r1], #4",
                *(f"mov {total}, r4" for total in _TOTALS[1:]),
                *body,
                *add_to("r0", -2 * depth * self.block),
                # the shift is the lowest byte of r12, which is all that a shift by a register looks at
                "ldrd r2, r12, [r1], #8",
                "asr r3, r12, #16",
                "lsl r3, r3, r12",
                *requantize(_TOTALS, "r2", "r3", "r12", clamp),
                "ldrd r2, r3, [sp, #4]",
                *(f"strb {total}, [r2, #{row * channels}]" for row, total in enumerate(_TOTALS)),
                "adds r2, #1",
                "subs r3, #1",
                "strd r2, r3, [sp, #4]",
                "bne 1b",
                "add sp, #12",
                "pop {r4-r11, pc}",
            ],
        )


def _pack(depth: int, pitch: int) -> Thumb2Assembly:
    raw, pairs = ("r2", "r3", "r4", "r5", "r6"), ("r7", "r8", "r9", "r10", "r11")
    lines = [f"ldr {word}, [r0, #{row * pitch}]" for row, word in enumerate(raw) if row] + [f"ldr {raw[0]}, [r0], #4"]
    for rotation in ("", ", ror #8"):
        lines += [f"sxtb16 {pair}, {word}{rotation}" for pair, word in zip(pairs, raw, strict=True)]
        lines += [f"sadd16 {pair}, {pair}, {pair}" for pair in pairs]
        lines.append(f"stm r1!, {{{', '.join(pairs)}}}")
    return Thumb2Assembly(
        f"Widens and doubles 5 x {depth} inputs: for every four of a row, the pair (0, 2), then (1, 3).",
        ("const int8_t *input", "int16_t *wide"),
        ["push {r4-r11, lr}", *add_to("lr", depth, "r0"), "1:", *lines, "cmp r0, lr", "bne 1b", "pop {r4-r11, pc}"],
    )
