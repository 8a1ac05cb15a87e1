"""MAX_POOL_2D and AVERAGE_POOL_2D for Cortex-M3, M4, M7 and M33: up to four channels at a time, code by code.

The greater of two codes is the second and what the first has more, which USAT keeps from falling below zero. The DSP
extension takes four codes together (`dsp_pooling.py`), in the same frame.
"""

from __future__ import annotations

from collections.abc import Sequence

from .assembly import REACH, divisor
from .clamp import Clamp
from .pooling import PARAMETERS, PoolingKernels, Share, Windows, share
from .thumb2_assembly import Thumb2Assembly, add_to, constant, narrowed

_CODES = ("r4", "r5", "r8", "r9")


class Thumb2Pooling(PoolingKernels):
    """The renderer's part that computes them."""

    def max_windows(self, windows: Windows) -> Thumb2Assembly | None:
        clamp = windows.clamp
        ends = [*([f"add =, #{clamp.top}"] if clamp.top else []), "ssat =, #8, =", *narrowed("=", clamp)]
        greater = ["sub r10, =, r6", "usat r10, #8, r10", "add =, r6, r10"]
        return _code_by_code("The largest codes", windows, [], greater, [] if clamp.whole else ends)

    def average_windows(self, windows: Windows, half_up: bool) -> Thumb2Assembly | None:
        mean = share(windows.taps, half_up, windows.clamp.top)
        if mean is None:
            return None
        codes = ["mla =, =, r11, r12", *mean_codes("=", mean, windows.clamp)]
        return _code_by_code("The means", windows, share_in("r11", "r12", mean), ["add =, =, r6"], codes)


def share_in(factor: str, addend: str, mean: Share) -> list[str]:
    """What loads the constants of `mean`."""
    return [*constant(factor, mean.factor), *constant(addend, mean.addend)]


def mean_codes(register: str, mean: Share, clamp: Clamp) -> list[str]:
    """What makes the code of a mean that is still to be shifted, and comes moved up by `clamp.top`."""
    if clamp.whole:
        return [f"asr {register}, {register}, #{mean.shift}"]
    return [f"ssat {register}, #8, {register}, asr #{mean.shift}", *narrowed(register, clamp)]


def taps(windows: Windows) -> list[tuple[list[str], str, int]]:
    """Of each tap: what moves r7 to its row, and its place as a register and an offset. r0 points at the window."""
    height, width = windows.filter
    places: list[tuple[list[str], str, int]] = []
    for row in range(height):
        for column in range(width):
            move = add_to("r7", windows.row_bytes, "r0" if row == 1 else "r7") if row and not column else []
            places.append((move, "r7" if row else "r0", column * windows.channels))
    return places


def windows_loop(
    what: str, windows: Windows, together: int, once: Sequence[str], body: Sequence[str]
) -> Thumb2Assembly | None:
    """`body` makes so many codes together at r1, which it moves on; r2 and r3 count. `once` comes first.

    None: a tap is too far from the first of its row.
    """
    if (windows.filter[1] - 1) * windows.channels + together > REACH:
        return None
    step = windows.step - windows.channels
    return Thumb2Assembly(
        f"{what} {windows.about}",
        PARAMETERS,
        [
            "push {r4-r11, lr}",
            *once,
            "1:",
            *constant("r3", windows.channels // together),
            "2:",
            *body,
            f"adds r0, #{together}",
            "subs r3, #1",
            "bne 2b",
            *(add_to("r0", step) if step else []),
            "subs r2, #1",
            "bne 1b",
            "pop {r4-r11, pc}",
        ],
    )


def _code_by_code(
    what: str, windows: Windows, once: Sequence[str], take: Sequence[str], finish: Sequence[str]
) -> Thumb2Assembly | None:
    """A register, written = here, gets its channel's first code and, by `take`, each further one from r6; `finish`
    makes the code of the output. Both may spoil r10."""
    codes = _CODES[: divisor(windows.channels, len(_CODES))]
    body: list[str] = []
    for tap, (move, pointer, offset) in enumerate(taps(windows)):
        body += move
        for at, code in enumerate(codes, start=offset):
            body.append(f"ldrsb {'r6' if tap else code}, [{pointer}, #{at}]")
            body += _of(code, take) if tap else []
    body += [line for code in codes for line in (*_of(code, finish), f"strb {code}, [r1], #1")]
    return windows_loop(what, windows, len(codes), once, body)


def _of(register: str, lines: Sequence[str]) -> list[str]:
    return [line.replace("=", register) for line in lines]
