"""An ONNX file as plain Python: nodes with attributes, constants as arrays, fixed shapes of the inputs.

The only module that needs the package ``onnx`` (extra of that name), and only where there is such a file to read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from .names import printable
from .operators import MAX_OPERANDS, MAX_RANK
from .refusals import Refusals
from .tensors import MAX_TENSOR_BYTES

OPSETS = (10, 26)
"""Lowest and highest version of the operator set: QuantizeLinear came with the first."""

_DOMAINS = ("", "ai.onnx")
_MICROSOFT = {("com.microsoft", kind) for kind in ("QuantizeLinear", "DequantizeLinear")}
"""The same two, before the standard had all types of codes."""


@dataclass(frozen=True)
class Node:
    """An operator of the file. An optional input or output that is left out is ""."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]  # int, float, str, lists of them, arrays; None where it is of another type
    name: str  # printable; that of its first output where it has none
    opset: int  # of the model

    @property
    def owner(self) -> str:
        """What errors call it."""
        return f"node '{self.name}' ({printable(self.kind)})"

    def integer(self, name: str, default: int) -> int:
        return int(self._of(name, int, default))

    def real(self, name: str, default: float) -> float:
        return float(self._of(name, (int, float), default))

    def text(self, name: str, default: str) -> str:
        return str(self._of(name, str, default))

    def integers(self, name: str, default: tuple[int, ...] | None = None) -> tuple[int, ...] | None:
        """The list called `name`, of numbers of a reasonable size; `default` where it is left out."""
        if name not in self.attributes:
            return default
        value = self.attributes[name]
        fits = isinstance(value, list | tuple) and all(isinstance(n, int) and abs(n) < 2**31 for n in value)
        if not fits or len(value) > 2 * MAX_RANK:
            raise InputError(f"attribute {name} is not a short list of integers")
        return tuple(value)

    def _of(self, name: str, kinds: Any, default: Any) -> Any:
        value = self.attributes.get(name, default)
        if not isinstance(value, kinds):
            raise InputError(f"attribute {name} is not {getattr(kinds, '__name__', 'a number')}")
        return value


@dataclass(frozen=True)
class Input:
    name: str
    dtype: str  # NumPy's name
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Model:
    nodes: list[Node]
    constants: dict[str, np.ndarray]
    inputs: list[Input]
    outputs: list[str]


def decode(data: bytes, refusals: Refusals) -> Model:
    """The model in `data`; what of it cannot be read goes to `refusals`. Raises InputError where nothing can."""
    try:
        import onnx
    except ImportError as error:
        raise InputError(f"ONNX is read with the package onnx (pip install 'kws-mcu[onnx]'): {error}") from None
    from google.protobuf.message import DecodeError

    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except (DecodeError, RecursionError):
        raise InputError("neither ONNX nor .tflite, or damaged") from None
    versions = [each.version for each in proto.opset_import if each.domain in _DOMAINS]
    if len(versions) != 1 or not OPSETS[0] <= versions[0] <= OPSETS[1]:
        raise InputError(f"operator sets {versions[:3]}; one of {OPSETS[0]} to {OPSETS[1]} is accepted")
    graph = proto.graph
    if not graph.node or not graph.output or max(len(graph.node), len(graph.input), len(graph.output)) > MAX_OPERANDS:
        raise InputError(f"{len(graph.node)} nodes and {len(graph.output)} outputs; 1 to {MAX_OPERANDS} are accepted")
    arrays = _Arrays()
    constants: dict[str, np.ndarray] = {}
    for tensor in graph.initializer:
        with refusals.of(f"constant '{printable(_text(tensor.name))}'"):
            constants[_text(tensor.name)] = arrays.read(tensor)
    if graph.sparse_initializer:
        refusals.add("", "sparse constants; dense ones are accepted")
    nodes = [_node(arrays, position, each, versions[0], refusals) for position, each in enumerate(graph.node)]
    inputs = []
    for each in graph.input:
        if _text(each.name) not in constants:
            with refusals.of(f"input '{printable(_text(each.name))}'"):
                inputs.append(_input(each))
    return Model(nodes, constants, inputs, [_text(each.name) for each in graph.output])


