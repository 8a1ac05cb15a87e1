"""Nodes over constants and fixed shapes, computed when a file is read. Exporters write many for one Reshape."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import InputError
from .onnx_file import Node
from .onnx_shapes import new_shape, permutation
from .onnx_values import Value, Weights

Values = Sequence[Value | None]
Arrays = list[np.ndarray]

_MOST = 1 << 24  # values of a result


def fold(node: Node, values: Values) -> Value | None:
    """What `node` makes of constants; None where it does not, or an input is none. Raises InputError."""
    if node.kind == "Constant":
        return _constant(node)
    if node.kind in ("Shape", "Size") and values and values[0] is not None:
        sizes = np.array(values[0].shape, np.int64)
        if node.kind == "Size":
            return sizes.prod()
        return sizes[node.integer("start", 0) : node.integer("end", len(sizes))]
    first = values[0] if values else None
    others = [value for value in values[1:] if value is not None]
    if not all(isinstance(value, np.ndarray) for value in others) or not isinstance(first, np.ndarray | Weights):
        return None
    if node.kind in _MOVES:
        return _MOVES[node.kind](node, values, first)
    if node.kind not in _FOLDS or isinstance(first, Weights):
        return None
    arrays = [value for value in values if isinstance(value, np.ndarray)]
    try:
        with np.errstate(all="ignore"):
            return np.asarray(_FOLDS[node.kind](node, arrays))
    except (ValueError, IndexError, TypeError, OverflowError, ZeroDivisionError, MemoryError):
        raise InputError(f"shapes {[array.shape for array in arrays][:4]} do not fit each other") from None


def _constant(node: Node) -> np.ndarray:
    for name, dtype in (
        ("value_int", np.int64),
        ("value_ints", np.int64),
        ("value_float", np.float32),
        ("value_floats", np.float32),
    ):
        if node.attributes.get(name) is not None:
            try:
                return np.array(node.attributes[name], dtype)
            except (ValueError, TypeError, OverflowError):
                break
    value = node.attributes.get("value")
    if not isinstance(value, np.ndarray):
        raise InputError("its value is no tensor of numbers")
    return value


def _relabelled(node: Node, values: Values, first: np.ndarray | Weights) -> np.ndarray | Weights:
    shape = new_shape(node, values, first.shape)
    return first.reshaped(shape) if isinstance(first, Weights) else first.reshape(shape)


def _transposed(node: Node, _values: Values, first: np.ndarray | Weights) -> np.ndarray | Weights:
    axes = permutation(node, len(first.shape))
    return first.transposed(axes) if isinstance(first, Weights) else first.transpose(axes)


def _same(_node: Node, _values: Values, first: np.ndarray | Weights) -> np.ndarray | Weights:
    return first


_MOVES: dict[str, Callable[[Node, Values, np.ndarray | Weights], np.ndarray | Weights]] = {
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _relabelled),
    "Transpose": _transposed,
    "Identity": _same,
}


def _bounded(function: Callable[..., np.ndarray]) -> Callable[[Node, Arrays], np.ndarray]:
    def compute(_node: Node, arrays: Arrays) -> np.ndarray:
        if math.prod(np.broadcast_shapes(*(array.shape for array in arrays))) > _MOST:
            raise ValueError
        return function(*arrays)

    return compute


def _divided(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Integers towards 0."""
    if first.dtype.kind == "f":
        return first / second
    return (np.sign(first) * np.sign(second) * (np.abs(first) // np.abs(second))).astype(first.dtype)


def _gathered(node: Node, arrays: Arrays) -> np.ndarray:
    source, indices = arrays
    axis = node.integer("axis", 0)
    if source.size // max(source.shape[axis], 1) * indices.size > _MOST:
        raise ValueError
    return np.take(source, indices, axis)


def _sliced(node: Node, arrays: Arrays) -> np.ndarray:
    source, *rest = arrays
    attributes = [list(node.integers(name) or ()) for name in ("starts", "ends", "axes")]
    starts, ends, axes, steps = (*([each.reshape(-1).tolist() for each in rest] or attributes), [], [])[:4]
    index = [slice(None)] * source.ndim
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        index[axes[number] if axes else number] = slice(start, end, steps[number] if steps else 1)
    return source[tuple(index)]


_DTYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 9: np.bool_, 11: np.float64}
"""ONNX's numbers of types."""


def _cast(node: Node, arrays: Arrays) -> np.ndarray:
    return arrays[0].astype(_DTYPES.get(node.integer("to", 1), np.void))


def _filled(node: Node, arrays: Arrays) -> np.ndarray:
    shape, value = arrays[0].reshape(-1).tolist(), node.attributes.get("value", np.float32(0))
    if math.prod(shape) > _MOST or min(shape, default=0) < 0:
        raise ValueError
    return np.full(shape, np.asarray(value).reshape(()))


def _expanded(_node: Node, arrays: Arrays) -> np.ndarray:
    shape = np.broadcast_shapes(arrays[0].shape, tuple(arrays[1].reshape(-1).tolist()))
    if math.prod(shape) > _MOST:
        raise ValueError
    return np.broadcast_to(arrays[0], shape)


_FOLDS: dict[str, Callable[[Node, Arrays], np.ndarray]] = {
    "Add": _bounded(np.add),
    "Sub": _bounded(np.subtract),
    "Mul": _bounded(np.multiply),
    "Div": _bounded(_divided),
    "Equal": _bounded(np.equal),
    "Where": _bounded(np.where),
    "Sqrt": _bounded(np.sqrt),
    "Neg": _bounded(np.negative),
    "Floor": _bounded(np.floor),
    "Cast": _cast,
    "Gather": _gathered,
    "Slice": _sliced,
    "Concat": lambda node, arrays: np.concatenate(arrays, node.integer("axis", 0)),
    "ConstantOfShape": _filled,
    "Expand": _expanded,
    "ReduceProd": lambda node, arrays: np.prod(arrays[0], keepdims=node.integer("keepdims", 1) != 0),
}

FOLDED = frozenset({"Constant", "Shape", "Size", *_MOVES, *_FOLDS})
"""Kinds of nodes."""
