"""Kernels for cores with MVE (Helium) integer instructions: Cortex-M55.

Products come from VMLADAV, sixteen a vector, summed up in a general register. Eight accumulators (all the registers
that it can name) are moved into two vectors and requantised together (`mve_assembly.py`): VQRDMULH rounds half up, and
a second one, or VRSHL after a correction of negative values, half away from zero. Constants lie in one stream, in the
order of reading.

Depthwise convolutions (`mve_across.py`, `mve_planes.py`, `mve_columns.py`), the copying of windows
(`mve_gathering.py`), ADD (`mve_addition.py`), tables (`mve_lookup.py`), pooling (`mve_pooling.py`) and running sums
(`mve_sliding.py`) have files of their own.

A layer for which this is not proven (`assembly.unscaled`), or whose shape has no kernel here, is rendered as
portable C.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ... import lower
from ..kernel import Array, Site
from ..portable.renderer import OPTIMIZE
from ..portable.weighted import folded_bias
from .assembly import Scaled, packed, unscaled, words
from .blocks import Product
from .mve_addition import MveAddition
from .mve_assembly import (
    ACCUMULATORS,
    COPY,
    OFFSETS,
    VECTOR,
    Coding,
    MveAssembly,
    codes,
    coding_of,
    requantize,
    spread,
    tails,
    to_lanes,
    vectors_of,
)
from .mve_columns import MveColumns
from .mve_dot import dot, dot_stream
from .mve_extremes import MveExtremes
from .mve_gathering import MveGathering
from .mve_lookup import MveLookups
from .mve_planes import MvePlanes
from .mve_pooling import MvePooling
from .mve_sliding import MveSliding
from .thumb2_assembly import constant

_LOOPED = 4  # vectors of a row in a round of its loop


class MveRenderer(MveAddition, MveExtremes, MveLookups, MvePooling, MveSliding, MveColumns, MvePlanes, MveGathering):
    """Cortex-M55."""

    instruction_set = "mve"
    granule = 1
    farthest = 1 << 14
    unrolled = (8, _LOOPED)  # vectors of a row
    # clang (seen in 22.1) makes one vector of a short loop and, where its length falls by one from round to round
    # of the loop around it, predicates that one by it: DLSTP then ends the outer loop after its first round
    before_loop = "#if defined(__clang__)\n#pragma clang loop vectorize(disable)\n#endif\n"

    def __init__(self, optimize: str = OPTIMIZE[0]) -> None:
        super().__init__(optimize)
        self.helpers |= {"copy": COPY.helper("copy"), "fill": _FILL.helper("fill")}

    def taps(self, op: lower.Convolution, site: Site, visit: str) -> str:
        # gcc 12 vectorises these loops, and makes the predicate {true, true, true, false} of pixels inside all true;
        # an empty statement of assembly keeps it from that
        return super().taps(op, site, f'{visit}\n__asm__ volatile("");')

    def obstacle(self, op: Scaled, channels: int) -> str:
        return unscaled(op) or ("" if self.block * channels < OFFSETS else f"{channels} channels are too many")

    def product(self, op: Scaled, depth: int, channels: int, rows: int, pitch: int) -> Product:
        coding = coding_of(op)
        if channels == 1:
            name = f"dot_{depth}_{pitch}{coding.suffix}"
            self.helpers[name] = dot(depth, pitch, coding).helper(name)
            return Product("", name, 0, rows)
        multiply = f"multiply_{depth}x{rows}_{channels}{coding.suffix}"
        self.helpers[multiply] = _multiply(depth, channels, rows, coding, self.most).helper(multiply)
        return Product(self.pack(depth, rows, pitch), multiply, vectors_of(depth) * VECTOR * rows)

    def lying(self, op: Scaled, depth: int, channels: int) -> str:
        """Whole vectors need no zeros behind them."""
        if depth % VECTOR:
            return ""
        coding = coding_of(op)
        name = f"multiply_{depth}_{channels}{coding.suffix}"
        self.helpers[name] = _multiply(depth, channels, 1, coding, self.most, lying=True).helper(name)
        return name

    def pack(self, depth: int, rows: int, pitch: int) -> str:
        """The helper that packs `rows` rows of `depth` inputs that begin `pitch` bytes apart."""
        name = f"pack_{depth}x{rows}" + (f"_{pitch}" if pitch != depth else "")
        self.helpers[name] = _pack(depth, rows, pitch).helper(name)
        return name

    def stream(self, op: Scaled, weights: np.ndarray) -> Array:
        """Per pair of channels: a vector of weights of each by turns, the rows filled up with zeros; both tails and
        what `codes` adds."""
        channels, depth = weights.shape
        if channels == 1:
            return dot_stream(op, weights)
        pairs = channels // 2
        filled = np.pad(weights, ((0, 0), (0, -depth % VECTOR)))
        turns = filled.reshape(pairs, 2, -1, VECTOR).transpose(0, 2, 1, 3).reshape(pairs, -1)
        constants = tails(op, folded_bias(op, weights)).reshape(pairs, 6)
        return words(packed(turns), constants, np.full((pairs, 1), coding_of(op).addend))


_FILL = MveAssembly(
    "Fills bytes, sixteen at a time.",
    ("int8_t *to", "int8_t value", "int32_t count"),
    [
        "push {r7, lr}",
        "vdup.8 q0, r1",
        "wlstp.8 lr, r2, 2f",
        "1:",
        "vstrb.8 q0, [r0], #16",
        "letp lr, 1b",
        "2:",
        "pop {r7, pc}",
    ],
)


def _pack(depth: int, rows: int, pitch: int) -> MveAssembly:
    pointers = ["r0", "r2", "r3", "r12"][:rows]
    vectors = [f"q{row}" for row in range(rows)]
    stores = [f"vstrb.8 {vector}, [r1], #16" for vector in vectors]
    full, rest = divmod(depth, VECTOR)
    lines = ["push {r7, lr}"]
    for row, pointer in enumerate(pointers[1:], start=1):
        lines += [*constant(pointer, row * pitch), f"add {pointer}, {pointer}, r0"]
    if full:
        loads = [f"vldrb.u8 {vector}, [{pointer}], #16" for vector, pointer in zip(vectors, pointers, strict=True)]
        lines += [*constant("lr", full), "dls lr, lr", "1:", *loads, *stores, "le lr, 1b"]
    if rest:
        # lanes that are not loaded become zeros, though nothing but zeros is ever multiplied with them
        loads = [f"vldrbt.u8 {vector}, [{pointer}]" for vector, pointer in zip(vectors, pointers, strict=True)]
        lines += [f"mov lr, #{rest}", "vctp.8 lr", f"vps{'t' * rows}", *loads, *stores]
    return MveAssembly(
        f"Lays {rows} x {depth} inputs, whose rows begin {pitch} bytes apart, side by side, a vector of each by turns.",
        ("const int8_t *input", "void *wide"),
        [*lines, "pop {r7, pc}"],
    )


def _multiply(depth: int, channels: int, rows: int, coding: Coding, most: int, lying: bool = False) -> MveAssembly:
    """r1 reads the stream, r3 the inputs, r5 writes, r7 counts pairs; q3-q6 hold the first vectors of input. What is
    `lying`, and not packed, need not lie at a word."""
    load = "vldrb.u8" if lying else "vldrw.u32"
    first, second = ACCUMULATORS[:rows], ACCUMULATORS[4 : 4 + rows]
    vectors = vectors_of(depth)
    unrolled = vectors if vectors <= most else (vectors - 1) % _LOOPED + 1
    rounds = (vectors - unrolled) // _LOOPED
    held = {(k, row): f"q{3 + k * rows + row}" for k in range(unrolled) for row in range(rows) if k * rows + row < 4}

    def step(loads: Sequence[str], inputs: Sequence[str], form: str) -> list[str]:
        lines = ["vldrw.u32 q0, [r1], #16", "vldrw.u32 q1, [r1], #16"]
        for row in range(rows):
            lines += [line for line in [loads[row]] if line]
            lines += [f"{form}.s8 {a}, {inputs[row]}, {w}" for a, w in ((first[row], "q0"), (second[row], "q1"))]
        return lines

    at = [[(k * rows + row) * VECTOR for row in range(rows)] for k in range(unrolled)]
    body = []
    for k in range(unrolled):
        loads = ["" if (k, row) in held else f"{load} q2, [r3, #{at[k][row]}]" for row in range(rows)]
        body += step(loads, [held.get((k, row), "q2") for row in range(rows)], "vmladava" if k else "vmladav")
    if rounds:
        turn = step([f"{load} q2, [r11], #16"] * rows, ["q2"] * rows, "vmladava") * _LOOPED
        body += [f"add r11, r3, #{unrolled * rows * VECTOR}", f"mov r9, #{rounds}"]
        body += ["2:", *turn, "subs r9, #1", "bne 2b"]
    if rows == 1:
        lanes = ["vmov.32 q0[0], r0", "vmov.32 q1[0], r8"]
        offsets = []
        store = ["vmov.32 r0, q0[0]", "strb r0, [r5], #1", "lsrs r0, r0, #16", "strb r0, [r5], #1"]
    else:
        lanes = [*to_lanes("q0", first), *to_lanes("q1", second)]
        offsets = spread("q7", "q0", 2, channels, 1)
        some = [f"mov r0, #{2 * rows}", "vctp.16 r0", "vpst", "vstrbt.16 q0, [r5, q7]"]
        store = [*(["vstrb.16 q0, [r5, q7]"] if rows == 4 else some), "adds r5, #2"]
    return MveAssembly(
        f"{rows} x {depth} inputs{'' if lying else ', packed,'} times pairs of channels. The outputs of a row are"
        f" {channels} bytes.",
        ("const void *wide", "const uint32_t *stream", "int8_t *output", "int32_t pairs"),
        [
            "push {r4-r11, lr}",
            "vpush {d8-d15}",
            "mov r5, r2",
            "mov r7, r3",
            "mov r3, r0",
            *offsets,
            *(f"{load} {vector}, [r3, #{at[k][row]}]" for (k, row), vector in held.items()),
            "1:",
            *body,
            *lanes,
            "ldm r1!, {r0, r2, r4, r6, r8, r10, r12}",
            "vadd.i32 q0, q0, r0",
            *requantize("q0", ("r2", "r4"), coding, "q2"),
            "vadd.i32 q1, q1, r6",
            *requantize("q1", ("r8", "r10"), coding, "q2"),
            *codes("q0", "q1", "r12", coding.clamp, "r0"),
            *store,
            "subs r7, #1",
            "bne 1b",
            "vpop {d8-d15}",
            "pop {r4-r11, pc}",
        ],
    )
