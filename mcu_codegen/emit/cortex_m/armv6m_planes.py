"""Depthwise convolutions for Cortex-M0 and M0+, plane by plane.

As in `armv6m`, one multiplication serves two values that share a word: here a position of the plane and the one
an output further on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ... import lower
from ...memory import Demand, Over
from ..kernel import Kernel, Site, fill, plus
from ..portable.renderer import Renderer
from ..portable.weighted import folded_bias
from .armv6m_assembly import RESTORE, SAVE, Armv6mAssembly, advance, computes, moved_rounding, requantize, take_apart
from .assembly import gap, scaling, windows, words
from .clamp import Clamp, clamp_of

_REACH = 31  # words from a pointer that a load reaches
_TOGETHER = 12  # columns of a row that are computed without a jump, at most
_BACK = 1000  # instructions of these columns: a branch reaches back over so many, and those that end a row
_MOST = 121  # weights that have room on the stack


class Armv6mPlanes(Renderer):
    """The renderer's part that computes them."""

    def depthwise(self, op: lower.Convolution, site: Site) -> Kernel:
        """Pairs up one channel's plane with itself an output on, in a padded buffer, then computes its rows."""
        if op.depth_multiplier > 1 or not computes(op) or self.at_most:
            return super().depthwise(op, site)
        whole, channels = op, site.output.shape[3]
        image, outputs = site.inputs[0].shape[1:3], site.output.shape[1:3]
        step, row_step = channels, image[1] * channels  # bytes between neighbours and between rows
        if outputs[1] == 1 < outputs[0]:  # a row as well, whose outputs have neighbours
            op, image, outputs, step, row_step = _turned(op), image[::-1], outputs[::-1], row_step, step
        (input_rows, input_columns), (rows, columns) = image, outputs
        _, height, width, _ = op.weights.shape
        window = _Window(height, width, op.stride, op.dilation, columns, channels, clamp_of(op.requantization))
        if not window.together:
            return replace(super().depthwise(whole, site), portable="its window reaches too far")
        top, _, left, _ = op.pads
        pitch, stride = window.pitch, op.stride[1]
        plane_rows = (rows - 1) * op.stride[0] + (height - 1) * op.dilation[0] + 1
        inside_rows, inside = min(input_rows, plane_rows - top), min(input_columns, pitch - left)
        if not window.pays(rows, inside_rows * inside):
            reason = f"copying a plane does not pay: pixels {inside_rows * inside}, outputs {rows * columns}"
            return replace(super().depthwise(whole, site), portable=reason)
        paired = max(inside - stride, 0)
        zero = f"(uint32_t){op.input_zero_point}" if op.input_zero_point >= 0 else f"(uint32_t)({op.input_zero_point})"
        bias = folded_bias(op, op.weights.reshape(-1, channels).T)
        stream = words(windows(op, moved_rounding(op)), bias[:, None], scaling(op, channels)[0][:, None])
        loop = self.channel_loop(op, stream, rows * columns, site, "input++", "output++")
        names, calls = [], []
        for start, size in window.parts:
            names.append(window.name(size))
            self.helpers[names[-1]] = window.rows_of(size).helper(names[-1])
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
                            from += $step;
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
                step=step,
                each_channel=loop.head,
                first=top * pitch + left,
                inside_rows=inside_rows,
                # the pairs of which one lies in the padding
                edge_left="\n".join(
                    f"to[{at}] = {zero} + ((uint32_t)from[{(at + stride) * step}] << 16);"
                    for at in range(-min(left, stride), min(0, inside - stride))
                ),
                paired=paired,
                distance=stride * step,
                edge_right="\n".join(
                    f"to[{at}] = (uint32_t)from[{at * step}] + ({zero} << 16);" for at in range(inside - paired)
                ),
                next_row=row_step - paired * step,
                next_to=pitch - paired,
                calls="\n".join(calls),
            ),
            # a channel's output reaches only that channel's input, which has been copied
            Demand(4 * plane_rows * pitch, (Over(every=channels),)),
            arrays=(loop.stream,),
            helpers=(*dict.fromkeys(names), *loop.helpers),
            macs=rows * columns * op.weights.size,
        )


def _turned(op: lower.Convolution) -> lower.Convolution:
    """`op` with rows for columns."""
    return replace(
        op,
        weights=op.weights.swapaxes(1, 2),
        pads=(*op.pads[2:], *op.pads[:2]),
        stride=op.stride[::-1],
        dilation=op.dilation[::-1],
    )


