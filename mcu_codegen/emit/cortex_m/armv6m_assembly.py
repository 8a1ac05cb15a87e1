"""What the kernels of Cortex-M0 and M0+ share.

Requantisation has no 64-bit product to start from. For |a| < 2**28 the doubling high product with M comes from halves
of both: with a = ah * 2**15 + al, -2**14 <= al < 2**14, and M = mh * 2**16 + ml it is
ah * mh + (ah * ml + 2 * al * mh + (al * ml >> 15) + 2**15 >> 16), and no term leaves int32.
"""

from __future__ import annotations

import numpy as np

from .assembly import Assembly, Scaled, requantizes, rounding, scaling
from .clamp import Clamp, clamp_of
from .ranges import Ranges

_FORMS = """
    adcs sbcs bics eors       L, =, L
    muls                      L, L, =
    adds subs                 L, L, L
    adds subs                 L, =, #0..255
    adds subs                 L, L, #0..7
    adds subs cmp movs        L, #0..255
    cmp                       R, R
    rsbs                      L, L, #0..0
    mov                       R, R
    movs tst                  L, L
    add                       R, R
    eors                      L, L
    lsls                      L, L, #0..31
    lsrs asrs                 L, L, #1..32
    lsls lsrs asrs            L, =, L
    sxtb sxth uxtb uxth       L, L
    ldr str                   L, [L]
    ldr str                   L, [L, #0..124/4]
    ldr str                   L, [sp, #0..1020/4]
    ldr str                   L, [sp]
    ldrb strb                 L, [L, #0..31]
    ldrb strb ldrh strh       L, [L]
    ldrh strh                 L, [L, #0..62/2]
    ldr str ldrsb ldrb strb   L, [L, L]
    ldm stm                   L!, {L}
    add sub                   sp, #0..508/4
    push                      {L, lr}
    pop                       {L, pc}
    bx                        lr
    b                         @-2048..2046
    beq bne bcs bcc bls ble   @-256..254
"""

BOUND = 2**28
"""Accumulators that `requantize` takes are smaller."""

SUMS = ("r8", "r9", "r10", "r11", "r12", "lr")
"""Registers that can be added to and hardly anything else."""

SAVE = ["push {r4-r7, lr}", "mov r4, r8", "mov r5, r9", "mov r6, r10", "mov r7, r11", "push {r4-r7}"]
RESTORE = ["pop {r4-r7}", "mov r8, r4", "mov r9, r5", "mov r10, r6", "mov r11, r7", "pop {r4-r7, pc}"]
SAVED_BYTES = 36
"""What SAVE pushes, and RESTORE pops to return."""


def saturate(clamp: Clamp, value: str = "r2", spare: str = "r3") -> list[str]:
    """What is in `value`, in place, as a code; it comes moved by `moved`."""
    if not clamp.whole:
        return [
            f"cmp {value}, #{clamp.high - clamp.low}",
            "bls 9f",
            f"asrs {value}, {value}, #31",
            f"movs {spare}, #{clamp.high - clamp.low}",
            f"bics {spare}, {spare}, {value}",
            f"movs {value}, {spare}",
            "9:",
            f"{'subs' if clamp.low < 0 else 'adds'} {value}, #{abs(clamp.low)}",
        ]
    return [
        f"sxtb {spare}, {value}",
        f"cmp {spare}, {value}",
        "beq 9f",
        f"asrs {value}, {value}, #31",
        f"movs {spare}, #127",
        f"eors {value}, {value}, {spare}",
        "9:",
    ]


def moved(clamp: Clamp) -> int:
    """By how much `saturate` wants codes moved up, so that unsigned ones are those beyond a narrower clamp."""
    return 0 if clamp.whole else -clamp.low


def moved_rounding(op: Scaled) -> int:
    """`rounding` of codes that are moved as `saturate` wants them."""
    return rounding(op, moved(clamp_of(op.requantization)))


def computes(op: Scaled) -> bool:
    """Whether two products stay in the halves of a word, and requantisation in int32."""
    twice_addends = abs(moved_rounding(op)) << scaling(op, len(op.bias))[1]
    fits = np.all(2 * op.bound + twice_addends < 2**31) and np.all(op.bound < BOUND) and op.weights.min() >= -127
    return requantizes(op) and bool(fits)


def requantize(total: str, clamp: Clamp) -> list[str]:
    """The sum in `total` to an int8 code in r2. r0 is the shift and 1, r5 and r6 are the multiplier; [sp] is twice the
    addend."""
    return [
        f"mov r2, {total}",
        "lsls r3, r2, #17",
        "asrs r3, r3, #17",  # al
        "subs r2, r2, r3",
        "asrs r2, r2, #15",  # ah
        "movs r4, r3",
        "muls r4, r5, r4",
        "asrs r4, r4, #15",
        "muls r3, r6, r3",
        "lsls r3, r3, #1",
        "adds r4, r4, r3",
        "movs r3, r2",
        "muls r3, r5, r3",
        "adds r4, r4, r3",
        "muls r2, r6, r2",
        "asrs r4, r4, #16",  # the carry is the bit below
        "adcs r2, r2, r4",
        "rsbs r3, r2, #0",
        "adds r3, r3, r3",  # no carry is one less: of the zero point, whose last bit is lost, and of what is below
        "ldr r2, [sp]",
        "sbcs r2, r2, r3",
        "asrs r2, r2, r0",
        *saturate(clamp),
    ]


def take_apart(low: str, high: str) -> list[str]:
    """Add the halves of r4 to two sums; spoils r6."""
    return ["sxth r6, r4", f"add {low}, r6", "subs r4, r4, r6", "asrs r4, r4, #16", f"add {high}, r4"]


def constant(register: str, value: int) -> list[str]:
    """`register` becomes `value`, 0 or more."""
    if value < 256:
        return [f"movs {register}, #{value}"]
    return [*constant(register, value >> 8), f"lsls {register}, {register}, #8", f"adds {register}, #{value & 0xFF}"]


def advance(register: str, bytes_: int, spare: str) -> list[str]:
    """Add a constant, 255 at a time where that is short; `spare` may be lost."""
    operation, size = ("adds", bytes_) if bytes_ > 0 else ("subs", -bytes_)
    if size > 4 * 255:
        return [*constant(spare, size), f"{operation} {register}, {register}, {spare}"]
    return [f"{operation} {register}, #{min(255, size - done)}" for done in range(0, size, 255)]


class Armv6mAssembly(Assembly):
    """Of Cortex-M0 and M0+."""

    ranges = Ranges("Cortex-M0", 2, _FORMS)
