"""Convolutions over rows for Cortex-M3, M4, M7 and M33: a few outputs of one signal at a time.

The outputs of a round lie side by side, so that every word of the plane and every weight is loaded once for all of
them. A word of the plane holds as many positions as one instruction multiplies. Where these are two and an output
starts at the second, its weights are shifted by one: a table in RAM holds both kinds by turns, doubled, as the
requantisation wants accumulators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ... import lower
from ..kernel import Array, fill
from ..portable.weighted import folded_bias
from .assembly import REACH, Assembly, packed, scaling, words
from .clamp import Clamp
from .columns import Column, Columns, Signals
from .thumb2_assembly import Thumb2Assembly, add_to, moved_rounding

_TOTALS = ("r4", "r5", "r6", "r7")
_VALUES = ("r8", "r9")
_WEIGHTS = ("r10", "r11", "r12", "lr")
_PAIRED = 1020  # the largest offset of a load of two words
_COPIED = 8  # positions that are widened without a jump


@dataclass(frozen=True)
class Table:
    """Weights of one channel in words of `lanes` positions; `kinds` of them by turns. Behind them lie the bias, the
    multiplier, twice the addend and the shift."""

    taps: int
    lanes: int
    kinds: int

    @property
    def groups(self) -> int:
        """Words of four weights in the stream, as many as the last kind needs."""
        return -(-(self.taps + self.kinds - 1) // 4)

    @property
    def words(self) -> int:
        """In front of the bias."""
        return self.groups * 4 // self.lanes * self.kinds

    @property
    def bytes(self) -> int:
        return 4 * self.words + 16


class Thumb2Columns(Columns):
    """A subclass has the instructions."""

    element_bytes: int  # of a position in the plane
    multiply_add: str  # of words

    def group(self, weights: np.ndarray) -> np.ndarray:
        """Weights (channels, 4 n) in the order in which `tabulate` reads them."""
        raise NotImplementedError

    def tabulate(self, kinds: int) -> list[str]:
        """The next four weights at r0 as doubled words at r1, both moved on; r4 is 0 at first, and not used by others.
        May use r2, r3 and r5 to r8."""
        raise NotImplementedError

    def requantize(
        self, registers: Sequence[str], multiplier: str, twice_addend: str, shift: str, clamp: Clamp
    ) -> list[str]:
        """Doubled accumulators to int8 codes, in place. May use r12."""
        raise NotImplementedError

    def column_stream(self, op: lower.Convolution, signals: Signals) -> Array:
        """The weights, filled up with zeros; the bias, the multiplier, the shift with `rounding` above it."""
        channels = op.weights.shape[3]
        taps = op.weights.reshape(-1, channels).T
        weights = np.zeros((channels, 4 * self._table(signals).groups), np.int8)
        weights[:, : signals.taps] = taps
        multipliers, shifts = scaling(op, channels)
        shifts = shifts + (moved_rounding(op) << 16)
        tail = np.stack([2 * folded_bias(op, taps), multipliers, shifts], axis=1)
        return words(packed(self.group(weights)), tail)

    def column(self, signals: Signals, prefix: str) -> Column:
        table = self._table(signals)
        together = next(count for count in (4, 2, 1) if self._fits(self._uses(signals, count)))
        helpers: dict[str, Assembly] = {}
        calls: list[str] = []

        def call(name: str, assembly: Assembly, *arguments: str) -> None:
            helpers[name] = assembly
            calls.append(f"{prefix}_{name}({', '.join(arguments)});")

        done = 0
        for positions, rows in ((_COPIED, signals.inside // _COPIED), (signals.inside % _COPIED, 1)):
            if positions and rows:
                call(
                    f"widen_{positions}_{signals.distance}_{positions * signals.distance}_{positions}",
                    widen(self.element_bytes, positions, signals.distance, positions, positions),
                    f"input + {done * signals.distance}",
                    f"plane + {signals.before + done}",
                    str(rows),
                )
                done += positions * rows
        call(f"tabulate_{signals.taps}_{table.kinds}", self._tabulate(table), "row", "scratch")
        done = 0
        for outputs, rounds in ((together, signals.outputs // together), (signals.outputs % together, 1)):
            if outputs and rounds:
                call(
                    f"column_{outputs}_{signals.taps}_{signals.stride}_{signals.distance}{signals.clamp.suffix}",
                    self._column(signals, outputs),
                    f"plane + {done * signals.stride}",
                    "scratch",
                    f"output + {done * signals.distance}",
                    str(rounds),
                )
                done += outputs * rounds
        elements = -(-signals.length // 4) * 4 + 4  # what lies behind the last position is multiplied by 0
        element = f"int{8 * self.element_bytes}_t"
        padding = f"for (int32_t i = 0; i < {elements}; i++) {{\n    plane[i] = {signals.zero_point};\n}}"
        return Column(
            fill(
                """
                $element *const plane = ($element *)(void *)(scratch + $table);

                $padding
                """,
                element=element,
                table=table.bytes,
                padding=padding if signals.padded else "",
            ).rstrip(),
            "\n".join(calls),
            table.bytes + self.element_bytes * elements,
            helpers,
        )

    def _table(self, signals: Signals) -> Table:
        lanes = 4 // self.element_bytes
        return Table(signals.taps, lanes, 1 if signals.stride % lanes == 0 else lanes)

    def _uses(self, signals: Signals, outputs: int) -> dict[int, list[tuple[int, int]]]:
        """By word of the plane, the products it takes part in: (output, number of the weight in the table)."""
        table = self._table(signals)
        uses: dict[int, list[tuple[int, int]]] = {}
        for output in range(outputs):
            word, kind = divmod(output * signals.stride, table.lanes)
            for step in range(-(-(signals.taps + kind) // table.lanes)):
                uses.setdefault(word + step, []).append((output, step * table.kinds + kind))
        return dict(sorted(uses.items()))

    def _fits(self, uses: dict[int, list[tuple[int, int]]]) -> bool:
        """Whether there are registers for the weights, and every word is within a load's reach."""
        return _registers(uses) <= len(_WEIGHTS) and 4 * max(uses) <= REACH

    def _tabulate(self, table: Table) -> Thumb2Assembly:
        return Thumb2Assembly(
            f"The constants of a channel with {table.taps} weights, which become {4 * table.words} bytes.",
            ("const uint32_t *stream", "void *table"),
            [
                "push {r4-r8, lr}",
                "mov r4, #0",
                *self.tabulate(table.kinds) * table.groups,
                "ldm r0, {r2, r3, r5}",
                "asr r4, r5, #16",
                "lsl r4, r4, r5",
                # the shift is the lowest byte of r5, which is all that a shift by a register looks at
                "stm r1, {r2, r3, r4, r5}",
                "pop {r4-r8, pc}",
            ],
        )

    def _column(self, signals: Signals, outputs: int) -> Thumb2Assembly:
        totals = _TOTALS[:outputs]
        bias = 4 * self._table(signals).words
        far = outputs * signals.distance
        return Thumb2Assembly(
            f"{outputs} outputs of {signals.taps} taps, {signals.distance} bytes apart, again and again; stride"
            f" {signals.stride}.",
            ("const void *plane", "const void *table", "int8_t *output", "int32_t rounds"),
            [
                "push {r4-r11, lr}",
                "1:",
                f"ldr {totals[-1]}, [r1, #{bias}]",
                *self._products(self._uses(signals, outputs), totals),
                f"ldrd r8, r9, [r1, #{bias + 4}]",
                f"ldr r10, [r1, #{bias + 12}]",
                *self.requantize(totals, "r8", "r9", "r10", signals.clamp),
                *(f"strb {total}, [r2, #{number * signals.distance}]" for number, total in enumerate(totals)),
                *add_to("r0", self.element_bytes * outputs * signals.stride),
                *add_to("r2", far),
                "subs r3, #1",
                "bne 1b",
                "pop {r4-r11, pc}",
            ],
        )

    def _products(self, uses: dict[int, list[tuple[int, int]]], totals: Sequence[str]) -> list[str]:
        """Every total starts from the last one, which holds the bias until its own first product."""
        first, last = _spans(uses)
        values: dict[int, str] = {}
        weights: dict[int, str] = {}
        free = list(_WEIGHTS)
        begun: set[int] = set()
        lines: list[str] = []
        for word, products in uses.items():
            if word not in values:
                values = dict(zip((word, word + 1) if word + 1 in uses else (word,), _VALUES, strict=False))
                lines += _load(list(values.values()), "r0", 4 * word)
            wanted = sorted({weight for _, weight in products} - weights.keys())
            while wanted:
                pair = [wanted.pop(0)]
                following = pair[0] + 1
                # the neighbour comes along where it is next, and a register is left for it
                if following in wanted or (len(free) > 1 + len(wanted) and first.get(following) == word + 1):
                    pair.append(following)
                    wanted = [weight for weight in wanted if weight != following]
                weights |= {weight: free.pop(0) for weight in pair}
                lines += _load([weights[weight] for weight in pair], "r1", 4 * pair[0])
            for output, weight in products:
                total = totals[output]
                start = total if output in begun else totals[-1]
                begun.add(output)
                lines.append(f"{self.multiply_add} {total}, {values[word]}, {weights[weight]}, {start}")
            free += [weights.pop(weight) for weight in list(weights) if last[weight] == word]
        return lines


