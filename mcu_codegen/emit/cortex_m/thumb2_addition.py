"""ADD, SUB and MUL for Cortex-M3, M4, M7 and M33."""

from __future__ import annotations

from collections.abc import Sequence

from .addition import TABLE, Addition, about, about_entries
from .multiplication import ABOUT, Multiplication
from .pairs import PARAMETERS
from .thumb2_assembly import Thumb2Assembly


class Thumb2Addition(Addition, Multiplication):
    """Four elements at a time."""

    paired = rescaled = (8, 4)

    def add_codes(self, shift: int, elements: int) -> Thumb2Assembly:
        """r3, r4 and r5 are the stream's constants, lr counts. Up to four elements together, so that loads and stores
        come in a row."""
        lines: list[str] = []
        for group in _groups(elements):
            sums = ["r6", "r7", "r8", "r9"][: len(group)]
            codes = ["r10", "r11", "r12", "r10"][: len(group)]
            loads = _each("ldrsb", codes, "r1", group, elements)
            lines += _each("ldrsb", sums, "r0", group, elements) + loads[:3]
            lines += [f"mla {total}, {total}, r3, r5" for total in sums]
            products = [f"mla {total}, {code}, r4, {total}" for total, code in zip(sums, codes, strict=True)]
            lines += [*products[:1], *loads[3:], *products[1:]]
            lines += _stored(sums, shift, group, elements)
        return _loop(about(shift), ["ldm r3, {r3, r4, r5, lr}"], lines, elements)

    def add_entries(self, shift: int, elements: int, scaled: bool) -> Thumb2Assembly:
        """r3 and r4 are the tables, r11 and r12 multiplier and addend, lr counts."""
        lines: list[str] = []
        for group in _groups(elements):
            sums = ["r5", "r6", "r7", "r8"][: len(group)]
            lines += _each("ldrb", sums, "r0", group, elements)
            lines += [f"ldr {total}, [r3, {total}, lsl #2]" for total in sums]
            lines += _joined("add", sums, "ldrb", "ldr {0}, [r4, {0}, lsl #2]", group, elements)
            lines += self._scaled(sums) if scaled else []
            lines += _stored(sums, shift, group, elements)
        constants = ["ldr r11, [r3], #4", "ldr r12, [r3], #4"] if scaled else []
        once = ["ldr lr, [r3], #4", *constants, f"add r4, r3, #{TABLE}"]
        return _loop(about_entries(shift, scaled), once, lines, elements)

    def multiply_codes(self, shift: int, elements: int) -> Thumb2Assembly:
        """r3 and r4 are the zero points, the first one twice, r11 and r12 multiplier and addend, lr counts."""
        lines: list[str] = []
        for group in _groups(elements):
            sums = ["r5", "r6", "r7", "r8"][: len(group)]
            lines += _each("ldrsb", sums, "r0", group, elements)
            lines += [f"sub {total}, r3, {total}, lsl #1" for total in sums]
            lines += _joined("mul", sums, "ldrsb", "sub {0}, r4, {0}", group, elements)
            lines += self._scaled(sums)
            lines += _stored(sums, shift, group, elements)
        return _loop(ABOUT, ["ldm r3, {r3, r4, r11, r12, lr}", "lsl r3, r3, #1"], lines, elements)

    def _scaled(self, sums: Sequence[str]) -> list[str]:
        """What makes twice the accumulators values that are still to be shifted, in place: half away from zero; the
        addend rounds the shift."""
        return [
            line
            for total in sums
            for line in (
                *self.high_product(total),
                f"add {total}, {total}, {total}, asr #31",
                f"add {total}, {total}, r12",
            )
        ]

    def high_product(self, total: str) -> list[str]:
        """The high half of `total` times r11, rounded half up. Spoils r9."""
        return [f"smull r9, {total}, {total}, r11", f"add {total}, {total}, r9, lsr #31"]


def _groups(elements: int) -> list[list[int]]:
    """Up to four elements each; the round's first one comes last, and moves the pointers on."""
    starts = reversed(range(0, elements, 4))
    return [[*range(start + 1, min(start + 4, elements)), start] for start in starts]


def _each(operation: str, registers: Sequence[str], pointer: str, group: Sequence[int], elements: int) -> list[str]:
    """Loads or stores of a group's elements."""
    return [
        f"{operation} {register}, [{pointer}" + (f", #{at}]" if at else f"], #{elements}")
        for register, at in zip(registers, group, strict=True)
    ]


def _joined(
    operation: str, sums: Sequence[str], load: str, prepared: str, group: Sequence[int], elements: int
) -> list[str]:
    """What the first codes of a group became, with the second ones, each `prepared`; two at a time, in r9 and r10."""
    lines = []
    for pair in (slice(0, 2), slice(2, 4)):
        codes = ["r9", "r10"][: len(sums[pair])]
        lines += _each(load, codes, "r1", group[pair], elements)
        lines += [prepared.format(code) for code in codes]
        lines += [f"{operation} {total}, {total}, {code}" for total, code in zip(sums[pair], codes, strict=True)]
    return lines


def _stored(sums: Sequence[str], shift: int, group: Sequence[int], elements: int) -> list[str]:
    """The codes of a group's sums."""
    return [f"ssat {total}, #8, {total}, asr #{shift}" for total in sums] + _each("strb", sums, "r2", group, elements)


def _loop(what: str, once: list[str], lines: list[str], elements: int) -> Thumb2Assembly:
    """A round of `lines` for so many elements."""
    counted = ["1:", *lines, f"subs lr, lr, #{elements}", "bne 1b"]
    return Thumb2Assembly(what, PARAMETERS, ["push {r4-r11, lr}", *once, *counted, "pop {r4-r11, pc}"])
