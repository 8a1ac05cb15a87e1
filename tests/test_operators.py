"""Every operator alone: NumPy against LiteRT's reference kernels, C against NumPy, and what is refused."""

from __future__ import annotations

import ctypes
import math

import numpy as np
import pytest
from single_operators import OPERATORS, Draw, activation, alone, integers

from mcu_codegen.emit.model import emit_model
from mcu_codegen.emulate import host
from mcu_codegen.errors import InputError
from mcu_codegen.execute import litert_executor, tinygrad_executor
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.execute.tinygrad_executor import TinygradExecutor
from mcu_codegen.graph import (
    Concatenation,
    Elementwise,
    FullyConnected,
    Graph,
    Pool2D,
    Quantization,
    StridedSlice,
    Tensor,
)
from mcu_codegen.lower import Lookup, lower

needs_litert = pytest.mark.skipif(bool(litert_executor.unavailable()), reason=litert_executor.unavailable())
needs_tinygrad = pytest.mark.skipif(bool(tinygrad_executor.unavailable()), reason=tinygrad_executor.unavailable())


WITHOUT_LITERT = ("ELU",)  # which the resolver of its reference kernels does not list


def test_elu() -> None:
    """Against the exponential of Python's own library, rounded to the nearest code."""
    scale, zero_point, fine = 0.03, -20, 0.01
    source, output = Quantization((scale,), (zero_point,)), Quantization((fine,), (-27,))
    graph = alone("ELU", [activation((1, 16, 16), source)], activation((1, 16, 16), output))
    codes = np.arange(-128, 128)
    (found,) = NumpyExecutor(graph).run([codes.astype(np.int8).reshape(1, 1, 16, 16)]).values()
    values = [scale * (int(code) - zero_point) for code in codes]
    exact = np.array([value if value >= 0 else math.expm1(value) for value in values]) / fine - 27
    assert np.all(np.abs(found.reshape(-1) - np.clip(exact, -128, 127)) <= 0.5 + 1e-4)


@needs_litert
@pytest.mark.parametrize("kind", [kind for kind in OPERATORS if kind not in WITHOUT_LITERT])
def test_numpy_equals_litert(kind: str) -> None:
    draw = Draw(1)
    for _ in range(40):
        graph = OPERATORS[kind](draw, kind)
        inputs = draw.inputs(graph)
        source = graph.tensors[0]
        if isinstance(lower(graph, graph.main.operators[0], kind), Lookup) and source.elements == 256:
            inputs = [np.arange(256).astype(np.uint8).view(source.dtype).reshape(1, *source.shape)]
        (operator,) = graph.main.operators
        (expected,) = litert_executor.run_operator(graph, operator, inputs)
        found = NumpyExecutor(graph).run(inputs)[operator.outputs[0]]
        np.testing.assert_array_equal(found, expected, str(graph), strict=True)


@pytest.mark.parametrize("kind", ["ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM"])
def test_a_constant_of_a_single_code(kind: str) -> None:
    """Is a table of the same codes as one that fills the shape, for every code."""
    draw = Draw(3)
    codes = np.arange(-128, 128).astype(np.int8).reshape(1, 1, 16, 16)
    for constant in (-128, 5, 127):
        quantization = draw.quantization()
        found = []
        for shape in ((), (1, 16, 16)):
            second = Tensor("", shape, "int8", quantization, np.full(shape, constant, np.int8))
            inputs = [activation((1, 16, 16), quantization), second]
            options = None if kind.endswith("IMUM") else Elementwise()
            graph = alone(kind, inputs, activation((1, 16, 16), quantization), options)
            assert isinstance(lower(graph, graph.main.operators[0], kind), Lookup) == (not shape)
            found.append(NumpyExecutor(graph).run([codes])[2])
        np.testing.assert_array_equal(*found)


@pytest.mark.slow
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
