"""Where a kernel's output may lie on its input: what the order of its reads and writes proves.

A kernel that goes through its input in order never reads again what lies before the first byte that is still to be
read. Its output may grow there, behind the reads: `trailing` finds the last distance between the two beginnings at
which no write ever catches up.
"""

from __future__ import annotations

import numpy as np

from .. import lower
from ..memory import Over
from .kernel import Site

IN_ORDER = Over(last=0)
"""Of a kernel that has read a byte before it writes the same one, and goes upwards in both."""

ANYWHERE = Over(last=1 << 40)
"""Of one that has taken all of its input to registers or scratch before it writes."""


def trailing(needed: np.ndarray, written: np.ndarray) -> Over:
    """In moment i, the kernel still reads the input from byte `needed[i]` on at the lowest, and may have written the
    first `written[i]` bytes of the output."""
    from_here_on = np.minimum.accumulate(needed[::-1])[::-1]
    limits = (from_here_on - written)[written > 0]
    return Over(last=int(limits.min())) if limits.size else ANYWHERE


def rows(count: int, pitch: int, channels: int, block: int) -> Over:
    """Of `count` rows of input that begin `pitch` bytes apart, `block` of them read before any of their outputs, so
    many `channels` each, is written; `block` 0: read until the last of their outputs is written."""
    row = np.arange(count)
    return trailing(row * pitch, _written(row, channels, block))


def windows(op: lower.Convolution | lower.Pool, site: Site, block: int) -> Over:
    """Of windows over an image in the order of the outputs; `block` as in `rows`, of windows."""
    _, _, columns, depth = site.inputs[0].shape
    _, output_rows, output_columns, channels = site.output.shape
    y, x = (each.ravel() for each in np.mgrid[:output_rows, :output_columns])
    row = np.maximum(y * op.stride[0] - op.pads[0], 0)
    column = np.maximum(x * op.stride[1] - op.pads[2], 0)
    return trailing((row * columns + column) * depth, _written(np.arange(len(y)), channels, block))


def _written(position: np.ndarray, channels: int, block: int) -> np.ndarray:
    """Bytes of output that may be written while, or before, what belongs to each position is read."""
    return (position // block * block if block else position + 1) * channels
