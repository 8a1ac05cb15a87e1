"""Depthwise convolutions by 3 x 3 and 1 x 3 for Cortex-M0 and M0+, plane by plane.

As in `armv6m`, one multiplication serves two values that share a word: here a position of the plane and the one
an output further on.
"""

from __future__ import annotations

from ... import lower
from ...memory import Demand, Over
from ..kernel import Kernel, Site, fill, plus
from ..portable.renderer import Renderer
from ..portable.weighted import folded_bias
from .armv6m_assembly import RESTORE, SAVE, Armv6mAssembly, advance, computes, moved_rounding, requantize, take_apart
from .assembly import gap, planes, scaling, windows, words
from .clamp import Clamp, clamp_of

_REACH = 31  # words from a pointer that a load reaches
_TOGETHER = 12  # columns of a row that are computed without a jump, at most: a branch reaches over them


class Armv6mPlanes(Renderer):
    """The renderer's part that computes them."""

    def depthwise(self, op: lower.Convolution, site: Site) -> Kernel:
        """Pairs up one channel's plane with itself an output on, in a padded buffer, then computes its rows."""
        _, input_rows, input_columns, channels = site.inputs[0].shape
        _, rows, columns, _ = site.output.shape
        stride = op.stride[1]
        pitch = (columns - 1) * stride + 3
        height = op.weights.shape[1]
        if not planes(op) or not computes(op) or self.at_most:
            return super().depthwise(op, site)
        top, _, left, _ = op.pads
        plane_rows = (rows - 1) * op.stride[0] + height
        inside = min(input_columns, pitch - left)
        paired = max(inside - stride, 0)
        zero = f"(uint32_t){op.input_zero_point}" if op.input_zero_point >= 0 else f"(uint32_t)({op.input_zero_point})"
        bias = folded_bias(op, op.weights.reshape(-1, channels).T)
        stream = words(windows(op, moved_rounding(op)), bias[:, None], scaling(op, channels)[0][:, None])
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


def _depthwise_rows(
    height: int, columns: int, row_columns: int, channels: int, stride: tuple[int, int], clamp: Clamp
) -> Armv6mAssembly:
    """`columns` neighbours of `row_columns`.

    Frame: [sp] addend, [sp, #4] up to nine weights, [sp, #40] bias, shift and multiplier, [sp, #56] rows left.
    """
    pitch = (row_columns - 1) * stride[1] + 3
    # rows of the plane beyond the reach of a load have the pointer moved on to each of them
    moved_on = 4 * pitch if (height - 1) * pitch + 2 > _REACH else 0
    at = [4 * (row * pitch + tap) - row * moved_on for row in range(height) for tap in range(3)]  # of the taps
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
                row += advance("r1", moved_on, "r0") if each in (3, 6) else []
                row += [f"ldr {register}, [sp, #{4 + 4 * each}]", f"ldr {value}, [r1, #{at[each]}]"]
                row.append(f"muls {value}, {register}, {value}")
            row += [*(["adds r4, r4, r5"] if len(taps) > 1 else []), *take_apart("r8", "r9")]
        row += ["ldr r0, [sp, #44]", "ldr r5, [sp, #48]", "ldr r6, [sp, #52]"]
        for total in ("r8", "r9")[: columns - column]:
            row += [*requantize(total, clamp), "strb r2, [r7]", *advance("r7", channels, "r2")]
        done = column * stride[1]
        on = 8 * stride[1] if column + 2 < columns else 4 * (stride[0] * pitch - done)
        row += advance("r1", on - (height - 1) * moved_on, "r2")
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
