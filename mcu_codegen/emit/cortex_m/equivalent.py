"""Dead and nearly dead channels, as channels that kernels compute: another scaling, bias and weights, the same codes.

Where training left a channel without a say, its multiplier or its bias can be far outside what a short requantisation
takes. The code of a channel rises with its accumulator, which weights and bias hold between two bounds; so all there is
to know of it is where in between the code changes. Where it never does, a channel without weights gives the code. Where
it does once, another scaling has its own change in the same place after a shift of the bias. That it has no other one
is read off at both bounds. What changes more often is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ... import arithmetic, lower
from .assembly import LONGEST, Scaled, taken

_HALF = 1 << 30  # the multiplier of all replacements: 1/2


def equivalent(op: Scaled, bound: int) -> Scaled:
    """`op` with every channel that `taken` excludes, and that has an equivalent there, replaced by it.

    `bound`: what accumulators must stay below.
    """
    strange = np.nonzero(~taken(op, bound))[0]
    if not len(strange):
        return op
    channels = len(op.bias)
    axis = op.weights.ndim - 1 if isinstance(op, lower.Convolution) and op.depthwise else 0
    weights = np.moveaxis(op.weights, axis, 0).reshape(channels, -1).copy()
    scaling = op.requantization
    multiplier, shift = (np.broadcast_to(each, channels).copy() for each in (scaling.multiplier, scaling.shift))
    bias, bounds = op.bias.astype(np.int64), op.bound.copy()
    zero_point = op.input_zero_point
    for channel in strange:
        products = weights[channel].astype(np.int64)[:, None] * np.array([-128 - zero_point, 127 - zero_point])
        low, high = (int(bias[channel] + each(axis=1).sum()) for each in (products.min, products.max))
        if max(-low, high) << max(int(shift[channel]), 0) > arithmetic.INT32_MAX:
            continue  # a left shift that wraps
        reach = int(bounds[channel] - abs(bias[channel]))
        code = _code(scaling, int(multiplier[channel]), int(shift[channel]))
        found: tuple[int, int] | None = (1, 4 * (code(low) - scaling.zero_point))
        if code(low) == code(high):
            weights[channel], reach = 0, 0
        else:
            found = _stepping(scaling, code, low, high, int(bias[channel]), bound - reach)
        if found is not None:
            multiplier[channel], shift[channel], bias[channel] = _HALF, -found[0], found[1]
            bounds[channel] = reach + abs(found[1])
    shape = np.moveaxis(op.weights, axis, 0).shape
    return replace(
        op,
        weights=np.ascontiguousarray(np.moveaxis(weights.reshape(shape), 0, axis)),
        bias=bias.astype(np.int32),
        requantization=replace(scaling, multiplier=multiplier, shift=shift),
        bound=bounds,
    )


def _code(scaling: lower.Requantization, multiplier: int, shift: int) -> Callable[[int], int]:
    """The code of an accumulator of one channel."""
    channel = replace(scaling, multiplier=np.array(multiplier), shift=np.array(shift))
    return lambda accumulator: int(channel(np.array(accumulator, np.int64)))


def _stepping(
    scaling: lower.Requantization, code: Callable[[int], int], low: int, high: int, bias: int, bound: int
) -> tuple[int, int] | None:
    """(right shift, bias), the latter below `bound`, of a channel whose codes rise by one as `code` does."""
    if code(high) != code(low) + 1:
        return None
    step = _first(code, code(high), low, high)
    for shift in range(1, LONGEST + 1):
        other = _code(scaling, _HALF, -shift)
        # below: a code that no accumulator of this scaling lies under
        moved = _first(other, code(high), -(arithmetic.INT32_MAX >> 1), arithmetic.INT32_MAX >> 1) - step
        same = other(low + moved) == code(low) and other(high + moved) == code(high)
        if same and abs(bias + moved) < bound:
            return shift, bias + moved
    return None


def _first(code: Callable[[int], int], wanted: int, low: int, high: int) -> int:
    """The least accumulator above `low`, up to `high`, with a code of at least `wanted`."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if code(middle) >= wanted else (middle, high)
    return high
