"""Weights of which most are zero: what a layer's stream of constants holds instead of all of them.

Of a channel stand only its non-zero codes, each with a gap of 0 to 15: how many weights before it are zero. Where more
are, an entry of code 0 takes sixteen of them, itself included. Entries come in pairs of three bytes, both gaps (the
first one's in the lower half), then both codes; a channel with an odd number of entries gets one of code 0. So an entry
takes twelve bits, where the entropy of the places of one weight in seven is four bits and that of the codes at most
eight.

    layer    zero point of the output (int8), then its channels
    channel  bias (int32, input zero point folded in), pairs (uint16), entries, multiplier (int32), right shift (int8)

All of it little-endian and without padding. A kernel takes the products of the entries alone, so that a sparse layer
saves instructions as well as flash.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import lower
from ..graph import Graph
from .kernel import Array

SHARE = 0.5
"""A layer is sparse where its entries take at most this share of its bytes."""

HEADER = 1
"""Bytes of a layer before its first channel."""

_GAP = 15


def entries(weights: np.ndarray) -> np.ndarray | None:
    """The pairs of one channel, int8 weights (depth), as uint8 (pairs, 3); None where no entry can make them even."""
    places = np.flatnonzero(weights)
    zeros = np.diff(places, prepend=-1) - 1
    fillers = zeros // (_GAP + 1)
    gaps = np.full(len(places) + fillers.sum(), _GAP)
    codes = np.zeros(len(gaps), np.int8)
    at = np.arange(len(places)) + np.cumsum(fillers)
    gaps[at], codes[at] = zeros % (_GAP + 1), weights[places]
    if len(gaps) % 2:
        if places[-1] + 1 < len(weights):
            gaps, codes = np.append(gaps, 0), np.append(codes, np.int8(0))
        elif gaps.any():
            first = int(np.flatnonzero(gaps)[0])
            gaps[first] -= 1
            gaps, codes = np.insert(gaps, first, 0), np.insert(codes, first, np.int8(0))
        else:
            return None
    gaps = gaps.astype(np.uint8)
    return np.stack([gaps[::2] | gaps[1::2] << 4, codes[::2].view(np.uint8), codes[1::2].view(np.uint8)], axis=1)


def channels(weights: np.ndarray) -> list[np.ndarray] | None:
    """`entries` of each channel of int8 weights (channels, ...); None where the layer is better left dense."""
    rows = weights.reshape(len(weights), -1)
    if 1.5 * np.count_nonzero(rows) > SHARE * rows.size:
        return None
    found = [each for each in map(entries, rows) if each is not None]
    small = sum(each.size for each in found) <= SHARE * rows.size and all(len(each) < 1 << 16 for each in found)
    return found if small and len(found) == len(rows) else None


def stream(op: lower.Convolution | lower.FullyConnected, pairs: Sequence[np.ndarray], bias: np.ndarray) -> Array:
    """The constants of a layer, of each channel the `entries` in `pairs` and its folded `bias`. Role ``stream``."""
    scaling = op.requantization
    multipliers, shifts = (np.broadcast_to(each, len(pairs)) for each in (scaling.multiplier, scaling.shift))
    parts = [np.array([scaling.zero_point], np.int8).tobytes()]
    for own, first, multiplier, shift in zip(pairs, bias, multipliers, shifts, strict=True):
        parts += [np.array([first], "<i4").tobytes(), np.array([len(own)], "<u2").tobytes(), own.tobytes()]
        parts += [np.array([multiplier], "<i4").tobytes(), np.array([-shift], np.int8).tobytes()]
    return Array("stream", "uint8_t", np.frombuffer(b"".join(parts), np.uint8))


def kept_as(weights: str, graph: Graph) -> str:
    """As which the weights of `graph` lie in flash, where its renderer's `weights` are those."""
    return "int8" if weights == "sparse" and not saved(graph) else weights


def saved(graph: Graph) -> dict[str, tuple[int, int]]:
    """By layer whose weights are kept sparse: the bytes of its entries, and of all its weights."""
    found = {}
    for entry in graph.entries:
        for layer, operator in graph.layers(entry):
            op = lower.lower(graph, operator, layer)
            if isinstance(op, lower.FullyConnected | lower.Convolution) and not getattr(op, "depthwise", False):
                pairs = channels(op.weights)
                if pairs is not None:
                    found[layer] = sum(each.size for each in pairs), op.weights.size
    return found
