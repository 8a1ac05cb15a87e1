"""What goes in and out of a harness, as bytes: samples, what was observed of them, and where inference stopped."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..graph import Entry, Graph

INPUTS, OBSERVED, ANSWERS, STACK = "inputs.bin", "observed.bin", "answers.bin", "stack.bin"
"""Files of an emulated harness: entry number and samples; what was observed; where inference stopped; bytes of stack
that the network used."""


def samples(graph: Graph, entry: Entry, inputs: list[np.ndarray]) -> bytes:
    """`inputs` (N, *shape) of `entry`, sample by sample. Raises InputError where they do not fit."""
    return _rows(graph, entry, inputs).tobytes()


def stopping_samples(graph: Graph, inputs: list[np.ndarray], thresholds: np.ndarray) -> bytes:
    """`inputs` (N, *shape) of the main entry, each behind its thresholds: int16 [early exits, N]."""
    limits = np.ascontiguousarray(thresholds.T, "<i2").view(np.int8)
    return np.concatenate([limits, _rows(graph, graph.main, inputs)], axis=1).tobytes()


def answers(graph: Graph, content: bytes | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(which exit answered, int32 [N]; its scores, int8 [N, labels]) in N runs that could stop."""
    rows = np.frombuffer(content, np.int8).reshape(-1, answer_bytes(graph))
    return np.ascontiguousarray(rows[:, :4]).view("<i4")[:, 0], rows[:, 4:]


def answer_bytes(graph: Graph) -> int:
    """What one run that could stop gives."""
    return 4 + graph.tensors[graph.main.outputs[-1]].bytes


def _rows(graph: Graph, entry: Entry, inputs: list[np.ndarray]) -> np.ndarray:
    counts = {len(values) for values in inputs}
    wanted = [(graph.tensors[index].dtype, graph.tensors[index].shape) for index in entry.inputs]
    if len(counts) != 1 or [(values.dtype.name, values.shape[1:]) for values in inputs] != wanted:
        found = ", ".join(f"{values.dtype} {values.shape}" for values in inputs)
        accepted = ", ".join(f"{dtype} of (N, *{shape})" for dtype, shape in wanted)
        raise InputError(f"entry '{entry.name}': inputs are {found}; accepted are {accepted}")
    flat = [values.reshape(len(values), -1).view(np.int8) for values in inputs]
    return np.concatenate(flat, axis=1)


def observed_bytes(graph: Graph, entry: Entry) -> int:
    """What one run of `entry` observes, headers included."""
    return sum(8 + graph.tensors[operator.outputs[0]].bytes for operator in entry.operators)


def observed(graph: Graph, entry: Entry, content: bytes | np.ndarray) -> dict[int, np.ndarray]:
    """What was observed in N runs of `entry`, by tensor: (N, *shape)."""
    first = sum(len(earlier.operators) for earlier in graph.entries[: graph.entries.index(entry)])
    rows = np.frombuffer(content, np.int8).reshape(-1, observed_bytes(graph, entry))
    values, start = {}, 0
    for layer, operator in enumerate(entry.operators, first):
        tensor = graph.tensors[operator.outputs[0]]
        header, start = rows[:, start : start + 8], start + 8
        assert np.all(header == np.array([layer, tensor.bytes], "<i4").view(np.int8)), f"layer {layer} in disorder"
        codes = rows[:, start : start + tensor.bytes].view(tensor.dtype)
        values[operator.outputs[0]] = codes.reshape(-1, *tensor.shape)
        start += tensor.bytes
    return values
