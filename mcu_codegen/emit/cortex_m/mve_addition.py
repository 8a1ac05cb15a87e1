"""ADD, SUB and MUL with MVE."""

from __future__ import annotations

from .addition import TABLE, Addition, about, about_entries
from .multiplication import ABOUT, Multiplication
from .mve_assembly import MveAssembly, half_away
from .pairs import PARAMETERS


class MveAddition(Addition, Multiplication):
    """Four elements a vector; the loop counts elements by itself."""

    def add_codes(self, shift: int, elements: int) -> MveAssembly:
        """r4, r5 and r6 are the stream's constants, lr counts."""
        return MveAssembly(
            about(shift),
            PARAMETERS,
            [
                "push {r4-r6, lr}",
                "ldm r3, {r4, r5, r6, r12}",
                "vdup.32 q2, r4",
                "wlstp.32 lr, r12, 2f",
                "1:",
                "vldrb.s32 q0, [r0], #4",
                "vldrb.s32 q1, [r1], #4",
                "vmlas.s32 q0, q2, r6",
                "vmla.s32 q0, q1, r5",
                *_stored(shift),
                "pop {r4-r6, pc}",
            ],
        )

    def add_entries(self, shift: int, elements: int, scaled: bool) -> MveAssembly:
        """r3 and r12 are the tables, q3 and r5 multiplier and addend, lr counts. Offsets and what they fetch need two
        registers."""
        constants = ["ldr r5, [r3], #4", "vdup.32 q3, r5", "ldr r5, [r3], #4"] if scaled else []
        product = ["vrmulh.s32 q0, q0, q3", *half_away("q0", "q2"), "vadd.i32 q0, q0, r5"]
        return MveAssembly(
            about_entries(shift, scaled),
            PARAMETERS,
            [
                "push {r4-r6, lr}",
                "ldr r4, [r3], #4",
                *constants,
                f"add r12, r3, #{TABLE}",
                "wlstp.32 lr, r4, 2f",
                "1:",
                "vldrb.u32 q1, [r0], #4",
                "vldrw.u32 q0, [r3, q1, uxtw #2]",
                "vldrb.u32 q1, [r1], #4",
                "vldrw.u32 q2, [r12, q1, uxtw #2]",
                "vadd.i32 q0, q0, q2",
                *(product if scaled else []),
                *_stored(shift),
                "pop {r4-r6, pc}",
            ],
        )

    def multiply_codes(self, shift: int, elements: int) -> MveAssembly:
        """r3 and r4 are the zero points, negated, r5 and r6 multiplier and addend, lr counts."""
        return MveAssembly(
            ABOUT,
            PARAMETERS,
            [
                "push {r4-r6, lr}",
                "ldm r3, {r3, r4, r5, r6, r12}",
                *(f"rsb {zero_point}, {zero_point}, #0" for zero_point in ("r3", "r4")),
                "wlstp.32 lr, r12, 2f",
                "1:",
                "vldrb.s32 q0, [r0], #4",
                "vldrb.s32 q1, [r1], #4",
                "vadd.i32 q0, q0, r3",
                "vadd.i32 q1, q1, r4",
                "vmul.i32 q0, q0, q1",
                "vqrdmulh.s32 q0, q0, r5",
                *half_away("q0", "q1"),
                "vadd.i32 q0, q0, r6",
                *_stored(shift),
                "pop {r4-r6, pc}",
            ],
        )

    def added_by_shift(self, shift: int) -> int:
        return sum(1 << (bits - 1) for bits in (_steps(shift)[0], shift))


def _steps(shift: int) -> tuple[int, int]:
    """The shift goes in two steps that saturate. They round, for GNU as (seen in 2.40) takes VQSHRNB for VQRSHRNB."""
    return min(shift - 1, 16), max(1, shift - 16)


def _stored(shift: int) -> list[str]:
    """The codes of q0's sums, and the loop's end."""
    narrowed = (f"vqrshrnb.s{size} q0, q0, #{step}" for size, step in zip((32, 16), _steps(shift), strict=True))
    return [*narrowed, "vstrb.32 q0, [r2], #4", "letp lr, 1b", "2:"]
