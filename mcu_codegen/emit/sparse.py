"""Weights of which most are zero: what a layer's stream of constants holds instead of all of them.

Of a channel stand only its non-zero codes, each with a gap of 0 to 15: how many weights before it are zero. Where more
are, an entry of code 0 takes sixteen of them, itself included. Entries come in pairs of three bytes, both gaps (the
first one's in the lower half), then both codes; a channel with an odd number of entries gets one of code 0. So an entry
takes twelve bits, where the entropy of the places of one weight in seven is four bits and that of the codes at most
eight.

    layer    what is added to codes (int16: the zero point, or as a kernel wants it), then its channels
    channel  bias (int32, input zero point folded in), pairs (uint16), entries, multiplier (int32), right shift (int8)

All of it little-endian and without padding. A kernel takes the products of the entries alone, so that a sparse layer
saves instructions as well as flash.

A depthwise layer has too few weights a channel for that. Its kernels read the constants that they read anyway, which
are unpacked before (`masked`): of every eight bytes a mask, the first byte's bit the highest, then those that are not
zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .. import lower
from .kernel import Array

SHARE = 0.5
"""A layer is sparse where its entries take at most this share of its bytes."""

HEADER = 2
"""Bytes of a layer before its first channel."""

_MOSTLY = 1 / 3
"""Of what is mostly zero, no more is not."""

_OUTPUTS = 8
"""Weights of a depthwise layer are unpacked for no fewer outputs."""

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
    if rows.dtype != np.int8 or np.count_nonzero(rows) > _MOSTLY * rows.size:
        return None
    found = [each for each in map(entries, rows) if each is not None]
    small = sum(each.size for each in found) <= SHARE * rows.size and all(len(each) < 1 << 16 for each in found)
    return found if small and len(found) == len(rows) else None


def stream(
    op: lower.Convolution | lower.FullyConnected, pairs: Sequence[np.ndarray], bias: np.ndarray, addend: int
) -> Array:
    """The constants of a layer, of each channel the `entries` in `pairs` and its folded `bias`; `addend` is for
    codes. Role ``stream``."""
    scaling = op.requantization
    multipliers, shifts = (np.broadcast_to(each, len(pairs)) for each in (scaling.multiplier, scaling.shift))
    parts = [np.array([addend], "<i2").tobytes()]
    for own, first, multiplier, shift in zip(pairs, bias, multipliers, shifts, strict=True):
        parts += [np.array([first], "<i4").tobytes(), np.array([len(own)], "<u2").tobytes(), own.tobytes()]
        parts += [np.array([multiplier], "<i4").tobytes(), np.array([-shift], np.int8).tobytes()]
    octets = np.frombuffer(b"".join(parts), np.uint8)
    return Array("stream", "uint8_t", octets, sum(each.size for each in pairs))


@dataclass(frozen=True)
class Masked:
    """Rows of constants as the helper ``unpack`` takes them: of each `before`, `masked` and `behind` words."""

    before: int
    masked: int
    behind: int
    array: Array

    @property
    def words(self) -> int:
        """Of a row."""
        return self.before + self.masked + self.behind


def masked(weights: np.ndarray, constants: np.ndarray, outputs: int, most: float = SHARE) -> Masked | None:
    """`constants`, 32 bits (rows, words), with int8 `weights` of a depthwise convolution among them, each of which
    takes part in so many `outputs`. A word of which more than `most` would be left stays whole: it is quicker copied.

    None where they are better left dense."""
    if outputs < _OUTPUTS or np.count_nonzero(weights) > _MOSTLY * weights.size:
        return None
    rows, words = constants.shape
    octets = np.ascontiguousarray(constants).view(np.uint8).reshape(rows, words, 4)
    codes = np.concatenate([[0], np.cumsum(np.count_nonzero(octets, axis=(0, 2)))])
    first, end = np.triu_indices(words + 1, 1)  # of every run of words
    kept = codes[end] - codes[first] + rows * -(-(end - first) // 2)
    size = 4 * rows * (end - first)
    best = int(np.argmin(kept - most * size))
    if size[best] - kept[best] < SHARE * weights.size:
        return None
    begin, stop = int(first[best]), int(end[best])
    parts = []
    for row in octets:
        parts.append(row[:begin].tobytes())
        eights = np.pad(row[begin:stop].reshape(-1), (0, (stop - begin) % 2 * 4)).reshape(-1, 8)
        parts += [np.packbits(eight != 0).tobytes() + eight[eight != 0].tobytes() for eight in eights]
        parts.append(row[stop:].tobytes())
    elsewhere = max(weights.size - int(size[best]), 0)  # weights in words that stay whole
    packed = np.frombuffer(b"".join(parts), np.uint8)
    array = Array("stream", "uint8_t", packed, int(kept[best]) + elsewhere)
    return Masked(begin, stop - begin, words - stop, array)
