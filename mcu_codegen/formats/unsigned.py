"""Models of uint8 layers, as converters wrote them before int8, as int8 layers: the same arithmetic on shifted codes.

A code less 128 with a zero point less 128 stands for the same value, so activations become int8 where the operator only
sees differences from zero points. Inputs and outputs of the model stay uint8, behind a QUANTIZE that flips one bit.
Weights stay what they are, for their own zero point leaves them differences of up to 255.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..graph import Entry, NoOptions, Operator, Quantization, Tensor

_WEIGHTED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})
_SHIFTABLE = _WEIGHTED | {
    *("AVERAGE_POOL_2D", "MAX_POOL_2D", "ADD", "SUB", "MUL", "DIV", "SOFTMAX", "LOGISTIC", "TANH", "RELU", "RELU6"),
    *("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "STRIDED_SLICE", "CONCATENATION", "PACK", "PAD", "GATHER"),
    *("SPLIT", "SPLIT_V", "UNPACK", "SLICE", "TILE", "RESIZE_NEAREST_NEIGHBOR"),
}
"""Kinds whose reference kernels for uint8 compute what those for int8 do, on shifted codes."""

_EDGES = frozenset({"QUANTIZE", "DEQUANTIZE"})


def without_unsigned_layers(tensors: list[Tensor], entry: Entry, owners: dict[int, str]) -> Entry:
    """`entry` on int8 codes where its operators compute with uint8; `tensors` change. Raises InputError."""
    inner: set[int] = set()
    for operator in entry.operators:
        if operator.kind in _EDGES:
            continue
        weights = operator.inputs[1:2] if operator.kind in _WEIGHTED else ()
        codes = {i for i in (*operator.inputs, *operator.outputs) if i >= 0 and tensors[i].dtype == "uint8"}
        codes -= set(weights)
        if codes and operator.kind not in _SHIFTABLE:
            raise InputError(
                f"{owners[operator.outputs[0]]}: computes with uint8, which rounds otherwise; int8 is accepted"
            )
        if codes and operator.kind == "CONCATENATION":
            _refuse_rescaling(tensors, operator, owners[operator.outputs[0]])
        inner |= codes
    if not inner:
        return entry
    shifted = {index: _shift(tensors, index, index in (*entry.inputs, *entry.outputs)) for index in sorted(inner)}
    operators = [Operator("QUANTIZE", (i,), (shifted[i],), NoOptions()) for i in entry.inputs if i in inner]
    for operator in entry.operators:
        options = operator.options
        if operator.kind == "AVERAGE_POOL_2D" and operator.inputs[0] in inner:
            options = replace(options, half_up=True)
        inputs, outputs = (tuple(shifted.get(i, i) for i in side) for side in (operator.inputs, operator.outputs))
        operators.append(Operator(operator.kind, inputs, outputs, options))
        for before, after in zip(operator.outputs, outputs, strict=True):
            owners[after] = owners[before]
    operators += [Operator("QUANTIZE", (shifted[i],), (i,), NoOptions()) for i in entry.outputs if i in inner]
    return replace(entry, operators=operators)


def _refuse_rescaling(tensors: list[Tensor], operator: Operator, owner: str) -> None:
    output = tensors[operator.outputs[0]]
    if any(tensors[index].quantization != output.quantization for index in operator.inputs):
        raise InputError(f"{owner}: rescales uint8, in float; inputs on the scale of the output are accepted")


def _shift(tensors: list[Tensor], index: int, at_edge: bool) -> int:
    """The tensor at `index` on int8 codes, in its place, or behind all where it is an input or output of the model."""
    tensor = tensors[index]
    quantization = tensor.quantization
    if quantization is None or not quantization.per_tensor or tensor.persistent:
        raise InputError(f"tensor '{tensor.name}' is uint8 without one scale; int8, or quantised uint8, is accepted")
    data = None if tensor.data is None else np.bitwise_xor(tensor.data, 128).view(np.int8)
    zero_point = (quantization.zero_point[0] - 128,)
    moved = replace(tensor, dtype="int8", data=data, quantization=Quantization(quantization.scale, zero_point))
    if not at_edge:
        tensors[index] = moved
        return index
    tensors.append(replace(moved, name=f"{tensor.name}/int8"))
    return len(tensors) - 1
