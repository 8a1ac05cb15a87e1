"""What draws of random operators share: plain values, tensors, weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mcu_codegen.graph import Operator, Quantization, Tensor

LARGEST = 500  # elements of an activation
LARGEST_OF_LARGE = 12_000
_WEIGHTS = 40_000  # of a layer
_MACS = 250_000


class Builder:
    """Draws tensors. An operator's method gives its output tensor, or None where it does not fit."""

    def __init__(self, rng: np.random.Generator, large: bool) -> None:
        self.rng, self.large = rng, large
        self.largest = LARGEST_OF_LARGE if large else LARGEST
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.states: list[int] = []

    # Draws of plain values

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def integer(self, low: int, high: int) -> int:
        """Uniform, both ends included."""
        return int(self.rng.integers(low, high + 1))

    def one(self, items: Sequence[int]) -> int:
        return int(items[self.integer(0, len(items) - 1)])

    def image(self) -> tuple[int, ...]:
        """By chance a signal: one column, of a few more channels. Of a large graph: wide, tall, or of many channels."""
        if self.large:
            shape = [self.integer(1, 3), self.integer(1, 3), self.integer(1, 6)]
            long = int(2 ** self.rng.uniform(5, 10.55))  # 32 to 1,500
            shape[self.integer(0, 2)] = long
            return (1, *shape) if math.prod(shape) <= self.largest else (1, 1, 1, long)
        if self.chance(0.3):
            return (1, self.integer(1, 20), 1, self.one([1, 2, 4, 8, 16]))
        return (1, self.integer(1, 7), self.integer(1, 7), self.integer(1, 6))

    def quantization(self) -> Quantization:
        zero_point = self.one([-128, 127, 0, -1]) if self.chance(0.4) else self.integer(-128, 127)
        return Quantization((float32(10 ** self.rng.uniform(-3, 0)),), (zero_point,))

    def activation_name(self) -> str:
        return str(self.rng.choice(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"], p=[0.4, 0.4, 0.1, 0.1]))

    def multipliers(self, count: int, natural: float) -> np.ndarray:
        """Real multipliers: about `natural`, which fills the output's range; or anything from the least shift up."""
        if self.chance(0.2):
            return 2.0 ** self.rng.uniform(-33, 8, count)
        return natural * 2.0 ** self.rng.uniform(-3, 3, count)

    # Tensors

    def new(self, kind: str, tensor: Tensor) -> int:
        tensor.name = f"{kind}_{len(self.tensors)}"
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def activation(self, shape: tuple[int, ...], quantization: Quantization | None = None) -> int:
        return self.new("activation", Tensor("", shape, "int8", quantization or self.quantization()))

    def constant(self, kind: str, data: np.ndarray, quantization: Quantization | None = None) -> int:
        return self.new(kind, Tensor("", data.shape, str(data.dtype), quantization, data))

    def append(self, kind: str, inputs: tuple[int, ...], output: int, options: object) -> int:
        self.operators.append(Operator(kind, inputs, (output,), options))
        return output

    def weights_and_bias(
        self, shape: tuple[int, ...], axis: int, source: int, output: int, per_tensor: bool, wraps: bool = True
    ) -> tuple[int, ...]:
        """Weights and bias (which may be left out) between `source` and `output`.

        `wraps`: a left shift may push accumulators beyond int32.
        """
        spread = self.one([1, 20, 127])
        weights = self.rng.integers(-spread, spread + 1, shape)
        if self.chance(0.1):
            weights = self.rng.choice([-127, 127], shape)
        elif self.chance(0.15):
            weights *= self.rng.random(shape) < self.one([0.05, 0.15, 0.3])
        channels = shape[axis]
        sums = np.abs(weights).sum(axis=tuple(a for a in range(len(shape)) if a != axis))
        typical = 60 * np.sqrt(weights.size / channels) * spread / 2
        real = self.multipliers(1 if per_tensor else channels, 60 / typical)
        zero_point = self.tensors[source].zero_point
        reach = sums * max(127 - zero_point, zero_point + 128)
        limit = np.full(channels, 2**31 - 1)
        if not wraps:
            real = np.minimum(real, 2.0**30 / reach.max(initial=1) / 2)
            limit >>= np.maximum(np.frexp(real)[1] + 1, 0)
        ratio = self.tensors[output].scale / self.tensors[source].scale
        scales = tuple(float32(value * ratio) for value in real)
        zero_points = (0,) * len(scales)
        index = self.constant("weights", weights.astype(np.int8), Quantization(scales, zero_points, axis))
        if self.chance(0.15):
            return (index, -1) if self.chance(0.5) else (index,)
        room = limit - reach
        bias = self.rng.normal(0, typical, channels).round().clip(-room, room)
        extreme = self.rng.random(channels) < (0.1 if self.chance(0.3) else 0)
        bias = np.where(extreme, self.rng.choice([-1, 1], channels) * room, bias).astype(np.int32)
        quantized = Quantization(tuple(float32(self.tensors[source].scale * scale) for scale in scales), zero_points, 0)
        return index, self.constant("bias", bias, quantized)

    def kind(self, *kinds: str) -> str:
        return str(self.rng.choice(kinds))

    def affords(self, weights: int, positions: int) -> bool:
        """Whether a layer is small enough, which those of small graphs always are."""
        return not self.large or (weights <= _WEIGHTS and weights * positions <= _MACS)


def float32(value: float) -> float:
    return float(np.float32(value))


def output_size(padding: str, size: int, window: int, stride: int, dilation: int) -> int:
    return -(-size // stride) if padding == "SAME" else (size - (window - 1) * dilation - 1) // stride + 1
