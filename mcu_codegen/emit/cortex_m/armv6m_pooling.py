"""Pooling and sums over images for Cortex-M0 and M0+: up to four channels at a time, code by code.

A signed byte is loaded from the sum of two registers only. One goes from tap to tap, the others hold 0, 1, 2 and 3.
"""

from __future__ import annotations

from collections.abc import Sequence

from .armv6m_assembly import RESTORE, SAVE, SUMS, Armv6mAssembly, advance, constant, moved, saturate
from .assembly import divisor
from .pooling import PARAMETERS, PoolingKernels, Windows, share

_OFFSETS = ("r4", "r5", "r6", "r7")
_NUMBERED = [f"movs {offset}, #{number}" for number, offset in enumerate(_OFFSETS)]

SUM4 = Armv6mAssembly(
    "sums[k] = from[k] + from[distance + k] + ...: four channels of so many pixels, 1 or more.",
    ("int32_t *sums", "const int8_t *from", "int32_t pixels", "int32_t distance"),
    [
        *SAVE,
        "mov r12, r3",
        *_NUMBERED,
        *(f"mov {total}, r4" for total in SUMS[:4]),
        "1:",
        *(
            line
            for total, offset in zip(SUMS[:4], _OFFSETS, strict=True)
            for line in (f"ldrsb r3, [r1, {offset}]", f"add {total}, r3")
        ),
        "add r1, r12",
        "subs r2, #1",
        "bne 1b",
        *(f"mov {offset}, {total}" for total, offset in zip(SUMS[:4], _OFFSETS, strict=True)),
        "stm r0!, {r4-r7}",
        *RESTORE,
    ],
)


class Armv6mPooling(PoolingKernels):
    """The renderer's part that computes them."""

    pooled = (36, 9)

    def max_windows(self, windows: Windows) -> Armv6mAssembly:
        up = moved(windows.clamp)
        ends = [f"{'adds' if up > 0 else 'subs'} r3, #{abs(up)}", *saturate(windows.clamp, "r3", "r2")]
        greater = ["cmp r3, =", "ble 8f", "mov =, r3", "8:"]
        return _code_by_code("The largest codes", windows, [], greater, [], [] if windows.clamp.whole else ends)

    def average_windows(self, windows: Windows, half_up: bool) -> Armv6mAssembly | None:
        mean = share(windows.taps, half_up, moved(windows.clamp))
        if mean is None:
            return None
        once = [*constant("r3", mean.addend), "mov lr, r3", *constant("r3", mean.factor)]
        factor, product = ["ldr r2, [sp, #4]"], ["muls r3, r2, r3", "add r3, lr", f"asrs r3, r3, #{mean.shift}"]
        if not windows.clamp.whole:
            factor, product = [], [*factor, *product, *saturate(windows.clamp, "r3", "r2")]
        return _code_by_code("The means", windows, once, ["add =, r3"], factor, product)


def _code_by_code(
    what: str,
    windows: Windows,
    once: Sequence[str],
    take: Sequence[str],
    before: Sequence[str],
    finish: Sequence[str],
) -> Armv6mAssembly:
    """A high register, written = here, gets its channel's first code and, by `take`, each further one from r3. Then
    `before` may load r2, and `finish` makes of each r3 the code of the output.

    `once` may leave a constant in lr, and one in r3 that is at [sp, #4]. [sp] counts windows, r12 is where the window's
    outputs end.
    """
    height, width = windows.filter
    channels = windows.channels
    codes = SUMS[: divisor(channels, len(_OFFSETS))]
    body: list[str] = []
    at = 0
    for row in range(height):
        for column in range(width):
            place = row * windows.row_bytes + column * channels
            body += advance("r0", place - at, "r3")
            at = place
            for code, offset in zip(codes, _OFFSETS, strict=False):
                body.append(f"ldrsb r3, [r0, {offset}]")
                body += [line.replace("=", code) for line in take] if place else [f"mov {code}, r3"]
    body += before
    for number, code in enumerate(codes):
        body += [f"mov r3, {code}", *finish, f"strb r3, [r1, #{number}]"]
    return Armv6mAssembly(
        f"{what} {windows.about}",
        PARAMETERS,
        [
            *SAVE,
            *once,
            "push {r2, r3}",
            *_NUMBERED[: len(codes)],
            "1:",
            *constant("r3", channels),
            "adds r3, r3, r1",
            "mov r12, r3",
            "2:",
            *body,
            f"adds r1, #{len(codes)}",
            *advance("r0", len(codes) - at, "r3"),
            "cmp r1, r12",
            "bne 2b",
            *advance("r0", windows.step - channels, "r3"),
            "ldr r3, [sp]",
            "subs r3, #1",
            "str r3, [sp]",
            "bne 1b",
            "add sp, #8",
            *RESTORE,
        ],
    )
