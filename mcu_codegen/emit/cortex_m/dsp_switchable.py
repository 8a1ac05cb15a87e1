"""Channels that open and close at run time on Cortex-M4, M7 and M33.

Pointwise convolutions, where most of the work is, skip closed inputs: rows are packed from the open gates only, and
each packed gate carries the place of its weights. There the input zero point is taken off while packing, for what a
bias would have to hold depends on the user.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from ... import lower
from ..kernel import Array, Site, fill
from .assembly import Scaled
from .blocks import Product
from .clamp import Clamp, clamp_of
from .dsp import DspRenderer
from .dsp_assembly import requantize
from .switchable import Channels, SwitchableBlocks
from .thumb2 import pair_product, sums
from .thumb2_assembly import Thumb2Assembly, add_to

_WORD_GATES = (4, 8, 16)  # channels a gate that the kernels for words take


class SwitchableDspRenderer(SwitchableBlocks, DspRenderer):
    """Cortex-M4, M7, M33: closed inputs of pointwise convolutions are skipped too."""

    def stream(self, op: Scaled, weights: np.ndarray) -> Array:
        return super().stream(replace(op, input_zero_point=0) if self._skips_inputs(op) else op, weights)

    def product(self, op: Scaled, depth: int, channels: int, rows: int, pitch: int) -> Product:
        if not self._skips_inputs(op):
            return super().product(op, depth, channels, rows, pitch)
        assert self.source is not None
        size = self.source.group.size
        pack = f"pack_open_{depth}x{rows}_{size}_{op.input_zero_point & 0xFFFF}"
        clamp = clamp_of(op.requantization)
        multiply = f"multiply_open_{depth}x{rows}_{channels}{clamp.suffix}"
        self.helpers[pack] = _pack_open(depth, rows, size, op.input_zero_point).helper(pack)
        self.helpers[multiply] = _multiply_open(depth, rows, channels, clamp).helper(multiply)
        return Product(pack, multiply, depth // 4 * (4 + 8 * rows) + 8)

    def pack_call(self, product: Product, source: str, site: Site) -> str:
        if not product.pack.startswith("pack_open_"):
            return super().pack_call(product, source, site)
        assert self.source is not None
        return f"{site.prefix}_{product.pack}({source}, wide, {site.prefix}_{self.source.list});"

    def close(self, channels: Channels, site: Site) -> tuple[str, str]:
        size, count = channels.group.size, channels.group.count
        if size not in _WORD_GATES:
            return super().close(channels, site)
        name = f"close_{size * count}"
        self.helpers[name] = _close_word(size * count).helper(name)
        return (
            fill(
                """
                for (int32_t word = 0; word < $words; word++) {
                    if (!${prefix}_$flags[word / $each]) {
                        ${prefix}_$name(channels + 4 * word, $positions, $pattern);
                    }
                }
                """,
                words=size * count // 4,
                prefix=site.prefix,
                flags=channels.flags,
                each=size // 4,
                name=name,
                positions=site.output.bytes // (size * count),
                pattern=f"0x{site.output.zero_point & 0xFF:02X}u * 0x01010101u",
            ),
            name,
        )

    def _skips_inputs(self, op: Scaled) -> bool:
        return (
            isinstance(op, lower.Convolution)
            and self.source is not None
            and self.target is not None
            and self.source.group.size in _WORD_GATES
            and self.target.group.size % self.together == 0
            and (op.weights.shape[1:3], op.stride, any(op.pads)) == ((1, 1), (1, 1), False)
        )


def _pack_open(depth: int, rows: int, size: int, zero_point: int) -> Thumb2Assembly:
    """Four inputs of each row are widened, less their zero point, and doubled, as `DspRenderer.pack_rows` lays them.

    Before them stands where their weights lie, in bytes from those of input 0; behind the last, a word of ones, and
    how far it is from the start.
    """
    raw = [f"r{4 + row}" for row in range(rows)]
    pairs = [f"r{8 + row}" for row in range(rows)]

    def widen(rotation: str) -> list[str]:
        lines = [f"sxtab16 {pair}, lr, {word}{rotation}" for pair, word in zip(pairs, raw, strict=True)]
        lines += [f"sadd16 {pair}, {pair}, {pair}" for pair in pairs]
        return [*lines, f"stm r1!, {{{', '.join(pairs)}}}" if rows > 1 else f"str {pairs[0]}, [r1], #4"]

    gate = ["ldrh r12, [r2], #2", f"lsl r4, r12, #{(2 * size).bit_length() - 1}"]
    gate += ["str r4, [r1], #4", f"add r12, r0, r12, lsl #{size.bit_length() - 1}"]
    for quad in range(size // 4):
        if quad:
            gate += ["ldrh r4, [r2, #-2]", f"lsl r4, r4, #{(2 * size).bit_length() - 1}", f"adds r4, #{8 * quad}"]
            gate += ["str r4, [r1], #4"]
        gate += [f"ldr {word}, [r12, #{4 * quad + row * depth}]" for row, word in enumerate(raw)]
        gate += [*widen(""), *widen(", ror #8")]
    less = -zero_point & 0xFFFF
    return Thumb2Assembly(
        f"Widens the open gates of {rows} x {depth} inputs.",
        ("const int8_t *input", "void *wide", "const uint16_t *list"),
        [
            "push {r1, r4-r11, lr}",
            f"movw lr, #{less}",
            f"movt lr, #{less}",
            "ldrh r3, [r2], #2",
            "1:",
            *gate,
            "subs r3, #1",
            "bne 1b",
            "mov r4, #-1",
            "str r4, [r1], #4",
            "pop {r4}",
            "sub r4, r1, r4",
            "str r4, [r1]",
            "pop {r4-r11, pc}",
        ],
    )


def _multiply_open(depth: int, rows: int, channels: int, clamp: Clamp) -> Thumb2Assembly:
    """What `_pack_open` packed times pairs of channels, by the stream of `Thumb2Renderer.stream`."""
    first, second = sums(rows)

    def products(source: str, row: int) -> list[str]:
        return [f"smlad {a}, {source}, {w}, {a}" for a, w in ((first[row], "r12"), (second[row], "lr"))]

    step = ["ldr r2, [r0], #4", "adds r2, r2, r1", "2:", "ldrd r12, r2, [r2]"]
    step += ["sxtb16 lr, r12, ror #8", "sxtb16 r12, r12"]
    for row in range(rows):
        step += ["ldr r3, [r0], #4", *products("r3", row)]
    step += ["sxtb16 r12, r2", "sxtb16 lr, r2, ror #8"]
    for row in range(0, rows, 2):
        step.append("ldrd r2, r3, [r0], #8" if row + 1 < rows else "ldr r2, [r0], #4")
        step += products("r2", row) + (products("r3", row + 1) if row + 1 < rows else [])
    # a word of ones is the only one that carries
    step += ["ldr r2, [r0], #4", "adds r2, r2, r1", "bcc 2b", "ldr r2, [r0]", "sub r0, r0, r2"]
    step += add_to("r1", 2 * depth)
    finish = partial(requantize, multiplier="r2", twice_addend="r3", shift="r12", clamp=clamp)
    return pair_product(step, 1, 1, 0, depth, channels, rows, finish)


def _close_word(channels: int) -> Thumb2Assembly:
    step = [f"str r2, [r0], #{channels}"] if channels < 256 else ["str r2, [r0]", *add_to("r0", channels)]
    return Thumb2Assembly(
        f"Four channels of every position, of {channels}.",
        ("int8_t *output", "int32_t positions", "uint32_t pattern"),
        ["1:", *step, "subs r1, #1", "bne 1b", "bx lr"],
    )
