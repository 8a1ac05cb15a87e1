"""ADD and SUB for Cortex-M3, M4, M7 and M33."""

from __future__ import annotations

from ..portable.renderer import OPTIMIZE
from .addition import Halved, HalvedAddition

_UNROLLED = (4, 1)  # elements, in the order of OPTIMIZE


class Thumb2Addition(HalvedAddition):
    """A subclass has the multiplication."""

    optimize: str

    def high_multiply(self, register: str, multiplier: str, spare: str) -> list[str]:
        """The doubling high product of half of what is in `register`, in place."""
        raise NotImplementedError

    def add_halved(self, halved: Halved) -> list[str]:
        """r4 and r5 are the zero points, shifted; r6 and r7 multipliers, r8 is the addend; sums come doubled."""
        add = {1: "add", -1: "sub"}
        element = [
            "ldrsb r10, [r0], #1",
            "ldrsb r11, [r1], #1",
            f"{add[halved.signs[0]]} r10, r4, r10, lsl #{halved.left_shift}",
            f"add r11, r5, r11, lsl #{halved.left_shift + 1}",
            *self.high_multiply("r11", "r6", "r12"),
        ]
        if halved.shift:
            element += ["add r11, r11, r11, asr #31", f"add r11, r11, #{1 << (halved.shift - 1)}"]
            element.append(f"asr r11, r11, #{halved.shift}")
        element += [
            f"{add[halved.signs[1]]} r10, r10, r11, lsl #1",
            *self.high_multiply("r10", "r7", "r12"),
            "add r10, r10, r10, asr #31",
            "add r10, r10, r8",
            f"ssat r10, #8, r10, asr #{halved.last}",
            "strb r10, [r2], #1",
        ]
        unrolled = _UNROLLED[OPTIMIZE.index(self.optimize)]
        several = [f"lsrs r3, lr, #{unrolled.bit_length() - 1}", "beq 2f", "1:", *element * unrolled, "subs r3, #1"]
        several += ["bne 1b", "2:", f"ands lr, lr, #{unrolled - 1}", "beq 4f"]
        return [
            "push {r4-r8, r10, r11, lr}",
            "ldm r3, {r4-r8, lr}",
            f"lsl r4, r4, #{halved.left_shift}",
            *(["rsb r4, r4, #0"] if halved.signs[0] < 0 else []),
            f"lsl r5, r5, #{halved.left_shift + 1}",
            *(several if unrolled > 1 else []),
            "3:",
            *element,
            "subs lr, lr, #1",
            "bne 3b",
            "4:",
            "pop {r4-r8, r10, r11, pc}",
        ]
