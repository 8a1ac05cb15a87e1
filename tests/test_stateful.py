"""Operators with a state: over many steps NumPy against LiteRT's reference kernels, C and tinygrad against NumPy."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pytest
from single_operators import Draw
from stateful_operators import STATEFUL, lstm, svdf
from test_trials import shared

from mcu_codegen import arithmetic
from mcu_codegen.emulate.host_executor import HostExecutor
from mcu_codegen.errors import InputError
from mcu_codegen.execute import litert_executor, tinygrad_executor
from mcu_codegen.execute.litert_executor import LiteRTExecutor
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.formats import flatbuffer, tflite
from mcu_codegen.formats.tflite_schema import IDENTIFIER, SCHEMA
from mcu_codegen.graph import Graph
from mcu_codegen.lower import lower
from mcu_codegen.prove import against_litert

needs_litert = pytest.mark.skipif(bool(litert_executor.unavailable()), reason=litert_executor.unavailable())
needs_tinygrad = pytest.mark.skipif(bool(tinygrad_executor.unavailable()), reason=tinygrad_executor.unavailable())


@needs_litert
@pytest.mark.parametrize("kind", ["SVDF, 16 bits", "UNIDIRECTIONAL_SEQUENCE_LSTM"])
def test_numpy_equals_litert(kind: str) -> None:
    """Outputs and states after each of 20 steps, and again after a reset."""
    make, dtype = STATEFUL[kind]
    draw = Draw(11)
    varied = set()
    for _ in range(10):
        graph = make(draw, dtype)
        inputs = draw.inputs(graph, 20)
        written = tflite.write(graph)
        assert tflite.read_bytes(written, "written").main.operators == graph.main.operators
        litert, numpy = LiteRTExecutor(written), NumpyExecutor(graph)
        for _ in range(2):
            expected, found = litert.run(inputs), numpy.run(inputs)
            for index in graph.main.operators[0].outputs:
                np.testing.assert_array_equal(found[index], expected[index], str(graph), strict=True)
            litert.reset()
            numpy.reset()
        varied.update(found[graph.main.outputs[0]].reshape(-1).tolist())
    assert len(varied) > 150  # of 256 codes


def test_litert_cannot_judge_a_short_state() -> None:
    """It takes bytes for int16; so it is said not to run the layer."""
    graph = svdf(Draw(3), "int8")
    inputs = {"invoke": Draw(4).inputs(graph)}
    reference = {"invoke": NumpyExecutor(graph).run(inputs["invoke"])}
    alone, whole = against_litert.compare(graph, inputs, reference)
    if not litert_executor.unavailable():
        assert alone.remark == "LiteRT does not run 00_svdf"
        assert whole.absent and "state of SVDF as int16" in whole.trouble


@pytest.mark.parametrize("kind", STATEFUL)
def test_c_equals_numpy(kind: str) -> None:
    make, dtype = STATEFUL[kind]
    draw = Draw(12)
    for _ in range(2):
        graph = make(draw, dtype)
        inputs, output = draw.inputs(graph, 20), graph.main.outputs[0]
        expected, found = NumpyExecutor(graph).run(inputs), HostExecutor(graph).run(inputs)
        np.testing.assert_array_equal(found[output], expected[output], str(graph), strict=True)


@needs_tinygrad
@pytest.mark.slow
@pytest.mark.parametrize("kind", STATEFUL)
def test_tinygrad_equals_numpy(kind: str) -> None:
    make, dtype = STATEFUL[kind]
    draw = Draw(13)
    graph = make(draw, dtype)
    inputs = draw.inputs(graph, 4)
    expected, found = NumpyExecutor(graph).run(inputs), tinygrad_executor.TinygradExecutor(graph).run(inputs)
    for index, values in expected.items():
        np.testing.assert_array_equal(found[index], values, str(graph), strict=True)


def test_gates_in_fixed_point() -> None:
    """Over all codes, near the functions that they stand for, and symmetric."""
    codes = np.arange(-32768, 32768)
    gate = arithmetic.logistic_16(codes)
    assert np.abs(gate / 2**15 - 1 / (1 + np.exp(-codes / 2**12))).max() < 2e-4
    for bits in range(7):
        curve = arithmetic.tanh_16(codes, bits)
        assert np.abs(curve / 2**15 - np.tanh(codes / 2.0 ** (15 - bits))).max() < 6e-4
        np.testing.assert_array_equal(curve[1:], -curve[:0:-1])


def published(name: str) -> tuple[bytes, list[np.ndarray], np.ndarray]:
    """A file that others trained, 200 random inputs, and the output of NumPy, with which C agrees layer by layer."""
    data = shared(f"models/tflm/{name}.tflite")
    graph = tflite.read_bytes(data, name)
    tensor = graph.tensors[graph.main.inputs[0]]
    codes = np.iinfo(tensor.dtype)
    inputs = [np.random.default_rng(5).integers(codes.min, codes.max + 1, (200, *tensor.shape)).astype(tensor.dtype)]
    found = NumpyExecutor(graph).run(inputs)
    for index, values in HostExecutor(graph).run(inputs).items():
        np.testing.assert_array_equal(values, found[index], strict=True)
    return data, inputs, found[graph.main.outputs[0]]


@needs_litert
def test_published_lstm() -> None:
    data, inputs, output = published("trained_lstm_int8")
    (expected,) = litert_executor.run_file(data, inputs)
    np.testing.assert_array_equal(output, expected, strict=True)


def test_published_svdf() -> None:
    """LiteRT writes beyond this model's states, which are int8; TFLite Micro does not: tflite-micro 0.dev20261023."""
    _, _, output = published("keyword_scrambled_8bit")
    assert output.dtype == np.int32 and zlib.crc32(output.tobytes()) == 1048752528


