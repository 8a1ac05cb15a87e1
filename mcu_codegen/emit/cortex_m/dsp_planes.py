"""Depthwise convolutions by 3 x 3 and 1 x 3 for Cortex-M4, M7 and M33: planes of int16, two columns a word."""

from __future__ import annotations

from .assembly import gap
from .clamp import Clamp
from .dsp_assembly import requantize
from .thumb2_assembly import Thumb2Assembly, add_to
from .thumb2_planes import Thumb2Planes


class DspPlanes(Thumb2Planes):
    """The renderer's part that computes them."""

    def chunks(self, columns: int, stride: int) -> tuple[list[tuple[int, int]], int]:
        """Starts at whole words of the plane, which hold two columns; four words of a row have registers."""
        most = columns if (columns, stride) == (5, 1) else 4 if stride == 1 else 3
        chunks = [(start, min(most, columns - start)) for start in range(0, columns, most)]
        return chunks, max(start * stride + 2 * _words(size, stride) for start, size in chunks)

    def depthwise_rows(
        self,
        height: int,
        columns: int,
        row_bytes: int,
        pitch: int,
        channels: int,
        stride: tuple[int, int],
        clamp: Clamp,
    ) -> Thumb2Assembly:
        """r4.. sum up the columns; r9.. hold a row of the plane, two columns a register; r3 and lr its weights."""
        totals = [f"r{4 + column}" for column in range(columns)]
        row = [f"r{9 + word}" for word in range(_words(columns, stride[1]))]
        products = []
        for column, total in enumerate(totals):
            first = column * stride[1]
            left, right = row[first // 2], row[first // 2 + 1]
            products += (
                [f"smlad {total}, {left}, r3, {total}", f"smlabt {total}, {right}, lr, {total}"]
                if first % 2 == 0
                else [f"smlatb {total}, {left}, r3, {total}", f"smlad {total}, {right}, lr, {total}"]
            )
        load = [f"ldm r0!, {{{', '.join(row)}}}"]
        if len(row) * 2 != pitch:
            load = [f"ldm r0, {{{', '.join(row)}}}", *add_to("r0", 2 * pitch)]
        unpack = []
        offsets = range(0, 8 * height, 8)
        for at in offsets:
            for register in ("r4", "r5", "r6"):
                unpack += [f"ldrsb {register}, [r1], #1", f"lsl {register}, {register}, #1"]
            unpack += ["pkhbt r7, r4, r5, lsl #16", "pkhbt r8, r5, r6, lsl #16", f"strd r7, r8, [sp, #{at}]"]
        return Thumb2Assembly(
            f"{columns} columns of every row of a {height} x 3 depthwise convolution of one plane, {pitch} elements a"
            f" row; strides {stride}.",
            ("const int16_t *plane", "const uint32_t *stream", "int8_t *output", "int32_t rows"),
            [
                "push {r3-r11, lr}",
                # now sp points at six pairs of weights, bias, multiplier, twice the addend, shift, and the rows left
                "sub sp, #40",
                "ldr r4, [r1], #4",
                "str r4, [sp, #24]",
                *unpack,
                f"ldrb r5, [r1, #{gap(3 * height)}]",
                f"ldrsh r4, [r1, #{gap(3 * height) + 1}]",
                "lsl r4, r4, r5",
                f"ldr r3, [r1, #{gap(3 * height) + 3}]",
                "add r1, sp, #28",
                "stm r1, {r3, r4, r5}",
                "1:",
                "ldr r4, [sp, #24]",
                *(f"mov {total}, r4" for total in totals[1:]),
                *(line for at in offsets for line in (*load, f"ldrd r3, lr, [sp, #{at}]", *products)),
                *add_to("r0", 2 * (stride[0] - height) * pitch),
                "ldm r1, {r9, r10, r11}",
                *requantize(totals, "r9", "r10", "r11", clamp),
                *(f"strb {total}, [r2, #{column * channels}]" for column, total in enumerate(totals)),
                *add_to("r2", row_bytes),
                "ldr r3, [sp, #40]",
                "subs r3, #1",
                "str r3, [sp, #40]",
                "bne 1b",
                "add sp, #44",
                "pop {r4-r11, pc}",
            ],
        )


def _words(columns: int, stride: int) -> int:
    """Words of a plane's row under `columns` columns of output."""
    return ((columns - 1) * stride + 4) // 2
