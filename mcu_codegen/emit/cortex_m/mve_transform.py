"""The window and the transform in vectors: see `mve_frontend`."""

from __future__ import annotations

from .mve_assembly import MveAssembly

QUARTERS = MveAssembly(
    "Windows 16 points of each quarter of the frame and stores their first butterflies.",
    ("void *bins", "const uint16_t *weights", "const int16_t *first", "const int16_t *third", "const int16_t *fourth"),
    [
        "push {r4-r7, lr}",
        "vpush {d8-d15}",
        "ldr r4, [sp, #84]",
        "add r5, r2, #256",
        # base-4 digits of the points' numbers, in reverse, say where they go
        "add r6, r0, #512",
        "vmov q7[2], q7[0], r0, r6",
        "mov r6, #1024",
        "mov r7, #8",
        "dls lr, r7",
        "1:",
        *(
            line
            for vector, pointer in (("q0", "r2"), ("q1", "r5"), ("q2", "r3"), ("q3", "r4"))
            for line in (
                f"vldrh.s32 {vector}, [{pointer}], #8",
                "vldrh.u32 q4, [r1], #8",
                f"vmul.i32 {vector}, {vector}, q4",
                f"vrshr.s32 {vector}, {vector}, #9",
            )
        ),
        "vadd.i32 q4, q0, q2",
        "vsub.i32 q0, q0, q2",
        "vadd.i32 q5, q1, q3",
        "vsub.i32 q1, q1, q3",
        "vadd.i32 q2, q4, q5",
        "vstrd.64 q2, [q7, #0]",
        "vsub.i32 q3, q4, q5",
        "vstrd.64 q3, [q7, #16]",
        "vcadd.i32 q2, q0, q1, #270",
        "vstrd.64 q2, [q7, #8]",
        "vcadd.i32 q3, q0, q1, #90",
        "vstrd.64 q3, [q7, #24]",
        "vadd.i32 q7, q7, r6",
        "rsb r6, r6, #128",  # 1024 and -896 by turns
        "le lr, 1b",
        "vpop {d8-d15}",
        "pop {r4-r7, pc}",
    ],
)


def _turn(point: str, to: str) -> list[str]:
    """The points at `point` times the next twiddles. Spoils q0 and q1."""
    return [
        f"vldrw.u32 q0, [{point}, #0]",
        "vldrw.u32 q1, [r1], #16",
        f"vqrdmlsdh.s32 {to}, q0, q1",
        f"vqrdmladhx.s32 {to}, q0, q1",
    ]


SPAN = MveAssembly(
    "The butterflies of all groups of four points, `span` bytes apart.",
    ("void *bins", "const int32_t *turns", "uint32_t span", "uint32_t groups"),
    [
        "push {r4-r9, lr}",
        "vpush {d8-d15}",
        "add r4, r0, r2",
        "add r5, r4, r2",
        "add r6, r5, r2",
        "mov r7, r1",
        "add r8, r2, r2, lsl #1",
        "lsr r9, r2, #4",
        "1:",
        "mov r1, r7",
        "dls lr, r9",
        "2:",
        *_turn("r4", "q3"),
        *_turn("r5", "q4"),
        *_turn("r6", "q2"),
        "vldrw.u32 q0, [r0, #0]",
        "vadd.i32 q1, q3, q2",
        "vsub.i32 q3, q3, q2",
        "vadd.i32 q2, q0, q4",
        "vsub.i32 q0, q0, q4",
        "vadd.i32 q4, q2, q1",
        "vstrw.32 q4, [r0], #16",
        "vsub.i32 q2, q2, q1",
        "vstrw.32 q2, [r5], #16",
        "vcadd.i32 q4, q0, q3, #270",
        "vstrw.32 q4, [r4], #16",
        "vcadd.i32 q1, q0, q3, #90",
        "vstrw.32 q1, [r6], #16",
        "le lr, 2b",
        *(f"add {pointer}, {pointer}, r8" for pointer in ("r0", "r4", "r5", "r6")),
        "subs r3, r3, #1",
        "bne 1b",
        "vpop {d8-d15}",
        "pop {r4-r9, pc}",
    ],
)
