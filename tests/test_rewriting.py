"""What a file says otherwise than a graph: float edges, operators that become others, constants of fixed shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from single_operators import Draw, activation, integers

from mcu_codegen.emit.model import emit_model
from mcu_codegen.emulate.host_executor import HostExecutor
from mcu_codegen.errors import InputError
from mcu_codegen.execute import litert_executor
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.formats import tflite
from mcu_codegen.formats.normalize import Split
from mcu_codegen.graph import Elementwise, Entry, Graph, NoOptions, Operator, Quantization, Tensor

needs_litert = pytest.mark.skipif(bool(litert_executor.unavailable()), reason=litert_executor.unavailable())

HALF, FINE = Quantization((0.5,), (3,)), Quantization((0.25,), (3,))


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
