"""Random graphs of one operator each, over its shapes, options and quantisations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from mcu_codegen.graph import (
    Concatenation,
    Elementwise,
    Entry,
    Gather,
    Graph,
    LeakyRelu,
    NoOptions,
    Operator,
    Pack,
    Pool2D,
    Quantization,
    Resize,
    StridedSlice,
    Tensor,
)


class Draw:
    """Random shapes, scales over many octaves, and zero points with the extreme ones among them."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def shape(self, least: int = 1, most: int = 4) -> tuple[int, ...]:
        return tuple(self.integer(1, 5) for _ in range(self.integer(least, most)))

    def quantization(self, low: float = -9, high: float = 2, dtype: str = "int8") -> Quantization:
        codes = np.iinfo(dtype)
        zero_point = int(self.rng.choice([codes.min, codes.max, 0, self.integer(codes.min, codes.max)]))
        return Quantization((_float32(2.0 ** self.rng.uniform(low, high)),), (zero_point,))

    def activation(self) -> str:
        return str(self.rng.choice(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"]))

    def inputs(self, graph: Graph, count: int = 4) -> list[np.ndarray]:
        """Samples for every input: the lowest code, the highest, the rest random."""
        drawn = []
        for index in graph.main.inputs:
            tensor = graph.tensors[index]
            codes = np.iinfo(tensor.dtype)
            data = self.rng.integers(codes.min, codes.max + 1, (count, *tensor.shape)).astype(tensor.dtype)
            data[:1], data[1:2] = codes.min, codes.max
            drawn.append(data)
        return drawn


def _float32(value: float) -> float:
    return float(np.float32(value))


def activation(shape: tuple[int, ...], quantization: Quantization, dtype: str = "int8") -> Tensor:
    return Tensor("", tuple(shape), dtype, quantization)


def integers(*values: Any) -> Tensor:
    data = np.array(values, np.int32)
    return Tensor("", data.shape, "int32", None, data)


def alone(kind: str, inputs: list[Tensor], output: Tensor, options: object = None) -> Graph:
    """A graph of one operator; inputs without data are the graph's."""
    tensors = [*inputs, output]
    for number, tensor in enumerate(tensors):
        tensor.name = f"tensor_{number}" if number < len(inputs) else "output"
    operator = Operator(kind, tuple(range(len(inputs))), (len(inputs),), options or NoOptions())
    variable = tuple(number for number, tensor in enumerate(inputs) if not tensor.constant)
    return Graph(kind, tensors, [Entry("invoke", variable, operator.outputs, [operator])])


def pairwise(draw: Draw, kind: str) -> Graph:
    """Equal shapes, or one that is repeated along some axes or has fewer; the second may be constant. A function of the
    first code, where the second is a single one."""
    single = draw.rng.random() < 0.2
    shape = (1, 16, 16) if single else draw.shape()
    part = tuple(1 if single or draw.rng.random() < 0.4 else size for size in shape)[draw.integer(0, len(shape)) :]
    shapes = [[shape, part], [shape, shape], [part, shape]][0 if single else draw.integer(0, 2)]
    first, second = (activation(each, draw.quantization()) for each in shapes)
    if draw.rng.random() < 0.3:
        second.quantization = first.quantization
    if single or draw.rng.random() < 0.3:
        second.data = draw.rng.integers(-128, 128, second.shape).astype(np.int8)
    output = activation(shape, draw.quantization(-12 if kind == "MUL" else -9))
    return alone(kind, [first, second], output, Elementwise(draw.activation()))


def quotient(draw: Draw, kind: str) -> Graph:
    """Divisors that are never 0, on which the reference fails; multipliers for which it shifts by no more than 31."""
    graph = pairwise(draw, "MUL")
    first, second, output = graph.tensors
    if second.data is None:
        second.data = draw.rng.integers(-128, 128, second.shape).astype(np.int8)
        graph.main.inputs = (0,)
    assert second.data is not None
    away = second.zero_point - 1 if second.zero_point > 0 else second.zero_point + 1
    second.data = np.where(second.data == second.zero_point, away, second.data).astype(np.int8)
    scale = first.scale / second.scale * 2.0 ** -draw.rng.uniform(6.1, 12)
    output.quantization = Quantization(
        (_float32(scale),), output.quantization.zero_point if output.quantization else (0,)
    )
    return alone(kind, [first, second], output, Elementwise(draw.activation()))


def pool(draw: Draw, kind: str) -> Graph:
    height, width, channels = draw.integer(1, 9), draw.integer(1, 9), draw.integer(1, 5)
    window, stride = (draw.integer(1, height), draw.integer(1, width)), (draw.integer(1, 3), draw.integer(1, 3))
    padding = ("SAME", "VALID")[draw.integer(0, 1)]
    out = [
        -(-size // step) if padding == "SAME" else (size - reach) // step + 1
        for size, reach, step in zip((height, width), window, stride, strict=True)
    ]
    quantization = draw.quantization()
    images = draw.integer(1, 3)
    source = activation((images, height, width, channels), quantization)
    output = activation((images, *out, channels), draw.quantization() if kind == "MAX_POOL_2D" else quantization)
    return alone(kind, [source], output, Pool2D(padding, stride, window, draw.activation()))


def function(draw: Draw, kind: str) -> Graph:
    """All codes at once."""
    source = draw.quantization(-12, 5)
    output = Quantization((_float32(source.scale[0] * 2.0 ** draw.rng.uniform(-6, 7)),), draw.quantization().zero_point)
    output = {"LOGISTIC": Quantization((1 / 256,), (-128,)), "TANH": Quantization((1 / 128,), (0,))}.get(kind, output)
    return alone(kind, [activation((1, 16, 16), source)], activation((1, 16, 16), output))


def float_function(draw: Draw, kind: str) -> Graph:
    """Scales for which the values of a function spread over the codes."""
    source = draw.quantization(-9, -4 if kind == "EXP" else 0)
    if kind == "SQRT":  # whose reference fails below 0
        source = Quantization(source.scale, (-128,))
    largest = np.exp(min(source.scale[0] * (127 - source.zero_point[0]), 80)) if kind == "EXP" else 1
    scale = _float32(largest * 2.0 ** draw.rng.uniform(-9, -3))
    output = Quantization((scale,), draw.quantization().zero_point)
    return alone(kind, [activation((1, 16, 16), source)], activation((1, 16, 16), output))


def leaky(draw: Draw, kind: str) -> Graph:
    graph = function(draw, kind)
    options = LeakyRelu(_float32(draw.rng.choice([0, 0.01, 0.2, 0.3, 1, 1.7])))
    graph.main.operators[0] = replace(graph.main.operators[0], options=options)
    return graph


def extreme(draw: Draw, kind: str) -> Graph:
    graph = pairwise(draw, kind)
    for tensor in graph.tensors[1:]:
        tensor.quantization = graph.tensors[0].quantization
    graph.main.operators[0] = replace(graph.main.operators[0], options=NoOptions())
    return graph


def prelu(draw: Draw, kind: str) -> Graph:
    shape = draw.shape()
    part = tuple(1 if draw.rng.random() < 0.4 else size for size in shape)[draw.integer(0, len(shape) - 1) :]
    slope = activation(part, draw.quantization())
    if draw.integer(0, 3):
        slope.data = draw.rng.integers(-128, 128, part).astype(np.int8)
    return alone(kind, [activation(shape, draw.quantization()), slope], activation(shape, draw.quantization(-12)))


def position(draw: Draw, kind: str) -> Graph:
    """Few codes, so that extremes are there more than once."""
    shape = draw.shape()
    axis = draw.integer(-len(shape), len(shape) - 1)
    dtype = str(draw.rng.choice(["int32", "int64"]))
    out = tuple(size for n, size in enumerate(shape) if n != axis % len(shape))
    return alone(kind, [activation(shape, draw.quantization()), integers(axis)], Tensor("", out, dtype))


def resize(draw: Draw, kind: str) -> Graph:
    images, channels, quantization = draw.integer(1, 2), draw.integer(1, 5), draw.quantization()
    size, out = ([draw.integer(1, 9) for _ in range(2)] for _ in range(2))
    align = bool(draw.integer(0, 1))
    options = Resize(align, bool(draw.integer(0, 1)) and not (align and kind == "RESIZE_BILINEAR"))
    source, output = (activation((images, *each, channels), quantization) for each in (size, out))
    return alone(kind, [source, integers(*out)], output, options)


def requantize(draw: Draw, kind: str) -> Graph:
    """Between int8 and uint8 too; with equal scales by chance, where only the top bit changes."""
    dtypes = [str(draw.rng.choice(["int8", "uint8"])) for _ in range(2)]
    source = draw.quantization(-12, 5, dtypes[0])
    scale = source.scale[0] * (1.0 if draw.integer(0, 2) == 0 else 2.0 ** draw.rng.uniform(-6, 7))
    output = Quantization((_float32(scale),), draw.quantization(dtype=dtypes[1]).zero_point)
    if scale == source.scale[0] and dtypes == ["uint8", "int8"]:
        output = Quantization(source.scale, (source.zero_point[0] - 128,))
    shape = (1, 16, 16)
    return alone(kind, [activation(shape, source, dtypes[0])], activation(shape, output, dtypes[1]))


def rename(draw: Draw, kind: str) -> Graph:
    shape, quantization = (1, *draw.shape(1, 2), 1, draw.integer(1, 4)), draw.quantization()
    inputs = [activation(shape, quantization)]
    if kind == "SQUEEZE":
        out = tuple(size for axis, size in enumerate(shape) if size > 1 or (axis == 0 and draw.integer(0, 1)))
        out = out or (1,)
    elif kind == "EXPAND_DIMS":
        axis = draw.integer(-len(shape) - 1, len(shape))
        at = axis % (len(shape) + 1)
        out = (*shape[:at], 1, *shape[at:])
        inputs.append(integers(axis))
    else:
        out = (int(np.prod(shape)), 1)
        inputs.append(integers(*out))
    return alone(kind, inputs, activation(out, quantization))


def transpose(draw: Draw, kind: str) -> Graph:
    shape, quantization = draw.shape(), draw.quantization()
    order = draw.rng.permutation(len(shape)).tolist()
    out = tuple(shape[axis] for axis in order)
    return alone(kind, [activation(shape, quantization), integers(*order)], activation(out, quantization))


def strided_slice(draw: Draw, kind: str) -> Graph:
    """Begins and ends beyond the tensor, steps back, open ends, and axes that are left out."""
    quantization = draw.quantization()
    while True:
        shape = draw.shape()
        begins, ends = ([draw.integer(-7, 7) for _ in shape] for _ in range(2))
        steps = [(-2, -1, 1, 1, 2, 3)[draw.integer(0, 5)] for _ in shape]
        masks = [sum(1 << axis for axis in range(len(shape)) if draw.integer(0, 4) < n) for n in (2, 2, 1)]
        chosen = np.arange(int(np.prod(shape))).reshape(shape)
        index: list[slice | int] = []
        for axis, size in enumerate(shape):
            if masks[2] >> axis & 1:
                begins[axis], steps[axis] = draw.integer(-size, size - 1), 1
                ends[axis] = begins[axis] + 1
                masks[0], masks[1] = masks[0] & ~(1 << axis), masks[1] & ~(1 << axis)
                index.append(begins[axis])
            else:
                first = None if masks[0] >> axis & 1 else begins[axis]
                last = None if masks[1] >> axis & 1 else ends[axis]
                index.append(slice(first, last, steps[axis]))
        chosen = chosen[tuple(index)]
        if chosen.size and chosen.ndim:
            break
    inputs = [activation(shape, quantization), integers(*begins), integers(*ends), integers(*steps)]
    return alone(kind, inputs, activation(chosen.shape, quantization), StridedSlice(*masks))


def concatenation(draw: Draw, kind: str) -> Graph:
    shape, quantization = draw.shape(), draw.quantization()
    axis = draw.integer(-len(shape), len(shape) - 1)
    sizes = [draw.integer(1, 4) for _ in range(draw.integer(1, 4))]

    def sized(size: int) -> tuple[int, ...]:
        return tuple(size if place == axis % len(shape) else each for place, each in enumerate(shape))

    inputs = [activation(sized(size), quantization) for size in sizes]
    if len(inputs) > 1 and draw.integer(0, 1):
        inputs[-1].data = draw.rng.integers(-128, 128, inputs[-1].shape).astype(np.int8)
    return alone(kind, inputs, activation(sized(sum(sizes)), quantization), Concatenation(axis))


def pad(draw: Draw, kind: str) -> Graph:
    shape, quantization = draw.shape(), draw.quantization()
    paddings = [(draw.integer(0, 3), draw.integer(0, 3)) for _ in shape]
    out = tuple(size + before + after for size, (before, after) in zip(shape, paddings, strict=True))
    return alone(kind, [activation(shape, quantization), integers(*paddings)], activation(out, quantization))


def pack(draw: Draw, kind: str) -> Graph:
    shape, quantization = draw.shape(most=3), draw.quantization()
    inputs = [activation(shape, quantization) for _ in range(draw.integer(1, 4))]
    if len(inputs) > 1 and draw.integer(0, 1):
        inputs[0].data = draw.rng.integers(-128, 128, shape).astype(np.int8)
    axis = draw.integer(-len(shape) - 1, len(shape))
    at = axis % (len(shape) + 1)
    out = (*shape[:at], len(inputs), *shape[at:])
    return alone(kind, inputs, activation(out, quantization), Pack(axis))


def gather(draw: Draw, kind: str) -> Graph:
    shape, quantization = draw.shape(), draw.quantization()
    axis = draw.integer(-len(shape), len(shape) - 1)
    at = axis % len(shape)
    indices = draw.rng.integers(0, shape[at], draw.shape(1, 2)).tolist()
    out = (*shape[:at], *np.shape(indices), *shape[at + 1 :])
    return alone(
        kind, [activation(shape, quantization), integers(*indices)], activation(out, quantization), Gather(axis)
    )


def phases(draw: Draw, kind: str) -> Graph:
    """Blocks over one axis of three or two of four, as LiteRT takes them; paddings or crops make them whole."""
    axes, quantization = draw.integer(1, 2), draw.quantization()
    block = [draw.integer(1, 3) for _ in range(axes)]
    inner, edges = [draw.integer(1, 4) for _ in range(axes)], []
    for size, step in zip(inner, block, strict=True):
        cut = draw.integer(0, size * step - 1)
        before = draw.integer(0, cut)
        edges.append((before, cut - before))
    image = [size * step - sum(edge) for size, step, edge in zip(inner, block, edges, strict=True)]
    images, rest = draw.integer(1, 2), draw.shape(1, 1)
    whole, batch = (images, *image, *rest), (images * int(np.prod(block)), *inner, *rest)
    shapes = (whole, batch) if kind == "SPACE_TO_BATCH_ND" else (batch, whole)
    inputs = [activation(shapes[0], quantization), integers(*block), integers(*edges)]
    return alone(kind, inputs, activation(shapes[1], quantization))


OPERATORS: dict[str, Callable[[Draw, str], Graph]] = {
    "ADD": pairwise,
    "SUB": pairwise,
    "MUL": pairwise,
    "DIV": quotient,
    "MAX_POOL_2D": pool,
    "AVERAGE_POOL_2D": pool,
    "RELU": function,
    "RELU6": function,
    "LOGISTIC": function,
    "TANH": function,
    "HARD_SWISH": function,
    "QUANTIZE": requantize,
    "RELU_N1_TO_1": function,
    "RELU_0_TO_1": function,
    "LEAKY_RELU": leaky,
    "ABS": function,
    "SQRT": float_function,
    "EXP": float_function,
    "LOG": float_function,
    "ELU": float_function,
    "PRELU": prelu,
    "MAXIMUM": extreme,
    "MINIMUM": extreme,
    "ARG_MAX": position,
    "ARG_MIN": position,
    "RESIZE_NEAREST_NEIGHBOR": resize,
    "RESIZE_BILINEAR": resize,
    "RESHAPE": rename,
    "SQUEEZE": rename,
    "EXPAND_DIMS": rename,
    "TRANSPOSE": transpose,
    "STRIDED_SLICE": strided_slice,
    "CONCATENATION": concatenation,
    "PAD": pad,
    "PACK": pack,
    "GATHER": gather,
    "SPACE_TO_BATCH_ND": phases,
    "BATCH_TO_SPACE_ND": phases,
}
