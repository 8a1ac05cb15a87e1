"""Convolutions over rows for Cortex-M0 and M0+: the first and the second half of a signal's outputs at a time.

As in `armv6m`, one multiplication serves two values that share a word: here a position and the one as far behind it as
the second half of the outputs is behind the first. Where halves are not whole, they overlap.

Accumulators of a few taps are small, and so requantisation is, too. For a negative accumulator a, the doubling high
product p of a with the multiplier M is negative (or rounds as if it were), and nested floors are one: the code is

    (a * M + 2**30 + addend * 2**31 - (2**31 if a < 0)) >> (31 + shift)

With M = mh * 2**19 + m1 * 2**7 - m0, 128 <= m0 < 256, no term leaves int32, and the term of a's sign comes from a shift
of 2 * a * m0, negative as a is, that takes it for unsigned.
"""

from __future__ import annotations

import numpy as np

from ... import lower
from ..kernel import Array, fill
from ..portable.weighted import folded_bias
from .armv6m_assembly import (
    RESTORE,
    SAVE,
    SAVED_BYTES,
    SUMS,
    Armv6mAssembly,
    advance,
    moved_rounding,
    saturate,
    take_apart,
)
from .assembly import Assembly, packed, requantizes, scaling, unshifted, words
from .clamp import Clamp
from .columns import Column, Columns, Signals

_REACH = 31  # words that a load reaches
_COPIED = 4  # words that are paired up without a jump


