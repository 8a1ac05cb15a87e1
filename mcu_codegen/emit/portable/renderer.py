"""Lowered operators to C function bodies: portable C99.

One method renders one lowered type; an instruction set is a subclass that overrides methods, helpers and includes. A
body is C text over local names: the pointers in `Kernel.parameters`, one pointer per array (bound by its role, such as
``weights``), and ``scratch``. Shapes, strides, zero points and clamps are literals in it.

Input zero points are folded into the bias, so a padded position must hold the zero point: it reads from the array
``padding``, one pixel of zero points. The C assumes, as gcc, clang, armclang and IAR define it, that a right shift of a
negative integer is arithmetic and that conversion to a signed type wraps; it has no undefined behaviour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ... import lower
from ...graph import Graph, Tensor
from ...memory import Demand
from .. import overlap
from ..kernel import Array, ChannelLoop, Helper, Kernel, Site, ctype, fill, in_fours, plus, positions, times
from ..text import Origin
from . import lstm
from .elementwise import Elementwise
from .heads import Heads
from .helpers import HELPERS as COMMON
from .int16 import Int16Kernels
from .movement import Movement
from .pooling import Pooling
from .stepping import Stepping
from .svdf import SvdfKernel

__all__ = ["HELPERS", "OPTIMIZE", "Array", "Helper", "Kernel", "Renderer", "Site", "fill", "positions"]

OPTIMIZE = ("speed", "size", "ram")
"""What a renderer can optimise for; the default first. For RAM, kernels are those for speed wherever there is room."""


HELPERS = COMMON | lstm.HELPERS


class Renderer(Pooling, Elementwise, Movement, Heads, Stepping, SvdfKernel, lstm.LstmKernel):
    """Portable C99 for any core. It is as small as it gets; what it optimises for is the compiler's business."""

    helpers = HELPERS
    weights = "int8"  # as which weights lie in flash
    at_most = 0  # rows that a product takes at a time where RAM is short; 0: as many as are quickest

    def __init__(self, optimize: str = OPTIMIZE[0]) -> None:
        """`optimize` is one of OPTIMIZE, for those who compile as much as for those who render."""
        self.optimize = optimize

    def companions(self, name: str, origin: Origin) -> dict[str, str]:
        """Further files, name to text, that belong to the C of the network called `name`."""
        return {}

    def resets(self, name: str) -> list[str]:
        """C by which the reset of the network called `name` does more than give persistent tensors their values."""
        return []

    def open_channels(self, graph: Graph) -> Mapping[int, np.ndarray] | None:
        """What the network computes of `graph` after a reset, as `NumpyExecutor` takes it; None: everything."""
        return None

    def render(self, lowered: lower.Lowered, site: Site) -> Kernel:
        renderer = (
            Renderer(self.optimize) if _has_wide_weights(lowered) else self
        )  # no instruction set's kernels take them
        kernel: Kernel = getattr(renderer, _METHODS[type(lowered)])(lowered, site)
        return kernel

    def int16(self, op: lower.Int16[lower.Lowered], site: Site) -> Kernel:
        """Loops over int16, which no instruction set has kernels for."""
        kernel = _Int16(self.optimize).render(op.operator, site)
        if kernel.demand.part is not None:
            return kernel
        return replace(kernel, demand=replace(kernel.demand, over=()))  # what `overlap` proves is of bytes

    def by_goal(self, speed: int, size: int) -> int:
        """Which of two extents of unrolling is meant."""
        return size if self.optimize == "size" else speed

    def kernels(self, lowered: lower.Lowered, site: Site) -> list[Kernel]:
        """What `render` gives; of a renderer for RAM, behind it slower kernels, each with less scratch."""
        return [self.render(lowered, site)]

    def batch(self, op: lower.Batch[lower.Image], site: Site) -> Kernel:
        """The kernel of one image, in a loop. It cannot work in place: the images before have moved."""
        one = Site(site.prefix, (_first(site.inputs[0]), *site.inputs[1:]), _first(site.output))
        kernel = self.render(op.image, one)
        body = fill(
            """
            const $read *const images = input;
            $written *const results = output;

            for (int32_t image = 0; image < $count; image++) {
                input = images + image * $taken;
                output = results + image * $made;
                $body
            }
            """,
            count=op.count,
            read=ctype(one.inputs[0]),
            written=ctype(one.output),
            taken=one.inputs[0].elements,
            made=one.output.elements,
            body=kernel.body,
        )
        return replace(
            kernel, body=body, demand=Demand(scratch_bytes=kernel.demand.scratch_bytes), macs=op.count * kernel.macs
        )

    def convolution(self, op: lower.Convolution, site: Site) -> Kernel:
        """Gathers each window in scratch, then multiplies it with every output channel's weights."""
        if op.depthwise:
            return self.depthwise(op, site)
        _, height, width, depth = op.weights.shape
        if (height, width) == (1, 1) and op.stride == (1, 1) and not any(op.pads):
            return self.pointwise(op, site)
        multiply, arrays, helpers = self.dots(op, "scratch", site)
        return Kernel(
            fill(
                """
                for (int32_t y = 0; y < $rows; y++) {
                    for (int32_t x = 0; x < $columns; x++) {
                        int8_t *next = scratch;

                        $gather
                        $multiply
                    }
                }
                """,
                rows=site.output.shape[1],
                columns=site.output.shape[2],
                gather=self.taps(op, site, f"for (int32_t k = 0; k < {depth}; k++) {{\n    *next++ = tap[k];\n}}"),
                multiply=multiply,
            ),
            Demand(height * width * depth, (overlap.windows(op, site, 1),)),
            arrays=(*arrays, *padding_of(op, depth)),
            helpers=helpers,
            macs=positions(site) * op.weights.size,
        )

    def pointwise(self, op: lower.Convolution, site: Site) -> Kernel:
        """A 1x1 convolution: each pixel is a row."""
        return self.matrix(op, positions(site), site)

    def fully_connected(self, op: lower.FullyConnected, site: Site) -> Kernel:
        return self.matrix(op, site.output.elements // len(op.weights), site)

    def matrix(self, op: lower.Convolution | lower.FullyConnected, rows: int, site: Site) -> Kernel:
        """`rows` rows of input, each multiplied with every output channel's weights."""
        multiply, arrays, helpers = self.dots(op, "input", site)
        return Kernel(
            fill(
                """
                for (int32_t row = 0; row < $rows; row++) {
                    $multiply
                    input += $depth;
                }
                """,
                rows=rows,
                multiply=multiply,
                depth=op.weights.size // len(op.weights),
            ),
            Demand(over=(overlap.rows(rows, op.weights.size // len(op.weights), len(op.weights), 0),)),
            arrays=arrays,
            helpers=helpers,
            macs=rows * op.weights.size,
        )

    def dots(
        self, op: lower.Convolution | lower.FullyConnected, source: str, site: Site
    ) -> tuple[str, tuple[Array, ...], tuple[str, ...]]:
        """C that multiplies the values at `source` with the weights of all output channels, the arrays that it reads
        and the helpers that it calls.

        Weights lie in blocks of four channels, the last filled up with zeros, so that every value is loaded once for
        four.
        """
        channels = len(op.weights)
        rows = op.weights.reshape(channels, -1)
        blocks, bias = in_fours(rows, folded_bias(op, rows))
        code, arrays = self.quantize(op.requantization, "sums[channel - block]", site)
        text = fill(
            """
            $each_block
                int32_t sums[4];

                ${prefix}_$dot4(sums, bias + block, $source, weights + $offset, $count);
                for (int32_t channel = block; channel < $end; channel++) {
                    *output++ = $code;
                }
            }
            """,
            prefix=site.prefix,
            dot4=_dot4(op),
            each_block=self.each_block(channels),
            source=source,
            offset=times("block", rows.shape[1]),
            count=rows.shape[1],
            end=f"block + 4{f' && channel < {channels}' if channels % 4 else ''}",
            code=code,
        )
        arrays = (Array("weights", f"{blocks.dtype}_t", blocks), Array("bias", "int32_t", bias), *arrays)
        return text, arrays, (_dot4(op), self.quantizer(op.requantization))

    def depthwise(self, op: lower.Convolution, site: Site) -> Kernel:
        """Finds the pixel under each tap of the window once (one pointer a tap, on the stack), then goes through the
        channels."""
        _, height, width, channels = op.weights.shape
        copies = op.depth_multiplier
        code, arrays = self.quantize(op.requantization, "sum", site)
        kernel = Kernel(
            fill(
                """
                for (int32_t y = 0; y < $rows; y++) {
                    for (int32_t x = 0; x < $columns; x++) {
                        const int8_t *taps[$taps];
                        const int8_t **next = taps;

                        $find
                        $each_channel
                            int32_t sum = bias[channel];

                            for (int32_t tap = 0; tap < $taps; tap++) {
                                sum += taps[tap][$source] * weights[tap * $channels + channel];
                            }
                            *output = $code;
                        }
                    }
                }
                """,
                rows=site.output.shape[1],
                columns=site.output.shape[2],
                taps=height * width,
                find=self.taps(op, site, "*next++ = tap;"),
                each_channel=self.each_channel(channels, "output++"),
                channels=channels,
                source="channel" if copies == 1 else f"channel / {copies}",
                code=code,
            ),
            Demand(over=(overlap.windows(op, site, 0),)),
            arrays=(
                Array("weights", f"{op.weights.dtype}_t", op.weights),
                Array("bias", "int32_t", folded_bias(op, op.weights.reshape(-1, channels).T)),
                *arrays,
                *padding_of(op, channels // copies),
            ),
            helpers=("quantize",),
            macs=positions(site) * op.weights.size,
        )
        return self.with_constants(op, kernel, site)

    def with_constants(self, op: lower.Convolution, kernel: Kernel, site: Site) -> Kernel:
        """`kernel` of a depthwise convolution, without scratch, which reads its first array throughout: with that array
        as it lies in flash."""
        return kernel

    def channel_loop(
        self, op: lower.Convolution, stream: Array, outputs: int, site: Site, *advances: str
    ) -> ChannelLoop:
        """`each_channel` of `op`, whose constants are the rows of `stream`; one round computes `outputs`."""
        channels, words = stream.values.shape
        row = f"const uint32_t *const row = stream + {times('channel', words)};"
        return ChannelLoop(f"{self.each_channel(channels, *advances)}\n    {row}\n", stream)

    def each_channel(self, channels: int, *advances: str) -> str:
        """The head of a loop over the channels of a depthwise convolution; `advances` move pointers to the next one."""
        return f"for (int32_t channel = 0; channel < {channels}; {', '.join(('channel++', *advances))}) {{"

    def each_block(self, channels: int) -> str:
        """The head of a loop over blocks of four output channels, which leaves ``output`` behind them."""
        return f"for (int32_t block = 0; block < {channels}; block += 4) {{"

    def taps(self, op: lower.Convolution, site: Site, visit: str) -> str:
        """Loops over the window of output position (y, x) that point ``tap`` at each pixel and do `visit`."""
        _, rows, columns, depth = site.inputs[0].shape
        tests = ("row >= 0", f"row < {rows}", "column >= 0", f"column < {columns}")
        row_start = times("row", columns)
        inside = " && ".join(test for test, pad in zip(tests, op.pads, strict=True) if pad)
        pixel = f"input + {times(f'({row_start} + column)', depth)}"
        return fill(
            """
            for (int32_t i = 0; i < $height; i++) {
                const int32_t row = $row;

                for (int32_t j = 0; j < $width; j++) {
                    const int32_t column = $column;
                    const int8_t *const tap =
                        $tap

                    $visit
                }
            }
            """,
            height=op.weights.shape[1],
            width=op.weights.shape[2],
            row=f"{times('y', op.stride[0])} + {times('i', op.dilation[0])}{plus(-op.pads[0])}",
            column=f"{times('x', op.stride[1])} + {times('j', op.dilation[1])}{plus(-op.pads[2])}",
            tap=f"{inside} ? {pixel} : padding;" if inside else f"{pixel};",
            visit=visit,
        )


class _Int16(Int16Kernels, Renderer):
    """Portable C99 of operators of which some input or output is int16."""


_METHODS = {
    lower.Convolution: "convolution",
    lower.FullyConnected: "fully_connected",
    lower.AveragePool: "average_pool",
    lower.MaxPool: "max_pool",
    lower.Mean: "mean",
    lower.Position: "position",
    lower.Add: "add",
    lower.Multiply: "multiply",
    lower.Divide: "divide",
    lower.Extreme: "extreme",
    lower.Prelu: "prelu",
    lower.Lookup: "lookup",
    lower.Rescale: "rescale",
    lower.Softmax: "softmax",
    lower.Copy: "copy",
    lower.Rearrange: "rearrange",
    lower.Gather: "gather",
    lower.Bilinear: "bilinear",
    lower.Batch: "batch",
    lower.ShiftIn: "shift_in",
    lower.SlidingSum: "sliding_sum",
    lower.MeanOfSums: "mean_of_sums",
    lower.Svdf: "svdf",
    lower.Lstm: "lstm",
    lower.Int16: "int16",
}
"""The Renderer method of each lowered type."""


def _dot4(op: lower.Convolution | lower.FullyConnected) -> str:
    """The helper that multiplies its weights."""
    return "dot4_wide" if _has_wide_weights(op) else "dot4"


def _has_wide_weights(op: lower.Lowered) -> bool:
    """Whether some weight is beyond int8, as those of uint8 with a zero point are."""
    return isinstance(op, lower.Convolution | lower.FullyConnected) and op.weights.dtype != np.int8


def _first(images: Tensor) -> Tensor:
    """The first image of a batch."""
    return replace(images, shape=(1, *images.shape[1:]))


def folded_bias(op: lower.Convolution | lower.FullyConnected, weights: np.ndarray) -> np.ndarray:
    """int64 (channels): the bias with the input zero point's share of (channels, depth) weights in it.

    `op.bound` holds for every partial sum from it, because no zero point is farther from 0 than a code can be from it.
    """
    return op.bias.astype(np.int64) - op.input_zero_point * weights.astype(np.int64).sum(axis=1)


def padding_of(op: lower.Convolution, depth: int) -> tuple[Array, ...]:
    """One pixel of zero points, where the convolution pads."""
    return (Array("padding", "int8_t", np.full(depth, op.input_zero_point, np.int8)),) if any(op.pads) else ()
