"""Every operator alone: NumPy against LiteRT's reference kernels, C against NumPy, and what is refused."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from mcu_codegen.emit.model import emit_model
from mcu_codegen.emulate import host
from mcu_codegen.emulate.host_executor import HostExecutor
from mcu_codegen.errors import InputError
from mcu_codegen.execute import litert_executor, tinygrad_executor
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.execute.tinygrad_executor import TinygradExecutor
from mcu_codegen.formats import tflite
from mcu_codegen.formats.normalize import Split
from mcu_codegen.graph import (
    Concatenation,
    Elementwise,
    Entry,
    FullyConnected,
    Graph,
    NoOptions,
    Operator,
    Pool2D,
    Quantization,
    StridedSlice,
    Tensor,
)
from mcu_codegen.lower import lower

needs_litert = pytest.mark.skipif(bool(litert_executor.unavailable()), reason=litert_executor.unavailable())
needs_tinygrad = pytest.mark.skipif(bool(tinygrad_executor.unavailable()), reason=tinygrad_executor.unavailable())


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
    """Equal shapes, or one that is repeated along some axes or has fewer; the second may be constant."""
    shape = draw.shape()
    part = tuple(1 if draw.rng.random() < 0.4 else size for size in shape)[draw.integer(0, len(shape)) :]
    shapes = [[shape, shape], [shape, part], [part, shape]][draw.integer(0, 2)]
    first, second = (activation(each, draw.quantization()) for each in shapes)
    if draw.rng.random() < 0.3:
        second.quantization = first.quantization
    if draw.rng.random() < 0.3:
        second.data = draw.rng.integers(-128, 128, second.shape).astype(np.int8)
    output = activation(shape, draw.quantization(-12 if kind == "MUL" else -9))
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
    source = activation((1, height, width, channels), quantization)
    output = activation((1, *out, channels), quantization)
    return alone(kind, [source], output, Pool2D(padding, stride, window, draw.activation()))


def function(draw: Draw, kind: str) -> Graph:
    """All codes at once."""
    source = draw.quantization(-12, 5)
    output = Quantization((_float32(source.scale[0] * 2.0 ** draw.rng.uniform(-6, 7)),), draw.quantization().zero_point)
    output = {"LOGISTIC": Quantization((1 / 256,), (-128,)), "TANH": Quantization((1 / 128,), (0,))}.get(kind, output)
    return alone(kind, [activation((1, 16, 16), source)], activation((1, 16, 16), output))


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


OPERATORS: dict[str, Callable[[Draw, str], Graph]] = {
    "ADD": pairwise,
    "SUB": pairwise,
    "MUL": pairwise,
    "MAX_POOL_2D": pool,
    "AVERAGE_POOL_2D": pool,
    "RELU": function,
    "RELU6": function,
    "LOGISTIC": function,
    "TANH": function,
    "HARD_SWISH": function,
    "QUANTIZE": requantize,
    "RESHAPE": rename,
    "SQUEEZE": rename,
    "EXPAND_DIMS": rename,
    "TRANSPOSE": transpose,
    "STRIDED_SLICE": strided_slice,
    "CONCATENATION": concatenation,
    "PAD": pad,
}


@needs_litert
@pytest.mark.parametrize("kind", OPERATORS)
def test_numpy_equals_litert(kind: str) -> None:
    draw = Draw(1)
    for _ in range(40):
        graph = OPERATORS[kind](draw, kind)
        inputs = draw.inputs(graph)
        if kind in ("RELU", "RELU6", "LOGISTIC", "TANH", "HARD_SWISH", "QUANTIZE"):
            inputs = [np.arange(256).astype(np.uint8).view(graph.tensors[0].dtype).reshape(1, 1, 16, 16)]
        (operator,) = graph.main.operators
        (expected,) = litert_executor.run_operator(graph, operator, inputs)
        found = NumpyExecutor(graph).run(inputs)[operator.outputs[0]]
        np.testing.assert_array_equal(found, expected, str(graph), strict=True)


def test_c_equals_numpy() -> None:
    """Five graphs of each operator in one library, each with a self-test of random codes."""
    sources: dict[str, str] = {}
    names = []
    draw = Draw(2)
    for kind, make in OPERATORS.items():
        for number in range(5):
            graph = make(draw, kind)
            names.append(f"{kind.lower()}_{number}")
            golden = {"invoke": [data[-1] for data in draw.inputs(graph)]}
            sources |= emit_model(graph, names[-1], golden=golden, arena=("static", "caller")[number % 2])
    library = ctypes.CDLL(
        str(
            host.build_shared_library(
                sources, defines=[f"{name.upper()}_SELFTEST" for name in names], sanitize=["undefined"]
            )
        )
    )
    assert {name: result for name in names if (result := library[f"{name}_selftest"]())} == {}


@needs_tinygrad
@pytest.mark.slow
@pytest.mark.parametrize("kind", OPERATORS)
def test_tinygrad_equals_numpy(kind: str) -> None:
    draw = Draw(3)
    for _ in range(3):
        graph = OPERATORS[kind](draw, kind)
        inputs = draw.inputs(graph)
        expected, found = NumpyExecutor(graph).run(inputs), TinygradExecutor(graph).run(inputs)
        for index, values in expected.items():
            np.testing.assert_array_equal(found[index], values, str(graph), strict=True)


HALF, FINE = Quantization((0.5,), (3,)), Quantization((0.25,), (3,))


@pytest.mark.parametrize(
    "graph, message",
    [
        (
            alone(
                "FULLY_CONNECTED",
                [
                    activation((1, 2), HALF),
                    Tensor("", (1, 2), "int8", Quantization((64.0,), (0,)), np.ones((1, 2), "i1")),
                    integers(2**26),
                ],
                activation((1, 1), HALF),
                FullyConnected(),
            ),
            r"'tensor_1': the accumulator of channel 0 can reach 67109126, which times 2\^7, .* is beyond int32",
        ),
        (
            alone("MUL", [activation((2, 3), HALF), activation((2,), HALF)], activation((2, 3), HALF), Elementwise()),
            r"'output': \(2, 3\) and \(2,\) do not give \(2, 3\)",
        ),
        (
            alone(
                "CONCATENATION",
                [activation((2,), HALF), activation((2,), FINE)],
                activation((4,), HALF),
                Concatenation(0),
            ),
            "has scale 0.5 and zero point 3, 'tensor_1' 0.25 and 3; CONCATENATION does not rescale",
        ),
        (
            alone("PAD", [activation((2,), HALF), integers((-1, 3))], activation((4,), HALF)),
            r"paddings \[\[-1, 3\]\]; two that are not negative for every axis are accepted",
        ),
        (
            alone("PAD", [activation((2,), HALF), integers((1, 3))], activation((4,), HALF)),
            r"padding \(2,\) gives \(6,\)",
        ),
        (
            alone("TRANSPOSE", [activation((2, 3), HALF), integers(0, 0)], activation((2, 3), HALF)),
            r"axes \[0, 0\] of \(2, 3\)",
        ),
        (
            alone(
                "STRIDED_SLICE",
                [activation((4,), HALF), integers(0), integers(4), integers(0)],
                activation((4,), HALF),
                StridedSlice(),
            ),
            "no stride 0",
        ),
        (
            alone(
                "STRIDED_SLICE",
                [activation((4, 2), HALF), integers(4), integers(5), integers(1)],
                activation((2,), HALF),
                StridedSlice(shrink_axis_mask=1),
            ),
            "there is no index 4 along axis 0",
        ),
        (alone("LOGISTIC", [activation((4,), HALF)], activation((4,), HALF)), "gives scale 1/256 and zero point -128"),
        (
            alone("HARD_SWISH", [activation((4,), HALF)], activation((4,), Quantization((0.001,), (0,)))),
            "above a 128th and up to 256 times of it for the output",
        ),
        (alone("RELU", [activation((4,), HALF)], activation((5,), HALF)), "does not have the shape"),
        (
            alone("AVERAGE_POOL_2D", [activation((1, 2, 2, 1), HALF)], activation((1, 2, 2, 1), FINE), Pool2D()),
            "pooling does not rescale",
        ),
        (alone("RELU", [activation((4,), HALF, "uint8")], activation((4,), HALF)), "is uint8; int8 is accepted"),
        (alone("FLOOR", [activation((4,), HALF)], activation((4,), HALF)), "FLOOR .tensor 'output'. is not supported"),
    ],
)
def test_refused(graph: Graph, message: str) -> None:
    with pytest.raises(InputError, match=f"^00_{graph.name.lower()}: .*{message}"):
        lower(graph, graph.main.operators[0], f"00_{graph.name.lower()}")


# What a file says otherwise than a graph


def float_tensor(*shape: int) -> Tensor:
    return Tensor("float", shape, "float32")


def file(tensors: list[Tensor], inputs: Sequence[int], outputs: Sequence[int], operators: list[Operator]) -> bytes:
    for number, tensor in enumerate(tensors):
        tensor.name = f"tensor_{number}"
    return tflite.write(Graph("file", tensors, [Entry("invoke", tuple(inputs), tuple(outputs), operators)]))


def edged() -> bytes:
    """A float input and a uint8 one, multiplied; a float output and a uint8 one."""
    byte, shape = Quantization((0.5,), (131,)), (2, 5)
    tensors = [
        *(float_tensor(*shape), activation(shape, byte, "uint8")),
        *(activation(shape, HALF), activation(shape, FINE)),
        activation(shape, Quantization((2.0,), (-7,))),
        *(float_tensor(*shape), activation(shape, Quantization((4.0,), (90,)), "uint8")),
    ]
    operators = [
        Operator("QUANTIZE", (0,), (2,), NoOptions()),
        Operator("QUANTIZE", (1,), (3,), NoOptions()),
        Operator("MUL", (2, 3), (4,), Elementwise()),
        Operator("DEQUANTIZE", (4,), (5,), NoOptions()),
        Operator("QUANTIZE", (4,), (6,), NoOptions()),
    ]
    return file(tensors, (0, 1), (5, 6), operators)


def test_float_edges_are_left_to_the_caller() -> None:
    graph = tflite.read_bytes(edged(), "edged")
    assert [operator.kind for operator in graph.main.operators] == ["QUANTIZE", "MUL", "QUANTIZE"]
    assert graph.main.inputs == (2, 1) and graph.main.outputs == (4, 6)
    assert tflite.read_bytes(tflite.write(graph), "edged").entries == graph.entries
    prototype = "kws_model_invoke(const int8_t *input_0, const uint8_t *input_1, int8_t *output_0, uint8_t *output_1);"
    assert prototype in emit_model(graph)["kws_model.h"]


@needs_litert
def test_edges_compute_what_litert_computes() -> None:
    model = edged()
    graph = tflite.read_bytes(model, "edged")
    codes, levels = Draw(4).inputs(graph, 50)
    found = HostExecutor(graph).run([codes, levels])
    for index, values in NumpyExecutor(graph).run([codes, levels]).items():
        np.testing.assert_array_equal(found[index], values, strict=True)
    interpreter = litert_executor._interpreter(model)
    for sample in range(50):
        interpreter.set_tensor(0, np.float32(0.5) * (codes[sample].astype(np.float32) - 3))
        interpreter.set_tensor(1, levels[sample])
        interpreter.invoke()
        np.testing.assert_array_equal(interpreter.get_tensor(5), 2 * (found[4][sample].astype(np.float32) + 7))
        np.testing.assert_array_equal(interpreter.get_tensor(6), found[6][sample])


def splitting(axis: int, parts: int, *shapes: tuple[int, ...]) -> bytes:
    """A SPLIT whose last output nothing reads, the others being the model's."""
    tensors = [activation((2, 6, 3), HALF), integers(axis), *(activation(shape, HALF) for shape in shapes)]
    outputs = range(2, 2 + len(shapes))
    return file(tensors, (0,), outputs[:-1], [Operator("SPLIT", (1, 0), tuple(outputs), Split(parts))])


