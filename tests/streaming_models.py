"""Random networks that can follow a stream, each from one seed, and one like those of `kws`."""

from __future__ import annotations

import numpy as np

from mcu_codegen.graph import (
    Concatenation,
    Conv2D,
    DepthwiseConv2D,
    Elementwise,
    Entry,
    FullyConnected,
    Graph,
    Mean,
    NoOptions,
    Operator,
    Pool2D,
    Quantization,
    Softmax,
    StridedSlice,
    Tensor,
)


class Layers:
    """Layers that do not pad time; `side` is which side of an image time runs along."""

    def __init__(self, seed: int, side: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.side = side
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []

    def new(
        self, shape: tuple[int, ...], data: np.ndarray | None = None, quantization: Quantization | None = None
    ) -> int:
        if data is None and quantization is None:
            quantization = Quantization((0.05,), (int(self.rng.integers(-128, 128)),))
        dtype = "int8" if data is None else data.dtype.name
        self.tensors.append(Tensor(f"t{len(self.tensors)}", shape, dtype, quantization, data))
        return len(self.tensors) - 1

    def constant(self, *values: int) -> int:
        return self.new((len(values),), np.array(values, np.int32))

    def append(
        self, kind: str, inputs: tuple[int, ...], shape: tuple[int, ...], options: object, like: int = -1
    ) -> int:
        """`like`: the tensor whose quantisation the output shares."""
        output = self.new(shape, None, self.tensors[like].quantization if like >= 0 else None)
        self.operators.append(Operator(kind, inputs, (output,), options))
        return output

    def shape(self, index: int) -> tuple[int, ...]:
        return self.tensors[index].shape

    def rows(self, index: int) -> int:
        return self.shape(index)[1 + self.side]

    def image(self, source: int, rows: int, columns: int, channels: int) -> tuple[int, ...]:
        sides = (rows, columns) if self.side == 0 else (columns, rows)
        return (1, *sides, channels)

    def pair(self, time: int, other: int) -> tuple[int, int]:
        return (time, other) if self.side == 0 else (other, time)

    def columns(self, index: int) -> int:
        return self.shape(index)[2 - self.side]

    def weights(self, shape: tuple[int, ...], axis: int) -> tuple[int, int]:
        channels = shape[axis]
        data = self.rng.integers(-127, 128, shape, np.int8)
        fan_in = data.size // channels
        scales = tuple(np.float32(self.rng.uniform(0.3, 1, channels) / (60 * np.sqrt(fan_in))).tolist())
        bias = self.rng.integers(-2000, 2000, channels, np.int32)
        zeros = (0,) * channels
        return self.new(shape, data, Quantization(scales, zeros, axis)), self.new((channels,), bias)

    def convolution(self, source: int, channels: int, window: tuple[int, int], stride=(1, 1), dilation: int = 1) -> int:
        """`window` and `stride` are (time, other side); `channels` 0: depthwise."""
        rows = (self.rows(source) - (window[0] - 1) * dilation - 1) // stride[0] + 1
        columns = (self.columns(source) - window[1]) // stride[1] + 1
        depth = self.shape(source)[3]
        sides, strides, dilations = self.pair(*window), self.pair(*stride), self.pair(dilation, 1)
        if channels:
            shape, axis, kind = (channels, *sides, depth), 0, "CONV_2D"
            options: object = Conv2D("VALID", strides, dilations, "RELU")
        else:
            shape, axis, kind = (1, *sides, depth), 3, "DEPTHWISE_CONV_2D"
            options = DepthwiseConv2D("VALID", strides, dilations, "NONE", 1)
        output = self.image(source, rows, columns, channels or depth)
        return self.append(kind, (source, *self.weights(shape, axis)), output, options)

    def padded(self, source: int) -> int:
        """One column of zero points on both sides."""
        pads = np.zeros((4, 2), np.int32)
        pads[2 - self.side] = 1
        shape = self.image(source, self.rows(source), self.columns(source) + 2, self.shape(source)[3])
        return self.append("PAD", (source, self.new((4, 2), pads)), shape, NoOptions(), source)

    def crop(self, source: int, first: int, rows: int, step: int = 1) -> int:
        axis = 1 + self.side
        bounds = [[0] * 4, [0] * 4, [1] * 4]
        bounds[0][axis], bounds[1][axis], bounds[2][axis] = first, first + (rows - 1) * step + 1, step
        shape = self.image(source, rows, self.columns(source), self.shape(source)[3])
        mask = 0b1111 - (1 << axis)
        return self.append(
            "STRIDED_SLICE",
            (source, *(self.constant(*each) for each in bounds)),
            shape,
            StridedSlice(mask, mask),
            source,
        )

    def add(self, first: int, second: int) -> int:
        return self.append("ADD", (first, second), self.shape(first), Elementwise("NONE"))

    def residual(self, source: int, taps: int) -> int:
        inner = self.convolution(self.convolution(source, 0, (taps, 1)), self.shape(source)[3], (1, 1))
        return self.add(inner, self.crop(source, taps // 2, self.rows(inner)))

    def broadcast(self, source: int) -> int:
        """As a block of BC-ResNet."""
        mean = self.append(
            "MEAN",
            (source, self.constant(2 - self.side)),
            self.image(source, self.rows(source), 1, self.shape(source)[3]),
            Mean(keep_dims=True),
        )
        common = self.convolution(mean, 0, (3, 1))
        return self.add(self.crop(source, 1, self.rows(common)), common)

    def pool(self, source: int, kind: str, window: int, stride: int) -> int:
        rows = (self.rows(source) - window) // stride + 1
        shape = self.image(source, rows, self.columns(source), self.shape(source)[3])
        options = Pool2D("VALID", self.pair(stride, 1), self.pair(window, 1))
        return self.append(kind, (source,), shape, options, source)

    def forked(self, source: int) -> int:
        """Two paths of another lag each, side by side."""
        other = self.crop(source, 0, self.rows(source) - 2)
        one = self.crop(source, 2, self.rows(source) - 2)
        shape = (*self.shape(one)[:3], 2 * self.shape(source)[3])
        return self.append("CONCATENATION", (one, other), shape, Concatenation(-1), source)

    def flattened(self, source: int) -> int:
        """Columns become channels."""
        shape = self.image(source, self.rows(source), 1, self.columns(source) * self.shape(source)[3])
        return self.append("RESHAPE", (source, self.constant(*shape)), shape, NoOptions(), source)

    def closing(self, source: int, how: str, classes: int = 5) -> int:
        _, height, width, channels = self.shape(source)
        if how == "mean":
            value = self.append("MEAN", (source, self.constant(1, 2)), (1, channels), Mean())
        elif how == "pool":
            shape = (1, 1, 1, channels)
            value = self.append("AVERAGE_POOL_2D", (source,), shape, Pool2D("VALID", (1, 1), (height, width)), source)
        elif how == "convolution":
            value = self.convolution(source, 4, self.pair(height, width))
        else:
            value = source
        depth = int(np.prod(self.shape(value)))
        if len(self.shape(value)) == 4:
            value = self.append("RESHAPE", (value, self.constant(1, depth)), (1, depth), NoOptions(), value)
        value = self.append(
            "FULLY_CONNECTED", (value, *self.weights((classes, depth), 0)), (1, classes), FullyConnected()
        )
        self.operators.append(Operator("SOFTMAX", (value,), (len(self.tensors),), Softmax()))
        return self.new((1, classes), None, Quantization((1 / 256,), (-128,)))

    def graph(self, source: int, output: int, **metadata: object) -> Graph:
        return Graph("streamed", self.tensors, [Entry("invoke", (source,), (output,), self.operators)], dict(metadata))


CLOSINGS = ("mean", "pool", "convolution", "flat")


def random_network(seed: int) -> Graph:
    """A few layers of any kind on 24 to 40 frames, then what ends the flow."""
    rng = np.random.default_rng(seed)
    layers = Layers(seed, side=int(rng.integers(4) == 0))
    features, frames = int(rng.integers(2, 6)), int(rng.integers(24, 41))
    wide = layers.side == 1  # time along the width, where the features of a frame are channels
    source = layers.new((1, 1, frames, features) if wide else (1, frames, features, 1))
    window = (int(rng.integers(1, 5)), 1 if wide else 2)
    value = layers.convolution(source, 4, window, (int(rng.integers(1, 3)), 1))
    for _ in range(int(rng.integers(1, 5))):
        room = layers.rows(value)
        if room < 9:
            break
        drawn = int(rng.integers(9))
        if drawn == 0:
            value = layers.residual(value, int(rng.choice([3, 5])))
        elif drawn == 1:
            value = layers.broadcast(value)
        elif drawn == 2:
            value = layers.pool(value, str(rng.choice(["MAX_POOL_2D", "AVERAGE_POOL_2D"])), int(rng.integers(1, 4)), 2)
        elif drawn == 3:
            value = layers.forked(value)
        elif drawn == 4:
            value = layers.convolution(layers.padded(value), 0, (3, 3), (int(rng.integers(1, 3)), 1))
        elif drawn == 5:
            value = layers.convolution(value, 3, (2, 1), dilation=int(rng.integers(1, 4)))
        elif drawn == 6:
            value = layers.crop(value, int(rng.integers(3)), (room - 3) // 2, 2)
        elif drawn == 7:
            value = layers.flattened(value)
        else:
            value = layers.convolution(value, 0, (1, 1), (3, 1))
    return layers.graph(source, layers.closing(value, CLOSINGS[seed % len(CLOSINGS)]))


def small_network(columns: int = 10, frames: int = 30, **metadata: object) -> Graph:
    """A strided stem, a residual block, a convolution padded in frequency, a mean over time: what `kws` makes."""
    layers = Layers(5)
    source = layers.new((1, frames, columns, 1))
    value = layers.convolution(source, 8, (3, columns - 2), (2, 1))
    value = layers.residual(value, 3)
    value = layers.convolution(layers.padded(value), 0, (3, 3))
    output = layers.closing(layers.convolution(value, 8, (1, 1)), "mean", 4)
    return layers.graph(source, output, **metadata)
