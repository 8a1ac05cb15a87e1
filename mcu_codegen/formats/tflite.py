"""int8 ``.tflite`` files to graphs and back.

Reading trusts nothing: `flatbuffer` checks the container, `reader` what it says, so that whoever works on the graph
meets tensors that exist, shapes that their data fill, and operators whose inputs were written before. What a file says
in another way than a graph is in `normalize`, `fold` and `rewrite`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..graph import Graph
from . import flatbuffer
from .metadata import METADATA
from .names import identifier
from .operators import OPERATORS
from .reader import Listed, Reader
from .refusals import Refusal
from .tflite_schema import IDENTIFIER, SCHEMA, VERSION
from .writer import write

__all__ = ["METADATA", "OPERATORS", "Found", "examine", "load", "read", "read_bytes", "write"]

MAX_FILE_BYTES = 32 << 20
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True)
class Found:
    """What a file holds: the graph of what can be read, and why the rest cannot."""

    graph: Graph
    listing: list[list[Listed]]  # of every subgraph, the operators of the file
    refusals: list[Refusal]  # none where `graph` is all of it


def load(path: Path | str) -> bytes:
    """The bytes of the file at `path`, up to one more than are accepted. Raises InputError naming the file."""
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def read(path: Path | str) -> Graph:
    """The graph in the file at `path`. Raises InputError naming the file."""
    return read_bytes(load(path), str(path))


def read_bytes(data: bytes, name: str) -> Graph:
    """The graph in `data`, which errors call `name`. The graph's name is the stem of `name` as a C identifier.

    Subgraph 0 becomes the entry ``invoke``, further subgraphs further entries. A tensor of subgraph 0 keeps its index.
    A further subgraph with the very same tensors shares them; otherwise its own follow.
    """
    found = examine(data, name)
    if found.refusals:
        first, *others = found.refusals
        more = f" ({len(others)} more reasons: mcu-codegen inspect)" if others else ""
        raise InputError(f"{name}: {first}{more}")
    return found.graph


def examine(data: bytes, name: str) -> Found:
    """What `data` holds, as far as it can be read. Raises InputError naming `name` where it is no ``.tflite``."""
    try:
        if len(data) > MAX_FILE_BYTES:
            raise InputError(f"larger than {MAX_FILE_BYTES >> 20} MiB")
        if data.startswith(_LFS_POINTER):
            raise InputError("a Git LFS pointer, not the file itself; `git lfs pull` fetches it")
        model = flatbuffer.read(data, SCHEMA, IDENTIFIER)
        if model["version"] != VERSION:
            raise InputError(f"schema version {model['version']}; {VERSION} is accepted")
        if not model["subgraphs"]:
            raise InputError("no subgraph")
        reader = Reader(model, data)
        graph = reader.graph(identifier(Path(name).stem), hashlib.sha256(data).hexdigest())
        return Found(graph, reader.listing, reader.refusals.found)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
