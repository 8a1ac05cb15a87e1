"""What a file says otherwise than a graph: float edges, operators that become others, constants of fixed shapes."""

from __future__ import annotations

import numpy as np
import pytest
from single_operators import Draw, activation, integers
from whole_files import assert_as_litert, file, needs_litert

from mcu_codegen.emit.model import emit_model
from mcu_codegen.emulate.host_executor import HostExecutor
from mcu_codegen.errors import InputError
from mcu_codegen.execute import litert_executor
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.formats import tflite
from mcu_codegen.formats.normalize import Split, TransposeConv, Unpack
from mcu_codegen.graph import (
    Concatenation,
    Conv2D,
    DepthwiseConv2D,
    Elementwise,
    Mean,
    NoOptions,
    Operator,
    Quantization,
    StridedSlice,
    Tensor,
)

HALF, FINE = Quantization((0.5,), (3,)), Quantization((0.25,), (3,))


def float_tensor(*shape: int) -> Tensor:
    return Tensor("float", shape, "float32")


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
        (splitting(3, 3, *[(2, 2, 3)] * 3), r"axis 'tensor_1' is \[3\]; one of -3..2 is accepted"),
        (through_float(), "DEQUANTIZE, tensor 'tensor_1'.*a float output of the model, made of integers, is accepted"),
        (quantized_twice(), "QUANTIZE, tensor 'tensor_2'.*an input of the model is accepted, once"),
        (edges_only(), "nothing is computed"),
        (all_float(), "is float32: a float model; convert it to int8 in full"),
    ],
)
def test_files_refused(model: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tflite.read_bytes(model, "file")


# Operators that become others, each file as LiteRT computes it


@needs_litert
@pytest.mark.parametrize("sizes, axis", [((1, 3, 2), 1), ((2, -1), -1), ((-1,), 0)])
def test_split_v(sizes: tuple[int, ...], axis: int) -> None:
    shape = [2, 6, 3]
    shapes = []
    for size in sizes:
        rest = shape[axis] - sum(each for each in sizes if each > 0)
        shapes.append([rest if size < 0 and n == axis % 3 else size if n == axis % 3 else shape[n] for n in range(3)])
    outputs = range(3, 3 + len(sizes))
    tensors = [activation((2, 6, 3), HALF), integers(*sizes), integers(axis)]
    tensors += [activation(tuple(each), HALF) for each in shapes]
    split = Operator("SPLIT_V", (0, 1, 2), tuple(outputs), Split(len(sizes)))
    assert_as_litert(file(tensors, (0,), outputs, [split]), 6, "STRIDED_SLICE")


@needs_litert
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_unpack(axis: int) -> None:
    shape = (2, 3, 4)
    out = tuple(size for n, size in enumerate(shape) if n != axis % 3)
    outputs = range(1, 1 + shape[axis])
    tensors = [activation(shape, HALF), *(activation(out, HALF) for _ in outputs)]
    unpack = Operator("UNPACK", (0,), tuple(outputs), Unpack(shape[axis], axis))
    assert_as_litert(file(tensors, (0,), outputs, [unpack]), 7, "STRIDED_SLICE")


@needs_litert
@pytest.mark.parametrize("begin, size", [((0, 1, 2), (2, 2, -1)), ((1, 0, 0), (1, 3, 4))])
def test_slice(begin: tuple[int, ...], size: tuple[int, ...]) -> None:
    shape = (2, 3, 4)
    out = tuple(whole - first if n < 0 else n for first, n, whole in zip(begin, size, shape, strict=True))
    tensors = [activation(shape, HALF), integers(*begin), integers(*size), activation(out, HALF)]
    cut = Operator("SLICE", (0, 1, 2), (3,), NoOptions())
    assert_as_litert(file(tensors, (0,), (3,), [cut]), 7, "STRIDED_SLICE")


@needs_litert
def test_reshape_says_a_shape_that_its_output_does_not() -> None:
    """A converter that knew no shape wrote ones: for what a constant says, and for what SHAPE of that says."""
    tensors = [
        activation((2, 3, 4), HALF),
        *(Tensor("", (3,), "int64", data=np.array([2, 4, 3])), Tensor("", (3,), "int32")),
        *(activation((1, 1, 1), HALF), Tensor("", (3,), "int32")),
        *(integers(0), integers(1), integers(1), Tensor("", (1,), "int32")),
        *(integers(-1), Tensor("", (2,), "int32")),
        *(activation((1, 1), HALF), integers(1, 0), activation((12, 2), HALF)),
    ]
    operators = [
        Operator("CAST", (1,), (2,), NoOptions()),
        Operator("RESHAPE", (0, 2), (3,), NoOptions()),
        Operator("SHAPE", (3,), (4,), NoOptions()),
        Operator("STRIDED_SLICE", (4, 5, 6, 7), (8,), StridedSlice()),
        Operator("CONCATENATION", (8, 9), (10,), Concatenation(0)),
        Operator("RESHAPE", (3, 10), (11,), NoOptions()),
        Operator("TRANSPOSE", (11, 12), (13,), NoOptions()),
    ]
    graph = assert_as_litert(file(tensors, (0,), (13,), operators), 9, "RESHAPE", "TRANSPOSE")
    assert graph.tensors[3].shape == (2, 4, 3) and graph.tensors[11].shape == (2, 12)


@needs_litert
@pytest.mark.parametrize("times", [(1, 1, 1), (1, 3, 1), (2, 1, 3), (2, 2, 2)])
def test_tile(times: tuple[int, ...]) -> None:
    shape = (2, 3, 4)
    out = tuple(size * n for size, n in zip(shape, times, strict=True))
    tensors = [activation(shape, HALF), integers(*times), activation(out, HALF)]
    tile = Operator("TILE", (0, 1), (2,), NoOptions())
    assert_as_litert(file(tensors, (0,), (2,), [tile]), 7, "CONCATENATION", "RESHAPE")


@needs_litert
@pytest.mark.parametrize(
    "axes, keep",
    [((1, 2), False), ((-1,), True), ((0, 1, 2, 3), True), ((0, 2), False), ((1, 3), True), ((1, 2, 3), False)],
)
def test_reduce_max(axes: tuple[int, ...], keep: bool) -> None:
    shape = (2, 3, 4, 5)
    gone = {axis % 4 for axis in axes}
    out = tuple(1 if n in gone else size for n, size in enumerate(shape) if keep or n not in gone)
    tensors = [activation(shape, HALF), integers(*axes), activation(out, HALF)]
    reduce = Operator("REDUCE_MAX", (0, 1), (2,), Mean(keep))
    assert_as_litert(file(tensors, (0,), (2,), [reduce]), 8, "RESHAPE", "MAX_POOL_2D")


def constants(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> list[Tensor]:
    """Weights with a scale for each of the first axis, and a bias."""
    scales = tuple(float(np.float32(each)) for each in scale * rng.uniform(0.5, 2, shape[0]))
    weights = Tensor(
        "", shape, "int8", Quantization(scales, (0,) * shape[0]), rng.integers(-127, 128, shape).astype("i1")
    )
    zero_points = (0,) * shape[0]
    biases = tuple(float(np.float32(0.5) * np.float32(each)) for each in scales)
    data = rng.integers(-3000, 3000, shape[0]).astype(np.int32)
    return [weights, Tensor("", (shape[0],), "int32", Quantization(biases, zero_points), data)]


@needs_litert
@pytest.mark.parametrize("seed", range(12))
def test_transpose_conv(seed: int) -> None:
    """Kernels smaller and larger than the stride, unequal strides, one image and two, with and without bias."""
    rng = np.random.default_rng(seed)
    stride, kernel, size = (tuple(int(each) for each in rng.integers(1, 4, 2)) for _ in range(3))
    kernel = (kernel[0] + seed % 3, kernel[1])
    padding = ("SAME", "VALID")[seed % 2]
    if padding == "SAME":
        out = tuple(n * s - int(rng.integers(0, s)) for n, s in zip(size, stride, strict=True))
    else:
        out = tuple((n - 1) * s + k + int(rng.integers(0, s)) for n, s, k in zip(size, stride, kernel, strict=True))
    images, depth, channels = int(rng.integers(1, 3)), int(rng.integers(1, 5)), int(rng.integers(1, 4))
    wanted = (images, *out, channels)
    weights, bias = constants(rng, (channels, *kernel, depth), 0.02)
    tensors = [integers(*wanted), weights, activation((images, *size, depth), HALF), bias]
    tensors.append(activation(wanted, Quantization((1.5,), (-11,))))
    inputs = (0, 1, 2, 3) if seed % 4 else (0, 1, 2)
    options = TransposeConv(padding, (stride[0], stride[1]), ("NONE", "RELU")[seed // 2 % 2])
    operator = Operator("TRANSPOSE_CONV", inputs, (4,), options)
    assert_as_litert(
        file(tensors, (2,), (4,), [operator]), seed, "PAD", "CONV_2D", "RESHAPE", "TRANSPOSE", "STRIDED_SLICE"
    )


@needs_litert
def test_an_input_may_say_the_shape_of_transpose_conv() -> None:
    """Which is fixed, so that the graph needs no such input."""
    weights, bias = constants(np.random.default_rng(3), (4, 3, 2, 3), 0.02)
    shape = Tensor("shape", (4,), "int32")
    output = activation((1, 7, 6, 4), Quantization((1.5,), (-11,)))
    tensors = [shape, weights, activation((1, 3, 3, 3), HALF), bias, output]
    operator = Operator("TRANSPOSE_CONV", (0, 1, 2, 3), (4,), TransposeConv("VALID", (2, 2)))
    model = file(tensors, (0, 2), (4,), [operator])
    graph = tflite.read_bytes(model, "model")
    assert graph.main.inputs == (2,)
    codes = np.random.default_rng(4).integers(-128, 128, (5, 1, 3, 3, 3)).astype(np.int8)
    said = np.repeat(np.array([output.shape], np.int32), 5, axis=0)
    (expected,) = litert_executor.run_file(model, [said, codes])
    np.testing.assert_array_equal(NumpyExecutor(graph).run([codes])[4], expected, strict=True)


@needs_litert
@pytest.mark.parametrize("depth, channels", [(2, 6), (1, 6), (1, 12), (3, 2)])
def test_convolution_in_groups(depth: int, channels: int) -> None:
    weights, bias = constants(np.random.default_rng(depth), (channels, 3, 2, depth), 0.02)
    source, output = activation((2, 5, 4, 6), HALF), activation((2, 5, 4, channels), Quantization((1.5,), (-11,)))
    operator = Operator("CONV_2D", (0, 1, 2), (3,), Conv2D("SAME"))
    model = file([source, weights, bias, output], (0,), (3,), [operator])
    graph = assert_as_litert(model, depth, "STRIDED_SLICE", "CONV_2D", "CONCATENATION", "DEPTHWISE_CONV_2D")
    assert len(graph.main.operators) == (1 if depth == 1 else 1 + 2 * 6 // depth)


@needs_litert
@pytest.mark.parametrize("block, pads, crops", [((2, 2), (2, 2), 0), ((2, 3), (0, 0), 0), ((3, 2), (5, 3), 1)])
@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_dilation_by_batches(kind: str, block: tuple[int, int], pads: tuple[int, int], crops: int) -> None:
    """Paddings that are those of SAME, none, and others; blocks that need more rows than there are."""
    rng = np.random.default_rng(block)
    size, depth = (7, 9), 3
    padded = [n + sum(divmod(p, 2)) + p // 2 for n, p in zip(size, pads, strict=True)]
    extra = [-n % b for n, b in zip(padded, block, strict=True)]
    inner = [(n + e) // b for n, e, b in zip(padded, extra, block, strict=True)]
    edges = [(p // 2, p - p // 2 + e) for p, e in zip(pads, extra, strict=True)]
    cut = [(0, e + crops) for e in extra]
    out = [(n - 2) * b - e - crops for n, b, e in zip(inner, block, extra, strict=True)]
    phases = block[0] * block[1]
    shape = (depth, 3, 3, depth) if kind == "CONV_2D" else (1, 3, 3, depth)
    weights, bias = constants(rng, (depth, 3, 3, shape[3] if kind == "CONV_2D" else 1), 0.02)
    if kind == "DEPTHWISE_CONV_2D":
        quantization = weights.quantization
        assert weights.data is not None and quantization is not None
        data = np.ascontiguousarray(weights.data.transpose(3, 1, 2, 0))
        weights = Tensor("", shape, "int8", Quantization(quantization.scale, quantization.zero_point, 3), data)
    coarse = Quantization((1.5,), (-11,))
    tensors = [
        *(activation((1, *size, depth), HALF), integers(*block), integers(*edges)),
        *(activation((phases, *inner, depth), HALF), weights, bias),
        *(activation((phases, inner[0] - 2, inner[1] - 2, depth), coarse), integers(*cut)),
        activation((1, *out, depth), coarse),
    ]
    options = Conv2D("VALID") if kind == "CONV_2D" else DepthwiseConv2D("VALID")
    operators = [
        Operator("SPACE_TO_BATCH_ND", (0, 1, 2), (3,), NoOptions()),
        Operator(kind, (3, 4, 5), (6,), options),
        Operator("BATCH_TO_SPACE_ND", (6, 1, 7), (8,), NoOptions()),
    ]
    assert_as_litert(file(tensors, (0,), (8,), operators), 9, kind, "PAD")
