"""Kernels of operators of which some input or output is int16, where those for bytes do not fit.

Sums are int64 where requantisation is long, else int32.
"""

from __future__ import annotations

import numpy as np

from ... import lower
from ..kernel import Array, Kernel, Kernels, Site, fill, nest, plus, positions, times


class Int16Kernels(Kernels):
    """Portable C99."""

    def convolution(self, op: lower.Convolution, site: Site) -> Kernel:
        """The window of every output, channel by channel; what is outside the image adds nothing."""
        _, height, width, depth = op.weights.shape
        _, rows, columns, inputs = site.inputs[0].shape
        channels = site.output.shape[3]
        if op.depthwise:
            copies = op.depth_multiplier
            source = "channel" if copies == 1 else f"channel / {copies}"
            each = f"sum += (input[(row * {columns} + column) * {inputs} + {source}]{plus(-op.input_zero_point)})"
            each += f" * weights[(i * {width} + j) * {channels} + channel];"
        else:
            each = nest(
                [("k", depth)],
                f"sum += (input[(row * {columns} + column) * {depth} + k]{plus(-op.input_zero_point)})"
                f" * weights[((channel * {height} + i) * {width} + j) * {depth} + k];",
            )
        tests = ("row >= 0", f"row < {rows}", "column >= 0", f"column < {columns}")
        if inside := " && ".join(test for test, pad in zip(tests, op.pads, strict=True) if pad):
            each = fill("if ($inside) {\n    $each\n}", inside=inside, each=each)
        code, arrays = self.quantize(op.requantization, "sum", site)
        text = fill(
            """
            for (int32_t y = 0; y < $out_rows; y++) {
                for (int32_t x = 0; x < $out_columns; x++) {
                    for (int32_t channel = 0; channel < $channels; channel++) {
                        $sums sum = bias[channel];

                        for (int32_t i = 0; i < $height; i++) {
                            const int32_t row = $row;

                            for (int32_t j = 0; j < $width; j++) {
                                const int32_t column = $column;

                                $each
                            }
                        }
                        *output++ = $code;
                    }
                }
            }
            """,
            out_rows=site.output.shape[1],
            out_columns=site.output.shape[2],
            channels=channels,
            sums=_sums(op),
            height=height,
            width=width,
            row=f"{times('y', op.stride[0])} + {times('i', op.dilation[0])}{plus(-op.pads[0])}",
            column=f"{times('x', op.stride[1])} + {times('j', op.dilation[1])}{plus(-op.pads[2])}",
            each=each,
            code=code,
        )
        return self._weighted(op, text, arrays, positions(site) * op.weights.size)

    def fully_connected(self, op: lower.FullyConnected, site: Site) -> Kernel:
        channels, depth = op.weights.shape
        rows = site.output.elements // channels
        code, arrays = self.quantize(op.requantization, "sum", site)
        text = fill(
            """
            for (int32_t row = 0; row < $rows; row++) {
                for (int32_t channel = 0; channel < $channels; channel++) {
                    $sums sum = bias[channel];

                    for (int32_t i = 0; i < $depth; i++) {
                        sum += (input[i]$less) * weights[channel * $depth + i];
                    }
                    *output++ = $code;
                }
                input += $depth;
            }
            """,
            rows=rows,
            channels=channels,
            sums=_sums(op),
            depth=depth,
            less=plus(-op.input_zero_point),
            code=code,
        )
        return self._weighted(op, text, arrays, rows * op.weights.size)

    def _weighted(
        self, op: lower.Convolution | lower.FullyConnected, text: str, arrays: tuple[Array, ...], macs: int
    ) -> Kernel:
        constants = (Array("weights", "int8_t", op.weights), Array("bias", _sums(op), op.bias))
        return Kernel(text, arrays=(*constants, *arrays), helpers=(self.quantizer(op.requantization),), macs=macs)

    def image_sums(self, each: str, arrays: tuple[Array, ...], helpers: tuple[str, ...], site: Site) -> Kernel:
        """C that does `each` with the ``sum`` of every ``channel`` over the whole image."""
        _, rows, columns, channels = site.inputs[0].shape
        text = fill(
            """
            for (int32_t channel = 0; channel < $channels; channel++) {
                int32_t sum = 0;

                $add
                $each
            }
            """,
            channels=channels,
            add=nest([("i", rows * columns)], f"sum += input[i * {channels} + channel];"),
            each=each,
        )
        return Kernel(text, arrays=arrays, helpers=helpers)


def _sums(op: lower.Convolution | lower.FullyConnected) -> str:
    return f"{np.dtype(op.bias.dtype).name}_t"
