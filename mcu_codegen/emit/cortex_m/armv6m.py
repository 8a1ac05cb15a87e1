"""Kernels for Cortex-M0 and M0+, which multiply 32 bits by 32 and keep the low 32, and have eight handy registers.

One multiplication serves two rows of input: a word holds a value of one row and, 65,536 times, the value of the other,
so that its product with a weight holds both products. Two such products still fit the lower half (2 * 127 * 128 <
2**15); then the halves are taken apart and added to sums in the high registers.

Requantisation has no 64-bit product to start from. For |a| < 2**28 the doubling high product with M comes from halves
of both: with a = ah * 2**15 + al, -2**14 <= al < 2**14, and M = mh * 2**16 + ml it is
ah * mh + (ah * ml + 2 * al * mh + (al * ml >> 15) + 2**15 >> 16), and no term leaves int32.
"""

from __future__ import annotations

import numpy as np

from ... import lower
from ...memory import Demand, Over
from ..kernel import Array, Helper, Kernel, Site, fill, plus
from ..portable.renderer import OPTIMIZE
from ..portable.weighted import folded_bias
from .armv6m_addition import Armv6mAddition
from .armv6m_assembly import RESTORE, SAVE, SUMS, Armv6mAssembly, advance, constant, moved, requantize, take_apart
from .armv6m_columns import Armv6mColumns
from .armv6m_copy import COPY
from .armv6m_pooling import Armv6mPooling
from .assembly import (
    Scaled,
    divisor,
    gap,
    packed,
    planes,
    requantizes,
    rounding,
    scaling,
    unscaled,
    windows,
    words,
)
from .blocks import BlockRenderer, Product, pack_name
from .clamp import Clamp, clamp_of

_BOUND = 2**28  # of accumulators
_PITCH = 14  # the widest row of a plane three of which lie within the reach of a load, 31 words
_TOGETHER = 16  # columns of a row that are computed without a jump, at most: a branch reaches over them


