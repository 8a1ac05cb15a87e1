"""Mel bands and their logarithms on Cortex-M3, M4, M7 and M33."""

from __future__ import annotations

from ...listen import frontend
from ...listen.frontend import Tables
from .frontend_kernels import BANDS
from .thumb2_assembly import Thumb2Assembly, add_to, constant

_SUMS = [
    *(f"mov {register}, #0" for register in ("r4", "r5", "r6", "r7")),
    "2:",
    "ldrd r8, r9, [r0], #8",
    "ldrh r12, [r1], #2",
    "adds r6, r6, r8",
    "adc r7, r7, r9",
    "umlal r4, r5, r8, r12",
    "mla r5, r9, r12, r5",
    "subs lr, #1",
    "bne 2b",
]
"""Over the bins of an interval: (r5, r4) are powers times rising weights, (r7, r6) all powers."""


def bands(tables: Tables, bias: int) -> Thumb2Assembly:
    """The kernel, whose logarithms are `bias` less. (r11, r10) is the rising half of the next band."""
    shift = frontend.MEL_BITS
    return Thumb2Assembly(
        "Sums up powers into bands, and takes the logarithm of each.",
        BANDS,
        [
            "push {r4-r11, lr}",
            "ldrb lr, [r2], #1",
            *_SUMS,
            "1:",
            "mov r10, r4",
            "mov r11, r5",
            "ldrb lr, [r2], #1",
            "cmp lr, #0",
            "beq 9f",
            *_SUMS,
            f"lsl r9, r7, #{shift}",
            f"orr r9, r9, r6, lsr #{32 - shift}",
            f"lsl r8, r6, #{shift}",
            "adds r8, r8, r10",
            "adc r9, r9, r11",
            "subs r8, r8, r4",
            "sbc r9, r9, r5",
            "cmp r9, #0",
            "bne 3f",
            *constant("r12", tables.floor),
            "cmp r8, r12",
            "bcs 4f",
            "mov r8, r12",
            "4:",
            "clz r6, r8",
            "lsl r8, r8, r6",
            "add r6, r6, #32",
            "b 5f",
            "3:",
            "clz r6, r9",
            "lsl r9, r9, r6",
            "rsb r7, r6, #32",
            "lsr r8, r8, r7",
            "orr r8, r8, r9",
            "5:",  # r8: the upper 32 bits behind r6 zeros
            "ldr r12, [sp, #36]",
            "ubfx r7, r8, #26, #5",
            "ubfx r8, r8, #10, #16",
            "add r7, r12, r7, lsl #1",
            "ldrh r9, [r7]",
            "ldrh r7, [r7, #2]",
            "sub r7, r7, r9",
            "mov r12, #32768",
            "mla r7, r7, r8, r12",
            "add r7, r9, r7, lsr #16",
            f"add r7, r7, #{1 << 14 - frontend.LOG_BITS}",
            f"lsr r7, r7, #{15 - frontend.LOG_BITS}",
            f"sub r7, r7, r6, lsl #{frontend.LOG_BITS}",
            *add_to("r7", (63 << frontend.LOG_BITS) - tables.floor_log - bias),
            "strh r7, [r3], #2",
            "b 1b",
            "9:",
            "pop {r4-r11, pc}",
        ],
    )
