"""Kernels of layers with weights: convolutions and fully connected layers.

Input zero points are folded into the bias, so a padded position must hold the zero point: it reads from the array
``padding``, one pixel of zero points.
"""

from __future__ import annotations

import numpy as np

from ... import lower
from ...memory import Demand
from .. import overlap
from ..kernel import Array, ChannelLoop, Kernel, Kernels, Site, fill, in_fours, plus, positions, times


class Weighted(Kernels):
    """Portable C99."""

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


def has_wide_weights(op: lower.Lowered) -> bool:
    """Whether some weight is beyond int8, as those of uint8 with a zero point are."""
    return isinstance(op, lower.Convolution | lower.FullyConnected) and op.weights.dtype != np.int8


def _dot4(op: lower.Convolution | lower.FullyConnected) -> str:
    """The helper that multiplies its weights."""
    return "dot4_wide" if has_wide_weights(op) else "dot4"


def folded_bias(op: lower.Convolution | lower.FullyConnected, weights: np.ndarray) -> np.ndarray:
    """int64 (channels): the bias with the input zero point's share of (channels, depth) weights in it.

    `op.bound` holds for every partial sum from it, because no zero point is farther from 0 than a code can be from it.
    """
    return op.bias.astype(np.int64) - op.input_zero_point * weights.astype(np.int64).sum(axis=1)


def padding_of(op: lower.Convolution, depth: int) -> tuple[Array, ...]:
    """One pixel of zero points, where the convolution pads."""
    return (Array("padding", "int8_t", np.full(depth, op.input_zero_point, np.int8)),) if any(op.pads) else ()
