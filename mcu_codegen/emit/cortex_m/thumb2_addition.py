"""ADD and SUB for Cortex-M3, M4, M7 and M33."""

from __future__ import annotations

from collections.abc import Sequence

from .addition import PARAMETERS, Addition, about
from .thumb2_assembly import Thumb2Assembly


class Thumb2Addition(Addition):
    """Four elements at a time."""

    added = (8, 4)

    def add_codes(self, shift: int, elements: int) -> Thumb2Assembly:
        """r3, r4 and r5 are the stream's constants, lr counts. Up to four elements together, so that loads and stores
        come in a row; those of the round's first element come last and move the pointers on."""
        lines: list[str] = []

        def each(operation: str, registers: Sequence[str], pointer: str, group: Sequence[int]) -> list[str]:
            return [
                f"{operation} {register}, [{pointer}" + (f", #{at}]" if at else f"], #{elements}")
                for register, at in zip(registers, group, strict=True)
            ]

        for start in reversed(range(0, elements, 4)):
            group = [*range(start + 1, min(start + 4, elements)), start]
            sums = ["r6", "r7", "r8", "r9"][: len(group)]
            codes = ["r10", "r11", "r12", "r10"][: len(group)]
            loads = each("ldrsb", codes, "r1", group)
            lines += each("ldrsb", sums, "r0", group) + loads[:3]
            lines += [f"mla {total}, {total}, r3, r5" for total in sums]
            products = [f"mla {total}, {code}, r4, {total}" for total, code in zip(sums, codes, strict=True)]
            lines += [*products[:1], *loads[3:], *products[1:]]
            lines += [f"ssat {total}, #8, {total}, asr #{shift}" for total in sums]
            lines += each("strb", sums, "r2", group)
        return Thumb2Assembly(
            about(shift),
            PARAMETERS,
            [
                "push {r4-r11, lr}",
                "ldm r3, {r3, r4, r5, lr}",
                "1:",
                *lines,
                f"subs lr, lr, #{elements}",
                "bne 1b",
                "pop {r4-r11, pc}",
            ],
        )
