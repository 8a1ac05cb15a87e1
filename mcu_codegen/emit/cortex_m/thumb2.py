"""What the kernels of Cortex-M3, M4, M7 and M33 have in common: their frames. The instructions inside differ.

Products are here; depthwise convolutions (`thumb2_planes.py`, `thumb2_columns.py`, `thumb2_across.py`), ADD
(`thumb2_addition.py`) and pooling (`thumb2_pooling.py`) have files of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..kernel import Array
from ..portable.renderer import OPTIMIZE
from ..portable.weighted import folded_bias
from .assembly import REACH, Assembly, Scaled, divisor, packed, scaling, unscaled, words
from .blocks import BlockRenderer, Product, pack_name
from .clamp import Clamp, clamp_of
from .lookup import ThumbLookups
from .thumb2_across import Thumb2Across
from .thumb2_addition import Thumb2Addition
from .thumb2_assembly import Thumb2Assembly, add_to, constant, moved_rounding
from .thumb2_columns import Thumb2Columns
from .thumb2_copy import COPY
from .thumb2_dot import dot, dot_stream
from .thumb2_planes import Thumb2Planes
from .thumb2_pooling import Thumb2Pooling

Requantize = Callable[[Sequence[str]], list[str]]
"""Turns accumulators in registers into int8 codes; r2 is the multiplier, r3 twice the addend, r12 the shift."""


class Thumb2Renderer(
    Thumb2Addition, ThumbLookups, Thumb2Planes, Thumb2Columns, Thumb2Across, Thumb2Pooling, BlockRenderer
):
    """Convolutions two channels and up to four rows at a time."""

    farthest = REACH // (BlockRenderer.block - 1)
    thumb = Thumb2Assembly
    copied = (16, 2)  # for speed and for size, how many words are copied without a jump, at most
    four: Sequence[str]  # what `thumb2_dot.ONE` does, for four inputs

    def __init__(self, optimize: str = OPTIMIZE[0]) -> None:
        super().__init__(optimize)
        self.helpers |= {"copy": COPY.helper("copy")}

    def pack_rows(self, depth: int, rows: int, pitch: int) -> Assembly:
        """Widens `rows` rows of `depth` inputs, `pitch` bytes apart, as `multiply_rows` reads them. Parameters: input,
        wide."""
        raise NotImplementedError

    def multiply_rows(self, depth: int, channels: int, rows: int, clamp: Clamp) -> Assembly:
        """See `pair_product`."""
        raise NotImplementedError

    def interleave(self, weights: np.ndarray) -> np.ndarray:
        """Weights (channels, depth) as int8 (pairs of channels, bytes), as `multiply_rows` reads them."""
        raise NotImplementedError

    def obstacle(self, op: Scaled, channels: int) -> str:
        return unscaled(op)

    def rows_together(self, op: Scaled, pitch: int) -> int:
        """As many as offsets reach, with two bytes to spare."""
        return min(self.block, (REACH - 2) // max(len(op.weights), pitch) + 1)

    def window(self, height: int, row_bytes: int, pitch: int) -> str | None:
        name = f"window_{height}x{row_bytes}_{pitch}"
        self.helpers[name] = _window(height, row_bytes, pitch, self.by_goal(*self.copied)).helper(name)
        return name

    def product(self, op: Scaled, depth: int, channels: int, rows: int, pitch: int) -> Product:
        clamp = clamp_of(op.requantization)
        if channels == 1:
            name = f"dot_{depth}_{pitch}{clamp.suffix}"
            finish = self.requantize(["r11"], "r5", "r10", "r6", clamp)
            self.helpers[name] = dot(self.four, depth, pitch, self.by_goal(64, 8), finish).helper(name)
            return Product("", name, 0, rows)
        # a single row has no neighbour whose distance would matter
        filled = self.filled(depth)
        multiply = f"multiply_{filled}x{rows}" + (f"_{channels}" if rows > 1 else "") + clamp.suffix
        self.helpers[multiply] = self.multiply_rows(filled, channels, rows, clamp).helper(multiply)
        return Product(self.pack(depth, rows, pitch), multiply, self.element_bytes * filled * rows)

    def lying(self, op: Scaled, depth: int, channels: int) -> str:
        """Where RAM is short: widening again and again for every pair of channels takes longer."""
        if not self.at_most or depth % 4:
            return ""
        clamp = clamp_of(op.requantization)
        name = f"multiply_{depth}{clamp.suffix}"
        assembly = self.multiply_lying(depth, channels, clamp)
        if assembly is None:
            return ""
        self.helpers[name] = assembly.helper(name)
        return name

    def multiply_lying(self, depth: int, channels: int, clamp: Clamp) -> Assembly | None:
        """As `multiply_rows` of one row, which is not packed, and a multiple of four inputs."""
        return None

    def pack(self, depth: int, rows: int, pitch: int) -> str:
        name = pack_name(depth, rows, pitch)
        self.helpers[name] = self.pack_rows(depth, rows, pitch).helper(name)
        return name

    def stream(self, op: Scaled, weights: np.ndarray) -> Array:
        """Per pair of channels: two biases, the weights of both, the first multiplier, a word that holds both shifts
        and, in its upper half, `rounding`; the second multiplier."""
        if len(weights) == 1:
            return dot_stream(op, weights)
        pairs = len(weights) // 2
        bias = self.scale * folded_bias(op, weights).reshape(pairs, 2)
        multipliers, shifts = (each.reshape(pairs, 2) for each in scaling(op, len(weights)))
        word = shifts[:, :1] + (shifts[:, 1:] << 8) + (moved_rounding(op) << 16)
        return words(bias, packed(self.interleave(weights)), multipliers[:, :1], word, multipliers[:, 1:])


def _window(height: int, row_bytes: int, pitch: int, most: int) -> Thumb2Assembly:
    """Words need not be aligned. r3 counts words, r12 rows."""
    words, rest = divmod(row_bytes, 4)
    unrolled = divisor(words, most) if words else 0
    row: list[str] = []
    for word in range(unrolled):
        row += [f"ldr r2, [r0, #{4 * word}]", f"str r2, [r1, #{4 * word}]"]
    row += [f"{line}" for register in ("r0", "r1") if words for line in add_to(register, 4 * unrolled)]
    if words > unrolled:
        row = [*constant("r3", words // unrolled), "1:", *row, "subs r3, #1", "bne 1b"]
    for size, form in ((2, "h"), (1, "b")):
        row += [f"ldr{form} r2, [r0], #{size}", f"str{form} r2, [r1], #{size}"] if rest & size else []
    if height > 1:
        back = add_to("r0", pitch - row_bytes) if pitch != row_bytes else []
        row = [*constant("r12", height), "2:", *row, *back, "subs r12, #1", "bne 2b"]
    return Thumb2Assembly(
        f"Copies {height} rows of {row_bytes} bytes, {pitch} bytes apart, side by side.",
        ("const int8_t *from", "int8_t *to"),
        [*row, "bx lr"],
    )


def sums(rows: int) -> tuple[list[str], list[str]]:
    """The registers that sum up the first and the second channel of a pair, one a row."""
    first, second = ([f"r{base + row}" for row in range(rows)] for base in (4, 8))
    return first, second


def pair_product(
    step: list[str],
    steps: int,
    unrolled: int,
    wide_bytes: int,
    depth: int,
    channels: int,
    rows: int,
    requantize: Requantize,
) -> Thumb2Assembly:
    """`rows` packed rows of `depth` inputs times pairs of channels, from a stream as `Thumb2Renderer.stream` has it.

    `step` is done `steps` times, `unrolled` of them without a loop; it moves r0 through `wide_bytes` of packed rows and
    r1 through the pair's weights, and adds to `sums`. It may use r2, r3, r12 and lr.
    """
    first, second = sums(rows)
    body = step * unrolled
    if unrolled < steps:
        count = ["ldr r2, [sp]", "subs r2, #1", "str r2, [sp]", "bne 2b"]
        body = [f"mov r2, #{steps // unrolled}", "str r2, [sp]", "2:", *body, *count]
    return Thumb2Assembly(
        f"{rows} packed x {depth} inputs times pairs of channels"
        + (f". The outputs of a row are {channels} bytes." if rows > 1 else "."),
        ("const void *wide", "const uint32_t *stream", "int8_t *output", "int32_t pairs"),
        [
            "push {r2-r11, lr}",
            "sub sp, #4",  # now sp points at the loop counter, the output and the pairs left
            "1:",
            "ldrd r4, r8, [r1], #8",
            *(f"mov {register}, {group[0]}" for group in (first, second) for register in group[1:]),
            *body,
            *add_to("r0", -wide_bytes),
            # the first shift is the lowest byte of r12, which is all that a shift by a register looks at
            "ldrd r2, r12, [r1], #4",
            "asr r3, r12, #16",
            "lsl r3, r3, r12",
            *requantize(first),
            "ldrd r12, r2, [r1], #8",
            "asr r3, r12, #16",
            "lsr r12, r12, #8",
            "lsl r3, r3, r12",
            *requantize(second),
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
