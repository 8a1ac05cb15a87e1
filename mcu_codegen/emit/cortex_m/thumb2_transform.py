"""The window and the transform in Thumb-2: see `thumb2_frontend`."""

from __future__ import annotations

from .thumb2_assembly import Thumb2Assembly, add_to

POINT_BYTES = 8  # bytes


def rotate(re: str, im: str, cosine: str, minus_sine: str, low: str, result: str) -> list[str]:
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


QUARTERS = Thumb2Assembly(
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
        f"add r0, r0, #{64 * POINT_BYTES}",
        "sub lr, lr, #1",
        "tst lr, #3",
        "bne 1b",
        f"sub r0, r0, #{(256 - 16) * POINT_BYTES}",
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
            *rotate(re, im, cosine, minus_sine, low, result),
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
        f"add r0, r0, #{POINT_BYTES}",
        *([f"add r1, r1, #{stride}"] if stride else []),
    ]


def span_of(span: int) -> Thumb2Assembly:
    groups, stride = 64 // span, 24 * 64 // span
    # both ends within what LDRD reaches
    ahead = 65 * POINT_BYTES if span == 64 else 0
    offsets = [quarter * span * POINT_BYTES - ahead for quarter in range(4)]
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
            f"add r0, r0, #{3 * span * POINT_BYTES}",
            *add_to("r1", -stride * (span - 1)),
            "subs r2, #1",
            "bne 1b",
            "pop {r4-r11, pc}",
        ],
    )
