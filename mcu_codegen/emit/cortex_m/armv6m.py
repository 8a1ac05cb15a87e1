"""Kernels for Cortex-M0 and M0+, which multiply 32 bits by 32 and keep the low 32, and have eight handy registers.

One multiplication serves two rows of input: a word holds a value of one row and, 65,536 times, the value of the other,
so that its product with a weight holds both products. Two such products still fit the lower half (2 * 127 * 128 <
2**15); then the halves are taken apart and added to sums in the high registers.

Depthwise convolutions (`armv6m_planes.py`, `armv6m_columns.py`), ADD (`armv6m_addition.py`) and pooling
(`armv6m_pooling.py`) have files of their own.
"""

from __future__ import annotations

import numpy as np

from ..kernel import Array, Helper
from ..portable.renderer import OPTIMIZE
from ..portable.weighted import folded_bias
from .armv6m_addition import Armv6mAddition
from .armv6m_assembly import (
    BOUND,
    RESTORE,
    SAVE,
    SUMS,
    Armv6mAssembly,
    advance,
    computes,
    constant,
    moved_rounding,
    requantize,
    take_apart,
)
from .armv6m_columns import Armv6mColumns
from .armv6m_copy import COPY
from .armv6m_planes import Armv6mPlanes
from .armv6m_pooling import SUM4, Armv6mPooling
from .assembly import Scaled, divisor, packed, scaling, unscaled, words
from .blocks import BlockRenderer, Product, pack_name
from .clamp import Clamp, clamp_of
from .lookup import ThumbLookups


