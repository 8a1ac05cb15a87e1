"""ADD and SUB with MVE."""

from __future__ import annotations

from .addition import PARAMETERS, Addition, about
from .mve_assembly import MveAssembly


class MveAddition(Addition):
    """Four elements a vector; the loop counts elements by itself."""

    added = (1, 1)

    def add_codes(self, shift: int, elements: int) -> MveAssembly:
        """r4, r5 and r6 are the stream's constants, lr counts.

        The shift goes in two steps that saturate. They round, for GNU as (seen in 2.40) takes VQSHRNB for VQRSHRNB, and
        the addend makes up for it.
        """
        steps = (min(shift - 1, 16), max(1, shift - 16))
        return MveAssembly(
            about(shift),
            PARAMETERS,
            [
                "push {r4-r6, lr}",
                "ldm r3, {r4, r5, r6, r12}",
                *(f"sub r6, r6, #{1 << (bits - 1)}" for bits in (steps[0], shift)),
                "vdup.32 q2, r4",
                "wlstp.32 lr, r12, 2f",
                "1:",
                "vldrb.s32 q0, [r0], #4",
                "vldrb.s32 q1, [r1], #4",
                "vmlas.s32 q0, q2, r6",
                "vmla.s32 q0, q1, r5",
                *(f"vqrshrnb.s{size} q0, q0, #{step}" for size, step in zip((32, 16), steps, strict=True)),
                "vstrb.32 q0, [r2], #4",
                "letp lr, 1b",
                "2:",
                "pop {r4-r6, pc}",
            ],
        )