def peephole(graph: Graph) -> None:
    (operator,) = graph.main.operators
    graph.main.operators[0] = replace(operator, inputs=(*operator.inputs[:9], 2, *operator.inputs[10:]))


def coupled(graph: Graph) -> None:
    (operator,) = graph.main.operators
    graph.main.operators[0] = replace(operator, inputs=(operator.inputs[0], -1, *operator.inputs[2:]))


def coarse(graph: Graph) -> None:
    state = graph.tensors[graph.main.operators[0].inputs[19]]
    state.quantization = replace(state.quantization, scale=(0.001,))


@pytest.mark.parametrize(
    "change, message",
    [
        (peephole, "00_unidirectional_sequence_lstm: tensor 'tensor_2', input 9: peephole is not supported"),
        (coupled, "a gate without weights"),
        (coarse, r"has scale 0.001 and zero point 0; 2\^-15 to 2\^-9 and 0 are accepted"),
    ],
)
def test_refused_by_name(change, message: str) -> None:  # type: ignore[no-untyped-def]
    graph = lstm(Draw(14), "")
    change(graph)
    with pytest.raises(InputError, match=message):
        lower(graph, graph.main.operators[0], next(graph.layers())[0])


def test_a_state_that_is_no_variable_is_refused() -> None:
    graph = svdf(Draw(15), "int16")
    state = graph.main.operators[0].inputs[4]
    graph.tensors[state].persistent = False
    with pytest.raises(InputError, match=r"operator 0 \(SVDF, .*: its state, input 4, is not a variable tensor"):
        tflite.read_bytes(tflite.write(graph), "model")


def test_a_hidden_state_on_another_scale_is_refused() -> None:
    """It is the last of the tensors that lie inside the operator."""
    graph = lstm(Draw(16), "")
    model = flatbuffer.read(tflite.write(graph), SCHEMA, IDENTIFIER)
    model["subgraphs"][0]["tensors"][-1]["quantization"]["scale"] = (0.25,)
    with pytest.raises(InputError, match=r"tensor 'inside' has scale 0.25 and zero point .*; equal ones are accepted"):
        tflite.read_bytes(flatbuffer.write(model, SCHEMA, IDENTIFIER), "model")
