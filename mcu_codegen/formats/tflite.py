"""int8 ``.tflite`` files to graphs and back.

Reading trusts nothing: `flatbuffer` checks the container, `reader` what it says, so that whoever works on the graph
meets tensors that exist, shapes that their data fill, and operators whose inputs were written before. What a file says
in another way than a graph is in `normalize`, `fold` and `rewrite`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..errors import InputError
from ..graph import Graph
from . import flatbuffer
from .found import Found, check_whole, load
from .metadata import METADATA
from .names import identifier
from .operators import OPERATORS
from .reader import Reader
from .refusals import Refusals
from .tensors import Tensors
from .tflite_schema import IDENTIFIER, SCHEMA, VERSION
from .writer import write

__all__ = ["METADATA", "OPERATORS", "Found", "examine", "load", "read", "read_bytes", "write"]


def read(path: Path | str) -> Graph:
    """The graph in the file at `path`. Raises InputError naming the file."""
    return read_bytes(load(path), str(path))


def read_bytes(data: bytes, name: str) -> Graph:
    """The graph in `data`, which errors call `name`. The graph's name is the stem of `name` as a C identifier.

    Subgraph 0 becomes the entry ``invoke``, further subgraphs further entries. A tensor of subgraph 0 keeps its index.
    A further subgraph with the very same tensors shares them; otherwise its own follow.
    """
    return examine(data, name).accepted(name)


def examine(data: bytes, name: str) -> Found:
    """What `data` holds, as far as it can be read. Raises InputError naming `name` where it is no ``.tflite``."""
    try:
        check_whole(data)
        model = flatbuffer.read(data, SCHEMA, IDENTIFIER)
        if model["version"] != VERSION:
            raise InputError(f"schema version {model['version']}; {VERSION} is accepted")
        if not model["subgraphs"]:
            raise InputError("no subgraph")
        reader = Reader(model, Tensors(model, data), Refusals())
        graph = reader.graph(identifier(Path(name).stem), hashlib.sha256(data).hexdigest())
        return Found(graph, graph.tensors, reader.listing, reader.refusals.found, tuple(sorted(OPERATORS)))
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
