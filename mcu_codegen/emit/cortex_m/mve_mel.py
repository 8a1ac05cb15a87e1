"""Mel bands and their logarithms in vectors of four.

A band is the product of neighbouring powers with the weights of its triangle, which zeros fill up to whole vectors. Its
sum takes the place of a power that no later band needs: there is at least one in every interval.
"""

from __future__ import annotations

import itertools

import numpy as np

from ...listen import frontend
from ...listen.frontend import Tables
from .mve_assembly import MveAssembly
from .thumb2_assembly import constant

_LANES = 4


def triangles(tables: Tables) -> tuple[np.ndarray, np.ndarray]:
    """(weights of every band's bins up to whole vectors, Q15; of each band its vectors, and its first bin's distance
    from the next one's)."""
    slopes = np.split(tables.rising, np.cumsum(tables.interval_bins)[:-1])
    weights, shapes = [], []
    for rising, falling in itertools.pairwise(slopes):
        triangle = np.concatenate([rising, (1 << frontend.MEL_BITS) - falling])
        triangle = np.pad(triangle, (0, -len(triangle) % _LANES))
        weights.append(triangle)
        shapes.append((len(triangle) // _LANES, len(rising)))
    return np.concatenate(weights), np.array(shapes)


def bands(tables: Tables, count: int) -> MveAssembly:
    """The kernel of `count` bands, a multiple of 4."""
    return MveAssembly(
        "Sums up powers into bands, and takes the logarithms of these.",
        (
            "void *power",
            "const uint16_t *weights",
            "const uint8_t *shape",
            "uint16_t *logs",
            "const uint16_t *chords",
        ),
        [
            "push {r4-r11, lr}",
            "vpush {d8-d15}",
            "mov r10, r0",
            "mov r11, r0",
            f"mov r9, #{count}",
            "1:",
            "ldrb r8, [r2], #1",
            "dls lr, r8",
            "mov r4, #0",
            "mov r5, #0",
            "mov r6, #0",
            "mov r7, r0",
            "2:",
            "vld20.32 {q0, q1}, [r7]",
            "vld21.32 {q0, q1}, [r7]!",
            "vldrh.u32 q2, [r1], #8",
            "vmlaldava.u32 r4, r5, q0, q2",
            "vmladava.u32 r6, q1, q2",
            "le lr, 2b",
            "add r5, r5, r6",
            "strd r4, r5, [r10], #8",
            "ldrb r8, [r2], #1",
            "add r0, r0, r8, lsl #3",
            "subs r9, #1",
            "bne 1b",
            *_logarithms(tables, count),
            "vpop {d8-d15}",
            "pop {r4-r11, pc}",
        ],
    )


def _logarithms(tables: Tables, count: int) -> list[str]:
    """Of sums at r11, to r3."""
    return [
        *constant("r4", tables.floor),
        "vdup.32 q7, r4",
        "mov r4, #-32",
        *constant("r5", (63 << frontend.LOG_BITS) - tables.floor_log),
        "ldr r6, [sp, #100]",
        "add r8, r6, #2",
        f"mov r9, #{count // _LANES}",
        "dls lr, r9",
        "3:",
        "vld20.32 {q0, q1}, [r11]",
        "vld21.32 {q0, q1}, [r11]!",
        "vmov.i32 q3, #0",
        "vpttt.i32 eq, q1, zr",
        "vmaxt.u32 q1, q0, q7",
        "vmovt.i32 q0, #0",
        "vmovt.i32 q3, #32",
        "vclz.i32 q2, q1",
        "vadd.i32 q3, q3, q2",
        "vshl.u32 q1, q1, q2",
        "vadd.i32 q2, q2, r4",
        "vshl.u32 q0, q0, q2",
        "vorr q1, q1, q0",  # the upper 32 bits behind q3 zeros
        "vshl.i32 q0, q1, #1",
        "vshr.u32 q0, q0, #27",
        "vldrh.u32 q2, [r6, q0, uxtw #1]",
        "vldrh.u32 q4, [r8, q0, uxtw #1]",
        "vshl.i32 q1, q1, #6",
        "vshr.u32 q1, q1, #16",
        "vsub.i32 q4, q4, q2",
        "vmul.i32 q4, q4, q1",
        "vrshr.u32 q4, q4, #16",
        "vadd.i32 q4, q4, q2",
        f"vrshr.u32 q4, q4, #{15 - frontend.LOG_BITS}",
        f"vshl.i32 q3, q3, #{frontend.LOG_BITS}",
        "vsub.i32 q4, q4, q3",
        "vadd.i32 q4, q4, r5",
        "vstrh.32 q4, [r3], #8",
        "le lr, 3b",
    ]
