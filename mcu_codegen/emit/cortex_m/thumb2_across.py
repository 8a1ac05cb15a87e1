"""Depthwise convolutions for Cortex-M3, M4, M7 and M33, four channels of an output at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ... import lower
from ..kernel import Array
from ..portable.weighted import folded_bias
from .across import Across, Windows, by_fours
from .assembly import REACH, packed, scaling, words
from .clamp import Clamp, clamp_of
from .thumb2_assembly import Thumb2Assembly, add_to, constant, moved_rounding

_SUMS = ("r4", "r5", "r6", "r7")


class Thumb2Across(Across):
    """A subclass has the instructions."""

    def tap(self, pointer: str, offset: int) -> list[str]:
        """Adds to r4 to r7 the products of four codes at `pointer` with the weights at r1, which moves on. May use
        r8 to r10 and r12."""
        raise NotImplementedError

    def requantize(
        self, registers: Sequence[str], multiplier: str, twice_addend: str, shift: str, clamp: Clamp
    ) -> list[str]:
        """As `Thumb2Columns.requantize`."""
        raise NotImplementedError

    def across_suffix(self, op: lower.Convolution) -> str:
        return clamp_of(op.requantization).suffix

    def across_stream(self, op: lower.Convolution) -> Array:
        """By four channels: biases, a word of weights per tap, then of each channel the multiplier and the shift with
        `rounding` above it."""
        channels = op.weights.shape[3]
        taps = op.weights.reshape(-1, channels)
        multipliers, shifts = scaling(op, channels)
        scalings = np.stack([multipliers, shifts + (moved_rounding(op) << 16)], axis=1)
        weights = taps.reshape(len(taps), -1, 4).swapaxes(0, 1).reshape(channels // 4, -1)
        return words(by_fours(folded_bias(op, taps.T)[:, None]), packed(weights), by_fours(scalings))

    def across(self, op: lower.Convolution, windows: Windows) -> Thumb2Assembly:
        """r0 points at the window, or counts channels where lr points at the list of its taps, beyond whose pixels r11
        is; else lr counts."""
        listed = windows.offsets is None
        count = "r0" if listed else "lr"
        codes = []
        for total in _SUMS:
            codes += ["ldrd r8, r9, [r1], #8", "asr r10, r9, #16", "lsl r10, r10, r9", f"lsl {total}, {total}, #1"]
            codes += self.requantize((total,), "r8", "r10", "r9", clamp_of(op.requantization))
        return Thumb2Assembly(
            windows.about,
            windows.parameters,
            [
                "push {r1, r3, r4-r11, lr}",
                *(["mov lr, r0", "mov r11, #0"] if listed else []),
                "1:",
                *constant(count, windows.channels // 4),
                "2:",
                f"ldm r1!, {{{', '.join(_SUMS)}}}",
                *self._taps(windows),
                *codes,
                *(f"strb {total}, [r2], #1" for total in _SUMS),
                "adds r11, #4" if listed else "adds r0, #4",
                f"subs {count}, #1",
                "bne 2b",
                *([] if listed else self._next(windows)),
                "add sp, #8",
                "pop {r4-r11, pc}",
            ],
        )

    def _taps(self, windows: Windows) -> list[str]:
        lines: list[str] = []
        if windows.offsets is None:
            for tap in range(windows.taps):
                lines += [f"ldr r3, [lr, #{4 * tap}]", "add r3, r3, r11", *self.tap("r3", 0)]
            return lines
        pointer, base = "r0", 0
        for offset in windows.offsets:
            if offset - base > REACH - 3:
                lines += add_to("r3", offset - base, pointer)
                pointer, base = "r3", offset
            lines += self.tap(pointer, offset - base)
        return lines

    def _next(self, windows: Windows) -> list[str]:
        """On to the next window."""
        step = windows.step - windows.channels
        move = add_to("r0", step) if step else []
        return [*move, "ldrd r1, r3, [sp]", "subs r3, #1", "str r3, [sp, #4]", "bne 1b"]
