"""A model file of any format: which it is, its content says, and its name where the content says nothing."""

from __future__ import annotations

from pathlib import Path

from ..graph import Graph
from . import onnx_reader, tflite
from .found import Found, load
from .tflite_schema import IDENTIFIER

__all__ = ["Found", "examine", "is_onnx", "load", "read"]


def read(path: Path | str) -> Graph:
    """The graph in the file at `path`. Raises InputError naming the file."""
    return examine(load(path), str(path)).accepted(str(path))


def examine(data: bytes, name: str) -> Found:
    """What `data` holds, as far as it can be read. Raises InputError naming `name` where it is no model."""
    return (onnx_reader if is_onnx(data, name) else tflite).examine(data, name)


def is_onnx(data: bytes, name: str) -> bool:
    """ONNX has no mark of its own; its first field is a small version number. A ``.tflite`` has a mark."""
    if data[4 : 4 + len(IDENTIFIER)] == IDENTIFIER:
        return False
    return name.endswith(".onnx") or (len(data) > 1 and data[0] == 8 and 0 < data[1] < 128)
