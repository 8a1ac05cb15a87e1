"""MAX_POOL_2D and AVERAGE_POOL_2D with the DSP extension: four channels at a time.

SSUB8 compares bytes and SEL takes the greater ones; means are SMMULR of sums held in 16 bits with 2**32 / taps and a
trace more, which makes it round halves away from zero.
"""

from __future__ import annotations

from .pooling import PARAMETERS, PoolingKernels, Windows
from .thumb2_assembly import Thumb2Assembly, add_to, constant


class DspPooling(PoolingKernels):
    """The renderer's part that computes them."""

    def max_windows(self, windows: Windows) -> Thumb2Assembly | None:
        lines: list[str] = []
        for load in _loads(windows, "r4", "r5"):
            lines += load + (["ssub8 r6, r4, r5", "sel r4, r4, r5"] if lines else [])
        if not windows.clamp.whole:
            lines += ["ssub8 r6, r4, r8", "sel r4, r4, r8", "ssub8 r6, r9, r4", "sel r4, r4, r9"]
        ends = [] if windows.clamp.whole else [("r8", windows.clamp.low), ("r9", windows.clamp.high)]
        once = [line for register, code in ends for line in constant(register, (code & 0xFF) * 0x01010101)]
        return _windows("The largest codes", windows, once, [*lines, "str r4, [r1], #4"])

    def average_windows(self, windows: Windows) -> Thumb2Assembly | None:
        if windows.taps < 3 or not windows.clamp.whole:
            return None  # 2**32 / taps is an int32 no more
        lines: list[str] = []
        for load in _loads(windows, "r6", "r6"):
            into = [f"sxtab16 {pair}, {pair}, r6{rotated}" for pair, rotated in (("r4", ""), ("r5", ", ror #8"))]
            lines += load + (into if lines else ["sxtb16 r4, r6", "sxtb16 r5, r6, ror #8"])
        sums = (("sxth r6, r4", 0), ("sxth r6, r5", 1), ("asr r6, r4, #16", 2), ("asr r6, r5, #16", 3))
        for extract, channel in sums:
            at = f"[r1, #{channel}]" if channel < 3 else "[r1, #3]"
            lines += [extract, "smmulr r6, r6, r8", f"strb r6, {at}"]
        return _windows("The means", windows, constant("r8", 2**32 // windows.taps + 1), [*lines, "adds r1, #4"])


def _loads(windows: Windows, first: str, others: str) -> list[list[str]]:
    """What brings four channels of each tap in turn; r0 points at the window, and r7 is for its rows."""
    height, width = windows.filter
    loads: list[list[str]] = []
    for row in range(height):
        pointer = "r7" if row else "r0"
        for column in range(width):
            move = add_to("r7", windows.row_bytes, "r0" if row == 1 else "r7") if row and not column else []
            register = others if loads else first
            loads.append([*move, f"ldr {register}, [{pointer}, #{column * windows.channels}]"])
    return loads


def _windows(what: str, windows: Windows, once: list[str], body: list[str]) -> Thumb2Assembly | None:
    """`body` makes four codes at r1, which it moves on. `once` prepares r8 and r9."""
    channels = windows.channels
    if channels % 4 or (windows.filter[1] - 1) * channels > 4095:
        return None
    step = windows.step - channels
    return Thumb2Assembly(
        f"{what} {windows.about}",
        PARAMETERS,
        [
            "push {r4-r9, lr}",
            *once,
            "1:",
            *constant("r3", channels // 4),
            "2:",
            *body,
            "adds r0, #4",
            "subs r3, #1",
            "bne 2b",
            *(add_to("r0", step) if step else []),
            "subs r2, #1",
            "bne 1b",
            "pop {r4-r9, pc}",
        ],
    )
