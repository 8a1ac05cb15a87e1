"""Sparse constants to dense ones.

The format (TACO's, as in TFLite's schema) stores a tensor by axes in an order of its own; blocks of the last axes may
follow as further axes. A dense axis stores every index; a compressed one stores, for each position of the axes before
it, a segment of a list of the indices that are there. Values are in the order of that walk.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import InputError

_DENSE, _COMPRESSED = 0, 1


def densified(content: np.ndarray, raw: dict[str, Any], shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The bytes, uint8[n], of the dense tensor of `shape` whose stored values are `content`. Raises InputError."""
    order, blocks = raw["traversal_order"].tolist(), raw["block_map"].tolist()
    axes = raw["dim_metadata"]
    rank = len(shape)
    if sorted(order) != list(range(len(axes))) or len(axes) != rank + len(blocks) or rank != len(set(order[:rank])):
        raise InputError(f"sparse: order {order} of {len(axes)} axes for shape {shape} with {len(blocks)} blocks")
    if any(not 0 <= axis < rank for axis in blocks) or len(set(blocks)) < len(blocks):
        raise InputError(f"sparse: blocks along axes {blocks} of shape {shape}")
    # places[k]: the index along storage axis k of every value reached so far
    places: list[np.ndarray] = []
    count = 1
    for axis in axes:
        if axis["format"] == _DENSE:
            size = axis["dense_size"]
            if not size > 0 or count * size > math.prod(shape):
                raise InputError(f"sparse: a dense axis of {size} in shape {shape}")
            parents, found = np.repeat(np.arange(count), size), np.tile(np.arange(size), count)
        elif axis["format"] == _COMPRESSED:
            parents, found = _segments(axis, count, math.prod(shape))
        else:
            raise InputError(f"sparse: axis of format {axis['format']}; dense (0) and compressed (1) are accepted")
        places = [place[parents] for place in places] + [found]
        count = len(found)
    if len(content) != count * dtype.itemsize:
        raise InputError(f"sparse: {len(content)} bytes of data; {count} values of {dtype.name} are stored")
    dense = np.zeros(shape, dtype)
    dense[_coordinates(places, axes, order, blocks, shape)] = content.view(dtype)
    return dense.reshape(-1).view(np.uint8)


def _segments(axis: dict[str, Any], count: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """(position before, index) of each element of a compressed axis."""
    segments, indices = (
        np.empty(0, np.int64) if axis[part] is None else axis[part]["values"].astype(np.int64)
        for part in ("array_segments", "array_indices")
    )
    lengths = np.diff(segments)
    if len(segments) != count + 1 or segments[0] != 0 or segments[-1] != len(indices) or np.any(lengths < 0):
        raise InputError(f"sparse: {len(segments)} segments over {len(indices)} indices at {count} positions")
    if len(indices) > most or np.any(indices < 0):
        raise InputError(f"sparse: {len(indices)} indices, or one below 0")
    return np.repeat(np.arange(count), lengths), indices


def _coordinates(
    places: list[np.ndarray], axes: list[dict[str, Any]], order: list[int], blocks: list[int], shape: tuple[int, ...]
) -> tuple[np.ndarray, ...]:
    """Where each value lies in the dense tensor, by axis."""
    by_axis = dict(zip(order, places, strict=True))
    found = [by_axis[axis] for axis in range(len(shape))]
    for number, axis in enumerate(blocks):
        block = axes[order.index(len(shape) + number)]
        if block["format"] != _DENSE:
            raise InputError(f"sparse: the block along axis {axis} is not dense")
        found[axis] = found[axis] * block["dense_size"] + by_axis[len(shape) + number]
    if any(np.any(place >= size) for place, size in zip(found, shape, strict=True)):
        raise InputError(f"sparse: an index is outside shape {shape}")
    return tuple(found)
