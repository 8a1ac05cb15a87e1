"""Tensors as a ``.tflite`` holds them: shape, type, quantisation, and where their bytes lie.

Nothing is trusted: what comes out has a shape that its data fill.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import InputError
from ..graph import Quantization, Tensor
from .metadata import INITIAL
from .names import printable
from .operators import MAX_RANK
from .sparse import densified
from .tflite_schema import RESOURCE, TENSOR_TYPES
from .variables import HANDLE

# Far above what a microcontroller holds, far below what a file may make this program allocate.
MAX_TENSOR_BYTES = 256 << 20  # all tensors together


class Tensors:
    """Reads the tensors of one file."""

    def __init__(self, model: dict[str, Any], data: bytes) -> None:
        """`model` is the decoded file of which `data` are the bytes."""
        self.buffers = model["buffers"]
        self.blocks = {block["name"]: block["buffer"] for block in model["metadata"]}
        self.file = data
        self.bytes_left = MAX_TENSOR_BYTES

    def buffer(self, index: int) -> np.ndarray:
        """uint8[n]; empty where the buffer holds nothing. Its bytes may lie behind the flatbuffer, in the same file."""
        if index >= len(self.buffers):
            raise InputError(f"buffer {index} is wanted, {len(self.buffers)} are there")
        offset, size = self.buffers[index]["offset"], self.buffers[index]["size"]
        if offset <= 1:  # what TensorFlow writes where it holds the bytes itself
            inside: np.ndarray = self.buffers[index]["data"]
            return inside
        if offset + size > len(self.file):
            raise InputError(
                f"buffer {index} is {size} bytes at {offset}, outside the flatbuffer and the file's {len(self.file)}"
            )
        return np.frombuffer(self.file, np.uint8, size, offset)

    def block(self, name: str) -> np.ndarray:
        """The metadata block called `name`; empty where there is none."""
        return self.buffer(self.blocks[name]) if name in self.blocks else np.empty(0, np.uint8)

    def read(self, raw: dict[str, Any], index: int) -> Tensor:
        """The tensor at `index` of its subgraph. Raises InputError that names it."""
        name = tensor_name(raw, index)
        try:
            return self._checked(raw, name, f"{INITIAL}{index}")
        except InputError as error:
            raise InputError(f"tensor '{name}': {error}") from None

    def _checked(self, raw: dict[str, Any], name: str, initial: str) -> Tensor:
        if raw["type"] == RESOURCE:
            return Tensor(name, (1,), HANDLE)
        if raw["type"] not in TENSOR_TYPES:
            raise InputError(f"type code {raw['type']}; {', '.join(TENSOR_TYPES.values())} can be read")
        dtype = np.dtype(TENSOR_TYPES[raw["type"]]).newbyteorder("<")
        if len(raw["shape"]) > MAX_RANK or np.any(raw["shape"] < 1):
            raise InputError(f"shape {raw['shape'][: MAX_RANK + 1].tolist()}; up to {MAX_RANK} fixed sizes from 1 on")
        shape = tuple(raw["shape"].tolist())
        size = math.prod(shape) * dtype.itemsize
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise InputError(f"shape {shape}: all tensors together exceed {MAX_TENSOR_BYTES >> 20} MiB")
        if raw["external_buffer"]:
            raise InputError("its data lie in another file; one file with all data is accepted")
        content = self.buffer(raw["buffer"])
        if raw["is_variable"] and initial in self.blocks:
            content = self.block(initial)
        if raw["sparsity"] is not None and len(content):
            content = densified(content, raw["sparsity"], shape, dtype)
        if len(content) not in (0, size):
            raise InputError(f"{len(content)} bytes of data; shape {shape} of {dtype.name} takes {size}")
        quantization = _quantization(raw["quantization"], shape, dtype)
        data = content.view(dtype).reshape(shape) if len(content) else None
        if raw["is_variable"] and data is None:
            data = reset_value(shape, dtype.name, quantization)
        return Tensor(name, shape, dtype.name, quantization, data, bool(raw["is_variable"]))


def tensor_name(raw: dict[str, Any], index: int) -> str:
    """What errors call the tensor at `index` of its subgraph."""
    return printable(raw["name"]) or f"tensor_{index}"


def reset_value(shape: tuple[int, ...], dtype: str, quantization: Quantization | None) -> np.ndarray:
    """What LiteRT resets a variable tensor to: the code of zero."""
    return np.full(shape, quantization.zero_point[0] if dtype == "int8" and quantization else 0, dtype)


def _quantization(raw: dict[str, Any] | None, shape: tuple[int, ...], dtype: np.dtype) -> Quantization | None:
    if raw is None:
        return None
    if raw["details_type"]:
        raise InputError("custom or blockwise quantisation; scales per tensor or channel are accepted")
    scale, zero_point, axis = raw["scale"], raw["zero_point"], raw["quantized_dimension"]
    if not len(scale):
        return None
    if len(shape) == 1:
        axis = 0  # there is no other; old converters write that of the weights to which a bias belongs
    if len(scale) > 1 and not (0 <= axis < len(shape) and len(scale) == shape[axis]):
        raise InputError(f"{len(scale)} scales along axis {axis} of shape {shape}")
    if not np.all(np.isfinite(scale)) or np.any(scale < 0):
        raise InputError("a scale is negative or not finite")
    if not len(zero_point):
        zero_point = np.zeros(len(scale), np.int64)
    codes = np.iinfo(dtype if dtype.kind in "iu" else "int32")
    if len(zero_point) != len(scale) or np.any((zero_point < codes.min) | (zero_point > codes.max)):
        raise InputError(f"{len(zero_point)} zero points for {len(scale)} scales, or one outside {codes.dtype}")
    return Quantization(tuple(scale.tolist()), tuple(zero_point.tolist()), axis if len(scale) > 1 else 0)
