"""Operators that pick rows and columns of their input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..graph import Graph, Operator
from .common import constant_integers
from .movement import unchanged


@dataclass(frozen=True)
class Gather:
    """GATHER: out[o, i, j, n] = in[o, rows[i], columns[j], n], where the input is (outer, height, width, inner)."""

    outer: int
    height: int
    width: int
    inner: int
    rows: np.ndarray  # int64
    columns: np.ndarray  # int64


def lower_gather(graph: Graph, operator: Operator) -> Gather:
    source, output = unchanged(graph, operator)
    indices = constant_integers(graph, operator.inputs[1], "indices")
    axis, rank = operator.options.axis, len(source.shape)
    if not -rank <= axis < rank:
        raise InputError(f"tensor '{source.name}' {source.shape}: there is no axis {axis}")
    axis %= rank
    before, after = source.shape[:axis], source.shape[axis + 1 :]
    if np.any((indices < 0) | (indices >= source.shape[axis])) or output.shape != (*before, *indices.shape, *after):
        raise InputError(
            f"tensor '{output.name}' {output.shape}: indices {indices.reshape(-1)[:9].tolist()} along axis {axis} of"
            f" {source.shape} do not give it"
        )
    return Gather(
        int(np.prod(before)), source.shape[axis], 1, int(np.prod(after)), indices.reshape(-1), np.zeros(1, int)
    )
