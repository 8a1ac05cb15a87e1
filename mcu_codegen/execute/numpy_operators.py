"""The specification: what each lowered type computes, in NumPy; arrays have the samples as their first axis.

One function computes one lowered type; of an operator with states it gives the output and what becomes of each state.
Adding an operator is one function here and one line in `_COMPUTE`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import arithmetic, lower
from . import numpy_states

Values = np.ndarray | tuple[np.ndarray, ...]


def _taps(
    image: np.ndarray,
    window: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pads: tuple[int, int, int, int],
) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    """For each position of the window, what it meets at every output position: ((row, column), (N, OH, OW, C)).

    `image` is (N, H, W, C); padding reads 0.
    """
    top, bottom, left, right = pads
    padded = np.pad(image, ((0, 0), (top, bottom), (left, right), (0, 0)))
    reach = [(size - 1) * step for size, step in zip(window, dilation, strict=True)]
    for row, column in np.ndindex(*window):
        y, x = row * dilation[0], column * dilation[1]
        bottom_end, right_end = padded.shape[1] - reach[0] + y, padded.shape[2] - reach[1] + x
        yield (row, column), padded[:, y : bottom_end : stride[0], x : right_end : stride[1]]


def _convolution(step: lower.Convolution, source: np.ndarray, *_constants: np.ndarray) -> np.ndarray:
    """Accumulators are sums in float64, which BLAS makes fast. They are exact in any order of summation: every product
    and every partial sum is an integer below `step.bound` < 2**48, and float64 holds all integers up to 2**53."""
    image = (source[:, 0].astype(np.int16) - step.input_zero_point).astype(np.float64)
    weights = step.weights.astype(np.float64)
    if step.depthwise:
        image = np.repeat(image, step.depth_multiplier, axis=3)
    accumulator: np.ndarray | float = 0.0
    for (row, column), values in _taps(image, weights.shape[1:3], step.stride, step.dilation, step.pads):
        if step.depthwise:
            accumulator = accumulator + values * weights[0, row, column]
        else:
            accumulator = accumulator + values.reshape(-1, values.shape[3]) @ weights[:, row, column].T
    return step.requantization(np.asarray(accumulator).astype(np.int64) + step.bias)


def _fully_connected(step: lower.FullyConnected, source: np.ndarray, *_constants: np.ndarray) -> np.ndarray:
    rows = source.reshape(-1, step.weights.shape[1]).astype(np.float64) - step.input_zero_point
    accumulator = rows @ step.weights.T.astype(np.float64)  # exact, as in a convolution
    return step.requantization(accumulator.astype(np.int64) + step.bias)


def _max_pool(step: lower.MaxPool, source: np.ndarray) -> np.ndarray:
    lowest = np.iinfo(source.dtype).min
    raised = source[:, 0].astype(np.int32) - lowest  # the padding, which reads 0, is no greater than anything
    windows = (values for _, values in _taps(raised, step.filter, step.stride, (1, 1), step.pads))
    return np.clip(functools.reduce(np.maximum, windows) + lowest, step.low, step.high).astype(source.dtype)


def _average_pool(step: lower.AveragePool, source: np.ndarray) -> np.ndarray:
    image = source[:, 0].astype(np.int64)
    inside = np.ones((1, *image.shape[1:3], 1), np.int64)
    total, count = (
        sum(values for _, values in _taps(array, step.filter, step.stride, (1, 1), step.pads))
        for array in (image, inside)
    )
    mean = arithmetic.average(np.asarray(total), np.asarray(count), step.half_up)
    return np.clip(mean, step.low, step.high).astype(source.dtype)


def _mean(step: lower.Mean, source: np.ndarray, _axes: np.ndarray) -> np.ndarray:
    axes = tuple(axis + 1 for axis in step.axes)  # behind the samples
    return step.requantization((source.astype(np.int64) - step.input_zero_point).sum(axis=axes))


def _position(step: lower.Position, source: np.ndarray, _axis: np.ndarray) -> np.ndarray:
    codes = source.reshape(-1, step.size, step.inner)
    return (codes.argmax(axis=1) if step.largest else codes.argmin(axis=1)).astype(step.dtype)


def _aligned(*sources: np.ndarray) -> list[np.ndarray]:
    """Samples (N, *shape) with as many axes each, so that they broadcast; int64."""
    rank = max(source.ndim for source in sources)
    return [
        source.reshape(len(source), *(1,) * (rank - source.ndim), *source.shape[1:]).astype(np.int64)
        for source in sources
    ]


def _pair(step: lower.Add | lower.Multiply | lower.Extreme, *sources: np.ndarray) -> np.ndarray:
    return step(*_aligned(*sources)).astype(sources[0].dtype)


def _divide(step: lower.Divide, *sources: np.ndarray) -> np.ndarray:
    scaling = step.scaling
    a, b = (source - zero for source, zero in zip(_aligned(*sources), step.zero_points, strict=True))
    a, b = np.broadcast_arrays(a, b)
    quotient = arithmetic.divide(a, np.where(b == 0, 1, b), int(scaling.multiplier[0]), int(scaling.shift[0]))
    ends = np.where(a < 0, scaling.low, scaling.high)
    code = np.clip(quotient + scaling.zero_point, scaling.low, scaling.high)
    return np.where(b == 0, ends, code).astype(np.int8)


def _prelu(step: lower.Prelu, *sources: np.ndarray) -> np.ndarray:
    value, slope = (source - zero for source, zero in zip(_aligned(*sources), step.zero_points, strict=True))
    return np.where(value >= 0, step.positive(value), step.negative(value * slope))


def _lookup(step: lower.Lookup, source: np.ndarray, *_constant: np.ndarray) -> np.ndarray:
    return step.table[source.view(np.uint8)]


def _rescale(step: lower.Rescale, source: np.ndarray) -> np.ndarray:
    value = source.astype(np.int64) - step.zero_point
    return np.where(value >= 0, step.positive(value), step.negative(value))


def _softmax(step: lower.Softmax, source: np.ndarray) -> np.ndarray:
    return arithmetic.softmax(source, step.exponentials, step.dtype)


def _copy(step: lower.Copy, source: np.ndarray, *_shape: np.ndarray) -> np.ndarray:
    return source


def _rearrange(step: lower.Rearrange, *sources: np.ndarray) -> np.ndarray:
    flat = [source.reshape(len(source), -1) for source in sources]
    samples = max(len(flat[piece.input]) for piece in step.pieces)
    output = np.full((samples, step.elements), step.fill or 0, sources[0].dtype)
    for piece in step.pieces:
        values = flat[piece.input][:, piece.source.positions(piece.shape)]
        output[:, piece.target.positions(piece.shape)] = values
    return output


def _gather(step: lower.Gather, source: np.ndarray, *_indices: np.ndarray) -> np.ndarray:
    images = source.reshape(len(source), step.outer, step.height, step.width, step.inner)
    return images[:, :, step.rows][:, :, :, step.columns]


def _bilinear(step: lower.Bilinear, source: np.ndarray, *_size: np.ndarray) -> np.ndarray:
    images = source.reshape(len(source), step.outer, step.height, step.width, step.inner).astype(np.int64)
    below, right = step.rows.weight[:, np.newaxis, np.newaxis], step.columns.weight[:, np.newaxis]
    rows = images[:, :, step.rows.first] * (1024 - below) + images[:, :, step.rows.second] * below
    total = rows[:, :, :, step.columns.first] * (1024 - right) + rows[:, :, :, step.columns.second] * right
    return arithmetic.rounding_right_shift(total, 20).astype(np.int8)


def _batch(step: lower.Batch, source: np.ndarray, *constants: np.ndarray) -> np.ndarray:
    result: np.ndarray = compute(step.image, source.reshape(-1, 1, *source.shape[2:]), *constants)
    return result


def _shift_in(step: lower.ShiftIn, window: np.ndarray, rows: np.ndarray) -> np.ndarray:
    both = (window.reshape(len(window), -1), rows.reshape(len(rows), -1))
    return np.concatenate(both, axis=1)[:, step.entering :]


def _sliding_sum(step: lower.SlidingSum, sums: np.ndarray, window: np.ndarray, rows: np.ndarray) -> np.ndarray:
    leaving = window.reshape(len(window), -1)[:, step.leaving : step.leaving + step.entering].reshape(rows.shape)
    axes = tuple(axis + 1 for axis in step.axes)  # behind the samples
    change = (rows.astype(np.int32) - leaving).sum(axis=axes, dtype=np.int32)
    return sums + change.reshape(sums.shape)


def _mean_of_sums(step: lower.MeanOfSums, sums: np.ndarray) -> np.ndarray:
    return step.requantization(sums.astype(np.int64) - step.offset)


def _svdf(step: lower.Svdf, source: np.ndarray, *operands: np.ndarray) -> Values:
    """The state is the last operand."""
    return numpy_states.svdf(step, compute(step.features, source), operands[-1])


def _lstm(step: lower.Lstm, source: np.ndarray, *operands: np.ndarray) -> Values:
    """The states are the last operands."""
    return numpy_states.lstm(step, source, *operands[-2:])


def _int16(step: lower.Int16[lower.Lowered], *sources: np.ndarray) -> Values:
    return compute(step.operator, *sources)


def compute(step: lower.Lowered, *sources: np.ndarray) -> Any:
    return _COMPUTE[type(step)](step, *sources)


_COMPUTE: dict[type, Callable[..., Values]] = {
    lower.Convolution: _convolution,
    lower.FullyConnected: _fully_connected,
    lower.AveragePool: _average_pool,
    lower.MaxPool: _max_pool,
    lower.Mean: _mean,
    lower.Position: _position,
    lower.Add: _pair,
    lower.Multiply: _pair,
    lower.Divide: _divide,
    lower.Extreme: _pair,
    lower.Prelu: _prelu,
    lower.Lookup: _lookup,
    lower.Rescale: _rescale,
    lower.Softmax: _softmax,
    lower.Copy: _copy,
    lower.Rearrange: _rearrange,
    lower.Gather: _gather,
    lower.Bilinear: _bilinear,
    lower.Batch: _batch,
    lower.ShiftIn: _shift_in,
    lower.SlidingSum: _sliding_sum,
    lower.MeanOfSums: _mean_of_sums,
    lower.Svdf: _svdf,
    lower.Lstm: _lstm,
    lower.Int16: _int16,
}
