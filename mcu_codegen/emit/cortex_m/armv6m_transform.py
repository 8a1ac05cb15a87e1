"""The window and the transform on Cortex-M0: see `armv6m_frontend`."""

from __future__ import annotations

from .armv6m_assembly import RESTORE, SAVE, SAVED_BYTES, Armv6mAssembly, constant


def _windowed(pointer: str, weight: int) -> list[str]:
    """A point of one quarter; r7 is half of its last bit."""
    return [
        f"mov r2, {pointer}",
        "ldrh r3, [r2]",
        "ldrh r4, [r2, #2]",
        "adds r2, #4",
        f"mov {pointer}, r2",
        "sxth r3, r3",
        "sxth r4, r4",
        f"ldrh r5, [r1, #{weight}]",
        "muls r3, r5, r3",
        f"ldrh r5, [r1, #{weight + 2}]",
        "muls r4, r5, r4",
        "adds r3, r3, r7",
        "adds r4, r4, r7",
        "asrs r3, r3, #9",
        "asrs r4, r4, #9",
        "stm r0!, {r3, r4}",
    ]


QUARTERS = Armv6mAssembly(
    "Windows 16 points of each quarter of the frame, and stores the four of a butterfly side by side.",
    ("void *bins", "const uint16_t *weights", "const int16_t *first", "const int16_t *third", "const int16_t *fourth"),
    [
        *SAVE,
        f"ldr r4, [sp, #{SAVED_BYTES}]",
        "mov r8, r2",
        "movs r7, #1",
        "lsls r7, r7, #8",
        "adds r2, r2, r7",
        "mov r9, r2",
        "mov r10, r3",
        "mov r11, r4",
        # base-4 digits of the points' numbers, in reverse, say where they go
        *constant("r2", 512 - 32),
        "mov r12, r2",
        *constant("r2", 2048 - 128),
        "mov lr, r2",
        "movs r6, #16",
        "1:",
        *(
            line
            for quarter, pointer in enumerate(("r8", "r9", "r10", "r11"))
            for line in _windowed(pointer, 4 * quarter)
        ),
        "adds r1, #16",
        "add r0, r12",
        "subs r6, #1",
        "movs r2, #3",
        "tst r6, r2",
        "bne 1b",
        "mov r2, lr",
        "subs r0, r0, r2",
        "cmp r6, #0",
        "bne 1b",
        *RESTORE,
    ],
)


def split(value: str, upper: str) -> list[str]:
    """What is above 15 bits to `upper`; the lower 15 bits stay."""
    return [f"asrs {upper}, {value}, #15", f"lsls {value}, {value}, #17", f"lsrs {value}, {value}, #17"]


ROTATE = Armv6mAssembly(
    "Rotates runs of points, rounded half up. A run begins `run` bytes behind the one before and has a point less.",
    ("void *points", "const int32_t *turns", "const int32_t *end", "uint32_t run"),
    [
        *SAVE,
        "push {r2}",
        "mov lr, r3",
        "movs r2, #1",
        "lsls r2, r2, #14",
        "mov r12, r2",
        "1:",
        "mov r2, lr",
        "subs r2, #8",
        "adds r2, r2, r0",
        "mov r11, r2",
        "2:",
        "ldr r2, [r0]",
        "ldr r3, [r0, #4]",
        "ldm r1!, {r4, r5}",
        *split("r2", "r6"),
        *split("r3", "r7"),
        # upper parts: r10 is real, r9 imaginary
        "mov r8, r6",
        "mov r9, r7",
        "muls r6, r4, r6",
        "muls r7, r5, r7",
        "subs r6, r6, r7",
        "mov r10, r6",
        "mov r6, r8",
        "mov r7, r9",
        "muls r6, r5, r6",
        "muls r7, r4, r7",
        "adds r6, r6, r7",
        "mov r9, r6",
        # lower parts: r2 is real, r6 imaginary
        "movs r6, r2",
        "muls r2, r4, r2",
        "muls r6, r5, r6",
        "muls r5, r3, r5",
        "subs r2, r2, r5",
        "muls r3, r4, r3",
        "adds r6, r6, r3",
        "mov r3, r12",
        "adds r2, r2, r3",
        "asrs r2, r2, #15",
        "add r2, r10",
        "adds r6, r6, r3",
        "asrs r6, r6, #15",
        "add r6, r9",
        "stm r0!, {r2, r6}",
        "cmp r0, r11",
        "bne 2b",
        "adds r0, #8",
        "ldr r2, [sp]",
        "cmp r1, r2",
        "bne 1b",
        "add sp, #4",
        *RESTORE,
    ],
)


BUTTERFLIES = Armv6mAssembly(
    "The butterflies of all groups of four points, `span` bytes apart, that are rotated.",
    ("void *bins", "uint32_t span", "const void *end"),
    [
        *SAVE,
        "mov r12, r2",
        "adds r2, r1, r1",
        "adds r3, r2, r1",
        "1:",
        "adds r4, r0, r1",
        "mov r11, r4",
        "2:",
        "ldr r4, [r0]",
        "ldr r5, [r0, r2]",
        "adds r6, r4, r5",
        "subs r4, r4, r5",
        "mov r8, r4",  # a - c, real
        "ldr r4, [r0, r1]",
        "ldr r5, [r0, r3]",
        "adds r7, r4, r5",
        "subs r4, r4, r5",
        "mov r9, r4",  # b - d, real
        "adds r4, r6, r7",
        "str r4, [r0]",
        "subs r6, r6, r7",
        "str r6, [r0, r2]",
        "adds r0, #4",
        "ldr r4, [r0]",
        "ldr r5, [r0, r2]",
        "adds r6, r4, r5",
        "subs r4, r4, r5",
        "mov r10, r4",  # a - c, imaginary
        "ldr r4, [r0, r1]",
        "ldr r5, [r0, r3]",
        "adds r7, r4, r5",
        "subs r5, r4, r5",  # b - d, imaginary
        "adds r4, r6, r7",
        "str r4, [r0]",
        "subs r6, r6, r7",
        "str r6, [r0, r2]",
        "mov r4, r10",
        "mov r6, r9",
        "subs r7, r4, r6",
        "str r7, [r0, r1]",
        "adds r4, r4, r6",
        "str r4, [r0, r3]",
        "subs r0, #4",
        "mov r4, r8",
        "adds r6, r4, r5",
        "str r6, [r0, r1]",
        "subs r4, r4, r5",
        "str r4, [r0, r3]",
        "adds r0, #8",
        "cmp r0, r11",
        "bne 2b",
        "adds r0, r0, r3",
        "cmp r0, r12",
        "bne 1b",
        *RESTORE,
    ],
)
