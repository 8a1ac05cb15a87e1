"""Mel bands and their logarithms on Cortex-M0."""

from __future__ import annotations

from ...listen import frontend
from ...listen.frontend import Tables
from .armv6m_assembly import RESTORE, SAVE, SAVED_BYTES, Armv6mAssembly, constant
from .frontend_kernels import BANDS

_OWN_BYTES = 8  # of stack: the rising half of the next band

_NEXT_INTERVAL = ["mov r7, r10", "ldrb r4, [r7]", "adds r7, #1", "mov r10, r7", "lsls r4, r4, #1"]
"""r4 is twice the bins of the interval."""

_SUMS = [
    "adds r4, r4, r1",
    "mov lr, r4",
    "movs r5, #0",
    "movs r6, #0",
    "mov r8, r5",
    "mov r9, r5",
    "2:",
    "ldm r0!, {r2, r3}",
    "ldrh r4, [r1]",
    "adds r1, #2",
    "mov r7, r8",
    "adds r7, r7, r2",
    "mov r8, r7",
    "mov r7, r9",
    "adcs r7, r7, r3",
    "mov r9, r7",
    # the power's halfwords, the upper word being below 2**17
    "muls r3, r4, r3",
    "uxth r7, r2",
    "muls r7, r4, r7",
    "lsrs r2, r2, #16",
    "muls r2, r4, r2",
    "lsrs r4, r2, #16",
    "lsls r2, r2, #16",
    "adds r5, r5, r7",
    "adcs r6, r6, r4",
    "adds r5, r5, r2",
    "adcs r6, r6, r3",
    "cmp r1, lr",
    "bne 2b",
]
"""Over the bins of an interval: (r6, r5) are powers times rising weights, (r9, r8) all powers."""


def _normalized() -> list[str]:
    """r4 becomes the zeros before r3, which is not 0, and (r3, r2) lose them. Spoils r5 and r7."""
    lines = ["movs r7, r3", "movs r4, #0"]
    for bits in (16, 8, 4, 2, 1):
        lines += [f"lsrs r5, r7, #{32 - bits}", "bne 6f", f"lsls r7, r7, #{bits}", f"adds r4, #{bits}", "6:"]
    return [*lines, "lsls r3, r3, r4", "movs r5, #32", "subs r5, r5, r4", "lsrs r2, r2, r5", "adds r3, r3, r2"]


def bands(tables: Tables) -> Armv6mAssembly:
    """The kernel."""
    shift = frontend.MEL_BITS
    return Armv6mAssembly(
        "Sums up powers into bands, and takes the logarithm of each.",
        BANDS,
        [
            *SAVE,
            f"sub sp, #{_OWN_BYTES}",
            "mov r10, r2",
            "mov r11, r3",
            *_NEXT_INTERVAL,
            *_SUMS,
            "1:",
            "str r5, [sp]",
            "str r6, [sp, #4]",
            *_NEXT_INTERVAL,
            "cmp r4, #0",
            "beq 9f",
            *_SUMS,
            # (r3, r2): the band
            "mov r2, r8",
            "mov r3, r9",
            f"lsls r3, r3, #{shift}",
            f"lsrs r4, r2, #{32 - shift}",
            "adds r3, r3, r4",
            f"lsls r2, r2, #{shift}",
            "ldr r4, [sp]",
            "ldr r7, [sp, #4]",
            "adds r2, r2, r4",
            "adcs r3, r3, r7",
            "subs r2, r2, r5",
            "sbcs r3, r3, r6",
            "str r5, [sp]",
            "str r6, [sp, #4]",
            "movs r6, #0",
            "cmp r3, #0",
            "bne 4f",
            *constant("r7", tables.floor),
            "movs r3, r2",
            "cmp r3, r7",
            "bcs 3f",
            "movs r3, r7",
            "3:",
            "movs r2, #0",
            "movs r6, #32",
            "4:",
            *_normalized(),
            "adds r6, r6, r4",
            "lsls r4, r3, #1",
            "lsrs r4, r4, #27",
            "lsls r5, r3, #6",
            "lsrs r5, r5, #16",
            f"ldr r7, [sp, #{SAVED_BYTES + _OWN_BYTES}]",
            "lsls r4, r4, #1",
            "adds r7, r7, r4",
            "ldrh r2, [r7]",
            "ldrh r4, [r7, #2]",
            "subs r4, r4, r2",
            "muls r4, r5, r4",
            "movs r5, #1",
            "lsls r5, r5, #15",
            "adds r4, r4, r5",
            "lsrs r4, r4, #16",
            "adds r2, r2, r4",
            f"adds r2, #{1 << 14 - frontend.LOG_BITS}",
            f"lsrs r2, r2, #{15 - frontend.LOG_BITS}",
            f"lsls r6, r6, #{frontend.LOG_BITS}",
            "subs r2, r2, r6",
            *constant("r4", (63 << frontend.LOG_BITS) - tables.floor_log),
            "adds r2, r2, r4",
            "mov r7, r11",
            "strh r2, [r7]",
            "adds r7, #2",
            "mov r11, r7",
            "ldr r5, [sp]",
            "ldr r6, [sp, #4]",
            "b 1b",
            "9:",
            f"add sp, #{_OWN_BYTES}",
            *RESTORE,
        ],
    )
