"""Sparse weights on Cortex-M3, M4, M7 and M33: an entry's inputs come in one load, its gap is part of an address."""

from __future__ import annotations

from functools import partial

from ..portable.renderer import OPTIMIZE
from .armv7m import Armv7mRenderer
from .assembly import Scaled
from .clamp import clamp_of
from .dsp import DspRenderer
from .sparse import SparseBlocks
from .thumb2 import Requantize, Thumb2Renderer
from .thumb2_assembly import Thumb2Assembly, add_to
from .thumb2_unpack import UNPACK


class _SparseThumb2(SparseBlocks, Thumb2Renderer):
    """Inputs are doubled while packing, so that accumulators arrive as the requantisation of `dsp` wants them."""

    sparse_scale = 2

    def __init__(self, optimize: str = OPTIMIZE[0]) -> None:
        super().__init__(optimize)
        self.helpers["unpack"] = UNPACK.helper("unpack")

    def sparse_bytes(self, rows: int) -> int:
        return self.element_bytes * _lanes(rows)

    def sparse_pack(self, depth: int, rows: int, pitch: int) -> str:
        name = f"turn_{depth}x{rows}" + (f"_{pitch}" if rows > 1 else "")
        self.helpers[name] = self.turn(depth, rows, pitch).helper(name)
        return name

    def sparse_addend(self, op: Scaled) -> int:
        return op.requantization.zero_point + clamp_of(op.requantization).top

    def sparse_multiply(self, op: Scaled, channels: int, rows: int) -> str:
        clamp = clamp_of(op.requantization)
        requantize: Requantize = partial(self.requantize, multiplier="r8", twice_addend="r9", shift="r10", clamp=clamp)
        size = self.element_bytes * _lanes(rows)
        name = f"sparse_{rows}_{channels}{clamp.suffix}"
        self.helpers[name] = _multiply(channels, rows, size, self.add_entry(rows), requantize).helper(name)
        return name

    def turn(self, depth: int, rows: int, pitch: int) -> Thumb2Assembly:
        """Lays inputs of a place side by side, widened and doubled. Parameters: input, wide."""
        raise NotImplementedError

    def add_entry(self, rows: int) -> list[str]:
        """Adds r11 times the inputs at r0 to r4.., and moves r0 behind them. May use r2, r3, r8, r9."""
        raise NotImplementedError


class SparseArmv7mRenderer(_SparseThumb2, Armv7mRenderer):
    """Cortex-M3."""

    def turn(self, depth: int, rows: int, pitch: int) -> Thumb2Assembly:
        registers = [f"r{3 + lane}" for lane in range(_lanes(rows))]
        loads = [f"ldrsb {register}, [r0, #{row * pitch}]" for row, register in enumerate(registers[:rows]) if row]
        doubled = [f"lsl {register}, {register}, #1" for register in registers[:rows]]
        store = f"stm r1!, {{{', '.join(registers)}}}" if rows > 1 else f"str {registers[0]}, [r1], #4"
        return Thumb2Assembly(
            f"Widens and doubles {rows} x {depth} inputs; those of a place lie together.",
            ("const int8_t *input", "void *wide"),
            [
                "push {r4-r7}",
                *add_to("r2", depth, "r0"),
                "1:",
                *loads,
                f"ldrsb {registers[0]}, [r0], #1",
                *doubled,
                store,
                "cmp r0, r2",
                "bne 1b",
                "pop {r4-r7}",
                "bx lr",
            ],
        )

    def add_entry(self, rows: int) -> list[str]:
        inputs = ["r2", "r3", "r8", "r9"][: _lanes(rows)]
        load = f"ldm r0!, {{{', '.join(inputs)}}}" if rows > 1 else f"ldr {inputs[0]}, [r0], #4"
        sums = [f"mla r{4 + row}, {register}, r11, r{4 + row}" for row, register in enumerate(inputs[:rows])]
        return [load, *sums]