def widen(element_bytes: int, columns: int, channels: int, row_columns: int, pitch: int) -> Thumb2Assembly:
    """One channel of an image into a plane of wider elements."""
    load = [f"ldrsb r3, [r0], #{channels}"] if channels < 256 else ["ldrsb r3, [r0]", *add_to("r0", channels)]
    skipped = (row_columns - columns) * channels
    store = f"{'strh' if element_bytes == 2 else 'str'} r3, [r1], #{element_bytes}"
    return Thumb2Assembly(
        f"One channel of {columns} of {row_columns} columns, {channels} bytes apart; rows get {pitch} elements.",
        ("const int8_t *input", f"int{8 * element_bytes}_t *plane", "int32_t rows"),
        [
            "1:",
            *[*load, store] * columns,
            *add_to("r0", skipped),
            *add_to("r1", element_bytes * (pitch - columns)),
            "subs r2, #1",
            "bne 1b",
            "bx lr",
        ],
    )


def _spans(uses: dict[int, list[tuple[int, int]]]) -> tuple[dict[int, int], dict[int, int]]:
    """By weight, the first and the last word that it multiplies."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for word, products in uses.items():
        for _, weight in products:
            first.setdefault(weight, word)
            last[weight] = word
    return first, last


def _registers(uses: dict[int, list[tuple[int, int]]]) -> int:
    """Weights that are needed at a time, at most."""
    first, last = _spans(uses)
    return max(sum(first[weight] <= word <= last[weight] for weight in first) for word in uses)


def _load(registers: Sequence[str], pointer: str, offset: int) -> list[str]:
    if len(registers) > 1 and offset <= _PAIRED:
        return [f"ldrd {', '.join(registers)}, [{pointer}, #{offset}]"]
    return [f"ldr {register}, [{pointer}, #{offset + 4 * at}]" for at, register in enumerate(registers)]
