"""What tinygrad computes of each lowered type; arrays are int32, with the samples as their first axis.

Only what `lower` returns is shared with the specification; requantisation is in int64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from .. import arithmetic, lower
from .tinygrad_integers import high_product, int32, int64, requantized, scaled
from .tinygrad_states import lstm, svdf

if TYPE_CHECKING:
    from tinygrad import Tensor

    Values = Tensor | tuple[Tensor, ...]


def _sliding_sum(
    image: Tensor, weights: Tensor, stride: tuple[int, int], pads: tuple[int, int, int, int], **options: Any
) -> Tensor:
    """A convolution of (N, H, W, C) with OIHW weights that gives (N, OH, OW, O); padding reads 0."""
    top, bottom, left, right = pads
    sides = (left, right, top, bottom)
    return image.permute(0, 3, 1, 2).conv2d(weights, stride=stride, padding=sides, **options).permute(0, 2, 3, 1)


def _convolution(step: lower.Convolution, source: Tensor, *_constants: Tensor) -> Tensor:
    order = (3, 0, 1, 2) if step.depthwise else (0, 3, 1, 2)
    sums = _sums(step)
    accumulator = _sliding_sum(
        (source.squeeze(1) - step.input_zero_point).cast(sums),
        int32(step.weights.transpose(order)).cast(sums),
        step.stride,
        step.pads,
        dilation=step.dilation,
        groups=source.shape[-1] if step.depthwise else 1,
    )
    return requantized(step.requantization, accumulator + int64(step.bias).cast(sums))


def _fully_connected(step: lower.FullyConnected, source: Tensor, *_constants: Tensor) -> Tensor:
    sums = _sums(step)
    rows = (source.reshape(-1, step.weights.shape[1]) - step.input_zero_point).cast(sums)
    accumulator = rows @ int32(step.weights.T).cast(sums) + int64(step.bias).cast(sums)
    return requantized(step.requantization, accumulator)


def _sums(step: lower.Convolution | lower.FullyConnected) -> str:
    return "int64" if isinstance(step.requantization, lower.LongRequantization) else "int32"


def _average_pool(step: lower.AveragePool, source: Tensor) -> Tensor:
    image = source.squeeze(1)
    channels = image.shape[3]
    ones = int32(np.ones((channels, 1, *step.filter)))
    total, count = (
        _sliding_sum(values, ones, step.stride, step.pads, groups=channels) for values in (image, image * 0 + 1)
    )
    if step.half_up:  # of a sum that is not negative: a division then rounds as one of integers does
        return ((total + 128 * count + count // 2) // count - 128).clip(step.low, step.high)
    magnitude = ((total < 0).where(-total, total) + count // 2) // count
    return (total < 0).where(-magnitude, magnitude).clip(step.low, step.high)


def _max_pool(step: lower.MaxPool, source: Tensor) -> Tensor:
    top, bottom, left, right = step.pads
    sides = ((0, 0), (0, 0), (top, bottom), (left, right))
    # `low` is as good as anything below, and a code: tinygrad may pad before the cast to int32 (seen in 0.14)
    image = source.squeeze(1).permute(0, 3, 1, 2).pad(sides, value=step.low)
    largest = cast("Tensor", image.max_pool2d(step.filter, step.stride))  # indices come with it only on request
    return largest.permute(0, 2, 3, 1).clip(step.low, step.high)


def _mean(step: lower.Mean, source: Tensor, _axes: Tensor) -> Tensor:
    total = (source - step.input_zero_point).sum(tuple(axis + 1 for axis in step.axes))
    return requantized(step.requantization, total)


def _position(step: lower.Position, source: Tensor, _axis: Tensor) -> Tensor:
    codes = source.reshape(-1, step.size, step.inner)
    return codes.argmax(1) if step.largest else codes.argmin(1)


def _aligned(*sources: Tensor) -> list[Tensor]:
    """Samples (N, *shape) with as many axes each, so that they broadcast."""
    rank = max(source.ndim for source in sources)
    return [source.reshape(source.shape[0], *(1,) * (rank - source.ndim), *source.shape[1:]) for source in sources]


def _add(step: lower.Add, *sources: Tensor) -> Tensor:
    first, second = (
        scaled((source - zero_point) * (1 << step.left_shift), multiplier, shift)
        for source, zero_point, multiplier, shift in zip(
            _aligned(*sources), step.zero_points, step.multipliers, step.shifts, strict=True
        )
    )
    return requantized(step.requantization, (first + step.sign * second).cast("int32"))


def _multiply(step: lower.Multiply, *sources: Tensor) -> Tensor:
    first, second = _aligned(*sources)
    return requantized(step.requantization, (first - step.zero_points[0]) * (second - step.zero_points[1]))


def _divide(step: lower.Divide, *sources: Tensor) -> Tensor:
    """Reciprocals of all divisors are a table, and so is how far a dividend is raised, for both are below 256."""
    scaling = step.scaling
    a, b = (source - zero for source, zero in zip(_aligned(*sources), step.zero_points, strict=True))
    a, b = a + b * 0, b + a * 0
    pairs = [(0, 0), *(arithmetic.reciprocal(divisor) for divisor in range(1, 256))]
    inverse, bits = (int64(np.array([pair[place] for pair in pairs]))[(b < 0).where(-b, b)] for place in (0, 1))
    dividend = (b < 0).where(-a, a)
    lefts = [32 - max(number.bit_length(), (~number).bit_length()) - 1 for number in range(-255, 256)]
    left = int64(np.array(lefts))[dividend + 255]
    raised = high_product(dividend.cast("int64") << left, inverse)
    product = high_product(raised, int(scaling.multiplier[0]))
    exponent = left + bits + (31 - arithmetic.SOFTMAX_SUM_BITS - int(scaling.shift[0]))
    magnitude = ((product < 0).where(-product, product) + ((int64(1) << exponent) >> 1)) >> exponent
    code = ((product < 0).where(-magnitude, magnitude) + scaling.zero_point).clip(scaling.low, scaling.high)
    return (b == 0).where((a < 0).where(scaling.low, scaling.high), code)


def _extreme(step: lower.Extreme, *sources: Tensor) -> Tensor:
    first, second = _aligned(*sources)
    return first.maximum(second) if step.largest else first.minimum(second)


def _prelu(step: lower.Prelu, *sources: Tensor) -> Tensor:
    value, slope = (source - zero for source, zero in zip(_aligned(*sources), step.zero_points, strict=True))
    return (value >= 0).where(requantized(step.positive, value), requantized(step.negative, value * slope))


def _lookup(step: lower.Lookup, source: Tensor, *_constant: Tensor) -> Tensor:
    return int32(step.table)[source & 255]


def _rescale(step: lower.Rescale, source: Tensor) -> Tensor:
    value = source - step.zero_point
    return (value >= 0).where(requantized(step.positive, value), requantized(step.negative, value))


def _softmax(step: lower.Softmax, source: Tensor) -> Tensor:
    """Positive numbers only, but for Newton's corrections: rounding half away from zero is rounding half up."""
    last = len(step.exponentials) - 1
    difference = source.max(-1, keepdim=True) - source
    counts = difference <= last
    exponential = counts.where(int64(step.exponentials)[difference.minimum(last)], 0)
    total = ((exponential + (1 << 11)) >> 12).sum(-1, keepdim=True)
    leading_zeros = sum((total < (1 << bit)).cast("int64") for bit in range(32))
    half = ((total << leading_zeros) + 1) >> 1
    inverse = high_product(half, -1010580540) + 1515870810
    for _ in range(3):
        correction = high_product(inverse, (1 << 29) - high_product(half, inverse))
        inverse = inverse + (correction * 4).clip(-(2**31), 2**31 - 1)
    inverse = (inverse * 2).clip(-(2**31), 2**31 - 1)
    ends = np.iinfo(step.dtype)
    exponent = 43 - ends.bits - leading_zeros
    share = (high_product(exponential, inverse) + (int64(1) << (exponent - 1))) >> exponent
    return counts.where((share + int(ends.min)).clip(int(ends.min), int(ends.max)), int(ends.min))


