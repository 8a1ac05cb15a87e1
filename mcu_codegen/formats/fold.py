"""Operators over constants, computed when a file is read: of a fixed shape, SHAPE and all that is made of it is known.

Only what moves values and what counts with integers is folded; nothing here rounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..graph import Entry, Operator, Tensor

Values = list[np.ndarray]


def fold_constants(tensors: list[Tensor], entry: Entry) -> None:
    """Give the outputs that are known their value, and leave out of `entry` the operators that make them.

    An output of the model stays computed. What cannot be folded stays, for others to judge.
    """
    kept = []
    for operator in entry.operators:
        value = None if operator.outputs[0] in entry.outputs else _value(tensors, operator)
        if value is None:
            kept.append(operator)
            _say_shape(tensors, operator)
        else:
            tensors[operator.outputs[0]].data = value
    entry.operators = kept


def without_shape_inputs(tensors: list[Tensor], entry: Entry) -> Entry:
    """`entry` without inputs that say nothing but the shape of a TRANSPOSE_CONV's output, which is fixed."""
    shapes: dict[int, np.ndarray] = {}
    others: set[int] = set()
    for operator in entry.operators:
        said = operator.inputs[:1] if operator.kind == "TRANSPOSE_CONV" else ()
        shapes |= {index: np.array(tensors[operator.outputs[0]].shape, np.int32) for index in said}
        others.update(operator.inputs[len(said) :])
    for index in entry.inputs:
        if index in shapes and index not in others and tensors[index].shape == shapes[index].shape:
            tensors[index].data = shapes[index].astype(tensors[index].dtype)
    return replace(entry, inputs=tuple(index for index in entry.inputs if not tensors[index].constant))


def _value(tensors: list[Tensor], operator: Operator) -> np.ndarray | None:
    output = tensors[operator.outputs[0]]
    sources = [tensors[index] for index in operator.inputs if index >= 0]
    if operator.kind == "SHAPE":
        value = np.array(sources[0].shape)
    else:
        values = [source.data for source in sources if source.constant and source.data is not None]
        if operator.kind not in _FOLDS or len(values) < len(sources) or _rescales(sources, output):
            return None
        try:
            value = _FOLDS[operator.kind](operator, values, output)
        except (ValueError, IndexError):  # they do not fit each other: `lower` says how
            return None
    if value.shape != output.shape or value.dtype.kind not in "iu" or output.persistent or output.constant:
        return None
    return np.array(value, output.dtype, order="C")


def _say_shape(tensors: list[Tensor], operator: Operator) -> None:
    """Give what RESHAPE makes the shape that its constant target says: a file has ones there where its converter
    knew no shape."""
    if operator.kind != "RESHAPE" or len(operator.inputs) < 2:
        return
    source, target = (tensors[index] for index in operator.inputs)
    if target.data is not None and not target.persistent:
        try:
            shape = np.broadcast_to(False, source.shape).reshape(target.data.reshape(-1)).shape
        except ValueError:  # `lower` says what does not fit
            return
        tensors[operator.outputs[0]].shape = shape


def _rescales(sources: list[Tensor], output: Tensor) -> bool:
    """Whether codes of the output mean something else than those of an input."""
    return output.dtype in ("int8", "uint8") and any(
        source.dtype == output.dtype and source.quantization != output.quantization for source in sources
    )


def _filled(_: Operator, values: Values, output: Tensor) -> np.ndarray:
    if tuple(values[0].reshape(-1)) != output.shape:
        raise ValueError
    return np.full(output.shape, values[1].reshape(()))


def _packed(operator: Operator, values: Values, _: Tensor) -> np.ndarray:
    return np.stack(values, operator.options.axis)


def _gathered(operator: Operator, values: Values, output: Tensor) -> np.ndarray:
    source, indices = values
    axis = range(source.ndim)[operator.options.axis]
    if (*source.shape[:axis], *indices.shape, *source.shape[axis + 1 :]) != output.shape:
        raise ValueError
    return np.take(source, indices, axis)


def sliced(operator: Operator, values: Values, _: Tensor) -> np.ndarray:
    source, *where = values
    options, index = operator.options, []
    for axis, (begin, end, step) in enumerate(zip(*(each.reshape(-1).tolist() for each in where), strict=True)):
        if options.shrink_axis_mask >> axis & 1:
            index.append(begin)
        else:
            first, last = options.begin_mask >> axis & 1, options.end_mask >> axis & 1
            index.append(slice(None if first else begin, None if last else end, step))
    return np.asarray(source[tuple(index)])


def _cut(_: Operator, values: Values, output: Tensor) -> np.ndarray:
    source, begin, _size = values
    chosen = (slice(first, first + size) for first, size in zip(begin.reshape(-1).tolist(), output.shape, strict=True))
    return np.asarray(source[tuple(chosen)])


def _joined(operator: Operator, values: Values, output: Tensor) -> np.ndarray:
    if sum(value.size for value in values) != math.prod(output.shape):
        raise ValueError
    return np.concatenate(values, operator.options.axis)


def _reshaped(_: Operator, values: Values, output: Tensor) -> np.ndarray:
    return values[0].reshape(output.shape)


def _product(operator: Operator, values: Values, output: Tensor) -> np.ndarray:
    axes = tuple(values[1].reshape(-1).tolist())
    return values[0].prod(axis=axes, keepdims=operator.options.keep_dims)


def _computed(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[..., np.ndarray]:
    """`function` of two integer tensors that are no codes."""

    def compute(operator: Operator, values: Values, output: Tensor) -> np.ndarray:
        shape = np.broadcast_shapes(*(value.shape for value in values))
        if output.dtype not in ("int32", "int64") or operator.options.activation != "NONE" or shape != output.shape:
            raise ValueError
        return function(*values)

    return compute


_FOLDS: dict[str, Callable[[Operator, Values, Tensor], np.ndarray]] = {
    "FILL": _filled,
    "PACK": _packed,
    "GATHER": _gathered,
    "STRIDED_SLICE": sliced,
    "SLICE": _cut,
    "CONCATENATION": _joined,
    "RESHAPE": _reshaped,
    "SQUEEZE": _reshaped,
    "EXPAND_DIMS": _reshaped,
    "DENSIFY": _reshaped,
    "CAST": _reshaped,
    "REDUCE_PROD": _product,
    "ADD": _computed(np.add),
    "SUB": _computed(np.subtract),
    "MUL": _computed(np.multiply),
}
