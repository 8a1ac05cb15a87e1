"""Random integer graphs and inputs, each from one seed: what every executor, emitter and plan must agree on.

All operators, options and quantisations that `lower` accepts occur, on shapes so small that thousands run in seconds.
One graph in eight is large along some axis, for there the ranges of instructions end: offsets, constants, branches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

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

_LARGEST = 500  # elements of an activation
_LARGEST_OF_LARGE = 12_000
_WEIGHTS = 40_000  # of a layer
_MACS = 250_000


def random_graph(seed: int, operators: int = 7) -> Graph:
    """The graph of `seed`, with up to `operators` drawn operators in each of one or two entries."""
    return _Builder(np.random.default_rng(seed), is_large(seed)).graph(f"random_{seed}", operators)


def is_large(seed: int) -> bool:
    """Whether the graph of `seed` is: the draws of the others do not depend on it."""
    return bool(np.random.default_rng((seed, 8)).random() < 1 / 8)


def random_inputs(graph: Graph, seed: int, count: int = 4, entry: str | None = None) -> list[np.ndarray]:
    """`count` samples (count, *shape) for each input of `entry` (default: the first), as executors take them.

    A sample is, by chance, uniform, made of the two extreme codes only, or of one code everywhere.
    """
    rng = np.random.default_rng(seed)
    chosen = next(candidate for candidate in graph.entries if entry in (None, candidate.name))
    inputs = []
    for index in chosen.inputs:
        tensor = graph.tensors[index]
        data = rng.integers(-128, 128, (count, *tensor.shape))
        for sample in data:
            style = rng.integers(4)
            if style == 0:
                sample[...] = rng.choice([-128, 127], tensor.shape)
            elif style == 1:
                sample[...] = rng.choice([-128, 127, tensor.zero_point, rng.integers(-128, 128)])
        inputs.append(data.astype(np.int8))
    return inputs


class _Builder:
    """Draws tensors and operators. An operator's method gives its output tensor, or None where it does not fit."""

    def __init__(self, rng: np.random.Generator, large: bool) -> None:
        self.rng, self.large = rng, large
        self.largest = _LARGEST_OF_LARGE if large else _LARGEST
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.states: list[int] = []

    def graph(self, name: str, most: int) -> Graph:
        first = self.entry("invoke", most, [])
        if self.chance(0.7):
            return Graph(name, self.tensors, [first])
        shared = first.operators[: self.integer(0, len(first.operators))]
        return Graph(name, self.tensors, [first, self.entry("enrol", most, shared)])

    def entry(self, name: str, most: int, shared: Sequence[Operator]) -> Entry:
        """An entry that begins with the operators `shared`: their constants and states, but activations of its own."""
        renamed: dict[int, int] = {}
        self.operators = [
            Operator(
                operator.kind,
                tuple(self.twin(index, renamed) for index in operator.inputs),
                tuple(self.twin(index, renamed) for index in operator.outputs),
                operator.options,
            )
            for operator in shared
        ]
        written = {operator.outputs[0] for operator in self.operators}
        inputs = [index for index in renamed.values() if index not in written]
        if not inputs or self.chance(0.3):
            inputs.append(self.activation(self.image()))
        values = [*self.states, *inputs, *(index for index in renamed.values() if index in written)]
        draws = [self.convolution, self.depthwise, self.fully_connected, self.pool, self.mean]
        draws += [self.pairwise, self.softmax, self.rename, self.update_state]
        draws += [self.function, self.transpose, self.strided_slice, self.concatenation, self.pad]
        often = np.array([4, 4, 2, 2, 1, 4, 1, 2, 1, 3, 1, 2, 2, 1]) / 30
        wanted = len(self.operators) + self.integer(1, most)
        while len(self.operators) < wanted:
            source = values[-1] if self.chance(0.6) else self.one(values)  # chains grow, branches happen
            output = draws[self.rng.choice(len(draws), p=often)](source, values)
            if output is not None and output not in values:
                values.append(output)
        read = {index for operator in self.operators for index in operator.inputs}
        outputs = dict.fromkeys(operator.outputs[0] for operator in self.operators)
        chosen = [index for index in outputs if index not in read or self.chance(0.15)]
        return Entry(name, tuple(inputs), tuple(chosen or list(outputs)[-1:]), self.operators)

    def twin(self, index: int, renamed: dict[int, int]) -> int:
        if index < 0 or self.tensors[index].data is not None:
            return index
        if index not in renamed:
            tensor = self.tensors[index]
            renamed[index] = self.activation(tensor.shape, tensor.quantization)
        return renamed[index]

    # Draws of plain values

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def integer(self, low: int, high: int) -> int:
        """Uniform, both ends included."""
        return int(self.rng.integers(low, high + 1))

    def one(self, items: Sequence[int]) -> int:
        return int(items[self.integer(0, len(items) - 1)])

    def image(self) -> tuple[int, ...]:
        """By chance a signal: one column, of a few more channels. Of a large graph: wide, tall, or of many channels."""
        if self.large:
            shape = [self.integer(1, 3), self.integer(1, 3), self.integer(1, 6)]
            long = int(2 ** self.rng.uniform(5, 10.55))  # 32 to 1,500
            shape[self.integer(0, 2)] = long
            return (1, *shape) if math.prod(shape) <= self.largest else (1, 1, 1, long)
        if self.chance(0.3):
            return (1, self.integer(1, 20), 1, self.one([1, 2, 4, 8, 16]))
        return (1, self.integer(1, 7), self.integer(1, 7), self.integer(1, 6))

    def quantization(self) -> Quantization:
        zero_point = self.one([-128, 127, 0, -1]) if self.chance(0.4) else self.integer(-128, 127)
        return Quantization((_float32(10 ** self.rng.uniform(-3, 0)),), (zero_point,))

    def activation_name(self) -> str:
        return str(self.rng.choice(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"], p=[0.4, 0.4, 0.1, 0.1]))

    def multipliers(self, count: int, natural: float) -> np.ndarray:
        """Real multipliers: about `natural`, which fills the output's range; or anything from the least shift up."""
        if self.chance(0.2):
            return 2.0 ** self.rng.uniform(-33, 8, count)
        return natural * 2.0 ** self.rng.uniform(-3, 3, count)

    # Tensors

    def new(self, kind: str, tensor: Tensor) -> int:
        tensor.name = f"{kind}_{len(self.tensors)}"
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def activation(self, shape: tuple[int, ...], quantization: Quantization | None = None) -> int:
        return self.new("activation", Tensor("", shape, "int8", quantization or self.quantization()))

    def constant(self, kind: str, data: np.ndarray, quantization: Quantization | None = None) -> int:
        return self.new(kind, Tensor("", data.shape, str(data.dtype), quantization, data))

    def append(self, kind: str, inputs: tuple[int, ...], output: int, options: object) -> int:
        self.operators.append(Operator(kind, inputs, (output,), options))
        return output

    def weights_and_bias(
        self, shape: tuple[int, ...], axis: int, source: int, output: int, per_tensor: bool, wraps: bool = True
    ) -> tuple[int, ...]:
        """Weights and bias (which may be left out) between `source` and `output`.

        `wraps`: a left shift may push accumulators beyond int32.
        """
        spread = self.one([1, 20, 127])
        weights = self.rng.integers(-spread, spread + 1, shape)
        if self.chance(0.1):
            weights = self.rng.choice([-127, 127], shape)
        elif self.chance(0.15):
            weights *= self.rng.random(shape) < self.one([0.05, 0.15, 0.3])
        channels = shape[axis]
        sums = np.abs(weights).sum(axis=tuple(a for a in range(len(shape)) if a != axis))
        typical = 60 * np.sqrt(weights.size / channels) * spread / 2
        real = self.multipliers(1 if per_tensor else channels, 60 / typical)
        zero_point = self.tensors[source].zero_point
        reach = sums * max(127 - zero_point, zero_point + 128)
        limit = np.full(channels, 2**31 - 1)
        if not wraps:
            real = np.minimum(real, 2.0**30 / reach.max(initial=1) / 2)
            limit >>= np.maximum(np.frexp(real)[1] + 1, 0)
        ratio = self.tensors[output].scale / self.tensors[source].scale
        scales = tuple(_float32(value * ratio) for value in real)
        zero_points = (0,) * len(scales)
        index = self.constant("weights", weights.astype(np.int8), Quantization(scales, zero_points, axis))
        if self.chance(0.15):
            return (index, -1) if self.chance(0.5) else (index,)
        room = limit - reach
        bias = self.rng.normal(0, typical, channels).round().clip(-room, room)
        extreme = self.rng.random(channels) < (0.1 if self.chance(0.3) else 0)
        bias = np.where(extreme, self.rng.choice([-1, 1], channels) * room, bias).astype(np.int32)
        quantized = Quantization(
            tuple(_float32(self.tensors[source].scale * scale) for scale in scales), zero_points, 0
        )
        return index, self.constant("bias", bias, quantized)

    # Operators

    def convolution(self, source: int, _values: list[int]) -> int | None:
        wide = self.large and self.chance(0.3)
        return self.window(source, self.integer(1, 1500 if wide else 6), 0)

    def depthwise(self, source: int, _values: list[int]) -> int | None:
        multiplier = self.one([1, 1, 2, 3])
        return self.window(source, self.tensors[source].shape[-1] * multiplier, multiplier)

    def window(self, source: int, channels: int, multiplier: int) -> int | None:
        """CONV_2D, or DEPTHWISE_CONV_2D where `multiplier` is not 0."""
        shape = self.tensors[source].shape
        if len(shape) != 4 or shape[0] > 1 or channels > (1500 if self.large else 18):
            return None
        size = self.window_size(shape)
        stride = (self.one([1, 1, 2, 3]), self.one([1, 1, 2, 3]))
        dilation = (self.one([1, 1, 1, 2, 3]), self.one([1, 1, 1, 2, 3]))
        if self.chance(0.3):
            dilation = (1, 1)
        padding = self.padding_name()
        out = [_output_size(padding, shape[a + 1], size[a], stride[a], dilation[a]) for a in (0, 1)]
        weights = math.prod(size) * channels * (1 if multiplier else shape[3])
        if min(out) < 1 or math.prod(out) * channels > self.largest or not self.affords(weights, math.prod(out)):
            return None
        output = self.activation((1, *out, channels))
        activation = self.activation_name()
        if multiplier:
            constants = self.weights_and_bias((1, *size, channels), 3, source, output, self.chance(0.1))
            options = DepthwiseConv2D(padding, stride, dilation, activation, multiplier)
            return self.append("DEPTHWISE_CONV_2D", (source, *constants), output, options)
        constants = self.weights_and_bias((channels, *size, shape[3]), 0, source, output, self.chance(0.1))
        return self.append("CONV_2D", (source, *constants), output, Conv2D(padding, stride, dilation, activation))

    def affords(self, weights: int, positions: int) -> bool:
        """Whether a layer is small enough, which those of small graphs always are."""
        return not self.large or (weights <= _WEIGHTS and weights * positions <= _MACS)

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
        if len(tensor.shape) != 4 or tensor.shape[0] > 1:
            return None
        size = (self.integer(1, tensor.shape[1]), self.integer(1, tensor.shape[2]))
        stride = (self.integer(1, 3), self.integer(1, 3))
        padding = self.padding_name()
        out = [_output_size(padding, tensor.shape[a + 1], size[a], stride[a], 1) for a in (0, 1)]
        output = self.activation((1, *out, tensor.shape[3]), tensor.quantization)
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
        scale = _float32(tensor.scale / self.multipliers(1, 1.0)[0])
        output = self.activation(shape, Quantization((scale,), self.quantization().zero_point))
        axes_tensor = self.constant("axes", np.array(axes, np.int32))
        return self.append("MEAN", (source, axes_tensor), output, Mean(keep))

    def kind(self, *kinds: str) -> str:
        return str(self.rng.choice(kinds))

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
            quantization = Quantization((_float32(scale),), quantization.zero_point)
        return self.append(kind, operands, self.activation(shape, quantization), Elementwise(self.activation_name()))

    def broadcast(self, first: int, second: int) -> tuple[int, ...] | None:
        try:
            return np.broadcast_shapes(self.tensors[first].shape, self.tensors[second].shape)
        except ValueError:
            return None

    def sum_quantization(self, first: int, second: int) -> Quantization:
        larger = max(self.tensors[first].scale, self.tensors[second].scale)
        scale = larger * (1.0 if self.chance(0.3) else 2.0 ** self.rng.uniform(-4, 8))
        return Quantization((_float32(scale),), self.quantization().zero_point)

    def softmax(self, source: int, _values: list[int]) -> int:
        output = self.activation(self.tensors[source].shape, Quantization((1 / 256,), (-128,)))
        beta = _float32(self.one([1, 1, 2, 10]) * (0.5 if self.chance(0.2) else 1.0))
        return self.append("SOFTMAX", (source,), output, Softmax(beta))

    def function(self, source: int, _values: list[int]) -> int | None:
        """One of the functions of a single code."""
        tensor = self.tensors[source]
        kind = self.kind("RELU", "RELU6", "LOGISTIC", "TANH", "HARD_SWISH", "QUANTIZE")
        scale = _float32(tensor.scale * 2.0 ** self.rng.uniform(-6, 7))
        quantization = Quantization((scale,), self.quantization().zero_point)
        if kind == "HARD_SWISH" and not 1e-5 < tensor.scale < 500:
            return None
        if kind in ("LOGISTIC", "TANH"):
            quantization = Quantization((1 / 256,), (-128,)) if kind == "LOGISTIC" else Quantization((1 / 128,), (0,))
        return self.append(kind, (source,), self.activation(tensor.shape, quantization), NoOptions())

    def transpose(self, source: int, _values: list[int]) -> int:
        tensor = self.tensors[source]
        order = self.rng.permutation(len(tensor.shape))
        output = self.activation(tuple(tensor.shape[axis] for axis in order), tensor.quantization)
        return self.append("TRANSPOSE", (source, self.constant("order", order.astype(np.int32))), output, NoOptions())

    def strided_slice(self, source: int, _values: list[int]) -> int | None:
        """Steps back too, open ends, and the axes of one element left out by chance."""
        tensor = self.tensors[source]
        shape, rank = tensor.shape, len(tensor.shape)
        if rank == 4 and self.chance(0.3):
            return self.crop(source)
        begins = np.array([self.integer(-size, size - 1) for size in shape], np.int32)
        steps = self.rng.choice([-2, -1, 1, 1, 2], rank).astype(np.int32)
        ends = np.array([self.integer(-size - 2, size + 2) for size in shape], np.int32)
        shrink = int(self.rng.integers(1 << rank)) if rank > 2 and self.chance(0.3) else 0
        open_begin, open_end = ((int(self.rng.integers(1 << rank)) & ~shrink) for _ in range(2))
        out = []
        for axis, size in enumerate(shape):
            if shrink >> axis & 1:
                steps[axis], ends[axis] = 1, begins[axis] + 1
                continue
            first = None if open_begin >> axis & 1 else int(begins[axis])
            last = None if open_end >> axis & 1 else int(ends[axis])
            out.append(len(range(*slice(first, last, int(steps[axis])).indices(size))))
        if 0 in out or not out:
            return None
        constants = (self.constant(name, data) for name, data in zip("bes", (begins, ends, steps), strict=True))
        output = self.activation(tuple(out), tensor.quantization)
        options = StridedSlice(open_begin, open_end, shrink)
        return self.append("STRIDED_SLICE", (source, *constants), output, options)

    def crop(self, source: int) -> int:
        """A slice along the first axis of an image: bytes that lie together."""
        tensor = self.tensors[source]
        begin = self.integer(0, tensor.shape[1] - 1)
        end = self.integer(begin + 1, tensor.shape[1])
        shape = (tensor.shape[0], end - begin, *tensor.shape[2:])
        values = ((0, begin, 0, 0), (tensor.shape[0], end, *tensor.shape[2:]), (1, 1, 1, 1))
        constants = (self.constant(name, np.array(data, np.int32)) for name, data in zip("bes", values, strict=True))
        return self.append(
            "STRIDED_SLICE", (source, *constants), self.activation(shape, tensor.quantization), StridedSlice()
        )

    def concatenation(self, source: int, values: list[int]) -> int | None:
        """Of what has the same quantisation and fits along some axis, or the tensor with itself or a constant."""
        tensor = self.tensors[source]
        axis = self.integer(0, len(tensor.shape) - 1)

        def others(shape: tuple[int, ...]) -> tuple[int, ...]:
            return (*shape[:axis], *shape[axis + 1 :])

        fitting = [
            index
            for index in values
            if len(self.tensors[index].shape) == len(tensor.shape)
            and others(self.tensors[index].shape) == others(tensor.shape)
            and self.tensors[index].quantization == tensor.quantization
        ]
        inputs = [source, *(self.one(fitting) for _ in range(self.integer(0, 2)))]
        if self.chance(0.3):
            data = self.rng.integers(-128, 128, tensor.shape).astype(np.int8)
            inputs.insert(self.integer(0, 1), self.constant("part", data, tensor.quantization))
        length = sum(self.tensors[index].shape[axis] for index in inputs)
        shape = (*tensor.shape[:axis], length, *tensor.shape[axis + 1 :])
        if math.prod(shape) > self.largest:
            return None
        output = self.activation(shape, tensor.quantization)
        axis -= len(shape) if self.chance(0.5) else 0
        return self.append("CONCATENATION", tuple(inputs), output, Concatenation(axis))

    def pad(self, source: int, _values: list[int]) -> int | None:
        tensor = self.tensors[source]
        paddings = self.rng.choice([0, 0, 1, 2], (len(tensor.shape), 2)).astype(np.int32)
        if len(tensor.shape) == 4:
            paddings[0] = 0  # convolutions take one image
        shape = tuple(int(size + before) for size, before in zip(tensor.shape, paddings.sum(axis=1), strict=True))
        if math.prod(shape) > self.largest:
            return None
        output = self.activation(shape, tensor.quantization)
        return self.append("PAD", (source, self.constant("paddings", paddings)), output, NoOptions())

    def rename(self, source: int, _values: list[int]) -> int:
        """RESHAPE, SQUEEZE or EXPAND_DIMS."""
        tensor = self.tensors[source]
        kind = self.kind("RESHAPE", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "EXPAND_DIMS")
        if kind == "SQUEEZE":
            shape = tuple(size for size in tensor.shape if size > 1) or (1,)
            return self.append(kind, (source,), self.activation(shape, tensor.quantization), NoOptions())
        if kind == "EXPAND_DIMS" and len(tensor.shape) < 4:
            shape = (1, *tensor.shape)
            axis = self.constant("axis", np.array([self.one([0, -len(shape)])], np.int32))
            return self.append(kind, (source, axis), self.activation(shape, tensor.quantization), NoOptions())
        count = math.prod(tensor.shape)
        height = self.one([factor for factor in range(1, count + 1) if count % factor == 0])
        width = self.one([factor for factor in range(1, count + 1) if (count // height) % factor == 0])
        shape = (1, height, width, count // height // width) if self.chance(0.6) else (1, count)
        shape_tensor = self.constant("shape", np.array(shape, np.int32))
        output = self.activation(shape, tensor.quantization)
        return self.append("RESHAPE", (source, shape_tensor), output, NoOptions())

    def update_state(self, source: int, values: list[int]) -> int | None:
        """ADD of `source` to a persistent tensor, a new one or one that is there."""
        tensor = self.tensors[source]
        written = {operator.outputs[0] for operator in self.operators}  # once in an entry, as in a file
        fitting = [i for i in self.states if self.tensors[i].shape == tensor.shape and i not in (source, *written)]
        if fitting and self.chance(0.7):
            state = self.one(fitting)
        else:
            data = self.rng.integers(-128, 128, tensor.shape).astype(np.int8)
            scale = _float32(tensor.scale * 2.0 ** self.rng.uniform(-2, 4))
            quantization = Quantization((scale,), self.quantization().zero_point)
            state = self.new("state", Tensor("", tensor.shape, "int8", quantization, data, persistent=True))
            self.states.append(state)
        return self.append("ADD", (state, source), state, Elementwise(self.activation_name()))


def _float32(value: float) -> float:
    return float(np.float32(value))


def _output_size(padding: str, size: int, window: int, stride: int, dilation: int) -> int:
    return -(-size // stride) if padding == "SAME" else (size - (window - 1) * dilation - 1) // stride + 1
