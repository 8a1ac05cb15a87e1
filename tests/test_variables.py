"""Resource variables of a file: persistent tensors, initial values, copies and windows, and what is refused."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from random_graphs import random_graph, random_inputs
from test_trials import shared

from mcu_codegen.emit.plan import compile_plan
from mcu_codegen.emulate.host_executor import HostExecutor
from mcu_codegen.errors import InputError
from mcu_codegen.execute import litert_executor
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.formats import flatbuffer, tflite
from mcu_codegen.formats.tflite_schema import BUILTIN_OPERATORS, IDENTIFIER, RESOURCE, SCHEMA, TENSOR_TYPES, VERSION
from mcu_codegen.graph import Graph

CODES = {dtype: code for code, dtype in TENSOR_TYPES.items()}
UNIONS = {name: code for code, name in SCHEMA.unions["BuiltinOptions"].items()}
OPTIONS: dict[str, str] = {
    "CALL_ONCE": "CallOnceOptions",
    "VAR_HANDLE": "VarHandleOptions",
    "CONCATENATION": "ConcatenationOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "QUANTIZE": "QuantizeOptions",
}
Step = tuple[str, str, str, dict[str, Any]]  # kind, inputs, outputs, options

ONCE: Step = ("CALL_ONCE", "", "", {"init_subgraph_index": 1})
HANDLE: Step = ("VAR_HANDLE", "", "handle", {"shared_name": "v"})
READ: Step = ("READ_VARIABLE", "handle", "old", {})
ASSIGN: Step = ("ASSIGN_VARIABLE", "handle new", "", {})
JOIN: Step = ("CONCATENATION", "old x", "joined", {"axis": 1})
CUT: Step = ("STRIDED_SLICE", "joined begin end ones", "new", {})
OUT: Step = ("QUANTIZE", "joined", "y", {})
FIRST: list[Step] = [HANDLE, ("ASSIGN_VARIABLE", "handle first", "", {})]
KEPT_ROWS = [ONCE, HANDLE, READ, JOIN, CUT, ASSIGN, OUT]


class File:
    """A file of tensors that are named as they are used: rows of 1 x n x 1 x 4, handles, and slices."""

    def __init__(self) -> None:
        rows = {"x": 2, "old": 3, "joined": 5, "new": 3, "y": 5, "w": 3}
        self.tensors = {name: ("int8", (1, size, 1, 4), None) for name, size in rows.items()}
        self.tensors["y"] = ("uint8", (1, 5, 1, 4), None)
        self.tensors |= {name: ("resource", (), None) for name in ("handle", "other")}
        first = np.arange(12, dtype=np.int8).reshape(1, 3, 1, 4)
        self.tensors |= {"first": ("int8", (1, 3, 1, 4), first), "ones": _four([1, 1, 1, 1])}
        self.tensors |= {"begin": _four([0, 2, 0, 0]), "end": _four([1, 5, 1, 4])}

    def bytes(self, *subgraphs: list[Step], inputs: str = "x", outputs: str = "y") -> bytes:
        kinds = sorted({step[0] for steps in subgraphs for step in steps})
        names = list(self.tensors)

        def indices(text: str) -> list[int]:
            return [names.index(name) for name in text.split()]

        def operator(kind: str, sources: str, results: str, options: dict[str, Any]) -> dict[str, Any]:
            table = OPTIONS.get(kind)
            return {
                "opcode_index": kinds.index(kind),
                "inputs": indices(sources),
                "outputs": indices(results),
                "builtin_options_type": UNIONS[table] if table else 0,
                "builtin_options": options if table else None,
            }

        buffers: list[np.ndarray] = [np.empty(0, np.uint8)]
        tensors = []
        for name, (dtype, shape, data) in self.tensors.items():
            if data is not None:
                buffers.append(np.frombuffer(data.tobytes(), np.uint8))
            quantization = {"scale": [0.5], "zero_point": [-128 if dtype == "int8" else 0]}
            tensors.append(
                {
                    "name": name,
                    "shape": shape,
                    "type": RESOURCE if dtype == "resource" else CODES[dtype],
                    "buffer": 0 if data is None else len(buffers) - 1,
                    "quantization": quantization if dtype in ("int8", "uint8") else None,
                }
            )
        codes = [BUILTIN_OPERATORS.index(kind) for kind in kinds]
        model = {
            "version": VERSION,
            "operator_codes": [
                {"deprecated_builtin_code": min(code, 127), "builtin_code": code, "version": 1} for code in codes
            ],
            "subgraphs": [
                {
                    "tensors": tensors,
                    "inputs": [] if number else indices(inputs),
                    "outputs": [] if number else indices(outputs),
                    "operators": [operator(*step) for step in steps],
                    "name": "once" if number else "main",
                }
                for number, steps in enumerate(subgraphs)
            ],
            "buffers": [{"data": data} for data in buffers],
        }
        return flatbuffer.write(model, SCHEMA, IDENTIFIER)


def _four(values: list[int]) -> tuple[str, tuple[int, ...], np.ndarray]:
    return "int32", (4,), np.array(values, np.int32)


def _kinds(graph: Graph) -> list[str]:
    return [operator.kind for operator in graph.main.operators]


def _check(data: bytes, *executors: type) -> np.ndarray:
    """The outputs of 20 steps from `data`, which `executors` give, too, and LiteRT where it is installed."""
    graph = tflite.read_bytes(data, "model")
    shape = graph.tensors[graph.main.inputs[0]].shape
    inputs = np.random.default_rng(0).integers(-128, 127, (20, *shape), np.int8, endpoint=True)
    found = NumpyExecutor(graph).run([inputs])[graph.main.outputs[0]]
    for executor in executors:
        np.testing.assert_array_equal(executor(graph).run([inputs])[graph.main.outputs[0]], found)
    if not litert_executor.unavailable():
        np.testing.assert_array_equal(litert_executor.run_file(data, [inputs])[0], found)
    return found


def test_kept_rows_and_new_ones_are_one_window() -> None:
    data = File().bytes(KEPT_ROWS, FIRST)
    graph = tflite.read_bytes(data, "model")
    assert _kinds(graph) == ["SHIFT_IN", "QUANTIZE"]
    (window,) = (tensor for tensor in graph.tensors if tensor.persistent)
    assert (window.name, window.shape) == ("handle", (1, 5, 1, 4))
    np.testing.assert_array_equal(_check(data, HostExecutor)[0, 0, :3].reshape(-1), np.arange(12) + 128)
    again = tflite.read_bytes(tflite.write(graph), "model")
    assert [entry.operators for entry in again.entries] == [entry.operators for entry in graph.entries]
    np.testing.assert_array_equal(next(tensor.data for tensor in again.tensors if tensor.persistent), window.data)


def test_a_window_that_is_cut_before_it_grows() -> None:
    file = File()
    file.tensors |= {"old": file.tensors["joined"], "new": file.tensors["joined"], "cut": file.tensors["w"]}
    file.tensors["first"] = ("int8", (1, 5, 1, 4), np.arange(20, dtype=np.int8))
    cut: Step = ("STRIDED_SLICE", "old begin end ones", "cut", {})
    join: Step = ("CONCATENATION", "cut x", "new", {"axis": 1})
    data = file.bytes([ONCE, HANDLE, READ, cut, join, ASSIGN, ("QUANTIZE", "new", "y", {})], FIRST)
    assert _kinds(tflite.read_bytes(data, "model")) == ["SHIFT_IN", "QUANTIZE"]
    _check(data)


def test_state_of_random_graphs_comes_back_from_a_file() -> None:
    """Windows and copies among other operators; four steps, and again after a reset."""
    kinds: Counter[str] = Counter()
    for seed in range(120):
        graph = random_graph(seed)
        updates = _updates(graph)
        if not {"SHIFT_IN", "RESHAPE"} & set(updates):
            continue
        kinds.update(updates)
        again = tflite.read_bytes(tflite.write(graph), "model")
        assert _updates(again) == updates, seed
        executors = NumpyExecutor(graph), NumpyExecutor(again)
        for _ in range(2):
            for entry, read in zip(graph.entries, again.entries, strict=True):
                inputs = random_inputs(graph, seed, entry=entry.name)
                expected, found = (executor.run(inputs, entry.name) for executor in executors)
                for before, after in zip(entry.outputs, read.outputs, strict=True):
                    np.testing.assert_array_equal(found[after], expected[before], f"seed {seed}")
            for executor in executors:
                executor.reset()
    assert kinds["SHIFT_IN"] > 5 and kinds["RESHAPE"] > 5, kinds


def _updates(graph: Graph) -> list[str]:
    """The kinds of what writes persistent tensors."""
    operators = (operator for entry in graph.entries for operator in entry.operators)
    return [operator.kind for operator in operators if graph.tensors[operator.outputs[0]].persistent]


def test_rows_that_are_not_the_newest_stay_a_copy() -> None:
    file = File()
    file.tensors |= {"begin": _four([0, 1, 0, 0]), "end": _four([1, 4, 1, 4])}
    data = file.bytes(KEPT_ROWS, FIRST)
    assert _kinds(tflite.read_bytes(data, "model")) == ["CONCATENATION", "STRIDED_SLICE", "QUANTIZE"]
    _check(data)


def test_one_variable_becomes_what_another_was() -> None:
    """Values wait for two steps, so that one of them is copied before the other changes."""
    file = File()
    file.tensors |= {"x": file.tensors["w"], "y": ("uint8", (1, 3, 1, 4), None)}
    steps: list[Step] = [
        *(ONCE, HANDLE, ("VAR_HANDLE", "", "other", {"shared_name": "u"})),
        *(READ, ("READ_VARIABLE", "other", "w", {})),
        *(("ASSIGN_VARIABLE", "other x", "", {}), ("ASSIGN_VARIABLE", "handle w", "", {})),
        ("QUANTIZE", "old", "y", {}),
    ]
    once = [*FIRST, ("VAR_HANDLE", "", "other", {"shared_name": "u"}), ("ASSIGN_VARIABLE", "other first", "", {})]
    _check(file.bytes(steps, once), HostExecutor)


@pytest.mark.parametrize(("source", "rows", "arena"), [("joined", 5, 32), ("old", 3, 48)])
def test_state_under_another_name_is_copied_where_it_changes_later(source: str, rows: int, arena: int) -> None:
    """The window has changed when it is renamed; what was kept has not yet, and is read when it has."""
    file = File()
    file.tensors |= {"flat": ("int8", (1, 4 * rows), None), "y": ("uint8", (1, 4 * rows), None)}
    file.tensors["shape"] = ("int32", (2,), np.array([1, 4 * rows], np.int32))
    rename: Step = ("RESHAPE", f"{source} shape", "flat", {})
    steps = [ONCE, HANDLE, READ, *([rename] if source == "old" else []), JOIN, CUT, ASSIGN]
    data = file.bytes([*steps, *([rename] if source == "joined" else []), ("QUANTIZE", "flat", "y", {})], FIRST)
    assert compile_plan(tflite.read_bytes(data, "model")).memory.arena_bytes == arena
    _check(data, HostExecutor)


REFUSED: dict[str, tuple[list[Step], list[Step], str]] = {
    "assigned twice": ([*KEPT_ROWS, ASSIGN], FIRST, r"ASSIGN_VARIABLE, tensor 'handle'.*assigned twice"),
    "read after": (
        [*KEPT_ROWS, ("READ_VARIABLE", "handle", "w", {})],
        FIRST,
        r"READ_VARIABLE, tensor 'w'.*'v' is read after it was assigned",
    ),
    "no handle": ([ONCE, READ, JOIN, OUT], FIRST, r"READ_VARIABLE, tensor 'old'.*'handle' is not the handle"),
    "no first value": ([HANDLE, READ, JOIN, OUT], [], r"READ_VARIABLE.*'v' has no first value"),
    "not constant": (KEPT_ROWS, [HANDLE, ("ASSIGN_VARIABLE", "handle w", "", {})], r"'v' starts as 'w', which is not"),
    "given twice": (KEPT_ROWS, [*FIRST, FIRST[1]], r"subgraph 1.*'v' is given a first value twice"),
    "computed once": (KEPT_ROWS, [*FIRST, JOIN], r"subgraph 1.*CONCATENATION, tensor 'joined'.*runs once"),
    "other shape": (
        [ONCE, HANDLE, ("READ_VARIABLE", "handle", "joined", {}), OUT],
        FIRST,
        r"'v' starts as int8 \(1, 3, 1, 4\); 'joined' is int8 \(1, 5, 1, 4\)",
    ),
    "computed with": (
        [ONCE, HANDLE, READ, JOIN, ("QUANTIZE", "handle", "y", {})],
        FIRST,
        r"QUANTIZE, tensor 'y'.*'handle' is the handle",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_operator_tensor_and_reason(case: str) -> None:
    steps, once, reason = REFUSED[case]
    with pytest.raises(InputError, match=reason):
        tflite.read_bytes(File().bytes(steps, *([once] if once else [])), "model")


def test_a_handle_is_no_output() -> None:
    with pytest.raises(InputError, match="'handle' is the handle of a variable"):
        tflite.read_bytes(File().bytes(KEPT_ROWS, FIRST, outputs="y handle"), "model")


@pytest.mark.parametrize("name", ["vad_v2", "hey_jarvis_v2", "okay_computer_v2", "hey_jarvis_v1"])
def test_wake_words_of_others_carry_their_state(name: str) -> None:
    data = shared(f"models/wake_words/{name}.tflite")
    assert "SHIFT_IN" in _kinds(tflite.read_bytes(data, name))
    _check(data)
