"""What the kernels of Cortex-M0 and M0+ share."""

from __future__ import annotations

SUMS = ("r8", "r9", "r10", "r11", "r12", "lr")
"""Registers that can be added to and hardly anything else."""

SAVE = ["push {r4-r7, lr}", "mov r4, r8", "mov r5, r9", "mov r6, r10", "mov r7, r11", "push {r4-r7}"]
RESTORE = ["pop {r4-r7}", "mov r8, r4", "mov r9, r5", "mov r10, r6", "mov r11, r7", "pop {r4-r7, pc}"]
SAVED_BYTES = 36
"""What SAVE pushes, and RESTORE pops to return."""


def saturate(value: str = "r2", spare: str = "r3") -> list[str]:
    """What is in `value`, in place, as int8."""
    return [
        f"sxtb {spare}, {value}",
        f"cmp {spare}, {value}",
        "beq 9f",
        f"asrs {value}, {value}, #31",
        f"movs {spare}, #127",
        f"eors {value}, {value}, {spare}",
        "9:",
    ]


def take_apart(low: str, high: str) -> list[str]:
    """Add the halves of r4 to two sums; spoils r6."""
    return ["sxth r6, r4", f"add {low}, r6", "subs r4, r4, r6", "asrs r4, r4, #16", f"add {high}, r4"]


def advance(register: str, bytes_: int) -> list[str]:
    """Add a positive constant, 255 at a time."""
    return [f"adds {register}, #{min(255, bytes_ - done)}" for done in range(0, bytes_, 255)]
