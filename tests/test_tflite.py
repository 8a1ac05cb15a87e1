"""Reading and writing .tflite: round trips, and what LiteRT makes of our files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from original_files import small_graph

from mcu_codegen.errors import InputError
from mcu_codegen.execute.litert_executor import LiteRTExecutor, run_operator, unavailable
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.formats import flatbuffer, tflite
from mcu_codegen.formats.tflite_schema import BUILTIN_OPERATORS, IDENTIFIER, SCHEMA, TENSOR_TYPES
from mcu_codegen.graph import Elementwise, Entry, FullyConnected, Graph, Mean, Operator, Quantization, Softmax, Tensor

MODELS = Path(__file__).parents[1].parent / "shared" / "models"
FOREIGN = ["mlperf_tiny_kws_int8", "mlperf_tiny_image_classification_int8"]

needs_litert = pytest.mark.skipif(bool(unavailable()), reason=unavailable())


def foreign(name: str) -> Path:
    path = MODELS / f"{name}.tflite"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path


def assert_equal(first: Graph, second: Graph) -> None:
    assert first.entries == second.entries
    assert first.metadata == second.metadata
    assert len(first.tensors) == len(second.tensors)
    for a, b in zip(first.tensors, second.tensors, strict=True):
        assert replace(a, data=None) == replace(b, data=None)
        assert (a.data is None) == (b.data is None)
        if a.data is not None:
            np.testing.assert_array_equal(a.data, b.data, strict=True)


def test_round_trip() -> None:
    """The small graph has two entries, a persistent tensor with a value, and metadata."""
    graph = small_graph()
    again = tflite.read_bytes(tflite.write(graph), "models/small.tflite")
    assert_equal(graph, again)
    assert again.name == "small" and len(again.sha256) == 64
    assert tflite.write(graph) == tflite.write(again) == tflite.write(small_graph())


@pytest.mark.parametrize("name", FOREIGN)
def test_round_trip_of_foreign_models(name: str) -> None:
    graph = tflite.read(foreign(name))
    again = tflite.read_bytes(tflite.write(graph), name)
    assert graph.name == again.name == name
    assert_equal(graph, again)


def test_persistent_tensor_starts_at_its_zero_point_unless_told_otherwise() -> None:
    graph = small_graph()
    index = next(index for index, tensor in enumerate(graph.tensors) if tensor.persistent)
    graph.tensors[index].data = None
    read = tflite.read_bytes(tflite.write(graph), "small").tensors[index]
    assert read.persistent and read.data is not None and np.all(read.data == read.zero_point)


def test_constants_with_equal_content_share_data() -> None:
    graph = small_graph()
    tensor = graph.tensors[1 + next(i for i, t in enumerate(graph.tensors) if t.name == "filters")]
    graph.tensors.append(replace(tensor, name="again"))
    read = tflite.read_bytes(tflite.write(graph), "small")
    data = {tensor.name: tensor.data for tensor in read.tensors}
    assert data["again"] is not None and np.shares_memory(data["again"], data[tensor.name])


def test_entries_share_tensors() -> None:
    """Weights and a persistent tensor of one entry, read by another: one tensor each, before and after."""
    graph = small_graph()
    names = [tensor.name for tensor in graph.tensors]
    source, state = names.index("convolved"), names.index("state")
    again = replace(graph.main.operators[1], inputs=(source, names.index("planes")))
    update = Operator("ADD", (state, names.index("filtered")), (state,), Elementwise())
    graph.entries.append(Entry("third", (source,), (state,), [again, update]))
    assert_equal(graph, tflite.read_bytes(tflite.write(graph), "small"))


def test_a_foreign_subgraph_with_tensors_of_its_own() -> None:
    model = flatbuffer.read(tflite.write(small_graph()), SCHEMA, IDENTIFIER)
    count = len(model["subgraphs"][1]["tensors"])
    model["subgraphs"][1]["tensors"][0]["name"] = "other"
    graph = tflite.read_bytes(flatbuffer.write(model, SCHEMA, IDENTIFIER), "foreign")
    assert [entry.name for entry in graph.entries] == ["invoke", "enrol"]
    assert len(graph.tensors) == 2 * count and graph.tensors[count].name == "other"
    assert min(graph.entries[1].inputs) >= count
    assert_equal(graph, tflite.read_bytes(tflite.write(graph), "foreign"))
    for first, second in zip(graph.tensors[1:count], graph.tensors[count + 1 :], strict=True):
        assert not first.constant or np.shares_memory(first.data, second.data)


def test_an_operator_that_cannot_be_written_is_named() -> None:
    graph = small_graph()
    graph.entries[0].operators[0] = replace(graph.entries[0].operators[0], kind="LSTM")
    with pytest.raises(InputError, match="LSTM"):
        tflite.write(graph)


@pytest.mark.parametrize(
    "name, identifier", [("a/kws v2.tflite", "kws_v2"), ("1x.tflite", "model_1x"), ("", "model_"), ("é.tflite", "_")]
)
def test_graph_name_is_a_c_identifier(name: str, identifier: str) -> None:
    assert tflite.read_bytes(tflite.write(small_graph()), name).name == identifier


@needs_litert
def test_schema_table_agrees_with_the_generated_schema() -> None:
    from ai_edge_litert import schema_py_generated as generated

    codes = {name: code for name, code in vars(generated.BuiltinOperator).items() if not name.startswith("_")}
    assert codes == {name: code for code, name in enumerate(BUILTIN_OPERATORS)}
    for code, name in SCHEMA.unions["BuiltinOptions"].items():
        assert getattr(generated.BuiltinOptions, name) == code
    for code, dtype in TENSOR_TYPES.items():
        assert getattr(generated.TensorType, dtype.upper()) == code
    # the generated reader finds in our file what we wrote
    graph = small_graph()
    model = generated.ModelT.InitFromObj(generated.Model.GetRootAs(tflite.write(graph), 0))
    assert [len(subgraph.operators) for subgraph in model.subgraphs] == [8, 1]
    convolution = model.subgraphs[0].operators[0].builtinOptions
    assert (convolution.padding, convolution.strideH, convolution.strideW) == (generated.Padding.SAME, 2, 1)
    assert (convolution.dilationHFactor, convolution.dilationWFactor) == (1, 2)
    assert convolution.fusedActivationFunction == generated.ActivationFunctionType.RELU
    for ours, theirs in zip(graph.tensors, model.subgraphs[1].tensors, strict=True):
        assert (ours.name, ours.persistent) == (theirs.name.decode(), theirs.isVariable)
        if ours.constant and ours.data is not None:
            assert bytes(model.buffers[theirs.buffer].data) == ours.data.tobytes()
    assert model.buffers[0].data is None


def test_data_is_aligned_to_16_bytes() -> None:
    blob = tflite.write(small_graph())
    graph = tflite.read_bytes(blob, "small")
    found = [blob.find(t.data.tobytes()) for t in graph.tensors if t.constant and t.data is not None and t.bytes >= 16]
    assert found and all(position >= 0 and position % 16 == 0 for position in found)


def random_codes(graph: Graph, entry: Entry, count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(-128, 128, (count, *graph.tensors[i].shape), dtype=np.int8) for i in entry.inputs]


@needs_litert
def test_litert_carries_persistent_tensors_as_the_specification_does() -> None:
    """FULLY_CONNECTED may differ by one, and so may what follows it; every other tensor is equal."""
    graph = small_graph()
    oracle, specification = LiteRTExecutor(tflite.write(graph)), NumpyExecutor(graph)
    for entry in graph.entries:
        inputs = random_codes(graph, entry, 20)
        first = oracle.run(inputs, entry.name)
        expected = specification.run(inputs, entry.name)
        assert first.keys() == expected.keys()
        for operator in entry.operators:
            if operator.kind not in ("FULLY_CONNECTED", "SOFTMAX"):
                np.testing.assert_array_equal(first[operator.outputs[0]], expected[operator.outputs[0]], operator.kind)
        oracle.reset()
        again = oracle.run(inputs, entry.name)
        assert all(np.array_equal(first[index], again[index]) for index in first)
    state = next(index for index, tensor in enumerate(graph.tensors) if tensor.persistent)
    carried = oracle.run(random_codes(graph, graph.main, 20))
    assert not np.array_equal(first.get(state, 0), carried[state]), "state must survive between runs"


@needs_litert
def test_litert_names_an_unknown_entry() -> None:
    with pytest.raises(InputError, match="'train'; accepted are invoke, enrol"):
        LiteRTExecutor(tflite.write(small_graph())).run([], "train")


def compare(graph: Graph, operator: Operator, inputs: list[np.ndarray]) -> int:
    """Differing values between LiteRT and the specification, which is at most 1 for FULLY_CONNECTED and 0 otherwise."""
    theirs = run_operator(graph, operator, inputs)[0].astype(int)
    sources = tuple(index for index in dict.fromkeys(operator.inputs) if not graph.tensors[index].constant)
    alone = replace(graph, entries=[Entry("invoke", sources, operator.outputs, [operator])])
    ours = NumpyExecutor(alone).run(inputs)[operator.outputs[0]]
    tolerance = 1 if operator.kind == "FULLY_CONNECTED" else 0
    assert np.abs(ours - theirs).max() <= tolerance, operator
    return int(np.count_nonzero(ours != theirs))


@needs_litert
@pytest.mark.parametrize("name", FOREIGN)
def test_every_operator_of_a_foreign_model_alone(name: str) -> None:
    blob = foreign(name).read_bytes()
    executor = LiteRTExecutor(blob)
    graph = executor.graph
    inputs = random_codes(graph, graph.main, 4)
    values = executor.run(inputs) | dict(zip(graph.main.inputs, inputs, strict=True))
    differing = 0
    for operator in graph.main.operators:
        sources = [values[i] for i in dict.fromkeys(operator.inputs) if not graph.tensors[i].constant]
        differing += compare(graph, operator, sources)
    assert differing <= 2  # of 40 or 48 outputs of FULLY_CONNECTED


def random_operator(rng: np.random.Generator, kind: str) -> tuple[Graph, Operator]:
    """A graph of one operator with random shape, scales over eleven octaves and zero points, extremes among them."""
    tensors: list[Tensor] = []

    def quantization(low: float = -9, high: float = 2) -> Quantization:
        zero_point = int(rng.choice([-128, 127, 0, rng.integers(-128, 128)]))
        return Quantization((float(np.float32(2.0 ** rng.uniform(low, high))),), (zero_point,))

    def add(shape: tuple[int, ...], scale: Quantization | None = None, data: np.ndarray | None = None) -> int:
        dtype = "int8" if data is None else data.dtype.name
        tensors.append(Tensor(f"t{len(tensors)}", shape, dtype, scale, data))
        return len(tensors) - 1

    shape = tuple(int(size) for size in rng.integers(1, 6, 4))
    source = quantization(-20, 5) if kind == "SOFTMAX" else quantization()
    x = add(shape, source)
    if kind == "ADD":
        others = [source if rng.integers(3) == 0 else quantization() for _ in range(2)]
        activation = str(rng.choice(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"]))
        second, y = add(shape, others[0]), add(shape, others[1])
        operator = Operator(kind, (x, second), (y,), Elementwise(activation))
    elif kind == "MEAN":
        axes = sorted(rng.choice(4, int(rng.integers(1, 5)), replace=False).tolist())
        keep = bool(rng.integers(2))
        left = tuple(1 if axis in axes else size for axis, size in enumerate(shape) if keep or axis not in axes)
        y, constant = add(left, quantization()), add((len(axes),), None, np.array(axes, np.int32))
        operator = Operator(kind, (x, constant), (y,), Mean(keep))
    elif kind == "SOFTMAX":
        y = add(shape, Quantization((1 / 256,), (-128,)))
        operator = Operator(kind, (x,), (y,), Softmax(float(rng.choice([0.5, 1.0, 2.0, 10.0]))))
    else:
        tensors.clear()
        rows, inputs, outputs = shape[0], int(rng.integers(1, 60)), int(rng.integers(1, 20))
        x, weights = add((rows, inputs), source), rng.integers(-127, 128, (outputs, inputs), dtype=np.int8)
        scale = float(np.float32(2.0 ** rng.uniform(-12, 0)))
        matrix = add(weights.shape, Quantization((scale,), (0,)), weights)
        bias = Quantization((float(np.float32(source.scale[0]) * np.float32(scale)),), (0,))
        offsets = add((outputs,), bias, rng.integers(-3000, 3000, outputs, dtype=np.int32))
        y = add((rows, outputs), quantization(-4, 2))
        operator = Operator(kind, (x, matrix, offsets), (y,), FullyConnected())
    return Graph(kind, tensors, []), operator


@needs_litert
@pytest.mark.parametrize("kind", ["ADD", "MEAN", "SOFTMAX", "FULLY_CONNECTED"])
def test_random_quantisation_alone(kind: str) -> None:
    rng = np.random.default_rng(7)
    compared = differing = 0
    for _ in range(40):
        graph, operator = random_operator(rng, kind)
        sources = [index for index in operator.inputs if not graph.tensors[index].constant]
        inputs = [rng.integers(-128, 128, (4, *graph.tensors[i].shape), dtype=np.int8) for i in sources]
        for data in inputs:
            data[0], data[1] = -128, 127
        differing += compare(graph, operator, inputs)
        compared += 4 * graph.tensors[operator.outputs[0]].bytes
    assert differing <= (0.02 * compared if kind == "FULLY_CONNECTED" else 0)
