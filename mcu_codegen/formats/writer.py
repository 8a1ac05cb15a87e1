"""Graphs to ``.tflite`` files."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np

from ..errors import InputError
from ..graph import STATES, Entry, Graph, Operator, Tensor
from . import flatbuffer
from .metadata import INITIAL, METADATA
from .operators import OPERATORS, OPTION_FIELDS, listed, options_code
from .tensors import reset_value
from .tflite_schema import BUILTIN_OPERATORS, IDENTIFIER, SCHEMA, TENSOR_TYPES, VERSION
from .windows import separate_windows


def write(graph: Graph) -> bytes:
    """The bytes of a ``.tflite`` file that LiteRT accepts. The same graph always gives the same bytes.

    Raises InputError where the format cannot say what the graph does, as it is with layers that were uint8.

    Reading them gives an equal graph again, with the SHA-256 of these bytes, unless an operator lists an optional input
    as -1 at the end, and but for tensors behind all that stand for SHIFT_IN, which no file has. So that entries can
    share tensors, the subgraph of each entry holds all tensors of the graph.
    """
    graph = separate_windows(graph)
    kinds = list(dict.fromkeys(operator.kind for entry in graph.entries for operator in entry.operators))
    codes = [_operator_code(kind) for kind in kinds]
    buffers: dict[bytes, int] = {b"": 0}  # content to index; buffer 0 is empty by convention

    def buffer(content: bytes) -> int:
        return buffers.setdefault(content, len(buffers))

    tensors = [_tensor(tensor, buffer(_content(tensor)) if tensor.constant else 0) for tensor in graph.tensors]
    metadata = [
        {"name": f"{INITIAL}{index}", "buffer": buffer(_content(tensor))}
        for index, tensor in enumerate(graph.tensors)
        if tensor.persistent
        and tensor.data is not None
        and not np.array_equal(tensor.data, reset_value(tensor.shape, tensor.dtype, tensor.quantization))
    ]
    if graph.metadata:
        content = json.dumps(graph.metadata, sort_keys=True, allow_nan=False).encode()
        metadata.append({"name": METADATA, "buffer": buffer(content)})
    inside: list[dict[str, Any]] = []
    operators = [_operators(graph, entry, kinds, inside) for entry in graph.entries]
    subgraphs = [
        {
            "tensors": [*tensors, *inside],
            "inputs": entry.inputs,
            "outputs": entry.outputs,
            "operators": of_entry,
            "name": entry.name,
        }
        for entry, of_entry in zip(graph.entries, operators, strict=True)
    ]
    return flatbuffer.write(
        {
            "version": VERSION,
            "operator_codes": codes,
            "subgraphs": subgraphs,
            "description": METADATA,
            "buffers": [{"data": np.frombuffer(content, np.uint8)} for content in buffers],
            "metadata": metadata,
        },
        SCHEMA,
        IDENTIFIER,
    )


def _operator_code(kind: str) -> dict[str, Any]:
    if kind not in OPERATORS:
        raise InputError(f"no .tflite holds an operator {kind}")
    code = BUILTIN_OPERATORS.index(kind)
    return {"deprecated_builtin_code": min(code, 127), "builtin_code": code, "version": OPERATORS[kind].version}


def _operators(graph: Graph, entry: Entry, kinds: list[str], inside: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The operators of `entry`. What they list as intermediates joins `inside`, tensors behind those of the graph."""
    operators: list[dict[str, Any]] = []
    for operator in entry.operators:
        operators.append(_operator(graph, operator, kinds))
        if count := OPERATORS[operator.kind].intermediates:
            first, output = len(graph.tensors) + len(inside), graph.tensors[operator.outputs[0]]
            operators[-1]["intermediates"] = list(range(first, first + count))
            inside += [_tensor(Tensor("inside", (1,), output.dtype, output.quantization), 0)] * count
    return operators


def _operator(graph: Graph, operator: Operator, kinds: list[str]) -> dict[str, Any]:
    row = OPERATORS[operator.kind]
    sources = [graph.tensors[index] for index in operator.inputs if index >= 0]
    name = graph.tensors[operator.outputs[0]].name
    if {"int8", "uint8"} <= {source.dtype for source in sources}:  # weights of uint8 layers, read as int8 layers
        raise InputError(f"operator {operator.kind} (tensor '{name}'): no file holds int8 with weights of uint8")
    options = dict(row.fixed) | row.derived(sources, graph.tensors[operator.outputs[0]])
    for field in dataclasses.fields(operator.options):
        if field.name not in OPTION_FIELDS:
            if getattr(operator.options, field.name) != field.default:
                raise InputError(f"operator {operator.kind} (tensor '{name}'): no file holds its option {field.name}")
            continue
        options |= OPTION_FIELDS[field.name].write(getattr(operator.options, field.name))
    inputs = listed(operator.inputs)
    if row.every:
        inputs = (*inputs, *(-1,) * (row.inputs[1] - len(inputs)))
    return {
        "opcode_index": kinds.index(operator.kind),
        "inputs": inputs,
        "outputs": operator.outputs[:1] if operator.kind in STATES else operator.outputs,
        "builtin_options_type": options_code(row),
        "builtin_options": options if row.options else None,
    }


def _tensor(tensor: Tensor, buffer: int) -> dict[str, Any]:
    quantization = tensor.quantization
    return {
        "shape": tensor.shape,
        "type": next(code for code, dtype in TENSOR_TYPES.items() if dtype == tensor.dtype),
        "buffer": buffer,
        "name": tensor.name,
        "quantization": quantization
        and {
            "scale": quantization.scale,
            "zero_point": quantization.zero_point,
            "quantized_dimension": quantization.axis,
        },
        "is_variable": tensor.persistent,
    }


def _content(tensor: Tensor) -> bytes:
    return np.ascontiguousarray(tensor.data, np.dtype(tensor.dtype).newbyteorder("<")).tobytes()