class _Arrays:
    """Tensors of the file as arrays, no more of them than are accepted."""

    def __init__(self) -> None:
        self.bytes_left = MAX_TENSOR_BYTES

    def read(self, proto: Any) -> np.ndarray:
        from onnx import TensorProto, numpy_helper

        if proto.data_location == TensorProto.EXTERNAL:
            raise InputError(
                "its data lie in another file; one file with all data is accepted:"
                " onnx.save_model(onnx.load(PATH), PATH_OF_ONE_FILE)"
            )
        if len(proto.dims) > MAX_RANK or any(size < 0 for size in proto.dims):
            raise InputError(f"shape {list(proto.dims)[: MAX_RANK + 1]}; up to {MAX_RANK} sizes are accepted")
        self.bytes_left -= 8 * math.prod(proto.dims)
        if self.bytes_left < 0:
            raise InputError(f"all tensors together exceed {MAX_TENSOR_BYTES >> 20} MiB")
        try:
            value = np.asarray(numpy_helper.to_array(proto))
        except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            raise InputError(f"cannot be read ({printable(str(error))[:120]})") from None
        if value.shape != tuple(proto.dims):
            raise InputError(f"shape {list(proto.dims)} is not what its data fill")
        return value


def _node(arrays: _Arrays, position: int, proto: Any, opset: int, refusals: Refusals) -> Node:
    domain, kind = _text(proto.domain), _text(proto.op_type)
    if domain not in _DOMAINS and (domain, kind) not in _MICROSOFT:
        kind = f"{domain}.{kind}"
    inputs, outputs = (tuple(_text(name) for name in side) for side in (proto.input, proto.output))
    name = printable(_text(proto.name) or next(iter(outputs), "") or str(position))
    node = Node(kind, inputs, outputs, {}, name, opset)
    for each in proto.attribute:
        with refusals.of(node.owner):
            node.attributes[_text(each.name)] = _attribute(arrays, each)
    if len(proto.input) > MAX_OPERANDS or not 0 < len(proto.output) <= MAX_OPERANDS:
        refusals.add(node.owner, f"{len(proto.input)} inputs and {len(proto.output)} outputs")
    return node


def _text(found: str | bytes) -> str:
    """A string of the file: one that is no UTF-8 comes as bytes."""
    return found if isinstance(found, str) else found.decode(errors="backslashreplace")


def _attribute(arrays: _Arrays, proto: Any) -> Any:
    from onnx import AttributeProto

    if proto.type == AttributeProto.INT:
        return int(proto.i)
    if proto.type == AttributeProto.FLOAT:
        return float(proto.f)
    if proto.type == AttributeProto.STRING:
        return _text(proto.s)
    if proto.type == AttributeProto.INTS:
        return list(proto.ints)
    if proto.type == AttributeProto.FLOATS:
        return list(proto.floats)
    if proto.type == AttributeProto.TENSOR:
        return arrays.read(proto.t)
    return None


def _input(proto: Any) -> Input:
    """A symbolic first axis is that of a batch, of which C takes one."""
    from onnx import helper

    tensor = proto.type.tensor_type
    try:
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    except (KeyError, ValueError, TypeError):
        dtype = f"type {tensor.elem_type}"
    if dtype not in ("float32", "int8", "uint8"):
        raise InputError(f"is {dtype}; float32, int8 or uint8 is accepted")
    dimensions = tensor.shape.dim
    if not tensor.HasField("shape") or not len(dimensions) <= MAX_RANK:
        raise InputError(f"has no shape of up to {MAX_RANK} axes")
    shape = [each.dim_value if each.HasField("dim_value") else 0 for each in dimensions]
    if shape and shape[0] < 1:
        shape[0] = 1
    for axis, size in enumerate(shape):
        if not 0 < size < 2**31:
            found = printable(_text(dimensions[axis].dim_param)) or size
            raise InputError(f"axis {axis} is {found}; a fixed size is accepted, but for the batch's, which becomes 1")
    if math.prod(shape) > MAX_TENSOR_BYTES:
        raise InputError(f"shape {tuple(shape)} is beyond {MAX_TENSOR_BYTES >> 20} MiB")
    return Input(_text(proto.name), dtype, tuple(shape))
