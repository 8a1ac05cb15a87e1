"""Learning of exits in real numbers: the yardstick beside the integers that ship (`mcu_codegen.users.regression`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mcu_codegen.users.regression import Rates


def codes_of(logits: np.ndarray) -> np.ndarray:
    """The int8 score codes of logits [N, labels]: softmax in steps of 1/256, from -128."""
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return np.clip(np.rint(256 * shares / shares.sum(1, keepdims=True)) - 128, -128, 127).astype(np.int8)


@dataclass(frozen=True, eq=False)
class FloatHead:
    """A linear layer and softmax over real features, which learns at `rate` as `regression.Head` does in integers."""

    weights: np.ndarray  # float [labels, features]
    bias: np.ndarray  # float [labels]
    rate: float

    def scores(self, features: np.ndarray) -> np.ndarray:
        """int8 [N, labels] of float `features` [N, features]."""
        return codes_of(features @ self.weights.T + self.bias)

    def fit(
        self, _rates: Rates, margin: int, features: np.ndarray, targets: np.ndarray, epochs: int
    ) -> Iterator[FloatHead]:
        """This head after every one of `epochs`, as `regression.Head.fit`."""
        weights, bias = self.weights.copy(), self.bias.copy()
        for _ in range(epochs):
            for sample, target in zip(features, targets, strict=True):
                logits = weights @ sample + bias
                shares = np.exp(logits - logits.max())
                error = shares / shares.sum() - (target.astype(np.float64) + 128) / 256
                error[np.abs(error) < margin / 256] = 0
                weights -= self.rate * error[:, None] * sample
                bias -= self.rate * error
            yield FloatHead(weights.copy(), bias.copy(), self.rate)
