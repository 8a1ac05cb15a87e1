"""The front end of Cortex-M3, M4, M7 and M33: window, transform and power in assembly.

A rotation is two long multiplications a part, whose upper word is the result when twiddles are Q31 and values doubled:
from the first butterflies on, every value is twice the specification's, and what a rotation gives is single again,
which costs nothing, since additions shift for nothing. The lower word's highest bit is the half that rounds.

The window's samples go through the first butterflies (spans of one point, no rotation) before they are stored, in the
order that the later spans want. No bin of twice the spectrum of 512 samples exceeds 2**30 (`listen.frontend`), and
neither does a doubled value.
"""

from __future__ import annotations

import numpy as np

from ...listen import frontend
from ...listen.frontend import FrontEnd
from ..portable.frontend import Stage, Table
from .frontend_kernels import KernelFrontEnd, twiddles, window_to_the_end
from .thumb2_assembly import Thumb2Assembly
from .thumb2_mel import bands
from .thumb2_transform import POINT_BYTES, QUARTERS, rotate, span_of


class Thumb2FrontEnd(KernelFrontEnd):
    """Cortex-M3."""

    instruction_set = "armv7m"
    log_bias = 0
    """How much less than the specification's the logarithms are."""

    def bands(self) -> Thumb2Assembly:
        return bands(self.tables, self.log_bias)

    def copy(self) -> Thumb2Assembly:
        return _COPY

    def load_frame(self) -> Stage:
        about = "Periodic Hann window, Q15, and zeros up to the transform's size."
        return self.frame(QUARTERS, window_to_the_end(self).reshape(16, 32), about)

    def transform(self) -> Stage:
        turns = np.arange(1, 64)[:, None] * np.array([2, 4, 6])
        about = "cos and -sin of i / 256, 2 i / 256 and 3 i / 256 of a circle, i = 1 .. 63, Q31."
        spans = "".join(self.function(span_of(span), f"span_{span}") for span in (4, 16, 64))
        return Stage(spans + _TRANSFORM, (Table("int32_t", "twiddles", twiddles(self, turns), about),))

    def powers(self) -> Stage:
        power = _power(mirrors=self.last_bin > frontend.POINTS // 2)
        about = "cos and -sin of k / 512 of a circle, k = 1 .. 128, Q31."
        table = Table("int32_t", "half_twiddles", twiddles(self, np.arange(1, 129)), about)
        return Stage(self.function(power, "power") + _POWERS, (table,))


class DspFrontEnd(Thumb2FrontEnd):
    """Cortex-M4, M7, M33: products of halfwords in pairs, for which logarithms become signed."""

    instruction_set = "dsp"

    def __init__(self, front_end: FrontEnd) -> None:
        super().__init__(front_end)
        self._pairs = front_end.coefficients < front_end.bands
        self.log_bias = 1 << 15 if self._pairs else 0

    def project(self) -> Stage:
        if not self._pairs:
            return super().project()
        rows = self.tables.projection.astype(np.int64)
        pairs = np.ascontiguousarray(rows.astype("<i2")).view("<i4")
        offsets = (self.tables.offset + self.log_bias * rows.sum(axis=1)).astype(np.int32)
        tables = (
            Table("int32_t", "projection", pairs, "DCT-II, row by row: codes per unit of log2, Q12; two in a word."),
            Table("int32_t", "offset", offsets, "Zero point, floor, half a code, and what logarithms lack, Q22."),
        )
        return Stage(self.function(_rows(*rows.shape), "rows") + _PROJECT, tables)


def _square(re: str, im: str, low: str, high: str, store: str) -> list[str]:
    return [
        f"smull {low}, {high}, {re}, {re}",
        f"smlal {low}, {high}, {im}, {im}",
        f"lsr {low}, {low}, #{frontend.POWER_SHIFT}",
        f"orr {low}, {low}, {high}, lsl #{32 - frontend.POWER_SHIFT}",
        f"lsr {high}, {high}, #{frontend.POWER_SHIFT}",
        f"strd {low}, {high}, {store}",
    ]


def _power(mirrors: bool) -> Thumb2Assembly:
    """r3 + i r4 is what even samples give, r7 + i r10 what odd ones do, turned."""
    mirror = [
        "rsb r5, r7, r3, asr #1",
        "rsb r6, r10, r4, asr #1",
        *_square("r5", "r6", "r8", "r9", f"[r1], #-{POINT_BYTES}"),
    ]
    return Thumb2Assembly(
        "The power of pairs of bins of twice the spectrum"
        + ("." if mirrors else "; of the upper ones, which no band holds, it is not computed."),
        ("void *bin", "void *mirror", "const int32_t *turns", "int32_t pairs"),
        [
            "push {r4-r11, lr}",
            "mov lr, r3",
            "1:",
            "ldrd r3, r4, [r0]",
            f"ldrd r5, r6, [r1]{'' if mirrors else f', #-{POINT_BYTES}'}",
            "add r7, r4, r6",
            "sub r8, r5, r3",
            "add r3, r3, r5",
            "sub r4, r4, r6",
            "ldrd r5, r6, [r2], #8",
            *rotate("r7", "r8", "r5", "r6", "r9", "r10"),
            *(mirror if mirrors else []),
            "add r5, r7, r3, asr #1",
            "add r6, r10, r4, asr #1",
            *_square("r5", "r6", "r8", "r9", f"[r0], #{POINT_BYTES}"),
            "subs lr, #1",
            "bne 1b",
            "pop {r4-r11, pc}",
        ],
    )


_COPY = Thumb2Assembly(
    "Copies words, four at a time; addresses need not be multiples of 4.",
    ("void *to", "const void *from", "uint32_t bytes"),
    [
        "push {r4-r5}",
        "add r2, r2, r0",
        "1:",
        *(f"ldr {register}, [r1], #4" for register in ("r3", "r4", "r5", "r12")),
        *(f"str {register}, [r0], #4" for register in ("r3", "r4", "r5", "r12")),
        "cmp r0, r2",
        "bne 1b",
        "pop {r4-r5}",
        "bx lr",
    ],
)


def _rows(count: int, bands: int) -> Thumb2Assembly:
    return Thumb2Assembly(
        f"{count} rows of {bands} products of logarithms, as codes.",
        ("const int32_t *rows", "const int32_t *offsets", "const uint16_t *logs", "int8_t *codes"),
        [
            "push {r4-r11, lr}",
            f"add lr, r3, #{count}",
            "1:",
            "ldr r12, [r1], #4",
            *[
                "ldm r0!, {r4, r5, r6, r7}",
                "ldm r2!, {r8, r9, r10, r11}",
                *(f"smlad r12, r{4 + pair}, r{8 + pair}, r12" for pair in range(4)),
            ]
            * (bands // 8),
            f"sub r2, r2, #{2 * bands}",
            f"ssat r12, #8, r12, asr #{frontend.OUTPUT_SHIFT}",
            "strb r12, [r3], #1",
            "cmp r3, lr",
            "bne 1b",
            "pop {r4-r11, pc}",
        ],
    )


_TRANSFORM = """\
static void transform(void)
{
    kws_frontend_span_4(arena.bins, twiddles);
    kws_frontend_span_16(arena.bins, twiddles);
    kws_frontend_span_64(arena.bins, twiddles);
}
"""

_POWERS = """\
static void powers(void)
{
    kws_frontend_power(&arena.bins[1], &arena.bins[POINTS - 1], half_twiddles, POINTS / 2);
}
"""

_PROJECT = """\
static void project(int8_t *features)
{
    kws_frontend_rows(projection, offset, arena.logs, features);
}
"""
