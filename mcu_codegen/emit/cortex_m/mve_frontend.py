"""The front end of Cortex-M55: all stages in vectors, but for log-mel codes.

A vector holds two complex points, real and imaginary parts by turns. VQRDMLSDH and VQRDMLADHX are a rotation by a Q31
twiddle, each part rounded half up once, as `listen.frontend` has it; VCADD adds or subtracts i times a point. Scattered
64-bit stores bring the first butterflies into the order that the later spans want, and gathered loads read the mirror
image of a pair of bins. Bands are `mve_mel`'s.
"""

from __future__ import annotations

import numpy as np

from ...listen import frontend
from ..portable.frontend import Stage, Table
from .frontend_kernels import KernelFrontEnd, twiddles, window_to_the_end
from .mve_assembly import COPY, MveAssembly
from .mve_mel import bands, triangles
from .mve_transform import QUARTERS, SPAN

_SPANS = (4, 16, 64)


class MveFrontEnd(KernelFrontEnd):
    """Cortex-M55."""

    instruction_set = "mve"

    def mel_logs(self) -> Stage:
        weights, shapes = triangles(self.tables)
        about = "Of each band, its vectors of four weights, and bins from its first one to the next band's."
        tables = (
            Table(
                "uint16_t", "triangles", weights, "Weights of every band's bins, Q15, and zeros up to whole vectors."
            ),
            Table("uint8_t", "shapes", shapes, about),
            self.log2_chords,
        )
        return Stage(self.function(bands(self.tables, self.front_end.bands), "bands") + _MEL_LOGS, tables)

    def copy(self) -> MveAssembly:
        return COPY

    def load_frame(self) -> Stage:
        # of a pair of points, the weights of all quarters: four quarters, 32 pairs, four samples
        weights = window_to_the_end(self).reshape(4, 32, 4).transpose(1, 0, 2).reshape(4, 128)
        about = "Periodic Hann window and zeros, Q15: four weights of each quarter of the frame by turns."
        return self.frame(QUARTERS, weights, about)

    def transform(self) -> Stage:
        turns = [
            (64 // span * np.arange(span).reshape(-1, 1, 2) * np.array([[2], [4], [6]])).reshape(-1) for span in _SPANS
        ]
        about = "cos and -sin of the butterflies' turns, Q31: spans of 4, 16 and 64 points; two of each turn by turns."
        table = Table("int32_t", "twiddles", twiddles(self, np.concatenate(turns)), about)
        return Stage(self.function(SPAN, "span") + _TRANSFORM, (table,))

    def powers(self) -> Stage:
        mirrors = self.last_bin > frontend.POINTS // 2
        about = "-sin and cos of k / 512 of a circle, k = 1 .. 128, Q31."
        table = Table("int32_t", "half_twiddles", twiddles(self, np.arange(1, 129))[:, ::-1], about)
        return Stage(self.function(_power(mirrors), "power") + _POWERS, (table,))

    def project(self) -> Stage:
        if self.front_end.coefficients == self.front_end.bands:
            return super().project()
        row = _row(self.front_end.bands)
        return Stage(self.function(row, "rows") + _PROJECT, (self.projection, self.offset))


def _square(point: str, to: str, spare: str) -> list[str]:
    """The shifted power of two points; no sum of squares carries into the next one."""
    shift = frontend.POWER_SHIFT
    return [
        f"vmullb.s32 {to}, {point}, {point}",
        f"vmullt.s32 {spare}, {point}, {point}",
        f"vadci.i32 {to}, {to}, {spare}",
        f"vrev64.32 {spare}, {to}",
        f"vshr.u32 {to}, {to}, #{shift}",
        "vpst",
        f"vslit.32 {to}, {spare}, #{32 - shift}",
    ]


def _power(mirrors: bool) -> MveAssembly:
    """q3 is what even samples give, q0 what odd ones do, turned."""
    mirror = ["vsub.i32 q1, q3, q0", *_square("q1", "q5", "q6"), "vstrd.64 q5, [q7, #0]"]
    return MveAssembly(
        "The power of pairs of bins of twice the spectrum"
        + ("." if mirrors else "; of the upper ones, which no band holds, it is not computed."),
        ("void *bin", "void *mirror", "const int32_t *turns", "uint32_t pairs"),
        [
            "push {r7, lr}",
            "vpush {d8-d15}",
            "dls lr, r3",
            "add r1, r1, #16",
            "sub r3, r1, #8",
            "vmov q7[2], q7[0], r1, r3",
            "movw r3, #3855",  # real parts
            "vmsr p0, r3",
            "1:",
            "vldrw.u32 q0, [r0, #0]",
            "vldrd.u64 q1, [q7, #-16]!",
            "vldrw.u32 q2, [r2], #16",
            "vadd.i32 q5, q0, q1",
            "vsub.i32 q6, q0, q1",
            "vpsel q3, q5, q6",
            "vpsel q4, q6, q5",
            "vqrdmladh.s32 q0, q4, q2",
            "vqrdmlsdhx.s32 q0, q4, q2",
            *(mirror if mirrors else []),
            "vadd.i32 q1, q3, q0",
            *_square("q1", "q5", "q6"),
            "vstrw.32 q5, [r0], #16",
            "le lr, 1b",
            "vpop {d8-d15}",
            "pop {r7, pc}",
        ],
    )


def _row(bands: int) -> MveAssembly:
    return MveAssembly(
        f"Rows of {bands} products of logarithms, as codes.",
        ("const int16_t *rows", "const int32_t *offsets", "const uint16_t *logs", "int8_t *codes", "uint32_t count"),
        [
            "push {r4-r7, lr}",
            "ldr r7, [sp, #20]",
            f"mov r6, #{bands // 4}",
            "1:",
            "ldr r4, [r1], #4",
            "mov r5, r2",
            "dls lr, r6",
            "2:",
            "vldrh.s32 q0, [r0], #8",
            "vldrh.u32 q1, [r5], #8",
            "vmladava.s32 r4, q0, q1",
            "le lr, 2b",
            f"ssat r4, #8, r4, asr #{frontend.OUTPUT_SHIFT}",
            "strb r4, [r3], #1",
            "subs r7, #1",
            "bne 1b",
            "pop {r4-r7, pc}",
        ],
    )


_TRANSFORM = """\
static void transform(void)
{
    const int32_t *turns = twiddles;

    for (uint32_t span = 4; span < POINTS; span *= 4u) {
        kws_frontend_span(arena.bins, turns, span * 8u, POINTS / 4u / span);
        turns += 6u * span;
    }
}
"""

_POWERS = """\
static void powers(void)
{
    kws_frontend_power(&arena.bins[1], &arena.bins[POINTS - 1], half_twiddles, POINTS / 4);
}
"""

_MEL_LOGS = """\
static void mel_logs(void)
{
    kws_frontend_bands(&arena.bins[FIRST_BIN], triangles, shapes, arena.logs, log2_chords);
}
"""

_PROJECT = """\
static void project(int8_t *features)
{
    kws_frontend_rows(projection, offset, arena.logs, features, KWS_FRONTEND_COEFFICIENTS);
}
"""