class Armv6mRenderer(Armv6mAddition, ThumbLookups, Armv6mColumns, Armv6mPlanes, Armv6mPooling, BlockRenderer):
    """Cortex-M0, M0+."""

    instruction_set = "armv6m"
    thumb = Armv6mAssembly
    block = len(SUMS)
    mixed = 4
    farthest = 1 << 16
    together = 1
    bound = BOUND
    unrolled = (8, 1)  # groups of four inputs

    def __init__(self, optimize: str = OPTIMIZE[0]) -> None:
        super().__init__(optimize)
        self.helpers |= {"copy": COPY.helper("copy"), "sum4": SUM4.helper("sum4")}

    def obstacle(self, op: Scaled, channels: int) -> str:
        return unscaled(op, BOUND) or ("" if computes(op) else "it has weights of -128, or shifts its zero point far")

    def product(self, op: Scaled, depth: int, channels: int, rows: int, pitch: int) -> Product:
        clamp = clamp_of(op.requantization)
        filled = self.filled(depth)
        multiply = f"multiply_{filled}x{rows}_{channels}{clamp.suffix}"
        self.helpers[multiply] = _multiply(filled, channels, rows, self.most, clamp).helper(multiply)
        return Product(self.pack(depth, rows, pitch), multiply, 4 * filled * ((rows + 1) // 2))

    def lying(self, op: Scaled, depth: int, channels: int) -> str:
        """A row has no neighbour to pair up with, and extending bytes takes no longer than taking pairs apart."""
        if depth % 4:
            return ""
        clamp = clamp_of(op.requantization)
        name = f"multiply_{depth}_{channels}{clamp.suffix}"
        self.helpers[name] = _multiply(depth, channels, 1, self.most, clamp, lying=True).helper(name)
        return name

    def pack(self, depth: int, rows: int, pitch: int) -> str:
        name = pack_name(depth, rows, pitch)
        self.helpers[name] = _pack(name, depth, rows, pitch)
        return name

    def stream(self, op: Scaled, weights: np.ndarray) -> Array:
        """Per channel: the bias, the weights, a word that holds the shift and, above its lowest byte, `rounding`; the
        multiplier."""
        multipliers, shifts = (each[:, None] for each in scaling(op, len(weights)))
        return words(
            folded_bias(op, weights)[:, None], packed(weights), shifts + (moved_rounding(op) << 8), multipliers
        )


def _pack(name: str, depth: int, rows: int, pitch: int) -> Helper:
    """For every two inputs, and every pair of rows, two words."""

    def pairs(inputs: int, indent: str) -> str:
        """Of each pair of rows, so many inputs; of a last one alone, the word that would be the next's is left out."""
        lines = []
        for row in range(0, rows, 2):
            for k in range(inputs):
                first = f"(uint32_t)input[{row * pitch + k}]"
                second = f" + ((uint32_t)input[{(row + 1) * pitch + k}] << 16)" if row + 1 < rows else ""
                lines.append(f"{indent}*to++ = {first}{second};\n")
            lines += [f"{indent}to++;\n"] if inputs == 1 else []
        return "".join(lines)

    even = depth - depth % 2
    loop = f"    for (const int8_t *const end = input + {even}; input != end; input += 2) {{\n"
    loop += f"{pairs(2, '        ')}    }}\n"
    return Helper(
        f"/* Pairs up {rows} rows of {depth} inputs. */\n"
        f"static void ${{prefix}}_{name}(const int8_t *input, void *wide)\n{{\n"
        f"    uint32_t *to = (uint32_t *)wide;\n\n"
        f"{loop if even else ''}{pairs(1, '    ') if depth % 2 else ''}}}\n"
    )


def _multiply(depth: int, channels: int, rows: int, most: int, clamp: Clamp, lying: bool = False) -> Armv6mAssembly:
    """At most `most` groups of four inputs without a jump. A row that is `lying` is not packed.

    Frame: [sp] twice the addend, [sp, #4] loop counter, [sp, #8] packed rows, [sp, #12] output, [sp, #16] channels
    left.
    """
    pairs = [(SUMS[row], SUMS[row + 1]) for row in range(0, rows, 2)]

    def products() -> list[str]:
        if lying:
            loads = ["ldrb r4, [r0]", "ldrb r5, [r0, #1]", "adds r0, #2", "sxtb r4, r4", "sxtb r5, r5"]
            return [*loads, "muls r4, r2, r4", "muls r5, r3, r5", "adds r4, r4, r5", f"add {SUMS[0]}, r4"]
        return [
            line
            for pair in pairs
            for line in (
                "ldm r0!, {r4, r5}",
                "muls r4, r2, r4",
                "muls r5, r3, r5",
                "adds r4, r4, r5",
                *take_apart(*pair),
            )
        ]

    group = [
        "ldm r1!, {r7}",
        "sxtb r2, r7",
        "lsrs r3, r7, #8",
        "sxtb r3, r3",
        *products(),
        "lsrs r2, r7, #16",
        "sxtb r2, r2",
        "asrs r3, r7, #24",
        *products(),
    ]
    groups = depth // 4
    unrolled = divisor(groups, most)
    stores: list[str] = []
    for row, total in enumerate(SUMS[:rows]):
        stores += [*requantize(total, clamp), "strb r2, [r7]"]
        stores += advance("r7", channels, "r2") if row + 1 < rows else []
    return Armv6mAssembly(
        f"{rows} packed rows of {depth} inputs times channels. The outputs of a row are {channels} bytes.",
        ("const void *wide", "const uint32_t *stream", "int8_t *output", "int32_t channels"),
        [
            *SAVE,
            "push {r0, r2, r3}",
            "sub sp, #8",
            "1:",
            "ldm r1!, {r2}",
            *(f"mov {total}, r2" for pair in pairs for total in pair),
            *constant("r6", groups // unrolled),
            "str r6, [sp, #4]",
            "2:",
            *group * unrolled,
            "ldr r6, [sp, #4]",
            "subs r6, #1",
            "str r6, [sp, #4]",
            "bne 2b",
            # the shift is the lowest byte of r0, which is all that a shift by a register looks at
            "ldm r1!, {r0, r5}",
            "asrs r3, r0, #8",
            "lsls r3, r3, r0",
            "str r3, [sp]",
            "adds r0, #1",
            "lsrs r6, r5, #16",
            "uxth r5, r5",
            "ldr r7, [sp, #12]",
            *stores,
            "ldr r0, [sp, #8]",
            "ldr r2, [sp, #12]",
            "adds r2, #1",
            "str r2, [sp, #12]",
            "ldr r3, [sp, #16]",
            "subs r3, #1",
            "str r3, [sp, #16]",
            "bne 1b",
            "add sp, #20",
            *RESTORE,
        ],
    )
