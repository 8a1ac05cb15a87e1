"""Copying for Cortex-M0 and M0+: a stream moves its state with every step."""

from __future__ import annotations

from .armv6m_assembly import Armv6mAssembly

COPY = Armv6mAssembly(
    "Copies bytes, upwards: eight words at a time where both lie at words.",
    ("int8_t *to", "const int8_t *from", "int32_t count"),
    [
        "push {r4-r7, lr}",
        "lsls r3, r0, #30",
        "bne 3f",
        "lsls r3, r1, #30",
        "bne 3f",
        "1:",
        "subs r2, #32",
        "bcc 2f",
        "ldm r1!, {r4-r7}",
        "stm r0!, {r4-r7}",
        "ldm r1!, {r4-r7}",
        "stm r0!, {r4-r7}",
        "b 1b",
        "2:",
        "adds r2, #32",
        "4:",
        "subs r2, #4",
        "bcc 5f",
        "ldm r1!, {r4}",
        "stm r0!, {r4}",
        "b 4b",
        "5:",
        "adds r2, #4",
        "3:",
        "subs r2, #1",
        "bcc 6f",
        "ldrb r3, [r1]",
        "strb r3, [r0]",
        "adds r0, #1",
        "adds r1, #1",
        "b 3b",
        "6:",
        "pop {r4-r7, pc}",
    ],
)
