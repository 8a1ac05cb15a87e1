"""What kernels for Cortex-M4, M7 and M33 share."""

from __future__ import annotations

from collections.abc import Sequence


def requantize(registers: Sequence[str], multiplier: str, twice_addend: str, shift: str) -> list[str]:
    """Doubled accumulators to int8 codes, in place."""
    lines = []
    for r in registers:
        lines += [
            f"smmulr {r}, {r}, {multiplier}",
            f"add {r}, {r}, {r}, asr #31",
            f"add {r}, {r}, {twice_addend}, asr #1",
            f"asr {r}, {r}, {shift}",
            f"ssat {r}, #8, {r}",
        ]
    return lines
