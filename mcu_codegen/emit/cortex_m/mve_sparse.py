"""Sparse weights on Cortex-M55: an entry is multiplied with up to sixteen rows, four a vector.

The rows of eight are laid evens first, so that two vectors of results, by turns, are in order. One or two rows are left
to C: a vector would be nearly empty.
"""

from __future__ import annotations

from ..portable.renderer import OPTIMIZE
from .assembly import Scaled
from .mve import MveRenderer
from .mve_assembly import OFFSETS, Coding, MveAssembly, codes, coding_of, requantize, spread
from .sparse import SparseBlocks
from .thumb2_assembly import add_to, constant
from .thumb2_unpack import UNPACK

_ROWS = 16  # of a block
_FEWEST = 3  # rows that vectors are used for


class SparseMveRenderer(SparseBlocks, MveRenderer):
    """Cortex-M55."""

    def __init__(self, optimize: str = OPTIMIZE[0]) -> None:
        super().__init__(optimize)
        self.helpers["unpack"] = UNPACK.helper("unpack")

    def rows_together(self, op: Scaled, pitch: int) -> int:
        reached = _ROWS * max(pitch, len(op.weights)) < OFFSETS
        return _ROWS if reached and self.is_sparse(op) else super().rows_together(op, pitch)

    def sparse_addend(self, op: Scaled) -> int:
        return coding_of(op).addend

    def sparse_bytes(self, rows: int) -> int:
        return super().sparse_bytes(rows) if rows < _FEWEST else 8 * _eights(rows)

    def sparse_pack(self, depth: int, rows: int, pitch: int) -> str:
        if rows < _FEWEST:
            return super().sparse_pack(depth, rows, pitch)
        name = f"turn_{depth}x{rows}_{pitch}"
        self.helpers[name] = _turn(depth, rows, pitch).helper(name)
        return name

    def sparse_multiply(self, op: Scaled, channels: int, rows: int) -> str:
        if rows < _FEWEST:
            return super().sparse_multiply(op, channels, rows)
        coding = coding_of(op, products=False)  # streams hold shifts
        name = f"sparse_{rows}_{channels}{coding.suffix}"
        self.helpers[name] = _multiply(channels, rows, coding).helper(name)
        return name


def _eights(rows: int) -> int:
    return -(-rows // 8)


def _turn(depth: int, rows: int, pitch: int) -> MveAssembly:
    """Offsets of the rows of eight are in q2 and q3; those that there are not read the last one."""
    offsets, loads, stores = [], [], []
    for eight in range(_eights(rows)):
        vector, value = f"q{2 + eight}", f"q{eight}"
        offsets += spread(vector, "q0", 4, pitch, 2 * pitch)
        if eight:
            offsets += [*constant("r0", 8 * pitch), f"vadd.i16 {vector}, {vector}, r0"]
        if rows < 8 * (eight + 1):
            offsets += [*constant("r0", (rows - 1) * pitch), "vdup.16 q0, r0", f"vmin.u16 {vector}, {vector}, q0"]
        loads.append(f"vldrb.u16 {value}, [r2, {vector}]")
        stores.append(f"vstrb.16 {value}, [r1], #8")
    return MveAssembly(
        f"Lays {rows} x {depth} inputs, whose rows begin {pitch} bytes apart, so that those of a place lie together.",
        ("const int8_t *input", "void *wide"),
        [
            "push {r7, lr}",
            "mov r2, r0",
            *offsets,
            *constant("lr", depth),
            "dls lr, lr",
            "1:",
            *loads,
            "adds r2, #1",
            *stores,
            "le lr, 1b",
            "pop {r7, pc}",
        ],
    )


def _multiply(channels: int, rows: int, coding: Coding) -> MveAssembly:
    """Vectors other than q2 sum up four rows each; r0 reads inputs, r1 the stream; r4 holds two gaps, r5 a weight."""
    vectors = 2 * _eights(rows)
    size, totals = 4 * vectors, ("q0", "q1", "q3", "q4")[:vectors]
    entry: list[str] = []
    for vector in reversed(range(vectors)):
        place = f"[r0, #{4 * vector}]" if vector else f"[r0], #{size}"
        entry += [f"vldrb.s32 q2, {place}", f"vmla.s32 {totals[vector]}, q2, r5"]
    step = size.bit_length() - 1
    finish, stores = [], []
    for total in totals:
        finish += requantize(total, ("r4", "r5"), coding, "q2")
    for eight, (even, odd) in enumerate(zip(totals[::2], totals[1::2], strict=True)):
        finish += codes(even, odd, "r8", coding.clamp, "r4")
        stores += add_to("r7", 8 * channels, "r2") if eight else ["mov r7, r2"]
        some = rows - 8 * eight
        if some < 8:
            stores += [f"mov r4, #{some}", "vctp.16 r4", "vpst", f"vstrbt.16 {even}, [r7, q5]"]
        else:
            stores.append(f"vstrb.16 {even}, [r7, q5]")
    return MveAssembly(
        f"{rows} packed rows times sparse channels. The outputs of a row are {channels} bytes.",
        ("const void *wide", "const uint8_t *stream", "int8_t *output", "int32_t count"),
        [
            "push {r4-r9, lr}",
            "vpush {d8-d15}",
            "mov r6, r0",
            "ldrsh r8, [r1], #2",
            *spread("q5", "q4", 8, 0, channels),
            "1:",
            "ldr r4, [r1], #4",
            *(f"vdup.32 {total}, r4" for total in totals),
            "ldrh r4, [r1], #2",
            "mov r0, r6",
            "adds r4, #0",
            "beq 3f",
            "dls lr, r4",
            "2:",
            "ldrb r4, [r1], #1",
            "ldrsb r5, [r1], #1",
            "and r7, r4, #15",
            f"add r0, r0, r7, lsl #{step}",
            *entry,
            "ldrsb r5, [r1], #1",
            "lsr r4, r4, #4",
            f"add r0, r0, r4, lsl #{step}",
            *entry,
            "le lr, 2b",
            "3:",
            "ldr r4, [r1], #4",
            "ldrb r7, [r1], #1",
            f"mov r5, #{-coding.doubled}",
            "sub r5, r5, r7",
            *finish,
            *stores,
            "adds r2, #1",
            "subs r3, #1",
            "bne 1b",
            "vpop {d8-d15}",
            "pop {r4-r9, pc}",
        ],
    )