class Armv6mRenderer(Armv6mAddition, Armv6mColumns, Armv6mPooling, BlockRenderer):
    """Cortex-M0, M0+."""

    instruction_set = "armv6m"
    block = len(SUMS)
    mixed = 4
    farthest = 1 << 16
    together = 1
    bound = _BOUND
    unrolled = (8, 1)  # groups of four inputs

    def __init__(self, optimize: str = OPTIMIZE[0]) -> None:
        super().__init__(optimize)
        self.helpers |= {"copy": COPY.helper("copy")}

    def obstacle(self, op: Scaled, channels: int) -> str:
        return unscaled(op, _BOUND) or ("" if _computes(op) else "it has weights of -128, or shifts its zero point far")

    def product(self, op: Scaled, depth: int, channels: int, rows: int, pitch: int) -> Product:
        clamp = clamp_of(op.requantization)
        filled = self.filled(depth)
        multiply = f"multiply_{filled}x{rows}_{channels}{clamp.suffix}"
        self.helpers[multiply] = _multiply(filled, channels, rows, self.most, clamp).helper(multiply)
        return Product(self.pack(depth, rows, pitch), multiply, 4 * filled * ((rows + 1) // 2))

    def lying(self, op: Scaled, depth: int, channels: int) -> str:
        """A row has no neighbour to pair up with, and extending bytes takes no longer than taking pairs apart."""
        if depth % 4:
            return ""
        clamp = clamp_of(op.requantization)
        name = f"multiply_{depth}_{channels}{clamp.suffix}"
        self.helpers[name] = _multiply(depth, channels, 1, self.most, clamp, lying=True).helper(name)
        return name

    def pack(self, depth: int, rows: int, pitch: int) -> str:
        name = pack_name(depth, rows, pitch)
        self.helpers[name] = _pack(name, depth, rows, pitch)
        return name

    def stream(self, op: Scaled, weights: np.ndarray) -> Array:
        """Per channel: the bias, the weights, a word that holds the shift and, above its lowest byte, `rounding`; the
        multiplier."""
        multipliers, shifts = (each[:, None] for each in scaling(op, len(weights)))
        return words(folded_bias(op, weights)[:, None], packed(weights), shifts + (_rounding(op) << 8), multipliers)

    def depthwise(self, op: lower.Convolution, site: Site) -> Kernel:
        """Pairs up one channel's plane with itself an output on, in a padded buffer, then computes its rows."""
        _, input_rows, input_columns, channels = site.inputs[0].shape
        _, rows, columns, _ = site.output.shape
        stride = op.stride[1]
        pitch = (columns - 1) * stride + 3
        height = op.weights.shape[1]
        if not planes(op) or (height > 1 and pitch > _PITCH) or not _computes(op) or self.at_most:
            return super().depthwise(op, site)
        top, _, left, _ = op.pads
        plane_rows = (rows - 1) * op.stride[0] + height
        inside = min(input_columns, pitch - left)
        paired = max(inside - stride, 0)
        zero = f"(uint32_t){op.input_zero_point}" if op.input_zero_point >= 0 else f"(uint32_t)({op.input_zero_point})"
        bias = folded_bias(op, op.weights.reshape(-1, channels).T)
        stream = words(windows(op, _rounding(op)), bias[:, None], scaling(op, channels)[0][:, None])
        loop = self.channel_loop(op, stream, rows * columns, site, "input++", "output++")
        clamp = clamp_of(op.requantization)
        names, calls = [], []
        for start in range(0, columns, _TOGETHER):
            size = min(_TOGETHER, columns - start)
            part = f"_of_{columns}" if size < columns else ""
            names.append(f"rows_{height}_{size}{part}_{channels}_{op.stride[0]}_{stride}{clamp.suffix}")
            kernel = _depthwise_rows(height, size, columns, channels, op.stride, clamp)
            self.helpers[names[-1]] = kernel.helper(names[-1])
            plane, output = f"plane{plus(start * stride)}", f"output{plus(start * channels)}"
            calls.append(f"{site.prefix}_{names[-1]}({plane}, row, {output}, {rows});")
        return Kernel(
            fill(
                """
                uint32_t *const plane = (uint32_t *)(void *)scratch;

                for (int32_t i = 0; i < $elements; i++) {
                    plane[i] = $padding;
                }
                $each_channel
                    const int8_t *from = input;
                    uint32_t *to = plane + $first;

                    for (int32_t y = 0; y < $inside_rows; y++) {
                        $edge_left
                        for (int32_t x = 0; x < $paired; x++) {
                            *to++ = (uint32_t)from[0] + ((uint32_t)from[$distance] << 16);
                            from += $channels;
                        }
                        $edge_right
                        from += $next_row;
                        to += $next_to;
                    }
                    $calls
                }
                """,
                elements=plane_rows * pitch,
                padding=f"{(op.input_zero_point + (op.input_zero_point << 16)) & 0xFFFFFFFF}u",
                channels=channels,
                each_channel=loop.head,
                first=top * pitch + left,
                inside_rows=min(input_rows, plane_rows - top),
                # the pairs of which one lies in the padding
                edge_left="\n".join(
                    f"to[{at}] = {zero} + ((uint32_t)from[{(at + stride) * channels}] << 16);"
                    for at in range(-min(left, stride), min(0, inside - stride))
                ),
                paired=paired,
                distance=stride * channels,
                edge_right="\n".join(
                    f"to[{at}] = (uint32_t)from[{at * channels}] + ({zero} << 16);" for at in range(inside - paired)
                ),
                next_row=(input_columns - paired) * channels,
                next_to=pitch - paired,
                calls="\n".join(calls),
            ),
            # a channel's output reaches only that channel's input, which has been copied
            Demand(4 * plane_rows * pitch, (Over(every=channels),)),
            arrays=(loop.stream,),
            helpers=(*dict.fromkeys(names), *loop.helpers),
            macs=rows * columns * op.weights.size,
        )


def _computes(op: Scaled) -> bool:
    """Whether products stay in their halves and requantisation in int32."""
    twice_addends = abs(_rounding(op)) << scaling(op, len(op.bias))[1]
    fits = np.all(twice_addends < 2**31) and np.all(op.bound < _BOUND) and op.weights.min() >= -127
    return requantizes(op) and bool(fits)


def _rounding(op: Scaled) -> int:
    """Of codes that are moved as `saturate` wants them."""
    return rounding(op, moved(clamp_of(op.requantization)))


def _pack(name: str, depth: int, rows: int, pitch: int) -> Helper:
    """For every two inputs, and every pair of rows, two words."""

    def pairs(inputs: int, indent: str) -> str:
        """Of each pair of rows, so many inputs; of a last one alone, the word that would be the next's is left out."""
        lines = []
        for row in range(0, rows, 2):
            for k in range(inputs):
                first = f"(uint32_t)input[{row * pitch + k}]"
                second = f" + ((uint32_t)input[{(row + 1) * pitch + k}] << 16)" if row + 1 < rows else ""
                lines.append(f"{indent}*to++ = {first}{second};\n")
            lines += [f"{indent}to++;\n"] if inputs == 1 else []
        return "".join(lines)

    even = depth - depth % 2
    loop = f"    for (const int8_t *const end = input + {even}; input != end; input += 2) {{\n"
    loop += f"{pairs(2, '        ')}    }}\n"
    return Helper(
        f"/* Pairs up {rows} rows of {depth} inputs. */\n"
        f"static void ${{prefix}}_{name}(const int8_t *input, void *wide)\n{{\n"
        f"    uint32_t *to = (uint32_t *)wide;\n\n"
        f"{loop if even else ''}{pairs(1, '    ') if depth % 2 else ''}}}\n"
    )


def _multiply(depth: int, channels: int, rows: int, most: int, clamp: Clamp, lying: bool = False) -> Armv6mAssembly:
    """At most `most` groups of four inputs without a jump. A row that is `lying` is not packed.

    Frame: [sp] addend, [sp, #4] loop counter, [sp, #8] packed rows, [sp, #12] output, [sp, #16] channels left.
    """
    pairs = [(SUMS[row], SUMS[row + 1]) for row in range(0, rows, 2)]

    def products() -> list[str]:
        if lying:
            loads = ["ldrb r4, [r0]", "ldrb r5, [r0, #1]", "adds r0, #2", "sxtb r4, r4", "sxtb r5, r5"]
            return [*loads, "muls r4, r2, r4", "muls r5, r3, r5", "adds r4, r4, r5", f"add {SUMS[0]}, r4"]
        return [
            line
            for pair in pairs
            for line in (
                "ldm r0!, {r4, r5}",
                "muls r4, r2, r4",
                "muls r5, r3, r5",
                "adds r4, r4, r5",
                *take_apart(*pair),
            )
        ]

    group = [
        "ldm r1!, {r7}",
        "sxtb r2, r7",
        "lsrs r3, r7, #8",
        "sxtb r3, r3",
        *products(),
        "lsrs r2, r7, #16",
        "sxtb r2, r2",
        "asrs r3, r7, #24",
        *products(),
    ]
    groups = depth // 4
    unrolled = divisor(groups, most)
    stores: list[str] = []
    for row, total in enumerate(SUMS[:rows]):
        stores += [*requantize(total, clamp), "strb r2, [r7]"]
        stores += advance("r7", channels, "r2") if row + 1 < rows else []
    return Armv6mAssembly(
        f"{rows} packed rows of {depth} inputs times channels. The outputs of a row are {channels} bytes.",
        ("const void *wide", "const uint32_t *stream", "int8_t *output", "int32_t channels"),
        [
            *SAVE,
            "push {r0, r2, r3}",
            "sub sp, #8",
            "1:",
            "ldm r1!, {r2}",
            *(f"mov {total}, r2" for pair in pairs for total in pair),
            *constant("r6", groups // unrolled),
            "str r6, [sp, #4]",
            "2:",
            *group * unrolled,
            "ldr r6, [sp, #4]",
            "subs r6, #1",
            "str r6, [sp, #4]",
            "bne 2b",
            # the shift is the lowest byte of r0, which is all that a shift by a register looks at
            "ldm r1!, {r0, r5}",
            "asrs r3, r0, #8",
            "lsls r3, r3, r0",
            "asrs r3, r3, #1",
            "str r3, [sp]",
            "lsrs r6, r5, #16",
            "uxth r5, r5",
            "ldr r7, [sp, #12]",
            *stores,
            "ldr r0, [sp, #8]",
            "ldr r2, [sp, #12]",
            "adds r2, #1",
            "str r2, [sp, #12]",
            "ldr r3, [sp, #16]",
            "subs r3, #1",
            "str r3, [sp, #16]",
            "bne 1b",
            "add sp, #20",
            *RESTORE,
        ],
    )


def _depthwise_rows(
    height: int, columns: int, row_columns: int, channels: int, stride: tuple[int, int], clamp: Clamp
) -> Armv6mAssembly:
    """`columns` neighbours of `row_columns`.

    Frame: [sp] addend, [sp, #4] up to nine weights, [sp, #40] bias, shift and multiplier, [sp, #56] rows left.
    """
    pitch = (row_columns - 1) * stride[1] + 3
    at = [4 * (row * pitch + tap) for row in range(height) for tap in range(3)]  # of the taps, in the plane
    unpack: list[str] = []
    for tap in range(len(at) + gap(height)):
        if tap % 4 == 0:
            unpack.append("ldm r1!, {r2}")
        if tap < len(at):
            extract = [f"lsrs r3, r2, #{8 * (tap % 4)}", "sxtb r3, r3"] if tap % 4 else ["sxtb r3, r2"]
            unpack += [*extract, f"str r3, [sp, #{4 + 4 * tap}]"]
    row: list[str] = []
    for column in range(0, columns, 2):
        row += ["ldr r2, [sp, #40]", "mov r8, r2", "mov r9, r2"]
        for tap in range(0, len(at), 2):
            taps = range(tap, min(tap + 2, len(at)))
            for register, value, each in zip(("r2", "r3"), ("r4", "r5"), taps, strict=False):
                row += [f"ldr {register}, [sp, #{4 + 4 * each}]", f"ldr {value}, [r1, #{at[each]}]"]
                row.append(f"muls {value}, {register}, {value}")
            row += [*(["adds r4, r4, r5"] if len(taps) > 1 else []), *take_apart("r8", "r9")]
        row += ["ldr r0, [sp, #44]", "ldr r5, [sp, #48]", "ldr r6, [sp, #52]"]
        for total in ("r8", "r9")[: columns - column]:
            row += [*requantize(total, clamp), "strb r2, [r7]", *advance("r7", channels, "r2")]
        done = column * stride[1]
        row += advance("r1", 8 * stride[1] if column + 2 < columns else 4 * (stride[0] * pitch - done), "r2")
    row += advance("r7", (row_columns - columns) * channels, "r2")
    return Armv6mAssembly(
        f"Every row of {columns} columns of a depthwise convolution by {height} x 3 of one plane of pairs; strides"
        f" {stride}.",
        ("const uint32_t *plane", "const uint32_t *stream", "int8_t *output", "int32_t rows"),
        [
            *SAVE,
            "push {r3}",
            "sub sp, #56",
            "movs r7, r2",
            *unpack,
            "lsrs r3, r2, #8",
            "str r3, [sp, #44]",
            "asrs r2, r2, #16",
            "lsls r2, r2, r3",
            "asrs r2, r2, #1",
            "str r2, [sp]",
            "ldm r1!, {r2, r4}",
            "str r2, [sp, #40]",
            "lsrs r5, r4, #16",
            "uxth r4, r4",
            "str r4, [sp, #48]",
            "str r5, [sp, #52]",
            "movs r1, r0",
            "1:",
            *row,
            "ldr r3, [sp, #56]",
            "subs r3, #1",
            "str r3, [sp, #56]",
            "bne 1b",
            "add sp, #60",
            *RESTORE,
        ],
    )
