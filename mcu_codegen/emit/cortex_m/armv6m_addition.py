"""ADD and SUB for Cortex-M0 and M0+.

The product of a difference of codes c with a multiplier M and 2**left_shift is c * M >> e, e = 31 - left_shift. With
M = mh * 2**e + ml that is c * mh + (c * ml >> e), and no term leaves int32.
"""

from __future__ import annotations

from .addition import Halved, HalvedAddition
from .armv6m_assembly import RESTORE, SAVE, saturate


class Armv6mAddition(HalvedAddition):
    """Cortex-M0, M0+."""

    def adds_halved(self, halved: Halved) -> bool:
        # what is rounded before both right shifts fits
        return halved.left_shift >= 15 and 31 - halved.left_shift + halved.shift < 31

    def add_halved(self, halved: Halved) -> list[str]:
        """r0, r1 and r2 point behind the last elements, r3 counts up to 0. r8 is the zero point of the input times a
        half, shifted; r9 the other's, r10 rounds the other, r11 is the addend of the sum.

        Frame: ml and mh of the other, the lower and the upper half of the sum's multiplier.
        """
        exponent = 31 - halved.left_shift
        combine = {(1, 1): "adds r4, r4, r5", (1, -1): "subs r4, r4, r5", (-1, 1): "subs r4, r5, r4"}[halved.signs]
        rounding = ["movs r4, #1", f"lsls r4, r4, #{exponent - 1}"]
        if halved.shift:
            rounding += ["movs r6, #1", f"lsls r6, r6, #{exponent + halved.shift - 1}", "adds r4, r4, r6"]
        element = [
            "ldrsb r4, [r0, r3]",
            f"lsls r4, r4, #{halved.left_shift - 1}",
            "add r4, r8",
            "ldrsb r5, [r1, r3]",
            "add r5, r9",
            "ldr r7, [sp]",
            "muls r7, r5, r7",
            "add r7, r10",
            f"asrs r7, r7, #{exponent}",
            # a negative product is one less before its right shift, which rounds half away from zero then
            *(["asrs r6, r5, #31", "adds r7, r7, r6"] if halved.shift else []),
            "ldr r6, [sp, #4]",
            "muls r5, r6, r5",
            "adds r5, r5, r7",
            *([f"asrs r5, r5, #{halved.shift}"] if halved.shift else []),
            combine,
            "lsls r5, r4, #17",
            "asrs r5, r5, #17",
            "subs r4, r4, r5",
            "asrs r4, r4, #15",
            "ldr r7, [sp, #8]",
            "movs r6, r5",
            "muls r6, r7, r6",
            "asrs r6, r6, #15",
            "muls r7, r4, r7",
            "adds r6, r6, r7",
            "ldr r7, [sp, #12]",
            "muls r5, r7, r5",
            "lsls r5, r5, #1",
            "adds r6, r6, r5",
            "muls r4, r7, r4",
            "asrs r6, r6, #16",  # the carry is the bit below
            "adcs r4, r4, r6",
            "asrs r5, r4, #31",
            "adds r4, r4, r5",
            "add r4, r11",
            f"asrs r4, r4, #{halved.last}",
            *saturate("r4", "r5"),
            "strb r4, [r2, r3]",
            "adds r3, #1",
        ]
        return [
            *SAVE,
            "sub sp, #16",
            "ldm r3!, {r4, r5, r6, r7}",
            f"lsls r4, r4, #{halved.left_shift - 1}",
            "mov r8, r4",
            "mov r9, r5",
            f"lsls r5, r6, #{halved.left_shift + 1}",
            f"lsrs r5, r5, #{halved.left_shift + 1}",
            f"lsrs r6, r6, #{exponent}",
            "str r5, [sp]",
            "str r6, [sp, #4]",
            "uxth r5, r7",
            "lsrs r7, r7, #16",
            "str r5, [sp, #8]",
            "str r7, [sp, #12]",
            "ldm r3!, {r4, r5}",
            "mov r11, r4",
            *rounding,
            "mov r10, r4",
            "adds r0, r0, r5",
            "adds r1, r1, r5",
            "adds r2, r2, r5",
            "rsbs r3, r5, #0",
            "1:",
            *element,
            "bne 1b",
            "add sp, #16",
            *RESTORE,
        ]
