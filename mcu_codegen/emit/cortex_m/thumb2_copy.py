"""Copying for Cortex-M3, M4, M7 and M33: a stream moves its state with every step."""

from __future__ import annotations

from .thumb2_assembly import Thumb2Assembly

COPY = Thumb2Assembly(
    "Copies bytes, upwards: eight words at a time where both lie at words.",
    ("int8_t *to", "const int8_t *from", "int32_t count"),
    [
        "push {r4-r10}",
        "orr r3, r0, r1",
        "lsls r3, r3, #30",
        "bne 3f",
        "1:",
        "subs r2, #32",
        "bcc 2f",
        "ldm r1!, {r3-r10}",
        "stm r0!, {r3-r10}",
        "b 1b",
        "2:",
        "add r2, #32",
        "4:",
        "subs r2, #4",
        "bcc 5f",
        "ldr r3, [r1], #4",
        "str r3, [r0], #4",
        "b 4b",
        "5:",
        "add r2, #4",
        "3:",
        "subs r2, #1",
        "bcc 6f",
        "ldrb r3, [r1], #1",
        "strb r3, [r0], #1",
        "b 3b",
        "6:",
        "pop {r4-r10}",
        "bx lr",
    ],
)
