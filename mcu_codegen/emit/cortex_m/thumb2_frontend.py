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
from ..portable.frontend import FrontEndRenderer, Stage, Table
from .frontend_mel import MelLogs
from .guard import guard
from .thumb2_assembly import Thumb2Assembly, add_to

_POINT = 8  # bytes
_PREFIX = "kws_frontend"


class Thumb2FrontEnd(MelLogs, FrontEndRenderer):
    """Cortex-M3."""

    instruction_set = "armv7m"
    assembly = Thumb2Assembly

    def shared(self) -> Stage:
        return Stage(guard(self.instruction_set).text)

    def load_frame(self) -> Stage:
        if self.history < frontend.FFT // 2 or self.history % 32 or self.front_end.window % 32:
            raise ValueError(f"front end '{self.front_end.name}': no kernel for a history of {self.history} samples")
        filled = np.zeros(frontend.FFT, np.int32)
        filled[: self.front_end.window] = self.tables.window
        window = Table("uint16_t", "window", filled, "Periodic Hann window, Q15, and zeros up to the transform's size.")
        return Stage(_text(_QUARTERS, "quarters") + _LOAD_FRAME, (window,))

    def transform(self) -> Stage:
        spans = "".join(_text(_span(span), f"span_{span}") for span in (4, 16, 64))
        return Stage(spans + _TRANSFORM, (self._twiddles,))

    def powers(self) -> Stage:
        used = self.tables.first_bin + len(self.tables.rising)
        power = _text(_power(mirrors=used > frontend.POINTS // 2 + 1), "power")
        return Stage(power + _POWERS, (self._half_twiddles,))

    @property
    def _twiddles(self) -> Table:
        turns = np.arange(1, 64)[:, None] * np.array([2, 4, 6])
        about = "cos and -sin of i / 256, 2 i / 256 and 3 i / 256 of a circle, i = 1 .. 63, Q31."
        return Table("int32_t", "twiddles", twiddles(turns), about)

    @property
    def _half_twiddles(self) -> Table:
        about = "cos and -sin of k / 512 of a circle, k = 1 .. 128, Q31."
        return Table("int32_t", "half_twiddles", twiddles(np.arange(1, 129)), about)


class DspFrontEnd(Thumb2FrontEnd):
    """Cortex-M4, M7, M33."""

    instruction_set = "dsp"


def twiddles(turns: np.ndarray) -> np.ndarray:
    """int32 (*turns.shape, 2): cosine and -sine of turns / 512 of a circle, below three quarters and not 0, whose
    cosine has no Q31: the tables' own Q15, scaled."""
    minus_sine = frontend.PRESETS["mfcc10"].tables.minus_sine.astype(np.int64)
    cosine = np.where(turns < 128, -minus_sine[np.minimum(turns + 128, 383)], minus_sine[np.maximum(turns, 128) - 128])
    return (np.stack([cosine, minus_sine[turns]], axis=-1) << 16).astype(np.int32)


def _text(assembly: Thumb2Assembly, name: str) -> str:
    return assembly.helper(name).text.replace("${prefix}", _PREFIX) + "\n"


def _rotate(re: str, im: str, cosine: str, minus_sine: str, low: str, result: str) -> list[str]:
    """Doubled (re, im) times a twiddle to single (re, result), rounded half up. Spoils im and low."""
    return [
        f"smull {low}, {result}, {re}, {minus_sine}",
        f"smlal {low}, {result}, {im}, {cosine}",
        f"add {result}, {result}, {low}, lsr #31",
        f"rsb {im}, {im}, #0",
        f"smull {low}, {re}, {re}, {cosine}",
        f"smlal {low}, {re}, {im}, {minus_sine}",
        f"add {re}, {re}, {low}, lsr #31",
    ]


def _value(to: str, sample: str, weight: str) -> list[str]:
    """A windowed sample; r5 is half of its last bit. Spoils r12."""
    return [f"ldrsh {to}, {sample}", f"ldrh r12, {weight}", f"mla {to}, {to}, r12, r5", f"asr {to}, {to}, #9"]


_QUARTERS = Thumb2Assembly(
    "Windows 16 points of each quarter of the frame and stores their first butterflies.",
    (
        "void *bins",
        "const uint16_t *weights",
        "const int16_t *first",
        "const int16_t *third",
        "const int16_t *fourth",
    ),
    [
        "push {r4-r11, lr}",
        "ldr r4, [sp, #36]",
        "mov r5, #256",
        "mov lr, #16",
        "1:",
        *_value("r6", "[r4], #2", "[r1, #768]"),
        *_value("r7", "[r2, #256]", "[r1, #256]"),
        "add r8, r7, r6",
        "sub r6, r7, r6",
        *_value("r7", "[r3], #2", "[r1, #512]"),
        *_value("r9", "[r2], #2", "[r1], #2"),
        "add r10, r9, r7",
        "sub r7, r9, r7",
        "lsl r10, r10, #1",
        "lsl r7, r7, #1",
        "add r9, r10, r8, lsl #1",
        "sub r10, r10, r8, lsl #1",
        "str r9, [r0]",
        "str r10, [r0, #16]",
        # r6, r7: real parts of b - d and of 2 (a - c)
        *_value("r8", "[r4], #2", "[r1, #768]"),
        *_value("r9", "[r2, #256]", "[r1, #256]"),
        "add r10, r9, r8",
        "sub r8, r9, r8",
        *_value("r9", "[r3], #2", "[r1, #512]"),
        *_value("r11", "[r2], #2", "[r1], #2"),
        "add r12, r11, r9",
        "sub r9, r11, r9",
        "lsl r12, r12, #1",
        "lsl r9, r9, #1",
        "add r11, r12, r10, lsl #1",
        "sub r12, r12, r10, lsl #1",
        "str r11, [r0, #4]",
        "str r12, [r0, #20]",
        "add r10, r7, r8, lsl #1",
        "sub r11, r9, r6, lsl #1",
        "strd r10, r11, [r0, #8]",
        "sub r10, r7, r8, lsl #1",
        "add r11, r9, r6, lsl #1",
        "strd r10, r11, [r0, #24]",
        # base-4 digits of the point's number, in reverse, say where it goes
        f"add r0, r0, #{64 * _POINT}",
        "sub lr, lr, #1",
        "tst lr, #3",
        "bne 1b",
        f"sub r0, r0, #{(256 - 16) * _POINT}",
        "cmp lr, #0",
        "bne 1b",
        "pop {r4-r11, pc}",
    ],
)


def _butterfly(offsets: list[int], stride: int | None) -> list[str]:
    """Four points at `offsets` from r0 become their transform; r1 has their twiddles, and goes on by `stride` bytes.
    Without stride nothing is rotated."""
    a, b, c, d = (f"[r0, #{offset}]" for offset in offsets)
    shift = ", lsl #1" if stride else ""

    def load(point: str, registers: tuple[str, str], turn: tuple[str, str, str, str] | None, twiddle: str) -> list[str]:
        """(re, im) of a point; where it turns, with (cosine, -sine, low, result), im is in `result`."""
        re, im = registers
        if turn is None:
            return [f"ldrd {re}, {im}, {point}"]
        cosine, minus_sine, low, result = turn
        return [
            f"ldrd {re}, {im}, {point}",
            f"ldrd {cosine}, {minus_sine}, {twiddle}",
            *_rotate(re, im, cosine, minus_sine, low, result),
        ]

    if stride:
        lines = [
            *load(d, ("r3", "r4"), ("r5", "r6", "r7", "r8"), "[r1, #16]"),
            *load(b, ("r4", "r5"), ("r6", "r7", "r9", "r10"), "[r1]"),
        ]
        third = load(c, ("r4", "r7"), ("r9", "r10", "r11", "r12"), "[r1, #8]")
    else:
        lines = [*load(d, ("r3", "r8"), None, ""), *load(b, ("r4", "r10"), None, "")]
        third = load(c, ("r4", "r12"), None, "")
    return [
        *lines,
        "add r5, r4, r3",  # b + d
        "sub r3, r4, r3",  # b - d
        "add r6, r10, r8",
        "sub r8, r10, r8",
        *third,
        f"ldrd r9, r10, {a}",
        f"add r7, r9, r4{shift}",  # a + c
        f"sub r9, r9, r4{shift}",  # a - c
        f"add r11, r10, r12{shift}",
        f"sub r10, r10, r12{shift}",
        f"add r4, r7, r5{shift}",
        f"add r12, r11, r6{shift}",
        f"strd r4, r12, {a}",
        f"sub r7, r7, r5{shift}",
        f"sub r11, r11, r6{shift}",
        f"strd r7, r11, {c}",
        f"add r4, r9, r8{shift}",
        f"sub r12, r10, r3{shift}",
        f"strd r4, r12, {b}",
        f"sub r9, r9, r8{shift}",
        f"add r10, r10, r3{shift}",
        f"strd r9, r10, {d}",
        f"add r0, r0, #{_POINT}",
        *([f"add r1, r1, #{stride}"] if stride else []),
    ]


def _span(span: int) -> Thumb2Assembly:
    groups, stride = 64 // span, 24 * 64 // span
    # both ends within what LDRD reaches
    ahead = 65 * _POINT if span == 64 else 0
    offsets = [quarter * span * _POINT - ahead for quarter in range(4)]
    return Thumb2Assembly(
        f"The butterflies of all groups of four points, {span} points apart.",
        ("void *bins", "const int32_t *turns"),
        [
            "push {r4-r11, lr}",
            *add_to("r0", ahead),
            f"add r1, r1, #{stride - 24}",
            f"mov r2, #{groups}",
            "1:",
            *_butterfly(offsets, None),
            f"mov lr, #{span - 1}",
            "2:",
            *_butterfly(offsets, stride),
            "subs lr, #1",
            "bne 2b",
            f"add r0, r0, #{3 * span * _POINT}",
            *add_to("r1", -stride * (span - 1)),
            "subs r2, #1",
            "bne 1b",
            "pop {r4-r11, pc}",
        ],
    )


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
    """r3 + i r4 is what even samples give, r11 + i r10 what odd ones do, turned."""
    mirror = [
        "rsb r5, r11, r3, asr #1",
        "rsb r6, r10, r4, asr #1",
        *_square("r5", "r6", "r7", "r8", f"[r1], #-{_POINT}"),
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
            f"ldrd r5, r6, [r1]{'' if mirrors else f', #-{_POINT}'}",
            "add r7, r4, r6",
            "sub r8, r5, r3",
            "add r3, r3, r5",
            "sub r4, r4, r6",
            "ldrd r5, r6, [r2], #8",
            "smull r9, r10, r7, r6",
            "smlal r9, r10, r8, r5",
            "add r10, r10, r9, lsr #31",
            "rsb r8, r8, #0",
            "smull r9, r11, r7, r5",
            "smlal r9, r11, r8, r6",
            "add r11, r11, r9, lsr #31",
            *(mirror if mirrors else []),
            "add r5, r11, r3, asr #1",
            "add r6, r10, r4, asr #1",
            *_square("r5", "r6", "r7", "r8", f"[r0], #{_POINT}"),
            "subs lr, #1",
            "bne 1b",
            "pop {r4-r11, pc}",
        ],
    )


_LOAD_FRAME = """\
/* Where the window's sample `index` is, in the history or in the hop; behind both, anything with a weight of 0. */
static const int16_t *sample(const int16_t *hop, uint32_t index)
{
    return index >= HISTORY && index < KWS_FRONTEND_WINDOW ? hop + (index - HISTORY) : arena.history + index % HISTORY;
}

static void load_frame(const int16_t *hop)
{
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t first = 32u * i;

        kws_frontend_quarters(&arena.bins[4u * i], window + first, arena.history + first, sample(hop, 256u + first),
                              sample(hop, 384u + first));
    }
}
"""

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