@needs_litert
@pytest.mark.parametrize("axis, shape", [(1, (2, 2, 3)), (-1, (2, 6, 1))])
def test_split(axis: int, shape: tuple[int, ...]) -> None:
    model = splitting(axis, 3, shape, shape, shape)
    graph = tflite.read_bytes(model, "splitting")
    assert [operator.kind for operator in graph.main.operators] == ["STRIDED_SLICE"] * 2
    inputs = Draw(5).inputs(graph, 1)
    found, in_c = NumpyExecutor(graph).run(inputs), HostExecutor(graph).run(inputs)
    interpreter = litert_executor._interpreter(model)
    interpreter.set_tensor(0, inputs[0][0])
    interpreter.invoke()
    for index in graph.main.outputs:
        np.testing.assert_array_equal(found[index][0], interpreter.get_tensor(index), strict=True)
        np.testing.assert_array_equal(found[index], in_c[index], strict=True)


def through_float() -> bytes:
    eight = (8,)
    tensors = [activation(eight, HALF), float_tensor(*eight), activation(eight, FINE)]
    operators = [Operator("DEQUANTIZE", (0,), (1,), NoOptions()), Operator("QUANTIZE", (1,), (2,), NoOptions())]
    return file(tensors, (0,), (2,), operators)


def quantized_twice() -> bytes:
    eight = (8,)
    tensors = [float_tensor(*eight), activation(eight, HALF), activation(eight, FINE)]
    operators = [Operator("QUANTIZE", (0,), (1,), NoOptions()), Operator("QUANTIZE", (0,), (2,), NoOptions())]
    return file(tensors, (0,), (1, 2), operators)


