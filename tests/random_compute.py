"""Random operators that compute."""

from __future__ import annotations

import math

import numpy as np
from random_builder import Builder, float32, output_size

from mcu_codegen.graph import (
    Conv2D,
    DepthwiseConv2D,
    Elementwise,
    FullyConnected,
    LeakyRelu,
    Mean,
    NoOptions,
    Pool2D,
    Quantization,
    Resize,
    Softmax,
    Tensor,
)

_FUNCTIONS = ("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "ABS", "SQRT", "EXP", "LOG", "ELU")


class Computing(Builder):
    """One method draws one operator, or one of a few alike."""

    def convolution(self, source: int, _values: list[int]) -> int | None:
        wide = self.large and self.chance(0.3)
        return self.window(source, self.integer(1, 1500 if wide else 6), 0)

    def depthwise(self, source: int, _values: list[int]) -> int | None:
        multiplier = self.one([1, 1, 2, 3])
        return self.window(source, self.tensors[source].shape[-1] * multiplier, multiplier)

    def window(self, source: int, channels: int, multiplier: int) -> int | None:
        """CONV_2D, or DEPTHWISE_CONV_2D where `multiplier` is not 0."""
        shape = self.tensors[source].shape
        if len(shape) != 4 or channels > (1500 if self.large else 18):
            return None
        size = self.window_size(shape)
        stride = (self.one([1, 1, 2, 3]), self.one([1, 1, 2, 3]))
        dilation = (self.one([1, 1, 1, 2, 3]), self.one([1, 1, 1, 2, 3]))
        if self.chance(0.3):
            dilation = (1, 1)
        padding = self.padding_name()
        out = [output_size(padding, shape[a + 1], size[a], stride[a], dilation[a]) for a in (0, 1)]
        weights = math.prod(size) * channels * (1 if multiplier else shape[3])
        positions = shape[0] * math.prod(out)
        if min(out) < 1 or positions * channels > self.largest or not self.affords(weights, positions):
            return None
        output = self.activation((shape[0], *out, channels))
        activation = self.activation_name()
        if multiplier:
            constants = self.weights_and_bias((1, *size, channels), 3, source, output, self.chance(0.1))
            options = DepthwiseConv2D(padding, stride, dilation, activation, multiplier)
            return self.append("DEPTHWISE_CONV_2D", (source, *constants), output, options)
        constants = self.weights_and_bias((channels, *size, shape[3]), 0, source, output, self.chance(0.1))
        return self.append("CONV_2D", (source, *constants), output, Conv2D(padding, stride, dilation, activation))

    def window_size(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """By chance a column, or whole rows of the image."""
        if self.chance(0.2):
            return self.integer(2, max(2, min(shape[1] + 2, 15))), 1
        if self.chance(0.2):
            return self.integer(1, min(shape[1], 5)), shape[2]
        return self.integer(1, 4), self.integer(1, 4)

    def padding_name(self) -> str:
        return "SAME" if self.chance(0.5) else "VALID"

    def fully_connected(self, source: int, _values: list[int]) -> int | None:
        shape = self.tensors[source].shape
        keep = self.chance(0.2)
        depth = shape[-1] if keep or self.chance(0.2) else math.prod(shape)
        outputs = self.integer(1, 8)
        rows = shape[:-1] if keep else (math.prod(shape) // depth,)
        if not self.affords(outputs * depth, math.prod(rows)) or math.prod(rows) * outputs > self.largest:
            return None
        output = self.activation((*rows, outputs))
        constants = self.weights_and_bias((outputs, depth), 0, source, output, self.chance(0.6), wraps=False)
        options = FullyConnected(self.activation_name(), keep)
        return self.append("FULLY_CONNECTED", (source, *constants), output, options)

    def pool(self, source: int, _values: list[int]) -> int | None:
        tensor = self.tensors[source]
        if len(tensor.shape) != 4:
            return None
        size = (self.integer(1, tensor.shape[1]), self.integer(1, tensor.shape[2]))
        stride = (self.integer(1, 3), self.integer(1, 3))
        padding = self.padding_name()
        out = [output_size(padding, tensor.shape[a + 1], size[a], stride[a], 1) for a in (0, 1)]
        output = self.activation((tensor.shape[0], *out, tensor.shape[3]), tensor.quantization)
        options = Pool2D(padding, stride, size, self.activation_name())
        return self.append(self.kind("AVERAGE_POOL_2D", "MAX_POOL_2D"), (source,), output, options)

    def mean(self, source: int, _values: list[int]) -> int | None:
        tensor = self.tensors[source]
        if len(tensor.shape) != 4:
            return None
        axes = [(1, 2), (2, 1), (1,), (2,), (-2, 1)][self.integer(0, 4)]
        keep = self.chance(0.5)
        taken = {axis % 4 for axis in axes}
        shape = tuple(
            1 if axis in taken else length for axis, length in enumerate(tensor.shape) if keep or axis not in taken
        )
        scale = float32(tensor.scale / self.multipliers(1, 1.0)[0])
        output = self.activation(shape, Quantization((scale,), self.quantization().zero_point))
        axes_tensor = self.constant("axes", np.array(axes, np.int32))
        return self.append("MEAN", (source, axes_tensor), output, Mean(keep))

    def pairwise(self, source: int, values: list[int]) -> int | None:
        """ADD, SUB or MUL of two that broadcast; one may be a constant."""
        tensor = self.tensors[source]
        if self.chance(0.3):  # equal scales make the inputs' exponent 0
            scale = tensor.scale if self.chance(0.5) else self.quantization().scale[0]
            quantization = Quantization((scale,), self.quantization().zero_point)
            shape = tuple(1 if self.chance(0.2) else size for size in tensor.shape)
            shape = shape[self.integer(1, len(shape)) if self.chance(0.2) else 0 :]
            data = self.rng.integers(-128, 128, shape).astype(np.int8)
            other = self.constant("addend", data, quantization)
        else:
            other = self.one([index for index in values if self.broadcast(source, index)])
        shape = self.broadcast(source, other)
        if shape is None or math.prod(shape) > self.largest:
            return None
        operands = (source, other) if self.chance(0.5) else (other, source)
        kind = self.kind("ADD", "SUB", "MUL")
        quantization = self.sum_quantization(source, other)
        if kind == "MUL":
            scale = tensor.scale * self.tensors[other].scale * 128 * 2.0 ** self.rng.uniform(-9, 2)
            quantization = Quantization((float32(scale),), quantization.zero_point)
        return self.append(kind, operands, self.activation(shape, quantization), Elementwise(self.activation_name()))

    def broadcast(self, first: int, second: int) -> tuple[int, ...] | None:
        try:
            return np.broadcast_shapes(self.tensors[first].shape, self.tensors[second].shape)
        except ValueError:
            return None

    def sum_quantization(self, first: int, second: int) -> Quantization:
        larger = max(self.tensors[first].scale, self.tensors[second].scale)
        scale = larger * (1.0 if self.chance(0.3) else 2.0 ** self.rng.uniform(-4, 8))
        return Quantization((float32(scale),), self.quantization().zero_point)

    def softmax(self, source: int, _values: list[int]) -> int | None:
        if self.tensors[source].shape[-1] > 4095:
            return None
        output = self.activation(self.tensors[source].shape, Quantization((1 / 256,), (-128,)))
        beta = float32(self.one([1, 1, 2, 10]) * (0.5 if self.chance(0.2) else 1.0))
        return self.append("SOFTMAX", (source,), output, Softmax(beta))

    def function(self, source: int, _values: list[int]) -> int | None:
        """One of the functions of a single code."""
        tensor = self.tensors[source]
        kind = self.kind("QUANTIZE", "LEAKY_RELU", "LOGISTIC", "TANH", "HARD_SWISH", *_FUNCTIONS)
        scale = float32(tensor.scale * 2.0 ** self.rng.uniform(-6, 7))
        quantization = Quantization((scale,), self.quantization().zero_point)
        if kind == "HARD_SWISH" and not 1e-5 < tensor.scale < 500:
            return None
        if kind == "SQRT" and tensor.zero_point != -128:  # where the reference fails
            return None
        if kind == "EXP" and tensor.scale * (127 - tensor.zero_point) > 10:
            return None
        if kind in ("LOGISTIC", "TANH"):
            quantization = Quantization((1 / 256,), (-128,)) if kind == "LOGISTIC" else Quantization((1 / 128,), (0,))
        options = LeakyRelu(float32(self.rng.uniform(0, 1))) if kind == "LEAKY_RELU" else NoOptions()
        return self.append(kind, (source,), self.activation(tensor.shape, quantization), options)

    def update_state(self, source: int, values: list[int]) -> int | None:
        """ADD of `source` to a persistent tensor, a new one or one that is there."""
        tensor = self.tensors[source]
        written = {operator.outputs[0] for operator in self.operators}  # once in an entry, as in a file
        fitting = [i for i in self.states if self.tensors[i].shape == tensor.shape and i not in (source, *written)]
        if fitting and self.chance(0.7):
            state = self.one(fitting)
        else:
            data = self.rng.integers(-128, 128, tensor.shape).astype(np.int8)
            scale = float32(tensor.scale * 2.0 ** self.rng.uniform(-2, 4))
            quantization = Quantization((scale,), self.quantization().zero_point)
            state = self.new("state", Tensor("", tensor.shape, "int8", quantization, data, persistent=True))
            self.states.append(state)
        return self.append("ADD", (state, source), state, Elementwise(self.activation_name()))

    def prelu(self, source: int, _values: list[int]) -> int:
        """A slope for every channel, mostly; its scale is such that products fill the codes."""
        tensor = self.tensors[source]
        shape = tensor.shape[-1:] if self.chance(0.7) else tensor.shape
        data = self.rng.integers(-128, 128, shape).astype(np.int8)
        slope = self.constant("slope", data, self.quantization())
        scale = float32(tensor.scale * 2.0 ** self.rng.uniform(-3, 3))
        output = self.activation(tensor.shape, Quantization((scale,), self.quantization().zero_point))
        return self.append("PRELU", (source, slope), output, NoOptions())

    def position(self, source: int, _values: list[int]) -> int | None:
        """ARG_MAX or ARG_MIN, whose output is no code: nothing reads it."""
        shape = self.tensors[source].shape
        axis = self.integer(0, len(shape) - 1)
        if len(shape) < 2:
            return None
        output = self.new("position", Tensor("", (*shape[:axis], *shape[axis + 1 :]), self.kind("int32", "int64")))
        inputs = (source, self.constant("axis", np.array(axis, np.int32)))
        return self.append(self.kind("ARG_MAX", "ARG_MIN"), inputs, output, NoOptions())

    def extreme(self, source: int, values: list[int]) -> int | None:
        """MAXIMUM or MINIMUM with a constant or with what has the same quantisation."""
        tensor = self.tensors[source]
        same = [i for i in values if self.tensors[i].quantization == tensor.quantization and self.broadcast(source, i)]
        if self.chance(0.5):
            shape = tuple(1 if self.chance(0.3) else size for size in tensor.shape)
            data = self.rng.integers(-128, 128, shape).astype(np.int8)
            other = self.constant("bound", data, tensor.quantization)
        else:
            other = self.one(same)
        shape = self.broadcast(source, other) or ()
        if math.prod(shape) > self.largest:
            return None
        operands = (source, other) if self.chance(0.5) else (other, source)
        output = self.activation(shape, tensor.quantization)
        return self.append(self.kind("MAXIMUM", "MINIMUM"), operands, output, NoOptions())

    def resize(self, source: int, _values: list[int]) -> int | None:
        """RESIZE_NEAREST_NEIGHBOR or RESIZE_BILINEAR, up and down."""
        tensor = self.tensors[source]
        if len(tensor.shape) != 4:
            return None
        size = np.array([self.integer(1, 2 * length) for length in tensor.shape[1:3]], np.int32)
        shape = (tensor.shape[0], *size.tolist(), tensor.shape[3])
        if math.prod(shape) > self.largest:
            return None
        kind = self.kind("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR")
        align = self.chance(0.5)
        options = Resize(align, self.chance(0.5) and not (align and kind == "RESIZE_BILINEAR"))
        output = self.activation(shape, tensor.quantization)
        return self.append(kind, (source, self.constant("size", size)), output, options)
