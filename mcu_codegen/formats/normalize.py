"""What a ``.tflite`` file may have and a graph has not: kinds that are folded or rewritten, and float edges.

A graph computes in integers only, so quantisation of a float input and of a float output is left to the caller: the
graph begins and ends with the integer tensors, whose scales and zero points the generated header gives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import InputError
from ..graph import Entry, Mean, NoOptions, Tensor
from .variables import VARIABLES


@dataclass(frozen=True)
class Split:
    parts: int


@dataclass(frozen=True)
class Unpack:
    count: int
    axis: int = 0


@dataclass(frozen=True)
class TransposeConv:
    padding: str = "SAME"  # or "VALID"
    stride: tuple[int, int] = (1, 1)
    activation: str = "NONE"


CONSTANT_ONLY: dict[str, type] = {
    "SHAPE": NoOptions,
    "FILL": NoOptions,
    "CAST": NoOptions,
    "DENSIFY": NoOptions,
    "REDUCE_PROD": Mean,
}
"""Operator kinds that are accepted where all they read is constant, with the class of their options."""

FILE_ONLY: dict[str, type] = (
    CONSTANT_ONLY
    | VARIABLES
    | {
        "DEQUANTIZE": NoOptions,
        "SPLIT": Split,
        "SPLIT_V": Split,
        "UNPACK": Unpack,
        "SLICE": NoOptions,
        "TILE": NoOptions,
        "REDUCE_MAX": Mean,
        "TRANSPOSE_CONV": TransposeConv,
    }
)
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
