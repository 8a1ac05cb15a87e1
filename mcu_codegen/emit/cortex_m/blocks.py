"""Convolutions and fully connected layers as products of a few rows of input with all weights.

A 1x1 convolution, a fully connected layer and a convolution whose windows are whole rows of the image take their rows
where they lie; any other convolution first copies its windows side by side. What multiplies a block of rows is the
business of an instruction set.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ... import lower
from ...memory import Demand
from ..portable.renderer import HELPERS, OPTIMIZE, Array, Helper, Kernel, Renderer, Site, fill
from .assembly import GUARD
from .guard import guard


@dataclass(frozen=True)
class Product:
    """Two helpers of an instruction set. `pack` (input, wide) lays rows of input out as `multiply` wants them;

    `multiply` (wide, stream, output, rounds) gives the codes of the channels of so many rounds of the stream.
    """

    pack: str
    multiply: str
    wide_bytes: int


@dataclass(frozen=True)
class Gathering:
    """C that copies windows: `start` once, `row` for every row y of output, `window` for every column x of it.

    `window` writes at ``next``. ``scratch`` is theirs for `scratch_bytes`.
    """

    start: str
    row: str
    window: str
    scratch_bytes: int
    helpers: tuple[str, ...]


class BlockRenderer(Renderer):
    """What an instruction set needs to compute convolutions in blocks: a subclass has the kernels."""

    block = 4  # rows that a product takes at a time, at most
    together = 2  # channels that a product computes in a round, that is, with one row of the stream
    instruction_set: str  # as in targets.Target.instruction_set
    granule = 4  # the bytes of a row are a multiple of it
    farthest = 0  # bytes between the beginnings of rows that `pack` takes, at most; 0: they are neighbours
    unrolled: tuple[int, ...]  # in the order of OPTIMIZE, how many steps a product does without a jump, at most

    def __init__(self, optimize: str = OPTIMIZE[0]) -> None:
        super().__init__(optimize)
        self.helpers: dict[str, Helper] = {**HELPERS, "window_row": _WINDOW_ROW, GUARD: guard(self.instruction_set)}
        self.most = self.unrolled[OPTIMIZE.index(optimize)]

    def multiplies(self, op: lower.Convolution | lower.FullyConnected, channels: int, depth: int) -> bool:
        """Whether `product` computes `op` exactly as (channels, depth) weights; else it is rendered as portable C."""
        raise NotImplementedError

    def rows_together(self, op: lower.Convolution | lower.FullyConnected, pitch: int) -> int:
        """How many rows of `op`, which begin `pitch` bytes apart, a product takes at a time, at most."""
        return self.block

    def product(
        self, op: lower.Convolution | lower.FullyConnected, depth: int, channels: int, rows: int, pitch: int
    ) -> Product:
        """The kernels for `rows` rows (1 to `rows_together`) of `depth` inputs that begin `pitch` bytes apart,
        `farthest` or less; adds their helpers to `helpers`."""
        raise NotImplementedError

    def stream(self, op: lower.Convolution | lower.FullyConnected, weights: np.ndarray) -> Array:
        """The constants of `multiply`, a row a round, in the order in which it reads them. Its role is ``stream``."""
        raise NotImplementedError

    def convolution(self, op: lower.Convolution, site: Site) -> Kernel:
        """Copies a block of windows, row by row, side by side, and multiplies it as a matrix."""
        channels, height, width, depth = op.weights.shape
        pointwise = (height, width, op.stride, any(op.pads)) == (1, 1, (1, 1), False)
        if op.depthwise or (pointwise and depth % self.granule == 0):
            return super().convolution(op, site)
        used = height * width * depth
        window = -(-used // self.granule) * self.granule
        if op.dilation != (1, 1) or not self.multiplies(op, channels, window):
            return super().convolution(op, site)
        row_bytes = site.inputs[0].shape[2] * depth
        pitch = op.stride[0] * row_bytes
        whole_rows = width * depth == row_bytes and not any(op.pads)
        if whole_rows and used == window and pitch % self.granule == 0 and pitch <= self.farthest:
            return self.products(op, site.output.shape[1], pitch, site)
        positions = site.output.shape[1] * site.output.shape[2]
        weights = np.zeros((channels, window), np.int8)
        weights[:, :used] = op.weights.reshape(channels, used)
        gathering = self.gathering(op, site)
        stream = self.rounds(op, weights)
        block_rows = self.rows_together(op, window)
        rest = positions % block_rows
        block, last = (self.product(op, window, channels, rows, window) for rows in (block_rows, rest or block_rows))
        # windows are counted: where `next` was compared with the end of `windows`, gcc 12 took the address that holds
        # behind the comparison for one that always holds
        return Kernel(
            fill(
                """
                int8_t *const windows = scratch + $windows_at;
                void *const wide = scratch + $wide_at;
                int32_t filled = 0; /* windows */

                $start
                for (int32_t y = 0; y < $output_rows; y++) {
                    $gather_row
                    for (int32_t x = 0; x < $output_columns; x++) {
                        int8_t *next = windows + filled * $window;

                        $gather_window
                        if (++filled == $block) {
                            $multiply
                            output += $block_outputs;
                            filled = 0;
                        }
                    }
                }
                $rest
                """,
                prefix=site.prefix,
                windows_at=gathering.scratch_bytes,
                wide_at=gathering.scratch_bytes + block_rows * window,
                start=gathering.start,
                output_rows=site.output.shape[1],
                gather_row=gathering.row,
                output_columns=site.output.shape[2],
                gather_window=gathering.window,
                block=block_rows,
                multiply=self.calls(block, stream, "windows", channels, site),
                block_outputs=block_rows * channels,
                window=window,
                rest=self.calls(last, stream, "windows", channels, site) if rest else "",
            ).rstrip(),
            Demand(scratch_bytes=gathering.scratch_bytes + block_rows * window + block.wide_bytes),
            arrays=(stream,),
            helpers=(*gathering.helpers, block.pack, block.multiply, last.pack, last.multiply),
            macs=positions * op.weights.size,
        )

    def gathering(self, op: lower.Convolution, site: Site) -> Gathering:
        """How the windows of `op` are copied. What lies behind a window does not matter."""
        _, rows, columns, depth = site.inputs[0].shape
        _, height, width, _ = op.weights.shape
        window = fill(
            """
            const int32_t column = x * $stride_x - $left;
            const int32_t before = column < 0 ? -column * $depth : 0;
            const int32_t beyond = (column + $width - $columns) * $depth;
            const int32_t after = beyond > 0 ? beyond : 0;

            for (int32_t row = y * $stride_y - $top; row < y * $stride_y - $top + $height; row++) {
                if (row < 0 || row >= $rows) {
                    next = ${prefix}_window_row(next, input, $row_bytes, 0, 0, $zero_point);
                } else {
                    next = ${prefix}_window_row(next, input + ((row * $columns + column) * $depth + before),
                                         before, $row_bytes - before - after, after, $zero_point);
                }
            }
            """,
            prefix=site.prefix,
            stride_x=op.stride[1],
            stride_y=op.stride[0],
            left=op.pads[2],
            top=op.pads[0],
            depth=depth,
            width=width,
            height=height,
            rows=rows,
            columns=columns,
            row_bytes=width * depth,
            zero_point=op.input_zero_point,
        )
        return Gathering("", "", window, 0, ("window_row",))

    def matrix(self, op: lower.Convolution | lower.FullyConnected, rows: int, site: Site) -> Kernel:
        depth = op.weights.size // len(op.weights)
        if depth % self.granule or not self.multiplies(op, len(op.weights), depth):
            return super().matrix(op, rows, site)
        return self.products(op, rows, depth, site)

    def products(self, op: lower.Convolution | lower.FullyConnected, rows: int, pitch: int, site: Site) -> Kernel:
        """A block of rows, which begin `pitch` bytes apart, at a time; then the rest."""
        channels = len(op.weights)
        depth = op.weights.size // channels
        stream = self.rounds(op, op.weights.reshape(channels, depth))
        block_rows = self.rows_together(op, pitch)
        blocks, rest = divmod(rows, block_rows)
        parts, products = [], []
        if blocks:
            products.append(self.product(op, depth, channels, block_rows, pitch))
            parts.append(
                fill(
                    """
                    for (int32_t i = 0; i < $blocks; i++) {
                        $multiply
                        input += $inputs;
                        output += $outputs;
                    }
                    """,
                    blocks=blocks,
                    multiply=self.calls(products[-1], stream, "input", channels, site),
                    inputs=block_rows * pitch,
                    outputs=block_rows * channels,
                )
            )
        if rest:
            products.append(self.product(op, depth, channels, rest, pitch))
            parts.append(self.calls(products[-1], stream, "input", channels, site))
        return Kernel(
            "\n".join(["void *const wide = scratch;", "", *parts]),
            # written over its input, an output block must not reach inputs that are still to be read
            Demand(max(each.wide_bytes for each in products), channels <= pitch, ahead=channels > depth == pitch),
            arrays=(stream,),
            helpers=tuple(name for each in products for name in (each.pack, each.multiply)),
            macs=rows * op.weights.size,
        )

    def rounds(self, op: lower.Convolution | lower.FullyConnected, weights: np.ndarray) -> Array:
        """The stream of all channels; where they do not go up in rounds, the last ones stand in a round of their own
        together with channels that are computed twice."""
        channels = len(weights)
        if channels % self.together:
            whole = channels - channels % self.together
            order = np.r_[:whole, channels - self.together : channels]
            scaling = op.requantization
            multiplier, shift = (np.broadcast_to(each, channels)[order] for each in (scaling.multiplier, scaling.shift))
            scaling = replace(scaling, multiplier=multiplier, shift=shift)
            op, weights = replace(op, bias=op.bias[order], requantization=scaling), weights[order]
        return self.stream(op, weights)

    def calls(self, product: Product, stream: Array, source: str, channels: int, site: Site) -> str:
        """C that takes the rows at `source` to codes at ``output``."""
        rounds, words = stream.values.shape
        lines = [f"{site.prefix}_{product.pack}({source}, wide);"]
        whole = channels // self.together
        lines.append(f"{site.prefix}_{product.multiply}(wide, stream, output, {whole});")
        if whole < rounds:
            at, first = whole * words, channels - self.together
            lines.append(f"{site.prefix}_{product.multiply}(wide, stream + {at}, output + {first}, 1);")
        return "\n".join(lines)


def pack_name(depth: int, rows: int, pitch: int) -> str:
    """Of a helper that packs rows; their distance is in it where it matters and is not their length."""
    return f"pack_{depth}x{rows}" + (f"_{pitch}" if rows > 1 and pitch != depth else "")


_WINDOW_ROW = Helper("""\
/* Appends one row of a window: bytes of the image between bytes of padding. Returns the end of what it wrote. */
static inline int8_t *${prefix}_window_row(int8_t *to, const int8_t *from, int32_t before, int32_t inside,
                                           int32_t after, int8_t padding)
{
    while (before-- > 0) {
        *to++ = padding;
    }
    while (inside-- > 0) {
        *to++ = *from++;
    }
    while (after-- > 0) {
        *to++ = padding;
    }
    return to;
}
""")