def _copy(step: lower.Copy, source: Tensor, *_shape: Tensor) -> Tensor:
    return source


def _rearrange(step: lower.Rearrange, *sources: Tensor) -> Tensor:
    """Every output element is one out of all inputs in a row, with the fill behind them."""
    used = [source.reshape(source.shape[0], -1) for source in sources[: 1 + max(p.input for p in step.pieces)]]
    samples = max(source.shape[0] for source in used)
    rows = [source.expand(samples, source.shape[1]) for source in used]
    rows.append(int32(step.fill or 0).reshape(1, 1).expand(samples, 1))
    starts = np.cumsum([0, *(row.shape[1] for row in rows)])
    index = np.full(step.elements, starts[-2])
    for piece in step.pieces:
        index[piece.target.positions(piece.shape)] = starts[piece.input] + piece.source.positions(piece.shape)
    return rows[0].cat(*rows[1:], dim=1)[:, int32(index)]


def _gather(step: lower.Gather, source: Tensor, *_indices: Tensor) -> Tensor:
    images = source.reshape(source.shape[0], step.outer, step.height, step.width, step.inner)
    return images[:, :, int32(step.rows)][:, :, :, int32(step.columns)]


def _bilinear(step: lower.Bilinear, source: Tensor, *_size: Tensor) -> Tensor:
    images = source.reshape(source.shape[0], step.outer, step.height, step.width, step.inner)
    below, right = int32(step.rows.weight[:, np.newaxis, np.newaxis]), int32(step.columns.weight[:, np.newaxis])
    rows = images[:, :, int32(step.rows.first)] * (1024 - below) + images[:, :, int32(step.rows.second)] * below
    first, second = (rows[:, :, :, int32(place)] for place in (step.columns.first, step.columns.second))
    total = first * (1024 - right) + second * right
    magnitude = ((total < 0).where(-total, total) + (1 << 19)) >> 20
    return (total < 0).where(-magnitude, magnitude)


