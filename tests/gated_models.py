"""Random gated models of DS-CNN's shape, with their enrolment networks and early exits, each from one seed."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.formats import tflite
from mcu_codegen.graph import (
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
from mcu_codegen.listen import frontend

LABELS = ["_silence_", "_unknown_", "yes", "no", "up", "down"]


def gated_model(
    seed: int = 0,
    *,
    frames: int = 13,
    channels: int = 16,
    blocks: int = 2,
    size: int = 4,
    kernel: tuple[int, int] = (5, 4),
    stride: tuple[int, int] = (2, 2),
    window: tuple[int, int] = (3, 3),
    zero_point: int = -128,
    residual: bool = False,
    exits: bool = False,
    norms: bool = False,
) -> tuple[Graph, Graph]:
    """(model, enrolment network), as read from their files. Inputs are `frames` frames of front end mfcc10.

    A `residual` one is of Res1D's shape: all its layers share one group, and `kernel` and `stride` are as high as the
    stem's alone. With `exits`, one is after the stem and after every block but the last, each taken by about half of
    the `features` that reach it. With `norms` every depthwise layer is followed by a norm of columns as BC-ResNet's.
    """
    builder = _Builder(np.random.default_rng(seed), frames, zero_point)
    source = value = builder.input()
    groups, heads = [], [builder.head(source, (1,), channels // size)]
    early: list[list[Operator]] = []

    def leave(axes: tuple[int, ...]) -> None:
        if exits:
            first = len(builder.operators)
            builder.scores(builder.mean(value, axes), len(LABELS))
            early.append(builder.operators[first:])

    if residual:
        value = builder.frames_convolution(value, channels, kernel[0], stride[0])
        names = [value]
        for _ in range(blocks):
            leave((1, 2))
            names += builder.block(value)
            value = names[-1]
    else:
        value = builder.convolution(value, channels, kernel, stride)
        names = [value]
        for block in range(blocks):
            leave((1,) if block % 2 else (1, 2))
            value = builder.depthwise(value, (1, 1), window)
            names += [value, *(builder.norm(value) if norms else ())]
            value = names[-1]
            groups.append({"name": f"group{block}", "tensors": names, "size": size})
            value = builder.convolution(value, channels, (1, 1), (1, 1))
            heads.append(builder.head(value, (1, 2), channels // size))
            names = [value]
    groups.append({"name": f"group{len(groups)}", "tensors": names, "size": size})
    for group in groups:
        group["tensors"] = [builder.tensors[index].name for index in group["tensors"]]
    in_heads, in_exits = ({id(each) for part in parts for each in part} for parts in (heads, early))
    enrolling = [operator for operator in builder.operators if id(operator) not in in_exits]
    output = builder.classify(value, len(LABELS))
    own = [operator for operator in builder.operators if id(operator) not in in_heads]
    metadata = {
        "front_end": "mfcc10",
        "labels": LABELS,
        "decision": {"stride_hops": 10, "smoothing": 3, "threshold": 60, "refractory_hops": 50},
        "gates": groups,
    }
    scores = tuple(part[-1].outputs[0] for part in early)
    graph = Graph("model", builder.tensors, [Entry("invoke", (source,), (*scores, output), own)], metadata)
    if exits:
        metadata["exits"] = {"thresholds": _thresholds(graph, scores)}
    data = tflite.write(_used(graph))
    model = tflite.read_bytes(data, "model.tflite")
    steps = np.random.default_rng([seed, 1]).integers(-40, 41, (len(groups), len(LABELS), channels // size))
    metadata["absent"] = steps.tolist()
    metadata["model"] = hashlib.sha256(data).hexdigest()[:16]
    outputs = tuple(head[-1].outputs[0] for head in heads)
    gates = Entry("invoke", (source,), outputs, enrolling)
    enrolment = tflite.read_bytes(
        tflite.write(_used(Graph("enrol", builder.tensors, [gates], metadata))), "enrol.tflite"
    )
    return model, enrolment


def features(model: Graph, count: int, seed: int = 0) -> np.ndarray:
    """int8 (count, *input shape): loud and quiet random features."""
    rng = np.random.default_rng(seed)
    shape = model.tensors[model.main.inputs[0]].shape
    loudness = rng.uniform(0.2, 1, (count, 1, 1, 1, 1))
    return (loudness * rng.integers(-128, 128, (count, *shape))).astype(np.int8)


def _thresholds(graph: Graph, scores: tuple[int, ...]) -> list[int]:
    """At each exit, the median of the highest codes of those that did not leave before."""
    values = NumpyExecutor(graph).run([features(graph, 64)])
    left = np.ones(64, bool)
    found = []
    for index in scores:
        highest = values[index].max(axis=(1, 2))
        found.append(int(np.median(highest[left] if left.any() else highest)))
        left &= highest < found[-1]
    return found


def random_gates(rng: np.random.Generator, counts: list[int]) -> list[np.ndarray]:
    """About half of the gates open, one at least."""
    gates = [rng.random(count) < 0.5 for count in counts]
    for gate in gates:
        gate[rng.integers(len(gate))] = True
    return gates


def _used(graph: Graph) -> Graph:
    """The same graph without tensors that no entry uses."""
    used = sorted(
        {
            index
            for entry in graph.entries
            for operator in entry.operators
            for index in (*entry.inputs, *operator.inputs, *operator.outputs)
        }
    )
    place = {old: new for new, old in enumerate(used)}
    entries = [
        Entry(
            entry.name,
            tuple(place[index] for index in entry.inputs),
            tuple(place[index] for index in entry.outputs),
            [
                Operator(
                    operator.kind,
                    tuple(place[index] for index in operator.inputs),
                    tuple(place[index] for index in operator.outputs),
                    operator.options,
                )
                for operator in entry.operators
            ],
        )
        for entry in graph.entries
    ]
    return Graph(graph.name, [graph.tensors[index] for index in used], entries, graph.metadata)


class _Builder:
    def __init__(self, rng: np.random.Generator, frames: int, zero_point: int) -> None:
        self.rng = rng
        self.frames = frames
        self.zero_point = zero_point
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []

    def new(
        self, shape: tuple[int, ...], dtype: str, quantization: Quantization | None, data: np.ndarray | None
    ) -> int:
        self.tensors.append(Tensor(f"tensor_{len(self.tensors)}", shape, dtype, quantization, data))
        return len(self.tensors) - 1

    def input(self) -> int:
        front_end = frontend.PRESETS["mfcc10"]
        quantization = Quantization((float(np.float32(front_end.scale)),), (front_end.zero_point,))
        return self.new((1, self.frames, front_end.coefficients, 1), "int8", quantization, None)

    def append(self, kind: str, inputs: tuple[int, ...], output: int, options: object) -> int:
        self.operators.append(Operator(kind, inputs, (output,), options))
        return output

    def weighted(
        self, kind: str, source: int, output_shape: tuple[int, ...], shape: tuple[int, ...], axis: int, options: object
    ) -> int:
        """An operator with random weights of `shape` whose outputs use their range."""
        channels = shape[axis]
        fan_in = math.prod(shape) // channels
        weights = self.rng.integers(-127, 128, shape).astype(np.int8)
        typical = 90 * 73 * math.sqrt(fan_in)  # of an accumulator
        relu = getattr(options, "activation", "NONE") == "RELU"
        quantization = Quantization((0.05,), (self.zero_point if relu else 5,))
        scales = np.float32(0.05 / self.tensors[source].scale * 60 / typical * self.rng.uniform(0.7, 1.4, channels))
        bias = self.rng.normal(0, typical / 2, channels).astype(np.int32)
        zeros = (0,) * channels
        constants = (
            self.new(shape, "int8", Quantization(tuple(map(float, scales)), zeros, axis), weights),
            self.new(
                (channels,),
                "int32",
                Quantization(tuple(float(np.float32(self.tensors[source].scale * s)) for s in scales), zeros),
                bias,
            ),
        )
        return self.append(kind, (source, *constants), self.new(output_shape, "int8", quantization, None), options)

    def convolution(self, source: int, channels: int, kernel: tuple[int, int], stride: tuple[int, int]) -> int:
        _, rows, columns, depth = self.tensors[source].shape
        output = (1, -(-rows // stride[0]), -(-columns // stride[1]), channels)
        options = Conv2D("SAME", stride, activation="RELU")
        return self.weighted("CONV_2D", source, output, (channels, *kernel, depth), 0, options)

    def depthwise(self, source: int, stride: tuple[int, int], window: tuple[int, int]) -> int:
        _, rows, columns, channels = self.tensors[source].shape
        output = (1, -(-rows // stride[0]), -(-columns // stride[1]), channels)
        options = DepthwiseConv2D("SAME", stride, activation="RELU")
        return self.weighted("DEPTHWISE_CONV_2D", source, output, (1, *window, channels), 3, options)

    def norm(self, source: int) -> list[int]:
        """Every channel of every column with a factor of its own: the tensors that it writes, the last its result."""
        _, rows, columns, channels = shape = self.tensors[source].shape
        wide = (1, rows, 1, columns * channels)
        spread = self.reshape(source, wide)
        options = DepthwiseConv2D("VALID", (1, 1))
        normal = self.weighted("DEPTHWISE_CONV_2D", spread, wide, (1, 1, 1, wide[-1]), 3, options)
        return [spread, normal, self.reshape(normal, shape)]

    def reshape(self, source: int, shape: tuple[int, ...]) -> int:
        target = self.new((len(shape),), "int32", None, np.array(shape, np.int32))
        output = self.new(shape, "int8", self.tensors[source].quantization, None)
        return self.append("RESHAPE", (source, target), output, NoOptions())

    def frames_convolution(self, source: int, channels: int, height: int, stride: int) -> int:
        """A convolution of whole frames."""
        _, rows, columns, depth = self.tensors[source].shape
        output = (1, (rows - height) // stride + 1, 1, channels)
        options = Conv2D("VALID", (stride, 1), activation="RELU")
        return self.weighted("CONV_2D", source, output, (channels, height, columns, depth), 0, options)

    def block(self, source: int) -> list[int]:
        """A residual block of three rows: the tensors that it writes, the last one being its result."""
        _, rows, _, channels = self.tensors[source].shape
        shape = (1, rows - 2, 1, channels)
        options = DepthwiseConv2D("VALID", (1, 1))
        depthwise = self.weighted("DEPTHWISE_CONV_2D", source, shape, (1, 3, 1, channels), 3, options)
        pointwise = self.weighted("CONV_2D", depthwise, shape, (channels, 1, 1, channels), 0, Conv2D("VALID", (1, 1)))
        bounds = [np.array(bound, np.int32) for bound in ([0, 1, 0, 0], [1, rows - 1, 1, channels], [1, 1, 1, 1])]
        places = [self.new((4,), "int32", None, bound) for bound in bounds]
        cropped = self.new(shape, "int8", self.tensors[source].quantization, None)
        self.append("STRIDED_SLICE", (source, *places), cropped, StridedSlice())
        total = self.new(shape, "int8", Quantization((0.07,), (self.zero_point,)), None)
        self.append("ADD", (pointwise, cropped), total, Elementwise("RELU"))
        return [depthwise, pointwise, cropped, total]

    def head(self, source: int, axes: tuple[int, ...], gates: int) -> list[Operator]:
        """Logits of one group from a mean of `source`."""
        first = len(self.operators)
        mean = self.mean(source, axes)
        depth = self.tensors[mean].bytes
        hidden = self.weighted("FULLY_CONNECTED", mean, (1, 8), (8, depth), 0, FullyConnected("RELU"))
        self.weighted("FULLY_CONNECTED", hidden, (1, gates), (gates, 8), 0, FullyConnected())
        return self.operators[first:]

    def mean(self, source: int, axes: tuple[int, ...]) -> int:
        tensor = self.tensors[source]
        shape = tuple(length for axis, length in enumerate(tensor.shape) if axis not in axes)
        constant = self.new((len(axes),), "int32", None, np.array(axes, np.int32))
        return self.append("MEAN", (source, constant), self.new(shape, "int8", tensor.quantization, None), Mean())

    def scores(self, source: int, labels: int) -> int:
        """Scores of labels from all of `source`."""
        depth = self.tensors[source].bytes
        logits = self.weighted("FULLY_CONNECTED", source, (1, labels), (labels, depth), 0, FullyConnected())
        scores = self.new((1, labels), "int8", Quantization((1 / 256,), (-128,)), None)
        return self.append("SOFTMAX", (logits,), scores, Softmax())

    def classify(self, source: int, labels: int) -> int:
        _, rows, columns, channels = self.tensors[source].shape
        quantization = self.tensors[source].quantization
        pooled = self.new((1, 1, 1, channels), "int8", quantization, None)
        pooled = self.append("AVERAGE_POOL_2D", (source,), pooled, Pool2D("VALID", (1, 1), (rows, columns)))
        return self.scores(self.reshape(pooled, (1, channels)), labels)
