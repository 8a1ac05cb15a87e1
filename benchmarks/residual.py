"""1-D residual keyword networks with random weights: the shape of a network is what its instructions depend on.

A stem as wide as the features, blocks of a k x 1 depthwise and a 1x1 convolution that are added to the cropped input,
a mean over time, and a classifier.
"""

from __future__ import annotations

import numpy as np

from mcu_codegen.graph import (
    Conv2D,
    DepthwiseConv2D,
    Elementwise,
    Entry,
    FullyConnected,
    Graph,
    Mean,
    Operator,
    Quantization,
    Softmax,
    StridedSlice,
    Tensor,
)

FRAMES, FEATURES, LABELS = 74, 40, 12


def residual(channels: int, blocks: int, kernel: int, stem: int, stride: int) -> Graph:
    """The network of `channels`, whose stem takes `stem` frames every `stride`."""
    return Builder().network(f"residual_{channels}x{blocks}_k{kernel}", channels, blocks, kernel, stem, stride)


class Builder:
    """Tensors and operators of a graph, one after the other; weights are seeded, and fill the range of codes."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []

    def network(self, name: str, channels: int, blocks: int, kernel: int, stem: int, stride: int) -> Graph:
        first = value = self.activation(1, FRAMES, FEATURES, 1)
        value = self.convolution(value, channels, (stem, FEATURES), stride, "RELU")
        for _ in range(blocks):
            inner = self.convolution(self.depthwise(value, (kernel, 1)), channels, (1, 1), 1, "NONE")
            cropped = self.crop(value, inner)
            self.tensors[inner].quantization = Quantization((0.04,), (11,))
            output = self.activation(*self.shape(inner), zero_point=-128)
            value = self.append("ADD", output, Elementwise("RELU"), inner, cropped)
        axes = self.constant(np.array([1, 2], np.int32))
        value = self.append("MEAN", self.activation(1, channels), Mean(), value, axes)
        weights = self.weights(LABELS, channels)
        value = self.append("FULLY_CONNECTED", self.activation(1, LABELS), FullyConnected(), value, *weights)
        value = self.append("SOFTMAX", self.activation(1, LABELS, scale=1 / 256, zero_point=-128), Softmax(), value)
        return Graph(name, self.tensors, [Entry("invoke", (first,), (value,), self.operators)])

    def shape(self, index: int) -> tuple[int, ...]:
        return self.tensors[index].shape

    def activation(self, *shape: int, scale: float = 0.0625, zero_point: int = -20) -> int:
        return self.new(Tensor("", shape, "int8", Quantization((scale,), (zero_point,))))

    def constant(self, data: np.ndarray, quantization: Quantization | None = None) -> int:
        return self.new(Tensor("", data.shape, str(data.dtype), quantization, data))

    def new(self, tensor: Tensor) -> int:
        tensor.name = f"tensor_{len(self.tensors)}"
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def append(self, kind: str, output: int, options: object, *inputs: int) -> int:
        self.operators.append(Operator(kind, inputs, (output,), options))
        return output

    def weights(self, *shape: int, axis: int = 0) -> tuple[int, int]:
        """Weights and bias such that outputs fill the range of codes."""
        data = self.rng.normal(0, 45, shape).round().clip(-127, 127).astype(np.int8)
        channels = shape[axis]
        scales = 2.0 ** self.rng.uniform(-1, 1, channels) / (45 * np.sqrt(data.size / channels))
        zeros = (0,) * channels
        quantization = Quantization(tuple(float(np.float32(scale)) for scale in scales), zeros, axis)
        bias = self.rng.normal(0, 1000, channels).astype(np.int32)
        return self.constant(data, quantization), self.constant(bias, Quantization(quantization.scale, zeros))

    def convolution(self, source: int, channels: int, window: tuple[int, int], stride: int, activation: str) -> int:
        _, rows, columns, depth = self.shape(source)
        shape = (1, (rows - window[0]) // stride + 1, columns - window[1] + 1, channels)
        output = self.activation(*shape, zero_point=-128 if activation == "RELU" else -20)
        weights = self.weights(channels, *window, depth)
        return self.append("CONV_2D", output, Conv2D("VALID", (stride, 1), (1, 1), activation), source, *weights)

    def depthwise(self, source: int, window: tuple[int, int], padding: str = "VALID") -> int:
        _, rows, columns, channels = self.shape(source)
        inside = (rows - window[0] + 1, columns - window[1] + 1)
        output = self.activation(1, *(inside if padding == "VALID" else (rows, columns)), channels)
        weights = self.weights(1, *window, channels, axis=3)
        return self.append("DEPTHWISE_CONV_2D", output, DepthwiseConv2D(padding), source, *weights)

    def crop(self, source: int, like: int) -> int:
        """The middle of `source`, as long as `like`."""
        rows, kept = self.shape(source)[1], self.shape(like)[1]
        begin = (rows - kept) // 2
        ends = (1, begin + kept, *self.shape(source)[2:])
        constants = (self.constant(np.array(data, np.int32)) for data in ((0, begin, 0, 0), ends, (1, 1, 1, 1)))
        output = self.new(Tensor("", self.shape(like), "int8", self.tensors[source].quantization))
        return self.append("STRIDED_SLICE", output, StridedSlice(), source, *constants)


MODELS = (residual(48, 5, 9, 3, 1), residual(64, 6, 5, 5, 2))
