"""Files made for tests, and what must hold of each: NumPy and C compute what LiteRT computes of the file itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from single_operators import Draw

from mcu_codegen.emulate.host_executor import HostExecutor
from mcu_codegen.execute import litert_executor
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Entry, Graph, Operator, Tensor

needs_litert = pytest.mark.skipif(bool(litert_executor.unavailable()), reason=litert_executor.unavailable())


def file(tensors: list[Tensor], inputs: Sequence[int], outputs: Sequence[int], operators: list[Operator]) -> bytes:
    for number, tensor in enumerate(tensors):
        tensor.name = f"tensor_{number}"
    return tflite.write(Graph("file", tensors, [Entry("invoke", tuple(inputs), tuple(outputs), operators)]))


def assert_as_litert(model: bytes, seed: int, *kinds: str) -> Graph:
    """NumPy, C and LiteRT on the file itself, which becomes operators of `kinds`."""
    graph = tflite.read_bytes(model, "rewritten")
    assert {operator.kind for operator in graph.main.operators} <= set(kinds)
    inputs = Draw(seed).inputs(graph, 8)
    found, in_c = NumpyExecutor(graph).run(inputs), HostExecutor(graph).run(inputs)
    for index, expected in zip(graph.main.outputs, litert_executor.run_file(model, inputs), strict=True):
        np.testing.assert_array_equal(found[index], expected, str(graph), strict=True)
        np.testing.assert_array_equal(in_c[index], expected, str(graph), strict=True)
    return graph
