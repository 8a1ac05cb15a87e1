"""Small inputs and models that others' tools write, beside the repository: each is computed as LiteRT computes it.

Where they are absent the tests skip and say so.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mcu_codegen.emit.model import emit_model
from mcu_codegen.emit.plan import compile_plan
from mcu_codegen.emulate.host_executor import HostExecutor
from mcu_codegen.errors import InputError
from mcu_codegen.execute import litert_executor
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph
from mcu_codegen.prove.parity import random_inputs

SHARED = Path(__file__).parents[1].parent / "shared"


def shared(name: str) -> bytes:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path.read_bytes()


def computed(graph: Graph) -> tuple[list[np.ndarray], np.ndarray]:
    """(inputs, first output) of NumPy and C, which agree."""
    inputs = random_inputs(graph, 6)[graph.main.name]
    found = NumpyExecutor(graph).run(inputs)
    for index, values in HostExecutor(graph).run(inputs).items():
        np.testing.assert_array_equal(values, found[index], strict=True)
    return inputs, found[graph.main.outputs[0]]


@pytest.mark.parametrize(
    "name, kinds",
    [
        ("shape_slice_pack_reshape", ["RESHAPE"]),
        ("convolution_batch_three", ["CONV_2D"]),
        ("dilation_by_space_to_batch", ["PAD", "CONV_2D"]),
        ("max_pool_rescaled", ["MAX_POOL_2D"]),
        ("grouped_convolution", ["STRIDED_SLICE", "CONV_2D", "STRIDED_SLICE", "CONV_2D", "CONCATENATION"]),
        ("buffer_outside", ["FULLY_CONNECTED"]),
        ("sixteen_by_eight", ["FULLY_CONNECTED"]),
    ],
)
@pytest.mark.skipif(bool(litert_executor.unavailable()), reason=litert_executor.unavailable())
def test_as_litert(name: str, kinds: list[str]) -> None:
    data = shared(f"trials/{name}.tflite")
    graph = tflite.read_bytes(data, name)
    assert [operator.kind for operator in graph.main.operators] == kinds
    inputs, output = computed(graph)
    expected = litert_executor.run_file(data, inputs)[0]
    np.testing.assert_array_equal(output, expected, strict=True)


@pytest.mark.parametrize("name", ["bias_axis_three", "concatenation_rescaled"])
def test_runs_where_litert_refuses(name: str) -> None:
    graph = tflite.read_bytes(shared(f"trials/{name}.tflite"), name)
    _, output = computed(graph)
    assert len(np.unique(output)) > 20


def test_slice_at_run_time_is_refused_by_layer_and_reason() -> None:
    graph = tflite.read_bytes(shared("trials/slice_at_run_time.tflite"), "slice")
    with pytest.raises(InputError, match=r"^00_strided_slice: begin 't1' .* not constant"):
        compile_plan(graph)


def test_person_detect_is_accepted() -> None:
    """TensorFlow's own, whose old converter wrote the axis of the weights into every bias."""
    graph = tflite.read_bytes(shared("models/tflm/person_detect.tflite"), "person_detect")
    assert len(compile_plan(graph).layers) == 31


def test_shared_weights_are_once_in_flash() -> None:
    graph = tflite.read_bytes(shared("trials/shared_weights.tflite"), "shared_weights")
    computed(graph)
    weights = re.findall(r"const int8_t \w+_weights\[", emit_model(graph)["kws_model_weights.h"])
    assert len(graph.main.operators) == 2 and len(weights) == 1
