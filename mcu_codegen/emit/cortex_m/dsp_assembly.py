"""What kernels for Cortex-M4, M7 and M33 share."""

from __future__ import annotations

from collections.abc import Sequence

from .clamp import Clamp
from .thumb2_assembly import to_codes


def requantize(registers: Sequence[str], multiplier: str, twice_addend: str, shift: str, clamp: Clamp) -> list[str]:
    """Doubled accumulators to int8 codes, in place."""
    lines = []
    for r, code in zip(registers, to_codes(registers, twice_addend, shift, clamp), strict=True):
        lines += [f"smmulr {r}, {r}, {multiplier}", *code]
    return lines