class SparseDspRenderer(_SparseThumb2, DspRenderer):
    """Cortex-M4, M7, M33."""

    def is_sparse(self, op: Scaled) -> bool:
        # rows are packed by words of four inputs
        return (op.weights.size // len(op.weights)) % 4 == 0 and super().is_sparse(op)

    def turn(self, depth: int, rows: int, pitch: int) -> Thumb2Assembly:
        raw, pairs = [f"r{2 + row}" for row in range(rows)], [f"r{6 + row}" for row in range(rows)]
        size = self.sparse_bytes(rows)

        def place(rotation: str, first: int) -> list[str]:
            """Inputs `first` and `first` + 2 of each row."""
            lines = [f"sxtb16 {pair}, {word}{rotation}" for pair, word in zip(pairs, raw, strict=True)]
            lines += [f"sadd16 {pair}, {pair}, {pair}" for pair in pairs]
            at, behind = size * first, size * (first + 2)
            if rows == 1:
                return [*lines, f"strh r6, [r1, #{at}]", "lsr r6, r6, #16", f"strh r6, [r1, #{behind}]"]
            lower, upper = [], []
            for left, right in zip(pairs[::2], [*pairs[1::2], pairs[-1]], strict=False):
                # the lower halves of both rows, where the upper ones were the next input's
                half = 2 * pairs.index(left)
                lower += [f"pkhbt r12, {left}, {right}, lsl #16", f"str r12, [r1, #{at + half}]"]
                upper += [f"pkhtb r12, {right}, {left}, asr #16", f"str r12, [r1, #{behind + half}]"]
            return [*lines, *lower, *upper]

        return Thumb2Assembly(
            f"Widens and doubles {rows} x {depth} inputs; those of a place lie together.",
            ("const int8_t *input", "void *wide"),
            [
                "push {r4-r9, lr}",
                *add_to("lr", depth, "r0"),
                "1:",
                *(f"ldr {word}, [r0, #{row * pitch}]" for row, word in enumerate(raw) if row),
                f"ldr {raw[0]}, [r0], #4",
                *place("", 0),
                *place(", ror #8", 1),
                f"adds r1, #{4 * size}",
                "cmp r0, lr",
                "bne 1b",
                "pop {r4-r9, pc}",
            ],
        )

    def add_entry(self, rows: int) -> list[str]:
        if rows == 1:
            return ["ldrsh r8, [r0], #2", "smlabb r4, r11, r8, r4"]
        load = "ldr r8, [r0], #4" if rows == 2 else "ldrd r8, r9, [r0], #8"
        sums = [(f"r{4 + row}", "r8" if row < 2 else "r9", "bt"[row % 2]) for row in range(rows)]
        return [load, *(f"smlab{half} {total}, r11, {pair}, {total}" for total, pair, half in sums)]


def _lanes(rows: int) -> int:
    """Places for rows: a power of two, so that a gap is shifted."""
    return rows + rows % 2 if rows > 1 else 1


def _multiply(channels: int, rows: int, size: int, products: list[str], requantize: Requantize) -> Thumb2Assembly:
    """r0 reads inputs, `size` bytes a place, r1 the stream; r10 holds two gaps, r11 a weight, r12 counts pairs."""
    totals = [f"r{4 + row}" for row in range(rows)]
    step = size.bit_length() - 1
    return Thumb2Assembly(
        f"{rows} packed rows times sparse channels. The outputs of a row are {channels} bytes.",
        ("const void *wide", "const uint8_t *stream", "int8_t *output", "int32_t count"),
        [
            "push {r4-r11, lr}",
            "ldrsh r12, [r1], #2",
            "add r12, r12, r12",
            "add r12, r12, #1",
            "push {r0, r2, r3, r12}",  # now sp points at the rows, the output, the channels left and `rounding`
            "1:",
            f"ldr {totals[0]}, [r1], #4",
            *(f"mov {total}, {totals[0]}" for total in totals[1:]),
            "ldrh r12, [r1], #2",
            "adds r12, #0",
            "beq 3f",
            "2:",
            "ldrb r10, [r1], #1",
            "ldrsb r11, [r1], #1",
            "and lr, r10, #15",
            f"add r0, r0, lr, lsl #{step}",
            *products,
            "ldrsb r11, [r1], #1",
            "lsr r10, r10, #4",
            f"add r0, r0, r10, lsl #{step}",
            *products,
            "subs r12, #1",
            "bne 2b",
            "3:",
            "ldr r8, [r1], #4",
            "ldrb r10, [r1], #1",
            "ldr r9, [sp, #12]",
            "lsl r9, r9, r10",
            *requantize(totals),
            "ldrd r2, r3, [sp, #4]",
            *(f"strb {total}, [r2, #{row * channels}]" for row, total in enumerate(totals)),
            "adds r2, #1",
            "subs r3, #1",
            "strd r2, r3, [sp, #4]",
            "ldr r0, [sp]",
            "bne 1b",
            "add sp, #16",
            "pop {r4-r11, pc}",
        ],
    )
