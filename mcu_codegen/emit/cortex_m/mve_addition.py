"""ADD and SUB with MVE."""

from __future__ import annotations

from ... import lower
from .addition import PARAMETERS, Addition, about
from .assembly import Assembly
from .mve_assembly import codes, shift_right

LONGEST_OF_INPUT = 3  # right shift of an input by a product: values, which do not saturate, are below 2**28


class MveAddition(Addition):
    """Eight codes at a time: their differences from the zero points in 16 bits, sums in 32."""

    added_together = 2  # predicates of 16-bit lanes in vectors of 32-bit lanes

    def add_variant(self, op: lower.Add) -> str:
        return "".join("_half" if half else "_part" for half in _halves(op)) + ("_up" if _half_up(op) else "")

    def add_codes(self, op: lower.Add, shifts: tuple[int, int, int]) -> Assembly:
        """Eight at a time. An input less its zero point is shifted to the left in 16 bits, then widened by a factor;
        half of that where its multiplier is a half. r4 to r9 are the stream's constants, lr counts, q4 is 64, r10 and
        r11 shift."""
        before, lines = [], []
        for code, vectors, pointer, zero_point, multiplier, shifting, shift, half in (
            ("q0", ("q2", "q3"), "r0", "r4", "r5", "r10", shifts[0], _halves(op)[0]),
            ("q1", ("q0", "q1"), "r1", "r6", "r7", "r11", shifts[1], _halves(op)[1]),
        ):
            factor = multiplier if half else "r3"
            before.append(f"lsl {zero_point}, {zero_point}, #6")
            before += [f"movw {factor}, #{1 << op.left_shift - 8}"] if half else []
            if 0 < shift <= LONGEST_OF_INPUT:
                before += [f"movw {shifting}, #1", f"movt {shifting}, #{1 << 15 - shift}"]
            elif shift:
                before.append(f"mov {shifting}, #-{shift}")
            lines += [f"vldrb.s16 {code}, [{pointer}], #8", f"vmlas.s16 {code}, q4, {zero_point}"]
            # doubling products
            lines += [f"vqdmull{end}.s16 {vector}, {code}, {factor}" for end, vector in zip("bt", vectors, strict=True)]
            for vector in vectors:
                lines += [] if half else [f"vqrdmulh.s32 {vector}, {vector}, {multiplier}"]
                lines += shift_right(vector, shifting, shift <= LONGEST_OF_INPUT, "q5") if shift else []
        sum_or_difference = "vadd" if op.sign > 0 else "vsub"
        for vector, second in (("q2", "q0"), ("q3", "q1")):
            lines.append(f"{sum_or_difference}.i32 {vector}, {vector}, {second}")
            lines.append(f"vqrdmulh.s32 {vector}, {vector}, r8")
            if not _half_up(op):
                lines += [f"vshr.s32 q5, {vector}, #31", f"vadd.i32 {vector}, {vector}, q5"]
            lines.append(f"vrshr.s32 {vector}, {vector}, #{shifts[2]}")
        return Assembly(
            about(op, shifts),
            PARAMETERS,
            [
                "push {r4-r12, lr}",
                "vpush {d8-d11}",
                "ldm r3, {r4-r9, r12}",
                f"movw r3, #{1 << op.left_shift - 7}",
                *before,
                f"asr r9, r9, #{shifts[2]}",  # of the addend, the zero point remains
                "vmov.i16 q4, #64",
                "wlstp.16 lr, r12, 2f",
                "1:",
                *lines,
                *codes("q2", "q3", "r9"),
                "vstrb.16 q2, [r2], #8",
                "letp lr, 1b",
                "2:",
                "vpop {d8-d11}",
                "pop {r4-r12, pc}",
            ],
        )


def _halves(op: lower.Add) -> list[bool]:
    """Of both inputs, whether their requantisation halves: the larger scale's, or both where scales are equal."""
    return [scaling == (1 << 30, 0) for scaling in zip(op.multipliers, op.shifts, strict=True)]


def _half_up(op: lower.Add) -> bool:
    """Whether half away from zero may be half up: where no negative sum survives saturation."""
    return op.requantization.zero_point == -128
