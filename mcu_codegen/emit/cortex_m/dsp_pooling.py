"""MAX_POOL_2D and AVERAGE_POOL_2D with the DSP extension: four channels at a time, where they come in fours.

SSUB8 compares bytes and SEL takes the greater ones; sums are held in 16 bits, which SMLABB and SMLATB multiply where
they are.
"""

from __future__ import annotations

from .pooling import Windows, share
from .thumb2_assembly import Thumb2Assembly, constant
from .thumb2_pooling import Thumb2Pooling, mean_codes, share_in, taps, windows_loop


class DspPooling(Thumb2Pooling):
    """The renderer's part that computes them."""

    def max_windows(self, windows: Windows) -> Thumb2Assembly | None:
        if windows.channels % 4:
            return super().max_windows(windows)
        lines: list[str] = []
        for load in _loads(windows, "r4", "r5"):
            lines += load + (["ssub8 r6, r4, r5", "sel r4, r4, r5"] if lines else [])
        if not windows.clamp.whole:
            lines += ["ssub8 r6, r4, r8", "sel r4, r4, r8", "ssub8 r6, r9, r4", "sel r4, r4, r9"]
        ends = [] if windows.clamp.whole else [("r8", windows.clamp.low), ("r9", windows.clamp.high)]
        once = [line for register, code in ends for line in constant(register, (code & 0xFF) * 0x01010101)]
        return windows_loop("The largest codes", windows, 4, once, [*lines, "str r4, [r1], #4"])

    def average_windows(self, windows: Windows, half_up: bool) -> Thumb2Assembly | None:
        mean = share(windows.taps, half_up, windows.clamp.top)
        if windows.channels % 4 or mean is None:
            return super().average_windows(windows, half_up)
        lines: list[str] = []
        for load in _loads(windows, "r6", "r6"):
            into = [f"sxtab16 {pair}, {pair}, r6{rotated}" for pair, rotated in (("r4", ""), ("r5", ", ror #8"))]
            lines += load + (into if lines else ["sxtb16 r4, r6", "sxtb16 r5, r6, ror #8"])
        for multiply, pair in (("smlabb", "r4"), ("smlabb", "r5"), ("smlatb", "r4"), ("smlatb", "r5")):
            lines += [f"{multiply} r6, {pair}, r8, r9", *mean_codes("r6", mean, windows.clamp), "strb r6, [r1], #1"]
        return windows_loop("The means", windows, 4, share_in("r8", "r9", mean), lines)


def _loads(windows: Windows, first: str, others: str) -> list[list[str]]:
    """What brings four channels of each tap in turn."""
    return [
        [*move, f"ldr {others if tap else first}, [{pointer}, #{offset}]"]
        for tap, (move, pointer, offset) in enumerate(taps(windows))
    ]