def edges_only() -> bytes:
    eight = (8,)
    tensors = [float_tensor(*eight), activation(eight, HALF), float_tensor(*eight)]
    operators = [Operator("QUANTIZE", (0,), (1,), NoOptions()), Operator("DEQUANTIZE", (1,), (2,), NoOptions())]
    return file(tensors, (0,), (2,), operators)


def all_float() -> bytes:
    return file([float_tensor(8), float_tensor(8)], (0,), (1,), [Operator("RELU", (0,), (1,), NoOptions())])


@pytest.mark.parametrize(
    "model, message",
    [
        (splitting(0, 3, *[(2, 2, 3)] * 3), r"SPLIT, tensor 'tensor_2'\): 'tensor_0' \(2, 6, 3\) is not split along"),
        (splitting(1, 3, (2, 2, 3), (2, 2, 3)), "the outputs being 2"),
        (splitting(3, 3, *[(2, 2, 3)] * 3), "along axis 3"),
        (through_float(), "DEQUANTIZE, tensor 'tensor_1'.*a float output of the model, made of integers, is accepted"),
        (quantized_twice(), "QUANTIZE, tensor 'tensor_2'.*an input of the model is accepted, once"),
        (edges_only(), "nothing is computed"),
        (all_float(), "is float32: a float model; int8 is accepted"),
    ],
)
def test_files_refused(model: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tflite.read_bytes(model, "file")
