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
from .. import overlap
from ..kernel import Array, Kernel, Site, fill, positions
from ..portable.renderer import OPTIMIZE
from .assembly import Scaled, unscaled
from .assembly_renderer import AssemblyRenderer
from .gathering import WINDOW_ROW, Gathering, gathered


@dataclass(frozen=True)
class Product:
    """Two helpers of an instruction set. `pack` (input, wide) lays rows of input out as `multiply` wants them; where it
    is "", `multiply` reads a row where it lies.

    `multiply` (wide, stream, output, rounds) gives the codes of the channels of so many rounds of the stream; where
    `rows` is not 0, (wide, stream, output, rows) those of so many rows, of a layer with a single channel.
    """

    pack: str
    multiply: str
    wide_bytes: int
    rows: int = 0


class BlockRenderer(AssemblyRenderer):
    """What an instruction set needs to compute convolutions in blocks: a subclass has the kernels."""

    block = 4  # rows that a product takes at a time, at most
    together = 2  # channels that a product computes in a round, that is, with one row of the stream
    granule = 4  # the weights of a channel are filled up to a multiple of it
    farthest = 0  # bytes between the beginnings of rows that `pack` takes, at most; 0: they are neighbours
    mixed = 8  # channels whose depthwise convolution to several outputs each is cheaper as one that mixes them, at most
    unrolled: tuple[int, int]  # for speed and for size, how many steps a product does without a jump, at most

    def __init__(self, optimize: str = OPTIMIZE[0]) -> None:
        super().__init__(optimize)
        self.helpers["window_row"] = WINDOW_ROW
        self.most = self.by_goal(*self.unrolled)

    def obstacle(self, op: Scaled, channels: int) -> str:
        """Why `product` does not compute `op`, a matrix of so many channels, exactly; "": it does."""
        raise NotImplementedError

    def product(self, op: Scaled, depth: int, channels: int, rows: int, pitch: int) -> Product:
        """The kernels for `rows` rows (1 to `rows_together`) of `depth` inputs that begin `pitch` bytes apart,
        `farthest` or less; adds their helpers to `helpers`.

        What packing leaves between the last input and the next multiple of `granule` does not matter.
        """
        raise NotImplementedError

    def lying(self, op: Scaled, depth: int, channels: int) -> str:
        """A helper that multiplies a single row of `depth` inputs where it lies; adds it to `helpers`. "": there is
        none, or a row is better packed."""
        return ""

    def rows_together(self, op: Scaled, pitch: int) -> int:
        """How many rows of `op`, which begin `pitch` bytes apart, a product takes at a time, at most."""
        return self.block

    def _together(self, op: Scaled, pitch: int) -> int:
        most = self.rows_together(op, pitch)
        return min(most, self.at_most) if self.at_most else most

    def window(self, height: int, row_bytes: int, pitch: int) -> str | None:
        """A helper (from, to) that copies the `height` rows of a window side by side; they begin `pitch` bytes apart,
        all inside the image. None: there is no quicker way than byte by byte."""
        return None

    def stream(self, op: Scaled, weights: np.ndarray) -> Array:
        """The constants of `multiply`, a row a round, in the order in which it reads them. Its role is ``stream``."""
        raise NotImplementedError

    def convolution(self, op: lower.Convolution, site: Site) -> Kernel:
        """Copies a block of windows, row by row, side by side, and multiplies it as a matrix."""
        if op.depth_multiplier > 1 and site.inputs[0].shape[3] <= self.mixed:
            kernel = self.convolution(_mixed(op, site.inputs[0].shape[3]), site)
            if kernel.portable:
                return replace(super().convolution(op, site), portable=kernel.portable)
            return replace(kernel, macs=positions(site) * op.weights.size)
        channels, height, width, depth = op.weights.shape
        op = replace(op, dilation=(op.dilation[0] if height > 1 else 1, op.dilation[1] if width > 1 else 1))
        pointwise = (height, width, op.stride, any(op.pads)) == (1, 1, (1, 1), False)
        if op.depthwise or pointwise:
            return super().convolution(op, site)
        used = height * width * depth
        window = self.filled(used)
        obstacle = self.obstacle(op, channels)
        if obstacle:
            return replace(super().convolution(op, site), portable=obstacle)
        row_bytes = site.inputs[0].shape[2] * depth
        pitch = op.stride[0] * row_bytes
        whole_rows = width * depth == row_bytes and not any(op.pads) and op.dilation[0] == 1
        if whole_rows and pitch <= self.farthest:
            return self.products(op, site.output.shape[1], pitch, site)
        windows = positions(site)
        gathering = self.gathering(op, site)
        stream = self.rounds(op, op.weights.reshape(channels, used))
        together = self._together(op, window)
        rest = windows % together
        block, last = (self.product(op, window, channels, rows, window) for rows in (together, rest or together))
        wide_at = gathering.scratch_bytes + together * window
        buffers = [f"int8_t *const windows = scratch + {gathering.scratch_bytes};"]
        if block.pack:
            buffers.append(f"void *const wide = scratch + {wide_at};")
        # windows are counted: where `next` was compared with the end of `windows`, gcc 12 took the address that holds
        # behind the comparison for one that always holds
        return Kernel(
            fill(
                """
                $buffers
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
                buffers="\n".join(buffers),
                start=gathering.start,
                output_rows=site.output.shape[1],
                gather_row=gathering.row,
                output_columns=site.output.shape[2],
                gather_window=gathering.window,
                block=together,
                multiply=self.calls(block, stream, "windows", channels, site),
                block_outputs=together * channels,
                window=window,
                rest=self.calls(last, stream, "windows", channels, site) if rest else "",
            ).rstrip(),
            Demand(wide_at + max(block.wide_bytes, gathering.behind), (overlap.windows(op, site, together),)),
            arrays=(stream,),
            helpers=(*gathering.helpers, *_helpers(block, last)),
            macs=windows * op.weights.size,
        )

    def depthwise(self, op: lower.Convolution, site: Site) -> Kernel:
        """What no instruction set has a kernel for."""
        _, height, width, channels = op.weights.shape
        shape = (
            f"a window of {height} x {width}, dilated by {op.dilation}, on {channels} channels, {op.depth_multiplier}"
        )
        reason = unscaled(op, self.bound) or f"no kernel of {self.instruction_set} for {shape} of each input"
        return replace(super().depthwise(op, site), portable=reason)

    def gathering(self, op: lower.Convolution, site: Site) -> Gathering:
        """How the windows of `op` are copied. What lies behind a window does not matter."""
        return gathered(op, site, self.window)

    def matrix(self, op: Scaled, rows: int, site: Site) -> Kernel:
        depth = op.weights.size // len(op.weights)
        obstacle = self.obstacle(op, len(op.weights))
        if obstacle:
            return replace(super().matrix(op, rows, site), portable=obstacle)
        return self.products(op, rows, depth, site)

    def products(self, op: Scaled, rows: int, pitch: int, site: Site) -> Kernel:
        """A block of rows, which begin `pitch` bytes apart, at a time; then the rest."""
        channels = len(op.weights)
        depth = op.weights.size // channels
        stream = self.rounds(op, op.weights.reshape(channels, depth))
        together = self._together(op, pitch)
        blocks, rest = divmod(rows, together)

        parts, products = [], []
        lying = self.lying(op, depth, channels) if rows == 1 and channels >= self.together else ""
        if lying:
            products.append(Product("", lying, 0))
            parts.append(self.calls(products[0], stream, "input", channels, site))
            blocks = rest = 0
        if blocks:
            products.append(self.product(op, depth, channels, together, pitch))
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
                    inputs=together * pitch,
                    outputs=together * channels,
                )
            )
        if rest:
            products.append(self.product(op, depth, channels, rest, pitch))
            parts.append(self.calls(products[-1], stream, "input", channels, site))
        packed = bool(products[0].pack)
        return Kernel(
            "\n".join([*(["void *const wide = scratch;", ""] if packed else []), *parts]),
            Demand(
                max(each.wide_bytes for each in products),
                (overlap.rows(rows, pitch, channels, together if packed else 0),),
            ),
            arrays=(stream,),
            helpers=_helpers(*products),
            macs=rows * op.weights.size,
        )

    def rounds(self, op: Scaled, weights: np.ndarray) -> Array:
        """The stream of all channels; where they do not go up in rounds, the last ones stand in a round of their own
        together with channels that are computed twice. Rows are filled up to `granule`."""
        channels = len(weights)
        weights = np.pad(weights, ((0, 0), (0, self.filled(weights.shape[1]) - weights.shape[1])))
        if channels > 1 and channels % self.together:
            whole = channels - channels % self.together
            order = np.r_[:whole, channels - self.together : channels]
            scaling = op.requantization
            multiplier, shift = (np.broadcast_to(each, channels)[order] for each in (scaling.multiplier, scaling.shift))
            scaling = replace(scaling, multiplier=multiplier, shift=shift)
            op, weights = replace(op, bias=op.bias[order], requantization=scaling), weights[order]
        return self.stream(op, weights)

    def filled(self, depth: int) -> int:
        """The weights of a channel in the stream, of `depth`."""
        return -(-depth // self.granule) * self.granule

    def calls(self, product: Product, stream: Array, source: str, channels: int, site: Site) -> str:
        """C that takes the rows at `source` to codes at ``output``."""
        if product.rows:
            return f"{site.prefix}_{product.multiply}({source}, stream, output, {product.rows});"
        rounds, words = stream.values.shape
        wide = "wide" if product.pack else source
        lines = [f"{site.prefix}_{product.pack}({source}, wide);"] if product.pack else []
        whole = channels // self.together
        lines.append(f"{site.prefix}_{product.multiply}({wide}, stream, output, {whole});")
        if whole < rounds:
            at, first = whole * words, channels - self.together
            lines.append(f"{site.prefix}_{product.multiply}({wide}, stream + {at}, output + {first}, 1);")
        return "\n".join(lines)


def _helpers(*products: Product) -> tuple[str, ...]:
    return tuple(name for each in products for name in (each.pack, each.multiply) if name)


def _mixed(op: lower.Convolution, channels: int) -> lower.Convolution:
    """A depthwise `op` as a convolution that mixes its `channels`, with zeros for those that an output does not see."""
    outputs = np.arange(op.weights.shape[3])
    weights = np.zeros((len(outputs), *op.weights.shape[1:3], channels), op.weights.dtype)
    weights[outputs, :, :, outputs // op.depth_multiplier] = op.weights[0].transpose(2, 0, 1)
    return replace(op, weights=weights, depth_multiplier=0)


def pack_name(depth: int, rows: int, pitch: int) -> str:
    """Of a helper that packs rows; their distance is in it where it matters and is not their length."""
    return f"pack_{depth}x{rows}" + (f"_{pitch}" if rows > 1 and pitch != depth else "")
