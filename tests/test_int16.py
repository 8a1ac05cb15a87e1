"""Activations of int16: NumPy against LiteRT's reference kernels, C and tinygrad against NumPy, and what is refused."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from int16_operators import INT16, convolution
from single_operators import Draw, activation, alone
from test_trials import SHARED

from mcu_codegen.emit.cortex_m.instruction_sets import RENDERERS
from mcu_codegen.emit.model import emit_model
from mcu_codegen.emit.plan import compile_plan
from mcu_codegen.emulate import host
from mcu_codegen.emulate.host_executor import HostExecutor
from mcu_codegen.errors import InputError
from mcu_codegen.execute import litert_executor, tinygrad_executor
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Elementwise, Graph, Quantization
from mcu_codegen.lower import lower
from mcu_codegen.targets import find

needs_litert = pytest.mark.skipif(bool(litert_executor.unavailable()), reason=litert_executor.unavailable())
needs_tinygrad = pytest.mark.skipif(bool(tinygrad_executor.unavailable()), reason=tinygrad_executor.unavailable())
SEANET = sorted((SHARED / "models/tflm/seanet").glob("*.tflite"))
"""Files of one operator each, of a network for audio, which TFLite Micro is tested with."""

needs_seanet = pytest.mark.skipif(not SEANET, reason="../shared/models/tflm/seanet is not here")


@needs_litert
@pytest.mark.parametrize("kind", INT16)
def test_numpy_equals_litert(kind: str) -> None:
    draw = Draw(21)
    for _ in range(12):
        graph = INT16[kind](draw, kind)
        inputs = draw.inputs(graph)
        (operator,) = graph.main.operators
        (expected,) = litert_executor.run_operator(graph, operator, inputs)
        found = NumpyExecutor(graph).run(inputs)[operator.outputs[0]]
        np.testing.assert_array_equal(found, expected, str(graph), strict=True)


def test_c_equals_numpy() -> None:
    """A graph of each operator in one library, each with a self-test of random codes."""
    sources: dict[str, str] = {}
    names = []
    draw = Draw(22)
    for number, (kind, make) in enumerate(INT16.items()):
        graph = make(draw, kind)
        names.append(kind.lower())
        golden = {"invoke": [data[-1] for data in draw.inputs(graph)]}
        sources |= emit_model(graph, names[-1], golden=golden, arena=("static", "caller")[number % 2])
    defines = [f"{name.upper()}_SELFTEST" for name in names]
    library = ctypes.CDLL(str(host.build_shared_library(sources, defines=defines, sanitize=["undefined"])))
    assert {name: result for name in names if (result := library[f"{name}_selftest"]())} == {}


@needs_tinygrad
@pytest.mark.slow
@pytest.mark.parametrize("kind", INT16)
def test_tinygrad_equals_numpy(kind: str) -> None:
    draw = Draw(23)
    graph = INT16[kind](draw, kind)
    inputs = draw.inputs(graph)
    expected, found = NumpyExecutor(graph).run(inputs), tinygrad_executor.TinygradExecutor(graph).run(inputs)
    for index, values in expected.items():
        np.testing.assert_array_equal(found[index], values, str(graph), strict=True)


def seanet(path: Path) -> tuple[Graph, list[np.ndarray], list[np.ndarray]]:
    """(graph, its inputs, those of the file): the file's TRANSPOSE_CONV take the shape of their output as an input."""
    graph = tflite.read(path)
    inputs = Draw(24).inputs(graph, 3)
    shape = np.array(graph.tensors[graph.main.outputs[0]].shape, np.int32)
    said = [np.repeat(shape[np.newaxis], 3, axis=0)] if path.name.startswith("transpose_conv") else []
    return graph, inputs, said + inputs


@needs_litert
@needs_seanet
def test_seanet_as_litert() -> None:
    for path in SEANET:
        graph, inputs, given = seanet(path)
        (expected,) = litert_executor.run_file(path.read_bytes(), given)
        found = NumpyExecutor(graph).run(inputs)[graph.main.outputs[0]]
        np.testing.assert_array_equal(found, expected, path.name, strict=True)


@needs_seanet
@pytest.mark.slow
@pytest.mark.parametrize("path", SEANET[::3], ids=lambda path: path.stem)  # each takes a compiler half a second
def test_seanet_in_c(path: Path) -> None:
    graph, inputs, _ = seanet(path)
    expected = NumpyExecutor(graph).run(inputs)
    for index, values in HostExecutor(graph).run(inputs).items():
        np.testing.assert_array_equal(values, expected[index], strict=True)


def test_portable_layers_say_why() -> None:
    graph = convolution(Draw(25), "CONV_2D")
    assert compile_plan(graph, RENDERERS[find("cortex-m4").instruction_set]()).portable == {
        "00_conv_2d": "its codes are int16"
    }


FINE = Quantization((2.0**-9,), (0,))


@pytest.mark.parametrize(
    "graph, message",
    [
        (
            alone("ADD", [activation((2,), FINE, "int16")] * 2, activation((2,), FINE, "int16"), Elementwise()),
            "powers of two, which is refused in 16 bits",
        ),
        (
            alone(
                "MUL",
                [activation((2,), FINE, "int16"), activation((2,), FINE)],
                activation((2,), FINE, "int16"),
                Elementwise(),
            ),
            "'tensor_1' is int8, 'output' int16",
        ),
        (
            alone("TANH", [activation((2,), FINE, "int16")], activation((2,), FINE, "int16")),
            "'tensor_0' is int16; int8 is accepted",
        ),
        (
            alone(
                "MAXIMUM",
                [activation((2,), FINE, "int16"), activation((2,), Quantization((2.0**-9,), (3,)), "int16")],
                activation((2,), FINE, "int16"),
            ),
            "is int16 with zero point 3; 0 is accepted",
        ),
    ],
)
def test_refused_by_name(graph: Graph, message: str) -> None:
    with pytest.raises(InputError, match=message):
        lower(graph, graph.main.operators[0], "layer")
