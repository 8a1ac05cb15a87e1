"""Random layers that kernels in assembly or vectors compute: shapes, strides and values that reach them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mcu_codegen.graph import (
    Conv2D,
    DepthwiseConv2D,
    Elementwise,
    Entry,
    FullyConnected,
    Graph,
    LeakyRelu,
    Mean,
    NoOptions,
    Operator,
    Pool2D,
    Quantization,
    StridedSlice,
    Tensor,
)


class Layers:
    """Draws layers that have kernels: each on an input of its own, or on the output of another."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.tensors: list[Tensor] = []
        self.inputs: list[int] = []
        self.operators: list[Operator] = []

    def graph(self) -> Graph:
        read = {index for operator in self.operators for index in operator.inputs}
        outputs = tuple(op.outputs[0] for op in self.operators if op.outputs[0] not in read)
        return Graph("kernels", self.tensors, [Entry("invoke", tuple(self.inputs), outputs, self.operators)])

    def one(self, *items: int) -> int:
        return int(self.rng.choice(items))

    def between(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def new(
        self, shape: tuple[int, ...], dtype: str, quantization: Quantization, data: np.ndarray | None = None
    ) -> int:
        self.tensors.append(Tensor(f"tensor_{len(self.tensors)}", shape, dtype, quantization, data))
        return len(self.tensors) - 1

    def activation(self, shape: tuple[int, ...]) -> int:
        """The zero points at which kernels differ are frequent."""
        scale = float(np.float32(2.0 ** self.rng.uniform(-6, 0)))
        zero_point = self.one(-128, -128, -127, 127, 0, self.between(-128, 127))
        return self.new(shape, "int8", Quantization((scale,), (zero_point,)))

    def input(self, *shape: int) -> int:
        self.inputs.append(self.activation(shape))
        return self.inputs[-1]

    def constants(self, shape: tuple[int, ...], axis: int, source: int, output: int) -> tuple[int, int]:
        """Weights and bias whose accumulators fill the range of codes, or reach near 2^29, within codes or far
        beyond, or fall short of a code; some channels are dead or nearly so. Half a code and more for a product is no
        right shift."""
        channels = shape[axis]
        spread = self.one(1, 20, 127)
        weights = self.rng.integers(-spread, spread + 1, shape).astype(np.int8)
        bias = self.rng.normal(0, 1000, channels)
        exponent = -np.log2(np.sqrt(weights.size / channels) * spread) + self.rng.uniform(-3, 2, channels)
        if self.rng.random() < 0.2:
            bias = self.rng.choice([-1, 1], channels) * self.rng.uniform(0.9, 1, channels) * 2**28
            exponent = self.rng.uniform(*((-23, -19) if self.one(0, 1) else (-12, -1)), channels)
        exponent = np.clip(exponent, -22.9, -0.1)
        if self.rng.random() < 0.3:
            dead = self.rng.random(channels) < 0.4
            exponent[dead] = self.rng.uniform(-45, -22, dead.sum())
            bias[dead] = self.rng.choice([0, 1, -1], dead.sum()) * self.rng.uniform(0.9, 1.1, dead.sum()) * 2**30
        real = 2.0**exponent
        ratio = self.tensors[output].scale / self.tensors[source].scale
        zeros = (0,) * channels
        scales = Quantization(tuple(float(np.float32(value * ratio)) for value in real), zeros, axis)
        return (
            self.new(shape, "int8", scales, weights),
            self.new((channels,), "int32", Quantization(scales.scale, zeros), bias.astype(np.int32)),
        )

    def fused(self) -> str:
        """An activation; its clamp falls where the output's scale puts it."""
        return ("NONE", "NONE", "NONE", "RELU", "RELU6", "RELU_N1_TO_1")[self.between(0, 5)]

    def append(self, kind: str, source: int, output: int, options: object, *constants: int) -> int:
        self.operators.append(Operator(kind, (source, *constants), (output,), options))
        return output

    def size(self, padding: str, size: int, window: int, stride: int) -> int:
        return -(-size // stride) if padding == "SAME" else (size - window) // stride + 1

    def convolution(
        self,
        source: int,
        channels: int,
        window: tuple[int, int],
        stride: tuple[int, int],
        dilation: tuple[int, int] = (1, 1),
    ) -> int:
        _, rows, columns, depth = self.tensors[source].shape
        reach = [(size - 1) * step + 1 for size, step in zip(window, dilation, strict=True)]
        fits = reach[0] <= rows and reach[1] <= columns
        padding = "VALID" if fits and self.rng.random() < 0.4 else "SAME"
        shape = [self.size(padding, n, w, s) for n, w, s in zip((rows, columns), reach, stride, strict=True)]
        output = self.activation((1, *shape, channels))
        constants = self.constants((channels, *window, depth), 0, source, output)
        options = Conv2D(padding, stride, dilation, self.fused())
        return self.append("CONV_2D", source, output, options, *constants)

    def depthwise(
        self,
        source: int,
        stride: tuple[int, int] = (1, 1),
        window: tuple[int, int] = (3, 3),
        dilation: tuple[int, int] = (1, 1),
        multiplier: int = 1,
    ) -> int:
        _, rows, columns, channels = self.tensors[source].shape
        channels *= multiplier
        reach = [(size - 1) * step + 1 for size, step in zip(window, dilation, strict=True)]
        fits = reach[0] <= rows and reach[1] <= columns
        padding = "VALID" if fits and self.rng.random() < 0.4 else "SAME"
        shape = [self.size(padding, n, w, s) for n, w, s in zip((rows, columns), reach, stride, strict=True)]
        output = self.activation((1, *shape, channels))
        constants = self.constants((1, *window, channels), 3, source, output)
        options = DepthwiseConv2D(padding, stride, dilation, self.fused(), multiplier)
        return self.append("DEPTHWISE_CONV_2D", source, output, options, *constants)

    def fully_connected(self, depth: int, outputs: int) -> int:
        source, output = self.input(1, depth), self.activation((1, outputs))
        constants = self.constants((outputs, depth), 0, source, output)
        return self.append("FULLY_CONNECTED", source, output, FullyConnected(self.fused()), *constants)

    # What one test draws many times

    def any_convolution(self) -> None:
        source = self.input(1, self.between(1, 9), self.between(1, 9), self.one(1, 2, 3, 5, 16, 17, 40))
        window = (self.between(1, 4), self.between(2, 4))
        self.convolution(source, self.between(1, 8), window, (self.one(1, 1, 2, 3), self.one(1, 1, 2, 3)))

    def any_dilated(self) -> None:
        """Windows dilated over rows, over columns or both, many of them beyond the image."""
        dilation = (self.one(1, 2, 2, 4), self.one(1, 1, 2, 3))
        source = self.input(1, self.between(1, 14), self.one(1, 1, 5, 9), self.one(1, 3, 4, 16, 24))
        self.convolution(source, self.between(2, 8), (self.between(1, 3), self.between(1, 3)), (1, 1), dilation)

    def any_depthwise(self) -> None:
        height, columns = self.one(3, 3, 1), self.between(1, 14)
        source = self.input(
            1, self.between(1, 18), columns + (self.one(0, 7) if height == 1 else 0), self.between(1, 5)
        )
        self.depthwise(source, (self.one(1, 1, 2), self.one(1, 1, 2)), (height, 3))

    def any_depthwise_window(self) -> None:
        """Windows of any shape, dilated both ways, on images of any size, many of them smaller; some with a multiplier,
        mostly of a single channel."""
        rows, columns = self.between(1, 10), self.between(1, 10)
        multiplier = self.one(1, 1, 1, 2, 8)
        channels = self.one(4, 8, 12, 20, 36, self.between(1, 9)) if multiplier == 1 else self.one(1, 1, 1, 3)
        window, stride = (self.between(1, 5), self.between(1, 5)), (self.between(1, 3), self.between(1, 3))
        dilation = (1, 1) if max(stride) > 1 else (self.one(1, 1, 2), self.one(1, 1, 2, 3))
        self.depthwise(self.input(1, rows, columns, channels), stride, window, dilation, multiplier)

    def any_wide_depthwise(self) -> None:
        """Windows of many taps on long rows, of which kernels compute a few outputs at a time; by chance dilated."""
        window = (self.one(1, 4, 5, 7), self.one(1, 2, 5, 7, 9))
        source = self.input(1, self.between(1, 12), self.between(6, 30), self.one(1, 3, 4))
        dilation = (self.one(1, 1, 2), self.one(1, 1, 3))
        stride = (self.one(1, 1, 2), self.one(1, 1, 2, 3)) if dilation == (1, 1) else (1, 1)
        self.depthwise(source, stride, window, dilation)

    def any_column(self) -> None:
        """A k x 1 kernel, mostly on an image of width 1, whose stride in x then does not matter; by chance dilated."""
        dilation = self.one(1, 1, 2, 4)
        taps, width = self.one(1, 2, 3, 4, 5, 7, 9, 12, 15, 31), self.one(1, 1, 1, 2, 3)
        reach = (taps - 1) * dilation + 1
        source = self.input(1, max(1, reach + self.between(-2, 30)), width, self.one(1, 2, 4, 8, 13))
        stride = (self.one(1, 1, 1, 2, 3, 4, 5), self.between(1, 2) if width == 1 else 1)
        self.depthwise(source, stride, (taps, 1), (dilation, 1))

    def extreme_column(self) -> None:
        """Multipliers at the ends of their range, and accumulators near the end of what kernels of Cortex-M0 take; and
        shifts that no kernel takes."""
        taps, rows, channels = self.one(3, 5, 9), self.between(9, 20), self.one(1, 4)
        source, output = self.input(1, rows, 1, channels), self.activation((1, rows - taps + 1, 1, channels))
        shift = self.one(1, 1, 5, 7, 9, 10, 11, 12, 23, 24, 31, 0, -5)
        real = 2.0 ** -(shift + self.one(0, 1)) * np.array([1, 1 - 2**-24, self.rng.uniform(0.5, 1)])
        weights = self.rng.choice([-127, 127], (1, taps, 1, channels)) * self.one(0, 1, 1)
        zero_point = self.tensors[source].zero_point
        reach = 127 * taps * max(127 - zero_point, 128 + zero_point)
        room = max(2**19 - 2**12 - 255 * 2.0 ** (shift - 1) - reach, 0)
        bias = self.rng.choice([-1, 1], channels) * room * self.rng.uniform(0.99, 1.01, channels)
        ratio = self.tensors[output].scale / self.tensors[source].scale
        scales = Quantization(tuple(self.rng.choice(real, channels) * ratio), (0,) * channels, 3)
        self.append(
            "DEPTHWISE_CONV_2D",
            source,
            output,
            DepthwiseConv2D("VALID"),
            self.new(weights.shape, "int8", scales, weights.astype(np.int8)),
            self.new((channels,), "int32", Quantization(scales.scale, scales.zero_point), bias.astype(np.int32)),
        )

    def residual(self) -> None:
        """A block of a residual network over time, whose cropped input lies in the arena."""
        rows, channels, taps = self.between(12, 30), 4 * self.between(1, 5), 2 * self.between(1, 5) + 1
        source = self.convolution(self.input(1, rows, 5, 4), channels, (1, 5), (1, 1))
        inner = self.depthwise(source, window=(taps, 1))
        inner = self.convolution(inner, channels, (1, 1), (1, 1))
        shape = self.tensors[inner].shape
        begin = (self.tensors[source].shape[1] - shape[1]) // 2
        cropped = self.new(shape, "int8", self.tensors[source].quantization or Quantization((), ()))
        values = ((0, begin, 0, 0), (1, begin + shape[1], *shape[2:]), (1, 1, 1, 1))
        first = len(self.tensors)
        self.tensors += [
            Tensor(f"slice_{first + i}", (4,), "int32", None, np.array(each, np.int32)) for i, each in enumerate(values)
        ]
        self.append("STRIDED_SLICE", source, cropped, StridedSlice(), *range(first, first + 3))
        operands = (inner, cropped) if self.rng.random() < 0.5 else (cropped, inner)
        self.append("ADD", operands[0], self.activation(shape), Elementwise(), operands[1])

    def any_stem(self) -> None:
        """Windows that are whole rows of the image."""
        rows, columns = self.between(3, 14), self.one(4, 5, 10, 40)
        source = self.input(1, rows, columns, self.one(1, 2, 4))
        window = (self.between(1, min(rows, 5)), columns)
        self.convolution(source, self.between(2, 8), window, (self.between(1, 3), self.between(1, 2)))

    def any_pointwise(self) -> None:
        source = self.input(
            1, self.between(1, 4), self.between(1, 4), self.one(1, 7, 16, 31, 48, 64, 65, 128, 129, 300)
        )
        self.convolution(source, self.between(1, 10), (1, 1), (1, 1))

    def five_rows(self) -> None:
        """What a step of five columns multiplies with: pixels, or windows of them."""
        depth, window = self.one(1, 7, 16, 40, 64, 65, 130), (1, self.one(1, 1, 1, 2, 4))
        source = self.input(1, 1, 5 + (window[1] > 1), depth)
        self.convolution(source, self.between(1, 10), window, (1, 1))

    def any_fully_connected(self) -> None:
        self.fully_connected(self.one(1, 15, 64, 200, 700), self.between(1, 10))

    def any_single(self) -> None:
        """A single channel of one row or many where they lie, or of windows, whole rows of the image or gathered."""
        if self.one(0, 1):
            self.fully_connected(self.one(1, 2, 3, 4, 15, 48, 300, 301, 700, 1088), 1)
            return
        columns = self.between(1, 7)
        source = self.input(1, self.between(3, 9), columns, self.one(1, 3, 7, 16, 48, 65))
        window = (self.between(1, 3), self.one(1, 2, columns))
        self.convolution(source, 1, window, (self.one(1, 1, 2), self.one(1, 1, 2)))

    def any_column_of_many(self) -> None:
        """A depthwise convolution over one column of pixels: few outputs and many, one after another in place; weights
        at their bounds, and shifts beyond those of kernels."""
        taps, stride = (
            self.one(3, 5, 9, self.between(1, 16), self.between(17, 31)),
            self.one(1, 1, 2, self.between(3, 9)),
        )
        outputs = self.one(1, self.between(1, 12), self.between(13, 50))
        channels = self.one(4, 20, 48, 132, 4 * self.between(1, 24), self.between(1, 40))
        source = self.input(1, (outputs - 1) * stride + taps + self.between(0, stride - 1), 1, channels)
        for _ in range(self.one(1, 2)):
            source = self.depthwise(source, (stride, self.one(1, 2)), (taps, 1))
            weights = self.tensors[self.operators[-1].inputs[1]]
            if self.rng.random() < 0.3:
                weights.data = self.rng.choice([-127, 127], weights.shape).astype(np.int8)
            if self.rng.random() < 0.15:
                scales = tuple(float(np.float32(2.0**each)) for each in self.rng.uniform(-32, 3, channels))
                weights.quantization = Quantization(scales, (0,) * channels, 3)

    def any_step(self) -> None:
        """As few rows as a step of a stream has, from an image that may be written over."""
        rows, columns = self.one(1, 1, 2, 5), self.one(1, 3, 5, 6, 11)
        channels, stride = self.one(4, 8, 20, 64, self.between(1, 40)), (self.one(1, 1, 2), self.one(1, 1, 2))
        window = (3, 3) if self.rng.random() < 0.5 else (self.between(1, 6), 1 if columns > 1 else self.between(1, 5))
        inputs = [(n - 1) * step + size for n, step, size in zip((rows, columns), stride, window, strict=True)]
        source = self.convolution(self.input(1, *inputs, 2), channels, (1, 1), (1, 1))
        output = self.activation((1, rows, columns, channels))
        constants = self.constants((1, *window, channels), 3, source, output)
        self.append("DEPTHWISE_CONV_2D", source, output, DepthwiseConv2D("VALID", stride), *constants)

    def in_place(self) -> None:
        """The way of a DS-CNN: after the first layer all can lie in one place."""
        depth = 2 * self.between(2, 20)
        here = self.convolution(self.input(1, 7, 5, 1), depth, (3, 3), (1, 1))
        for _ in range(2):
            here = self.convolution(self.depthwise(here), depth, (1, 1), (1, 1))

    def any_pool(self) -> None:
        rows, columns, channels = self.between(1, 9), self.between(1, 9), 4 * self.between(1, 5)
        source = self.input(1, rows, columns, channels)
        output = self.new((1, 1, 1, channels), "int8", self.tensors[source].quantization or Quantization((), ()))
        self.append("AVERAGE_POOL_2D", source, output, Pool2D("VALID", (1, 1), (rows, columns)))

    def any_window(self) -> None:
        """Pooling by windows, many of which cross an edge; the channels of some come in fours."""
        rows, columns, channels = self.between(1, 9), self.between(1, 9), self.one(4, 8, 20, 24, self.between(1, 40))
        window, stride = (self.between(1, 4), self.between(1, 4)), (self.between(1, 3), self.between(1, 3))
        fits = window[0] <= rows and window[1] <= columns
        padding = "VALID" if fits and self.rng.random() < 0.5 else "SAME"
        shape = [self.size(padding, n, w, s) for n, w, s in zip((rows, columns), window, stride, strict=True)]
        source = self.input(1, rows, columns, channels)
        output = self.new((1, *shape, channels), "int8", self.tensors[source].quantization or Quantization((), ()))
        kind, half_up = (("MAX_POOL_2D", False), ("AVERAGE_POOL_2D", False), ("AVERAGE_POOL_2D", True))[
            self.between(0, 2)
        ]
        self.append(kind, source, output, Pool2D(padding, stride, window, self.fused(), half_up))

    def any_add(self) -> None:
        """Equal scales, and scales far apart."""
        shape = (1, self.between(1, 5), self.between(1, 5), self.between(1, 9))
        first, second, output = self.input(*shape), self.input(*shape), self.activation(shape)
        if self.rng.random() < 0.3:
            self.tensors[second].quantization = self.tensors[first].quantization
        options = Elementwise(("NONE", "NONE", "RELU", "RELU6")[self.between(0, 3)])
        self.append(("ADD", "SUB")[self.between(0, 1)], first, output, options, second)

    def any_product(self) -> None:
        """Of codes one by one, or by a factor for each channel."""
        shape = (1, self.between(1, 5), self.between(1, 5), self.between(2, 20))
        first, second = self.input(*shape), self.input(*(shape if self.one(0, 1) else shape[-1:]))
        output = self.activation(shape)
        self.tensors[output].quantization = Quantization(
            (self.tensors[first].scale * self.tensors[second].scale * self.one(4.5, 60, 999),),
            (self.between(-128, 127),),
        )
        self.append("MUL", first, output, Elementwise(), second)

    def any_extreme(self) -> None:
        """Of codes one by one, or with one for each channel."""
        shape = (1, self.between(1, 5), self.between(1, 5), self.one(4, 8, 20, self.between(2, 20)))
        first, second = self.input(*shape), self.input(*(shape if self.one(0, 1) else shape[-1:]))
        output = self.new(shape, "int8", self.tensors[first].quantization or Quantization((), ()))
        self.tensors[second].quantization = self.tensors[first].quantization
        self.append(("MAXIMUM", "MINIMUM")[self.between(0, 1)], first, output, NoOptions(), second)

    def any_repeated(self) -> None:
        """Sums in which one input, or each along another axis, is repeated."""
        shape = (1, self.between(2, 5), self.between(2, 5), self.between(1, 20))
        axes = self.one(1, 2, 3), self.one(0, 1, 2)
        shapes = [tuple(1 if axis == taken else size for axis, size in enumerate(shape)) for taken in axes]
        first, second = (self.input(*each) for each in (shapes if self.rng.random() < 0.5 else shapes[::-1]))
        together = np.broadcast_shapes(*shapes)
        self.append("ADD", first, self.activation(together), Elementwise(), second)

    def any_mean(self) -> None:
        channels = 4 * self.between(1, 5)
        source, output = self.input(1, self.between(1, 9), self.between(1, 9), channels), self.activation((1, channels))
        self.tensors.append(Tensor("axes", (2,), "int32", None, np.array([1, 2], np.int32)))
        self.append("MEAN", source, output, Mean(), len(self.tensors) - 1)

    def any_lookup(self) -> None:
        """A table, and another one in place."""
        shape = 1, self.between(1, 9), self.one(1, 2, 3, 7, 16, 31, 64)
        values = self.input(*shape)
        for slope in (0.1, 0.7):
            output = self.activation(shape)
            self.append("LEAKY_RELU", values, output, LeakyRelu(slope))
            values = output


KINDS: dict[str, Callable[[Layers], None]] = {
    "convolution": Layers.any_convolution,
    "dilated": Layers.any_dilated,
    "depthwise": Layers.any_depthwise,
    "depthwise window": Layers.any_depthwise_window,
    "column": Layers.any_column,
    "extreme column": Layers.extreme_column,
    "stem": Layers.any_stem,
    "residual": Layers.residual,
    "pointwise": Layers.any_pointwise,
    "fully connected": Layers.any_fully_connected,
    "column of many": Layers.any_column_of_many,
    "in place": Layers.in_place,
    "pool": Layers.any_pool,
    "window": Layers.any_window,
    "mean": Layers.any_mean,
    "add": Layers.any_add,
    "repeated": Layers.any_repeated,
    "step": Layers.any_step,
    "five rows": Layers.five_rows,
    "single": Layers.any_single,
    "lookup": Layers.any_lookup,
    "product": Layers.any_product,
    "extreme": Layers.any_extreme,
    "wide depthwise": Layers.any_wide_depthwise,
}
"""By name, what draws one or more layers."""