@dataclass(frozen=True)
class _Window:
    """Kernels of a window, which move along `columns` outputs a row."""

    height: int
    width: int
    stride: tuple[int, int]
    dilation: tuple[int, int]
    columns: int
    channels: int
    clamp: Clamp

    @property
    def pitch(self) -> int:
        """Words between rows of the plane."""
        return (self.columns - 1) * self.stride[1] + (self.width - 1) * self.dilation[1] + 1

    @property
    def taps(self) -> int:
        return self.height * self.width

    @property
    def row_bytes(self) -> int:
        """Between rows of the window."""
        return 4 * self.dilation[0] * self.pitch

    @property
    def moved_on(self) -> int:
        """Rows of the plane beyond the reach of a load have the pointer moved on to each of them."""
        last = (self.height - 1) * self.row_bytes + 4 * (self.width - 1) * self.dilation[1]
        return self.row_bytes if last > 4 * _REACH else 0

    @property
    def together(self) -> int:
        """Columns that a kernel computes, at most; 0 where there is none."""
        if self.taps > _MOST or (self.width - 1) * self.dilation[1] > _REACH:
            return 0
        return min(_TOGETHER, 2 * (_BACK // len(self._pair(2, 8 * self.stride[1]))))

    @property
    def parts(self) -> list[tuple[int, int]]:
        """(start, size) of the columns that kernels compute."""
        most = self.together
        return [(start, min(most, self.columns - start)) for start in range(0, self.columns, most)]

    def pays(self, rows: int, pixels: int) -> bool:
        """Whether kernels take fewer instructions a channel than portable C, about: for so many rows of output, from a
        plane to which so many pixels are copied."""
        pairs = (self.columns + 1) // 2
        copied = 11 * pixels + len(self.parts) * (40 + 3.25 * self.taps)
        return copied + rows * (pairs * 6 * self.taps + self.columns * 30) < rows * self.columns * (70 + 9 * self.taps)

    def name(self, columns: int) -> str:
        part = f"_of_{self.columns}" if columns < self.columns else ""
        dilated = "".join(f"_by_{step}" for step in self.dilation) if self.dilation != (1, 1) else ""
        shape = f"{self.height}x{self.width}{dilated}_{columns}{part}_{self.channels}"
        return f"rows_{shape}_{self.stride[0]}_{self.stride[1]}{self.clamp.suffix}"

    def rows_of(self, columns: int) -> Armv6mAssembly:
        """The kernel of `columns` neighbours.

        Frame: [sp] twice the addend, [sp, #4] weights, then bias, shift and 1, both halves of the multiplier, and rows
        left.
        """
        bias, shift, low, high, rows = (f"[sp, #{at}]" for at in self._behind_weights)
        unpack: list[str] = []
        for tap in range(self.taps + gap(self.taps)):
            if tap % 4 == 0:
                unpack.append("ldm r1!, {r2}")
            if tap < self.taps:
                extract = [f"lsrs r3, r2, #{8 * (tap % 4)}", "sxtb r3, r3"] if tap % 4 else ["sxtb r3, r2"]
                unpack += [*extract, f"str r3, [sp, #{4 + 4 * tap}]"]
        row: list[str] = []
        for column in range(0, columns, 2):
            done = column * self.stride[1]
            on = 8 * self.stride[1] if column + 2 < columns else 4 * (self.stride[0] * self.pitch - done)
            row += self._pair(columns - column, on)
        row += advance("r7", (self.columns - columns) * self.channels, "r2")
        dilated = f"; dilated by {self.dilation}" if self.dilation != (1, 1) else ""
        return Armv6mAssembly(
            f"Every row of {columns} columns of a depthwise convolution by {self.height} x {self.width} of one plane of"
            f" pairs; strides {self.stride}{dilated}.",
            ("const uint32_t *plane", "const uint32_t *stream", "int8_t *output", "int32_t rows"),
            [
                *SAVE,
                "push {r3}",
                f"sub sp, #{self._behind_weights[-1]}",
                "movs r7, r2",
                *unpack,
                "lsrs r3, r2, #8",
                "asrs r2, r2, #16",
                "lsls r2, r2, r3",
                "str r2, [sp]",
                "adds r3, #1",
                f"str r3, {shift}",
                "ldm r1!, {r2, r4}",
                f"str r2, {bias}",
                "lsrs r5, r4, #16",
                "uxth r4, r4",
                f"str r4, {low}",
                f"str r5, {high}",
                "movs r1, r0",
                "1:",
                *row,
                f"ldr r3, {rows}",
                "subs r3, #1",
                f"str r3, {rows}",
                "bne 1b",
                f"add sp, #{self._behind_weights[-1] + 4}",
                *RESTORE,
            ],
        )

    @property
    def _behind_weights(self) -> range:
        """The words of the frame behind the weights."""
        first = 4 + 4 * self.taps
        return range(first, first + 20, 4)

    def _pair(self, columns: int, on: int) -> list[str]:
        """Two neighbours, of which only `columns` are stored; `on` is from their window to the next one, in bytes."""
        bias, shift, low, high, _ = (f"[sp, #{at}]" for at in self._behind_weights)
        lines = [f"ldr r2, {bias}", "mov r8, r2", "mov r9, r2"]
        for tap in range(0, self.taps, 2):
            taps = range(tap, min(tap + 2, self.taps))
            for register, value, each in zip(("r2", "r3"), ("r4", "r5"), taps, strict=False):
                i, j = divmod(each, self.width)
                lines += advance("r1", self.moved_on, "r0") if i and j == 0 else []
                at = i * (self.row_bytes - self.moved_on) + 4 * j * self.dilation[1]
                lines += [f"ldr {register}, [sp, #{4 + 4 * each}]", f"ldr {value}, [r1, #{at}]"]
                lines.append(f"muls {value}, {register}, {value}")
            lines += [*(["adds r4, r4, r5"] if len(taps) > 1 else []), *take_apart("r8", "r9")]
        lines += [f"ldr r0, {shift}", f"ldr r5, {low}", f"ldr r6, {high}"]
        for total in ("r8", "r9")[:columns]:
            lines += [*requantize(total, self.clamp), "strb r2, [r7]", *advance("r7", self.channels, "r2")]
        return [*lines, *advance("r1", on - (self.height - 1) * self.moved_on, "r2")]