class Armv6mColumns(Columns):
    """Cortex-M0, M0+."""

    def computes_columns(self, op: lower.Convolution, signals: Signals) -> bool:
        if not requantizes(op) or unshifted(op):  # negative values would be one too low
            return False
        multipliers, shifts = scaling(op, op.weights.shape[3])
        # of what is shifted last; it bounds every term before
        addend = abs(moved_rounding(op))
        largest = (op.bound << 12) + (addend << shifts + 11) + (1 << 24)
        return bool(np.all(multipliers >= 2**30) and np.all(largest < 2**31) and op.weights.min() >= -127)

    def column_stream(self, op: lower.Convolution, signals: Signals) -> Array:
        """Per channel: the weights, the bias, a word with mh and m1 (25 bits) below the last shift less one, a word
        with 2 * m0 below `rounding`."""
        channels = op.weights.shape[3]
        taps = op.weights.reshape(-1, channels).T
        weights = np.zeros((channels, -(-signals.taps // 4) * 4), np.int8)
        weights[:, : signals.taps] = taps
        multipliers, shifts = scaling(op, channels)
        low = 128 + (-multipliers & 127)
        high = multipliers + low >> 7
        rounding = moved_rounding(op) - (shifts == 0)  # nothing to round
        tail = (folded_bias(op, taps), high + (shifts + 11 << 26), 2 * low + (rounding << 16))
        return words(packed(weights), np.stack(tail, axis=1))

    def column(self, signals: Signals, prefix: str) -> Column:
        half = -(-signals.outputs // 2)
        fitting = 1 + (_REACH + 1 - signals.taps) // signals.stride
        pairs = min(len(SUMS) // 2, half, fitting)
        half = -(-half // pairs) * pairs
        apart = signals.outputs - half  # outputs between the halves
        positions = (half - 1) * signals.stride + signals.taps
        # both values of a pair are inside the image from word `first` on, up to word `end`
        first = signals.before
        end = max(min(positions, signals.before + signals.inputs - apart * signals.stride), first)
        helpers: dict[str, Assembly] = {}
        calls = []
        done = first
        for count, rounds in ((_COPIED, (end - first) // _COPIED), ((end - first) % _COPIED, 1)):
            if count and rounds:
                name = f"pair_{count}_{signals.distance}"
                helpers[name] = _pair(count, signals.distance)
                at = (done - first) * signals.distance
                far = apart * signals.stride * signals.distance
                calls.append(f"{prefix}_{name}(input + {at}, plane + {done}, {rounds}, {far});")
                done += count * rounds
        outside = [*range(min(first, positions)), *range(end, positions)]
        pads: list[str] = []
        edges: list[str] = []
        for word in outside:
            rows = (word - first, word - first + apart * signals.stride)
            low, high = (
                f"(uint32_t)input[{row * signals.distance}]" if 0 <= row < signals.inputs else _zero(signals)
                for row in rows
            )
            line = f"plane[{word}] = {low} + ({high} << 16);"
            (edges if "input" in line else pads).append(line)
        name = f"column_{pairs}_{signals.taps}_{signals.stride}_{signals.distance}{signals.clamp.suffix}"
        helpers[name] = _column(signals, pairs)
        back = (apart - pairs) * signals.distance
        calls.append(f"{prefix}_{name}(plane, row, output, {half // pairs}, {back});")
        return Column(
            fill(
                "uint32_t *const plane = (uint32_t *)(void *)scratch;\n\n$pads",
                pads="\n".join(pads),
            ).rstrip(),
            "\n".join([*edges, *calls]),
            4 * positions,
            helpers,
        )


def _requantize(total: str, clamp: Clamp) -> list[str]:
    """The sum in `total` to a code in r2. r0 is the last shift, r1 what is added before it; r5, r6 and r7 are 2 * m0,
    m1 and mh."""
    return [
        f"mov r2, {total}",
        "muls r2, r5, r2",
        "adds r2, #254",
        "lsrs r2, r2, #8",
        f"mov r3, {total}",
        "muls r3, r6, r3",
        "subs r3, r3, r2",
        "asrs r3, r3, #12",
        f"mov r2, {total}",
        "muls r2, r7, r2",
        "adds r2, r2, r3",
        "adds r2, r2, r1",
        "asrs r2, r2, r0",
        *saturate(clamp),
    ]


def _zero(signals: Signals) -> str:
    return f"(uint32_t){signals.zero_point}" if signals.zero_point >= 0 else f"(uint32_t)({signals.zero_point})"


def _pair(count: int, distance: int) -> Armv6mAssembly:
    step = ["ldrsb r5, [r0, r4]", "ldrsb r6, [r0, r3]", "lsls r6, r6, #16", "adds r5, r5, r6", "stm r1!, {r5}"]
    return Armv6mAssembly(
        f"{count} codes of a signal, {distance} bytes apart, each paired up with one further on, again and again.",
        ("const int8_t *input", "uint32_t *plane", "int32_t rounds", "int32_t further"),
        [
            "push {r4-r6}",
            "movs r4, #0",
            "1:",
            *[*step, *advance("r0", distance, "r5")] * count,
            "subs r2, #1",
            "bne 1b",
            "pop {r4-r6}",
            "bx lr",
        ],
    )


def _column(signals: Signals, pairs: int) -> Armv6mAssembly:
    """Frame: the weights, then the words named below."""
    taps, distance = signals.taps, signals.distance
    bias, low, middle, high, addend, shift, plane, output, rounds = (f"[sp, #{4 * (taps + at)}]" for at in range(9))
    frame = 4 * (taps + 9)
    unpack = []
    for tap in range(0, taps, 4):
        unpack.append("ldm r1!, {r4}")
        for place in range(min(4, taps - tap)):
            extract = [f"lsrs r5, r4, #{8 * place}", "sxtb r5, r5"] if place else ["sxtb r5, r4"]
            unpack += [*extract, f"str r5, [sp, #{4 * (tap + place)}]"]
    sums = [(SUMS[2 * pair], SUMS[2 * pair + 1]) for pair in range(pairs)]
    products = []
    for tap in range(0, taps, 2):
        both = tap + 1 < taps
        products += [f"ldr r2, [sp, #{4 * tap}]", *([f"ldr r3, [sp, #{4 * tap + 4}]"] if both else [])]
        for pair in range(pairs):
            at = 4 * (tap + pair * signals.stride)
            products += [f"ldr r4, [r0, #{at}]", *([f"ldr r5, [r0, #{at + 4}]"] if both else []), "muls r4, r2, r4"]
            products += ["muls r5, r3, r5", "adds r4, r4, r5"] if both else []
            products += take_apart(*sums[pair])
    stores = []
    for side in (0, 1):
        for pair in range(pairs):
            stores += [*_requantize(sums[pair][side], signals.clamp), "strb r2, [r4]", *advance("r4", distance, "r2")]
        if side == 0:
            stores += [f"str r4, {output}", f"ldr r3, [sp, #{frame + SAVED_BYTES}]", "adds r4, r4, r3"]
    return Armv6mAssembly(
        f"{pairs} outputs of {taps} taps of each half, {distance} bytes apart, again and again; stride"
        f" {signals.stride}.",
        ("const uint32_t *plane", "const uint32_t *stream", "int8_t *output", "int32_t rounds", "int32_t back"),
        [
            *SAVE,
            f"sub sp, #{frame}",
            f"str r0, {plane}",
            f"str r2, {output}",
            f"str r3, {rounds}",
            *unpack,
            "ldm r1!, {r4, r5, r6}",
            f"str r4, {bias}",
            "lsrs r0, r5, #26",
            "asrs r1, r6, #16",
            "lsls r1, r1, r0",
            "movs r3, #128",
            "lsls r3, r3, #4",
            "adds r1, r1, r3",
            f"str r1, {addend}",
            "adds r0, #1",
            f"str r0, {shift}",
            "uxth r6, r6",
            f"str r6, {low}",
            "lsls r5, r5, #6",
            "lsrs r6, r5, #18",
            f"str r6, {high}",
            "lsls r5, r5, #14",
            "lsrs r5, r5, #20",
            f"str r5, {middle}",
            "1:",
            f"ldr r2, {bias}",
            *(f"mov {total}, r2" for both in sums for total in both),
            f"ldr r0, {plane}",
            *products,
            *advance("r0", 4 * pairs * signals.stride, "r2"),
            f"str r0, {plane}",
            f"ldr r0, {shift}",
            f"ldr r1, {addend}",
            f"ldr r4, {output}",
            f"ldr r5, {low}",
            f"ldr r6, {middle}",
            f"ldr r7, {high}",
            *stores,
            f"ldr r3, {rounds}",
            "subs r3, #1",
            f"str r3, {rounds}",
            "bne 1b",
            f"add sp, #{frame}",
            *RESTORE,
        ],
    )
