"""MAXIMUM and MINIMUM with MVE: a vector at a time; the loop counts codes by itself."""

from __future__ import annotations

from .extremes import Extremes, about
from .mve_assembly import MveAssembly
from .pairs import PARAMETERS


class MveExtremes(Extremes):
    """The renderer's part that computes them."""

    def extreme_codes(self, largest: bool, codes: int) -> MveAssembly:
        return MveAssembly(
            about(largest),
            PARAMETERS,
            [
                "push {r7, lr}",
                "ldr r3, [r3]",
                "wlstp.8 lr, r3, 2f",
                "1:",
                "vldrb.u8 q0, [r0], #16",
                "vldrb.u8 q1, [r1], #16",
                f"{'vmax' if largest else 'vmin'}.s8 q0, q0, q1",
                "vstrb.8 q0, [r2], #16",
                "letp lr, 1b",
                "2:",
                "pop {r7, pc}",
            ],
        )
