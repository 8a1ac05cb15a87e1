"""ADD, SUB and MUL for Cortex-M0 and M0+."""

from __future__ import annotations

from collections.abc import Sequence

from .addition import TABLE, Addition, about, about_entries
from .armv6m_assembly import RESTORE, SAVE, Armv6mAssembly, constant, requantize
from .clamp import Clamp
from .multiplication import ABOUT, Multiplication
from .pairs import PARAMETERS


class Armv6mAddition(Addition, Multiplication):
    """One element after the other; what saturates takes a longer way."""

    paired = (4, 1)

    def add_codes(self, shift: int, elements: int) -> Armv6mAssembly:
        """r4, r5 and r8 are the stream's constants."""
        products = ["muls r6, r4, r6", "muls r7, r5, r7", "adds r6, r6, r7", "add r6, r8"]
        once = ["ldm r3!, {r4, r5, r6, r7}", "mov r8, r6"]
        return _loop(about(shift), once, "ldrsb", products, shift, elements)

    def multiply_codes(self, shift: int, elements: int) -> Armv6mAssembly:
        """r8 and r9 are the negated zero points, r10 the addend. A product of codes has 17 bits; with the multiplier as
        r4 * 2**16 + r5, -2**15 <= r5 < 2**15, the doubling high product needs no more halves: it is
        product * r4 + (product * r5 >> 16) + 2**14 >> 15, and no term leaves int32."""
        once = [
            "ldm r3!, {r4, r5}",
            *("rsbs r4, r4, #0", "mov r8, r4", "rsbs r5, r5, #0", "mov r9, r5"),
            "ldm r3!, {r4, r6, r7}",
            "mov r10, r6",
            "sxth r5, r4",
            "subs r4, r4, r5",
            "lsrs r4, r4, #16",
            *constant("r6", 1 << 14),
            "mov r11, r6",
        ]
        scaled = [
            "add r6, r8",
            "add r7, r9",
            "muls r6, r7, r6",
            "movs r7, r5",
            "muls r7, r6, r7",
            "muls r6, r4, r6",
            "asrs r7, r7, #16",
            "adds r6, r6, r7",
            "add r6, r11",
            "asrs r6, r6, #15",
            "asrs r7, r6, #31",
            "adds r6, r6, r7",
            "add r6, r10",
        ]
        return _loop(ABOUT, once, "ldrsb", scaled, shift, elements, ("r8", "r9", "r10", "r11"))

    def add_entries(self, shift: int, elements: int, scaled: bool) -> Armv6mAssembly:
        """r4 and r5 are the tables."""
        if scaled:
            return _rescaled(shift)
        sums = ["lsls r6, r6, #2", "lsls r7, r7, #2", "ldr r6, [r4, r6]", "ldr r7, [r5, r7]", "adds r6, r6, r7"]
        once = ["ldm r3!, {r7}", "movs r4, r3", *constant("r5", TABLE), "adds r5, r5, r3"]
        return _loop(about_entries(shift, scaled), once, "ldrb", sums, shift, elements)


def _loop(
    what: str,
    once: list[str],
    load: str,
    sums: list[str],
    shift: int,
    elements: int,
    saved: Sequence[str] = ("r8",),
) -> Armv6mAssembly:
    """`once` leaves the count in r7. `sums` makes r6 of the codes in r6 and r7. r0, r1 and r2 are the ends of the
    arrays, and r3 counts up to zero. High registers that are used are `saved`."""
    lines, saturated = [], []
    low = ["r4", "r5", "r6", "r7"][: len(saved)]
    stacked = f"{{{', '.join(low)}}}"
    for at in range(elements):
        lines += [
            f"{load} r6, [r0, r3]",
            f"{load} r7, [r1, r3]",
            *sums,
            f"asrs r6, r6, #{shift}",
            "sxtb r7, r6",
            "cmp r6, r7",
            f"bne {10 + at}f",
            f"{20 + at}:",
            "strb r6, [r2, r3]",
            "adds r3, #1",
        ]
        saturated += [f"{10 + at}:", "asrs r6, r6, #31", "movs r7, #127", "eors r6, r7", f"b {20 + at}b"]
    return Armv6mAssembly(
        what,
        PARAMETERS,
        [
            "push {r4-r7, lr}",
            *(f"mov {each}, {high}" for each, high in zip(low, saved, strict=True)),
            f"push {stacked}",
            *once,
            *(f"adds {pointer}, {pointer}, r7" for pointer in ("r0", "r1", "r2")),
            "rsbs r3, r7, #0",
            "1:",
            *lines,
            "bne 1b",
            f"pop {stacked}",
            *(f"mov {high}, {each}" for each, high in zip(low, saved, strict=True)),
            "pop {r4-r7, pc}",
            *saturated,
        ],
    )


def _rescaled(shift: int) -> Armv6mAssembly:
    """One element a round: requantisation takes most of it, and nearly every register.

    r8, r9 and r10 are the ends of the arrays, r11 and r12 the tables, and r7 counts up to zero.
    """
    entries = ["mov r1, r8", "ldrb r2, [r1, r7]", "lsls r2, r2, #2", "mov r1, r11", "ldr r2, [r1, r2]"]
    entries += ["mov r1, r9", "ldrb r3, [r1, r7]", "lsls r3, r3, #2", "mov r1, r12", "ldr r3, [r1, r3]"]
    return Armv6mAssembly(
        about_entries(shift, True),
        PARAMETERS,
        [
            *SAVE,
            "sub sp, #4",
            "ldm r3!, {r4, r5, r6}",
            "adds r6, r6, r6",
            "str r6, [sp]",
            "lsrs r6, r5, #16",
            "uxth r5, r5",
            *(f"adds {pointer}, {pointer}, r4" for pointer in ("r0", "r1", "r2")),
            *(f"mov {end}, {pointer}" for end, pointer in zip(("r8", "r9", "r10"), ("r0", "r1", "r2"), strict=True)),
            "mov r11, r3",
            *constant("r7", TABLE),
            "adds r3, r3, r7",
            "mov r12, r3",
            "rsbs r7, r4, #0",
            f"movs r0, #{shift + 1}",
            "1:",
            *entries,
            "adds r2, r2, r3",
            "asrs r2, r2, #1",  # entries are twice the accumulator's
            *requantize("r2", Clamp(-128, 127, 0)),
            "mov r1, r10",
            "strb r2, [r1, r7]",
            "adds r7, #1",
            "bne 1b",
            "add sp, #4",
            *RESTORE,
        ],
    )
