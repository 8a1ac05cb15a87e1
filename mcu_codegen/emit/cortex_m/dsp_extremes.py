"""MAXIMUM and MINIMUM with the DSP extension: four codes at once, as in `dsp_pooling`."""

from __future__ import annotations

from .extremes import Extremes, about
from .pairs import PARAMETERS
from .thumb2_assembly import Thumb2Assembly


class DspExtremes(Extremes):
    """The renderer's part that computes them."""

    compared = 4

    def extreme_codes(self, largest: bool, codes: int) -> Thumb2Assembly:
        chosen = "r4, r5" if largest else "r5, r4"
        four = ["ldr r4, [r0], #4", "ldr r5, [r1], #4", "ssub8 r12, r4, r5", f"sel r4, {chosen}", "str r4, [r2], #4"]
        return Thumb2Assembly(
            about(largest),
            PARAMETERS,
            [
                "push {r4, r5, lr}",
                "ldr r3, [r3]",
                "1:",
                *four * (codes // 4),
                f"subs r3, r3, #{codes}",
                "bne 1b",
                "pop {r4, r5, pc}",
            ],
        )
