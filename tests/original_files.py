"""Small files that hold every operator: what campaigns of malformed files begin with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mcu_codegen.formats import tflite
from mcu_codegen.formats.normalize import Split, TransposeConv, Unpack
from mcu_codegen.graph import (
    Concatenation,
    Conv2D,
    DepthwiseConv2D,
    Elementwise,
    Entry,
    FullyConnected,
    Gather,
    Graph,
    LeakyRelu,
    Mean,
    NoOptions,
    Operator,
    Pack,
    Pool2D,
    Quantization,
    Resize,
    Softmax,
    StridedSlice,
    Tensor,
)


def small_graph(seed: int = 0) -> Graph:
    """Operators with weights and some others, two entries, a persistent tensor, metadata; about 5 KB as a file."""
    rng = np.random.default_rng(seed)
    tensors: list[Tensor] = []

    def activation(name: str, *shape: int, scale: float = 0.25, zero_point: int = -3, **more: Any) -> int:
        quantization = Quantization((float(np.float32(scale)),), (zero_point,))
        tensors.append(Tensor(name, shape, "int8", quantization, **more))
        return len(tensors) - 1

    def constant(name: str, data: np.ndarray, quantization: Quantization | None = None) -> int:
        tensors.append(Tensor(name, data.shape, data.dtype.name, quantization, data))
        return len(tensors) - 1

    def weights(name: str, *shape: int, channels: int = 1, axis: int = 0) -> int:
        scales = tuple(rng.uniform(0.004, 0.02, channels).astype(np.float32).tolist())
        data = rng.integers(-127, 128, shape, dtype=np.int8)
        return constant(name, data, Quantization(scales, (0,) * channels, axis))

    def bias(name: str, count: int, source: int, filters: int) -> int:
        scales = np.float32(tensors[source].scale) * np.asarray(tensors[filters].quantization.scale, np.float32)
        quantization = Quantization(tuple(scales.tolist()), (0,) * len(scales))
        return constant(name, rng.integers(-500, 500, count, dtype=np.int32), quantization)

    x = activation("features", 1, 6, 5, 1)
    convolved = activation("convolved", 1, 3, 5, 4)
    filters = weights("filters", 4, 3, 2, 1, channels=4)
    convolution = Operator(
        "CONV_2D",
        (x, filters, bias("bias", 4, x, filters)),
        (convolved,),
        Conv2D("SAME", (2, 1), (1, 2), "RELU"),
    )
    filtered = activation("filtered", 1, 3, 5, 4)
    planes = weights("planes", 1, 3, 3, 4, channels=4, axis=3)
    depthwise = Operator("DEPTHWISE_CONV_2D", (convolved, planes), (filtered,), DepthwiseConv2D(depth_multiplier=1))
    state = activation(
        "state", 1, 3, 5, 4, scale=0.5, persistent=True, data=rng.integers(-9, 9, (1, 3, 5, 4), dtype=np.int8)
    )
    added = activation("added", 1, 3, 5, 4, scale=0.5)
    add = Operator("ADD", (filtered, state), (added,), Elementwise("RELU6"))
    update = Operator("ADD", (state, added), (state,), Elementwise())
    pooled = activation("pooled", 1, 1, 2, 4, scale=0.5)
    pool = Operator("AVERAGE_POOL_2D", (added,), (pooled,), Pool2D("VALID", (1, 2), (3, 3)))
    flat = activation("flat", 1, 8, scale=0.5)
    reshape = Operator("RESHAPE", (pooled,), (flat,), NoOptions())
    logits, scores = activation("logits", 1, 3), activation("scores", 1, 3, scale=1 / 256, zero_point=-128)
    matrix = weights("matrix", 3, 8)
    offsets = bias("offsets", 3, flat, matrix)
    dense = Operator("FULLY_CONNECTED", (flat, matrix, offsets), (logits,), FullyConnected())
    softmax = Operator("SOFTMAX", (logits,), (scores,), Softmax())
    invoke = Entry("invoke", (x,), (scores,), [convolution, depthwise, add, update, pool, reshape, dense, softmax])

    second, mean = activation("second", 1, 6, 5, 4), activation("mean", 1, 4, scale=0.1)
    axes = constant("axes", np.array([1, 2], np.int32))
    enrol = Entry("enrol", (second,), (mean,), [Operator("MEAN", (second, axes), (mean,), Mean(False))])
    metadata = {"front_end": "mfcc10", "labels": ["_silence_", "yes", "no"], "decision": {"stride_hops": 10}}
    return Graph("small", tensors, [invoke, enrol], metadata)


class _Chain:
    """Tensors and operators in a row."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []

    def add(self, tensor: Tensor) -> int:
        tensor.name = f"t{len(self.tensors)}"
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def activation(self, *shape: int, scale: float = 0.25, zero_point: int = -3, dtype: str = "int8") -> int:
        return self.add(Tensor("", shape, dtype, Quantization((scale,), (zero_point,))))

    def real(self, *shape: int) -> int:
        return self.add(Tensor("", shape, "float32"))

    def integers(self, *values: Any) -> int:
        data = np.array(values, np.int32)
        return self.add(Tensor("", data.shape, "int32", None, data))

    def codes(self, *shape: int, scale: float = 0.25, zero_point: int = -3) -> int:
        data = np.arange(math.prod(shape)).astype(np.int8).reshape(shape)
        return self.add(Tensor("", shape, "int8", Quantization((scale,), (zero_point,)), data))

    def append(self, kind: str, inputs: tuple[int, ...], outputs: int | tuple[int, ...], options: object = None) -> Any:
        written = outputs if isinstance(outputs, tuple) else (outputs,)
        self.operators.append(Operator(kind, inputs, written, options or NoOptions()))
        return outputs

    def file(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> bytes:
        return tflite.write(Graph("chain", self.tensors, [Entry("invoke", inputs, outputs, self.operators)]))


def chain_file() -> bytes:
    """The other operators, from a float input to a float output, in a row; SPLIT and float edges are only in files."""
    chain = _Chain()
    activation, real, integers, append = chain.activation, chain.real, chain.integers, chain.append
    x, second = real(1, 4, 4, 2), activation(1, 2, 6, scale=0.5, zero_point=120, dtype="uint8")
    here = append("QUANTIZE", (x,), activation(1, 4, 4, 2))
    here = append("PAD", (here, integers((0, 0), (1, 1), (2, 0), (0, 0))), activation(1, 6, 6, 2))
    here = append("MAX_POOL_2D", (here,), activation(1, 3, 3, 2), Pool2D("SAME", (2, 2), (3, 2)))
    here = append("TRANSPOSE", (here, integers(0, 3, 1, 2)), activation(1, 2, 3, 3))
    parts = append("SPLIT", (integers(1), here), (activation(1, 1, 3, 3), activation(1, 1, 3, 3)), Split(2))
    here = append("CONCATENATION", parts, activation(1, 1, 3, 6), Concatenation(-1))
    here = append("SQUEEZE", (here,), activation(3, 6))
    here = append("EXPAND_DIMS", (here, integers(0)), activation(1, 3, 6))
    where = (integers(0, 2, 5), integers(1, 0, -7), integers(1, -1, -1))
    here = append("STRIDED_SLICE", (here, *where), activation(1, 2, 6), StridedSlice(end_mask=1))
    other = append("QUANTIZE", (second,), activation(1, 2, 6))
    here = append("SUB", (here, other), activation(1, 2, 6), Elementwise("RELU6"))
    here = append("MUL", (here, other), activation(1, 2, 6, scale=0.5), Elementwise())
    for kind in ("RELU", "RELU6", "HARD_SWISH"):
        here = append(kind, (here,), activation(1, 2, 6))
    here = append("TANH", (here,), activation(1, 2, 6, scale=1 / 128, zero_point=0))
    here = append("LOGISTIC", (here,), activation(1, 2, 6, scale=1 / 256, zero_point=-128))
    outputs = append("QUANTIZE", (here,), activation(1, 2, 6, dtype="uint8", zero_point=7))
    last = append("DEQUANTIZE", (here,), real(1, 2, 6))
    return chain.file((x, second), (outputs, last))


def rewritten_file() -> bytes:
    """Kinds that a graph says in others, and those that move, pick or compare."""
    chain = _Chain()
    activation, integers, codes, append = chain.activation, chain.integers, chain.codes, chain.append
    x = activation(1, 4, 4, 2)
    here = append("SPACE_TO_BATCH_ND", (x, integers(2, 2), integers((0, 0), (0, 0))), activation(4, 2, 2, 2))
    here = append("MAX_POOL_2D", (here,), activation(4, 2, 2, 2), Pool2D("SAME", (1, 1), (2, 2)))
    here = append("BATCH_TO_SPACE_ND", (here, integers(2, 2), integers((0, 0), (0, 0))), activation(1, 4, 4, 2))
    here = append("RESIZE_BILINEAR", (here, integers(5, 6)), activation(1, 5, 6, 2), Resize(True))
    here = append("RESIZE_NEAREST_NEIGHBOR", (here, integers(3, 3)), activation(1, 3, 3, 2), Resize(False, True))
    kernel = codes(2, 3, 3, 2, zero_point=0)
    options = TransposeConv("SAME", (2, 2))
    here = append("TRANSPOSE_CONV", (integers(1, 6, 6, 2), kernel, here), activation(1, 6, 6, 2, scale=64.0), options)
    groups = codes(4, 1, 1, 1, zero_point=0)
    here = append("CONV_2D", (here, groups), activation(1, 6, 6, 4, scale=64.0), Conv2D())
    here = append("REDUCE_MAX", (here, integers(1)), activation(1, 6, 4, scale=64.0), Mean())
    here = append("PRELU", (here, codes(4)), activation(1, 6, 4))
    here = append("MAXIMUM", (here, codes(1, 4)), activation(1, 6, 4))
    here = append("LEAKY_RELU", (here,), activation(1, 6, 4), LeakyRelu(0.25))
    here = append("GATHER", (here, integers(5, 0, 2)), activation(1, 3, 4), Gather(1))
    parts = append("UNPACK", (here,), (activation(1, 4), activation(1, 4), activation(1, 4)), Unpack(3, 1))
    here = append("PACK", parts[:2], activation(2, 1, 4), Pack())
    first, second = append(
        "SPLIT_V", (here, integers(1, 3), integers(2)), (activation(2, 1, 1), activation(2, 1, 3)), Split(2)
    )
    tiled = append("TILE", (first, integers(1, 2, 3)), activation(2, 2, 3))
    cut = append("SLICE", (second, integers(1, 0, 0), integers(1, 1, 2)), activation(1, 1, 2))
    shape = append("SHAPE", (cut,), chain.add(Tensor("", (3,), "int32")))
    size = append(
        "STRIDED_SLICE",
        (shape, integers(2), integers(3), integers(1)),
        chain.add(Tensor("", (1,), "int32")),
        StridedSlice(),
    )
    flat = append("RESHAPE", (cut, size), activation(2))
    place = append("ARG_MAX", (tiled, integers(2)), chain.add(Tensor("", (2, 2), "int32")))
    return chain.file((x,), (flat, place, parts[2]))
