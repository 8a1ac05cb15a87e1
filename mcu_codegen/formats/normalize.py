"""What a ``.tflite`` file may say in another way than a graph: float edges, and SPLIT.

A graph computes in integers only, so quantisation of a float input and of a float output is left to the caller: the
graph begins and ends with the integer tensors, whose scales and zero points the generated header gives. An operator of
a graph has one output, so SPLIT becomes a STRIDED_SLICE for each of its outputs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from ..graph import Entry, Graph, NoOptions, Operator, StridedSlice, Tensor


@dataclass(frozen=True)
class Split:
    parts: int


FILE_ONLY: dict[str, type] = {"DEQUANTIZE": NoOptions, "SPLIT": Split}
"""Operator kinds that are read and are not in any graph, with the class of their options."""


def without_float_edges(tensors: list[Tensor], entry: Entry) -> Entry:
    """`entry` without QUANTIZE of its float inputs and DEQUANTIZE to its float outputs.

    Raises InputError where either is elsewhere.
    """
    inside: dict[int, int] = {}  # integer tensor by float input
    outside: dict[int, int] = {}  # integer tensor by float output
    kept = []
    for position, operator in enumerate(entry.operators):
        source, output = operator.inputs[0], operator.outputs[0]
        owner = f"operator {position} ({operator.kind}, tensor '{tensors[output].name}')"
        if operator.kind == "QUANTIZE" and _is_float(tensors[source]):
            if source not in entry.inputs or source in inside or _is_float(tensors[output]):
                raise InputError(
                    f"{owner}: quantises {tensors[source].dtype} '{tensors[source].name}';"
                    " of float tensors, an input of the model is accepted, once"
                )
            inside[source] = output
        elif operator.kind == "DEQUANTIZE":
            if output not in entry.outputs or _is_float(tensors[source]):
                raise InputError(
                    f"{owner}: makes {tensors[output].dtype} of {tensors[source].dtype};"
                    " a float output of the model, made of integers, is accepted"
                )
            outside[output] = source
        else:
            kept.append(operator)
    if not kept:
        raise InputError("nothing is computed between the inputs and the outputs")
    return replace(
        entry,
        inputs=tuple(inside.get(index, index) for index in entry.inputs),
        outputs=tuple(outside.get(index, index) for index in entry.outputs),
        operators=kept,
    )


def _is_float(tensor: Tensor) -> bool:
    return tensor.dtype.startswith("float")


def replace_splits(graph: Graph) -> None:
    """STRIDED_SLICE in place of SPLIT, for each output that is used. Constants that say where are added behind all."""
    for entry in graph.entries:
        used = {*entry.outputs, *(index for operator in entry.operators for index in operator.inputs)}
        operators = []
        for position, operator in enumerate(entry.operators):
            if operator.kind != "SPLIT":
                operators.append(operator)
                continue
            try:
                operators += [part for part in _slices(graph, operator) if part.outputs[0] in used]
            except InputError as error:
                name = graph.tensors[operator.outputs[0]].name
                raise InputError(f"operator {position} (SPLIT, tensor '{name}'): {error}") from None
        entry.operators = operators


def _slices(graph: Graph, operator: Operator) -> list[Operator]:
    axis_tensor, source = (graph.tensors[index] for index in operator.inputs)
    rank, parts = len(source.shape), len(operator.outputs)
    if axis_tensor.data is None or not axis_tensor.constant or axis_tensor.dtype != "int32" or axis_tensor.bytes != 4:
        raise InputError(f"axis '{axis_tensor.name}' ({axis_tensor.dtype}) is not one constant int32")
    axis = int(axis_tensor.data.reshape(-1)[0])
    if not -rank <= axis < rank or parts != operator.options.parts or source.shape[axis] % parts:
        raise InputError(
            f"'{source.name}' {source.shape} is not split along axis {axis} into {operator.options.parts} equal parts,"
            f" the outputs being {parts}"
        )

    def constant(name: str, values: np.ndarray) -> int:
        graph.tensors.append(Tensor(name, (rank,), "int32", None, values.astype(np.int32)))
        return len(graph.tensors) - 1

    begin, end = np.zeros(rank, np.int64), np.array(source.shape)
    end[axis] = step = source.shape[axis] // parts
    slices = []
    for output in operator.outputs:
        name = graph.tensors[output].name
        where = (
            constant(f"{name}/begin", begin),
            constant(f"{name}/end", end),
            constant(f"{name}/strides", np.ones(rank)),
        )
        slices.append(Operator("STRIDED_SLICE", (operator.inputs[1], *where), (output,), StridedSlice()))
        begin[axis] += step
        end[axis] += step
    return slices