def _batch(step: lower.Batch, source: Tensor, *constants: Tensor) -> Tensor:
    return cast("Tensor", compute(step.image, source.reshape(-1, 1, *source.shape[2:]), *constants))


def _shift_in(step: lower.ShiftIn, window: Tensor, rows: Tensor) -> Tensor:
    both = window.reshape(window.shape[0], -1).cat(rows.reshape(rows.shape[0], -1), dim=1)
    return both[:, step.entering :]


def _sliding_sums(step: lower.SlidingSum, sums: Tensor, window: Tensor, rows: Tensor) -> Tensor:
    leaving = window.reshape(window.shape[0], -1)[:, step.leaving : step.leaving + step.entering]
    change = rows - leaving.reshape(rows.shape)
    return sums + change.sum(tuple(axis + 1 for axis in step.axes)).reshape(sums.shape)


def _mean_of_sums(step: lower.MeanOfSums, sums: Tensor) -> Tensor:
    return requantized(step.requantization, sums - step.offset)


def _svdf(step: lower.Svdf, source: Tensor, *operands: Tensor) -> Values:
    """The state is the last operand."""
    return svdf(step, cast("Tensor", compute(step.features, source)), operands[-1])


def _lstm(step: lower.Lstm, source: Tensor, *operands: Tensor) -> Values:
    """The states are the last operands."""
    return lstm(step, source, *operands[-2:])


def _int16(step: lower.Int16[lower.Lowered], *sources: Tensor) -> Values:
    return compute(step.operator, *sources)


def compute(step: lower.Lowered, *sources: Tensor) -> Values:
    return _COMPUTE[type(step)](step, *sources)


_COMPUTE: dict[type, Callable[..., Values]] = {
    lower.Convolution: _convolution,
    lower.FullyConnected: _fully_connected,
    lower.AveragePool: _average_pool,
    lower.MaxPool: _max_pool,
    lower.Mean: _mean,
    lower.Position: _position,
    lower.Add: _add,
    lower.Multiply: _multiply,
    lower.Divide: _divide,
    lower.Extreme: _extreme,
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
    lower.SlidingSum: _sliding_sums,
    lower.MeanOfSums: _mean_of_sums,
    lower.Svdf: _svdf,
    lower.Lstm: _lstm,
    lower.Int16: _int16,
}
