"""Fixed-point softmax regression: FULLY_CONNECTED and SOFTMAX learn from codes. The specification, in NumPy.

Formats: features and scores are int8 codes, as a network computes them. A weight is learnt as a master of 16 bits and
a bias as one of 32 bits, both with `FRACTION` bits below the code that the network reads, which is the master rounded
half up. So what learns is exactly what runs: every step begins with the scores that the network's own integers give.

One step, for one sample (features x, target scores t, both codes) and every label c:

    scores   = SOFTMAX(FULLY_CONNECTED(x))
    error[c] = scores[c] - t[c], in 1/256 of probability, -255..255; 0 where it is below `margin` in magnitude
    master weight[c, i] -= (error[c] * (x[i] - zero point) + half) >> shift[c], where half = 2^shift[c] / 2
    master bias[c]      -= error[c] << bias shift[c]

then both saturate: weights to codes of -MOST_WEIGHT..MOST_WEIGHT, biases to +-MOST_BIAS. Samples come in the order
given, once an epoch. A label whose error is 0 keeps its row: most labels of most samples, even more so with a margin
of a few 256ths. The shifts are the learning rate: at rate r the real weight moves by r times the gradient where
2^-shift is r times the scale of the features over that of the weight, and the bias where 2^shift is r over the product
of both (`rates_of`).

Every intermediate value fits int32, whatever the samples (checked by `check_head`, in this order):

- an accumulator of FULLY_CONNECTED is at most 255 * MOST_WEIGHT a feature, and MOST_BIAS; times 2^(left shift of its
  multiplier), where it has one, that must not exceed 2^31 - 1;
- a product of error and feature is at most 255 * 255, and half at most 2^15; a master weight of 16 bits more: below
  2^18;
- a master bias is at most 2^30, and its step at most 255 * 2^20 < 2^28.

`emit.regression` writes the same as C.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from .. import arithmetic, lower
from ..errors import InputError
from ..lower.common import Requantization

FRACTION = 8  # bits of a master below the code
MOST_WEIGHT = 127
MOST_BIAS = 1 << 22
MOST_WEIGHT_SHIFT, MOST_BIAS_SHIFT = 16, 20

_HALF = 1 << (FRACTION - 1)


@dataclass(frozen=True)
class Head:
    """FULLY_CONNECTED and SOFTMAX over int8 features."""

    weights: np.ndarray  # int8 [labels, features]
    bias: np.ndarray  # int32 [labels], in TFLite's meaning: the input's zero point is not folded in
    zero_point: int  # of the features
    requantization: Requantization  # accumulators to logits
    exponentials: np.ndarray  # as `lower.Softmax` has them

    def last_label(self) -> Head:
        """That label alone."""
        labels, scaling = len(self.bias), self.requantization
        multiplier, shift = (np.broadcast_to(each, labels)[-1:] for each in (scaling.multiplier, scaling.shift))
        own = replace(scaling, multiplier=multiplier, shift=shift)
        return replace(self, weights=self.weights[-1:], bias=self.bias[-1:], requantization=own)

    def scores(self, features: np.ndarray) -> np.ndarray:
        """int8 [N, labels] of int8 `features` [N, features]: the very codes that the network computes."""
        return arithmetic.softmax(self.logits(features), self.exponentials)

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Likewise, what the scores come from."""
        rows = features.astype(np.float64) - self.zero_point
        accumulator = (rows @ self.weights.T.astype(np.float64)).astype(np.int64)  # exact, as in `NumpyExecutor`
        return self.requantization(accumulator + self.bias)

    def fit(self, rates: Rates, margin: int, features: np.ndarray, targets: np.ndarray, epochs: int) -> Iterator[Head]:
        """This head after every one of `epochs`: int8 `features` [N, features] teach the int8 scores `targets`
        [N, labels], in order."""
        head, down, up = self, np.array(rates.weights, np.int64)[:, np.newaxis], np.array(rates.biases, np.int64)
        half = (1 << down) >> 1
        weights, bias = (values.astype(np.int64) << FRACTION for values in (head.weights, head.bias))
        for _ in range(epochs):
            for codes, target in zip(features, targets, strict=True):
                error = head.scores(codes[np.newaxis])[0].astype(np.int64) - target
                error[np.abs(error) < margin] = 0
                step = (error[:, np.newaxis] * (codes.astype(np.int64) - head.zero_point) + half) >> down
                weights = _saturated(weights - step, MOST_WEIGHT)
                bias = _saturated(bias - (error << up), MOST_BIAS)
                head = replace(head, weights=_codes(weights).astype(np.int8), bias=_codes(bias).astype(np.int32))
            yield head


@dataclass(frozen=True)
class Rates:
    """The learning rate of a head, by label."""

    weights: tuple[int, ...]  # right shifts, 0..MOST_WEIGHT_SHIFT
    biases: tuple[int, ...]  # left shifts, 0..MOST_BIAS_SHIFT


def head_of(dense: lower.FullyConnected, softmax: lower.Softmax) -> Head:
    """The head that two lowered operators make."""
    return Head(dense.weights, dense.bias, dense.input_zero_point, dense.requantization, softmax.exponentials)


def check_head(head: Head) -> None:
    """Raises InputError where learning could leave int32, or the factory's codes are not those that learning keeps."""
    features = head.weights.shape[1]
    shift = max(0, int(head.requantization.shift.max()))
    bound = 255 * MOST_WEIGHT * features + MOST_BIAS
    if bound << shift > arithmetic.INT32_MAX:
        raise InputError(
            f"{features} features: an accumulator could reach {bound}, which times 2^{shift}, the left shift of its"
            " multiplier, is beyond int32"
        )
    weight, bias = int(np.abs(head.weights.astype(np.int64)).max()), int(np.abs(head.bias.astype(np.int64)).max())
    if weight > MOST_WEIGHT or bias > MOST_BIAS:
        raise InputError(
            f"a weight of {weight} and a bias of {bias} in magnitude; up to {MOST_WEIGHT} and {MOST_BIAS} can be learnt"
        )


def rates_of(rate: float, feature_scale: float, weight_scales: np.ndarray) -> Rates:
    """The nearest shifts to `rate`, the step of a real weight over its gradient. `weight_scales` is float [labels]."""
    weights = -np.log2(rate * feature_scale / weight_scales)
    biases = np.log2(rate / (feature_scale * weight_scales))
    return Rates(_shifts(weights, MOST_WEIGHT_SHIFT), _shifts(biases, MOST_BIAS_SHIFT))


def _saturated(masters: np.ndarray, most: int) -> np.ndarray:
    return np.clip(masters, -most << FRACTION, most << FRACTION)


def _codes(masters: np.ndarray) -> np.ndarray:
    return (masters + _HALF) >> FRACTION


def _shifts(real: np.ndarray, most: int) -> tuple[int, ...]:
    return tuple(min(max(math.floor(value + 0.5), 0), most) for value in real.tolist())
