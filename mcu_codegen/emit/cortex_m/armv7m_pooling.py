"""MAX_POOL_2D for Cortex-M3: up to four channels at a time.

The greater of two codes is the second and what the first has more, which USAT keeps from falling below zero. Means are
portable C: a division by a constant is as good there.
"""

from __future__ import annotations

from .assembly import divisor
from .pooling import PARAMETERS, PoolingKernels, Windows
from .thumb2_assembly import Thumb2Assembly, add_to, constant

_CODES = ("r4", "r5", "r8", "r9")
_REACH = 4095  # of an offset


class Armv7mPooling(PoolingKernels):
    """The renderer's part that computes them."""

    def max_windows(self, windows: Windows) -> Thumb2Assembly | None:
        channels, (height, width) = windows.channels, windows.filter
        codes = _CODES[: divisor(channels, len(_CODES))]
        if width * channels > _REACH:
            return None
        lines: list[str] = []
        for row in range(height):
            pointer = "r7" if row else "r0"
            lines += add_to("r7", windows.row_bytes, "r0" if row == 1 else "r7") if row else []
            for column in range(width):
                for at, code in enumerate(codes, start=column * channels):
                    if row == column == 0:
                        lines.append(f"ldrsb {code}, [{pointer}, #{at}]")
                    else:
                        lines += [f"ldrsb r6, [{pointer}, #{at}]", *_greater(code, code, "r6")]
        if not windows.clamp.whole:
            for code in codes:
                lines += [*_greater(code, code, "r11"), f"sub r10, r12, {code}", "usat r10, #8, r10"]
                lines.append(f"sub {code}, r12, r10")
        ends = [] if windows.clamp.whole else [("r11", windows.clamp.low), ("r12", windows.clamp.high)]
        step = windows.step - channels
        return Thumb2Assembly(
            f"The largest codes {windows.about}",
            PARAMETERS,
            [
                "push {r4-r12, lr}",
                *(line for register, end in ends for line in constant(register, end & 0xFFFFFFFF)),
                "1:",
                *constant("r3", channels // len(codes)),
                "2:",
                *lines,
                *(f"strb {code}, [r1], #1" for code in codes),
                f"adds r0, #{len(codes)}",
                "subs r3, #1",
                "bne 2b",
                *(add_to("r0", step) if step else []),
                "subs r2, #1",
                "bne 1b",
                "pop {r4-r12, pc}",
            ],
        )


def _greater(to: str, first: str, second: str) -> list[str]:
    """The greater of two codes; r10 is for what the first has more."""
    return [f"sub r10, {first}, {second}", "usat r10, #8, r10", f"add {to}, {second}, r10"]
