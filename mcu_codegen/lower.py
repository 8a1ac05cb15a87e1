"""Operators with scales become operators with integers.

Every executor and every emitter starts from what `lower` returns, so that scales, padding, activation ranges and
requantisation parameters are derived once. What cannot be computed as specified is refused here, by layer and tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import arithmetic
from .errors import InputError
from .graph import Graph, Operator, Tensor

MAX_PADDED_BYTES = 64 << 20


@dataclass(frozen=True)
class Requantization:
    """int32 accumulators to int8 codes. `multiplier` and `shift` have one entry, or one per output channel."""

    multiplier: np.ndarray  # int32, Q31
    shift: np.ndarray  # int32, positive to the left
    zero_point: int
    low: int
    high: int

    def __call__(self, accumulator: np.ndarray) -> np.ndarray:
        """int8 codes of `accumulator` (any shape, channels last)."""
        value = arithmetic.requantize(accumulator, self.multiplier, self.shift) + self.zero_point
        return np.clip(value, self.low, self.high).astype(np.int8)


@dataclass(frozen=True)
class Convolution:
    """CONV_2D and DEPTHWISE_CONV_2D. `pads` are (top, bottom, left, right), filled with the input's zero point."""

    weights: np.ndarray  # int8, OHWI; depthwise 1HWO
    bias: np.ndarray  # int32, one per output channel
    input_zero_point: int
    pads: tuple[int, int, int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    depth_multiplier: int  # 0 where the convolution is not depthwise
    requantization: Requantization
    bound: np.ndarray  # int64: no accumulator of the channel exceeds this in magnitude

    @property
    def depthwise(self) -> bool:
        return self.depth_multiplier > 0


@dataclass(frozen=True)
class FullyConnected:
    weights: np.ndarray  # int8, (outputs, inputs)
    bias: np.ndarray
    input_zero_point: int
    requantization: Requantization
    bound: np.ndarray


@dataclass(frozen=True)
class AveragePool:
    filter: tuple[int, int]
    pads: tuple[int, int, int, int]
    stride: tuple[int, int]
    low: int
    high: int


@dataclass(frozen=True)
class Mean:
    axes: tuple[int, ...]
    count: int
    input_zero_point: int
    requantization: Requantization


@dataclass(frozen=True)
class Add:
    """out = requantization(sum over both inputs of requantize((code - zero_point) << left_shift, ...))."""

    left_shift: int
    zero_points: tuple[int, int]
    multipliers: tuple[int, int]
    shifts: tuple[int, int]
    requantization: Requantization


@dataclass(frozen=True)
class Softmax:
    exponentials: np.ndarray  # int32, Q0.31 by code difference


@dataclass(frozen=True)
class Copy:
    """RESHAPE: the bytes stay."""


Lowered = Convolution | FullyConnected | AveragePool | Mean | Add | Softmax | Copy


def lower(graph: Graph, operator: Operator, layer: str) -> Lowered:
    """The integer form of `operator`, which is called `layer` in errors. Raises InputError."""
    if operator.kind not in _LOWERINGS:
        raise InputError(
            f"{layer}: operator {operator.kind} (tensor '{_output(graph, operator).name}') is not supported"
        )
    try:
        return _LOWERINGS[operator.kind](graph, operator)
    except InputError as error:
        raise InputError(f"{layer}: {error}") from None


def activation_range(activation: str, tensor: Tensor) -> tuple[int, int]:
    """(lowest, highest) int8 code of `tensor` under a fused activation."""
    low, high = -128, 127

    def code(real: float) -> int:
        # float32 division and rounding half away from zero, as the reference computes the clamp
        quotient = float(np.float32(real) / np.float32(tensor.scale))
        return tensor.zero_point + int(np.copysign(np.floor(abs(quotient) + 0.5), quotient))

    if activation == "RELU":
        low = max(low, code(0.0))
    elif activation == "RELU6":
        low, high = max(low, code(0.0)), min(high, code(6.0))
    elif activation == "RELU_N1_TO_1":
        low, high = max(low, code(-1.0)), min(high, code(1.0))
    elif activation != "NONE":
        raise InputError(f"tensor '{tensor.name}': fused activation {activation} is not supported")
    return low, high


def padding(kind: str, size: int, window: int, stride: int, dilation: int, output: int) -> tuple[int, int]:
    """(before, after) along one axis; SAME puts the odd one after."""
    reach = (window - 1) * dilation + 1
    expected = -(-size // stride) if kind == "SAME" else (size - reach) // stride + 1
    if output != expected or expected < 1:
        raise InputError(
            f"{kind} padding of {size} with window {reach} and stride {stride} gives {expected}, not {output}"
        )
    total = max((output - 1) * stride + reach - size, 0) if kind == "SAME" else 0
    return total // 2, total - total // 2


def _check_padded(source: Tensor, pads: tuple[int, int, int, int]) -> None:
    """Refuse a window so far beyond the image that padding it takes more memory than any microcontroller has."""
    _, height, width, channels = source.shape
    if (height + pads[0] + pads[1]) * (width + pads[2] + pads[3]) * channels > MAX_PADDED_BYTES:
        raise InputError(f"tensor '{source.name}' {source.shape}: padding by {pads} is beyond {MAX_PADDED_BYTES} bytes")


def _output(graph: Graph, operator: Operator) -> Tensor:
    return graph.tensors[operator.outputs[0]]


def _activation(graph: Graph, index: int) -> Tensor:
    """The int8 tensor at `index`, with one scale."""
    tensor = graph.tensors[index]
    if tensor.dtype != "int8":
        raise InputError(f"tensor '{tensor.name}' is {tensor.dtype}; int8 is accepted")
    _check_scales(tensor, np.asarray(tensor.scale))
    if not -128 <= tensor.zero_point <= 127:
        raise InputError(f"tensor '{tensor.name}' has zero point {tensor.zero_point}; -128..127 is accepted")
    return tensor


def _check_scales(tensor: Tensor, scales: np.ndarray) -> None:
    # within these limits no product or quotient of scales overflows, and NaN fails both comparisons
    low, high = 2.0**-64, 2.0**64
    if not np.all((scales >= low) & (scales <= high)):
        found = scales.reshape(-1)[int(np.argmin((scales >= low) & (scales <= high)))]
        raise InputError(f"tensor '{tensor.name}' has scale {found}; {low:.1e} to {high:.1e} is accepted")


def _weights(graph: Graph, index: int, channels: int, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """int8 weights and their float32 scales, broadcast to one per output channel along `axis`."""
    tensor = graph.tensors[index]
    if tensor.dtype != "int8" or not tensor.constant or tensor.data is None or tensor.quantization is None:
        raise InputError(f"weights '{tensor.name}' ({tensor.dtype}) are not constant quantised int8")
    quantization = tensor.quantization
    if any(quantization.zero_point):
        raise InputError(f"weights '{tensor.name}' have a zero point other than 0")
    if not quantization.per_tensor and (quantization.axis != axis or len(quantization.scale) != channels):
        raise InputError(
            f"weights '{tensor.name}' have {len(quantization.scale)} scales along axis {quantization.axis};"
            f" {channels} along axis {axis} are accepted"
        )
    scales = np.broadcast_to(np.asarray(quantization.scale, np.float32), (channels,))
    _check_scales(tensor, scales)
    return tensor.data, scales


def _bias(graph: Graph, operator: Operator, channels: int) -> np.ndarray:
    tensor = graph.tensor(operator.inputs[2]) if len(operator.inputs) > 2 else None
    if tensor is None:
        return np.zeros(channels, np.int32)
    if tensor.dtype != "int32" or not tensor.constant or tensor.data is None or tensor.data.size != channels:
        raise InputError(f"bias '{tensor.name}' ({tensor.dtype}, {tensor.shape}) is not {channels} constant int32")
    return tensor.data.reshape(channels)


def _bound(weights: np.ndarray, channel_axis: int, bias: np.ndarray, zero_point: int, name: str) -> np.ndarray:
    """The largest magnitude that each channel's accumulator can reach at any step; int32 must hold it."""
    others = tuple(axis for axis in range(weights.ndim) if axis != channel_axis)
    reach = max(127 - zero_point, zero_point + 128)
    bound = np.abs(weights.astype(np.int64)).sum(axis=others) * reach + np.abs(bias.astype(np.int64))
    if np.any(bound > arithmetic.INT32_MAX):
        channel = int(np.argmax(bound))
        raise InputError(
            f"weights '{name}': the accumulator of channel {channel} can reach {bound[channel]}, beyond int32"
        )
    return bound


def _requantization(real: np.ndarray, output: Tensor, activation: str) -> Requantization:
    pairs = [arithmetic.quantize_multiplier(float(value)) for value in real]
    if max(shift for _, shift in pairs) > 30:
        raise InputError(f"tensor '{output.name}': its scale {output.scale} is too small for the operator's inputs")
    low, high = activation_range(activation, output)
    return Requantization(
        np.array([multiplier for multiplier, _ in pairs], np.int32),
        np.array([shift for _, shift in pairs], np.int32),
        output.zero_point,
        low,
        high,
    )


def _convolution(graph: Graph, operator: Operator) -> Convolution:
    options = operator.options
    source, output = _activation(graph, operator.inputs[0]), _activation(graph, operator.outputs[0])
    depthwise = operator.kind == "DEPTHWISE_CONV_2D"
    filters = graph.tensors[operator.inputs[1]]
    if len(source.shape) != 4 or len(output.shape) != 4 or len(filters.shape) != 4 or source.shape[0] != 1:
        raise InputError(f"tensor '{source.name}' {source.shape}: one NHWC image is accepted")
    channel_axis = 3 if depthwise else 0
    channels = filters.shape[channel_axis]
    multiplier = options.depth_multiplier if depthwise else 0
    wanted = (
        (1, *filters.shape[1:3], source.shape[3] * multiplier)
        if depthwise
        else (channels, *filters.shape[1:3], source.shape[3])
    )
    if filters.shape != wanted or output.shape[3] != channels or output.shape[0] != 1:
        raise InputError(
            f"weights '{filters.name}' {filters.shape} do not fit input {source.shape} and output {output.shape}"
        )
    weights, scales = _weights(graph, operator.inputs[1], channels, channel_axis)
    bias = _bias(graph, operator, channels)
    real = float(np.float32(source.scale)) * scales.astype(np.float64) / float(np.float32(output.scale))
    sides = [
        padding(
            options.padding,
            source.shape[a + 1],
            filters.shape[a + 1],
            options.stride[a],
            options.dilation[a],
            output.shape[a + 1],
        )
        for a in (0, 1)
    ]
    _check_padded(source, (*sides[0], *sides[1]))
    return Convolution(
        weights,
        bias,
        source.zero_point,
        (*sides[0], *sides[1]),
        options.stride,
        options.dilation,
        multiplier,
        _requantization(real, output, options.activation),
        _bound(weights, channel_axis, bias, source.zero_point, filters.name),
    )


def _fully_connected(graph: Graph, operator: Operator) -> FullyConnected:
    source, output = _activation(graph, operator.inputs[0]), _activation(graph, operator.outputs[0])
    filters = graph.tensors[operator.inputs[1]]
    if (
        len(filters.shape) != 2
        or source.bytes % filters.shape[1]
        or output.bytes != source.bytes // filters.shape[1] * filters.shape[0]
    ):
        raise InputError(
            f"weights '{filters.name}' {filters.shape} do not fit input {source.shape} and output {output.shape}"
        )
    channels = filters.shape[0]
    weights, scales = _weights(graph, operator.inputs[1], channels, 0)
    bias = _bias(graph, operator, channels)
    if filters.quantization is not None and filters.quantization.per_tensor:
        # the reference multiplies the two float32 scales in float32 here, and only here
        real = (np.float32(source.scale) * scales).astype(np.float64) / float(np.float32(output.scale))
    else:
        real = float(np.float32(source.scale)) * scales.astype(np.float64) / float(np.float32(output.scale))
    return FullyConnected(
        weights,
        bias,
        source.zero_point,
        _requantization(real, output, operator.options.activation),
        _bound(weights, 0, bias, source.zero_point, filters.name),
    )


def _check_sum(source: Tensor) -> None:
    if source.bytes > arithmetic.INT32_MAX // 255:
        raise InputError(f"tensor '{source.name}' {source.shape}: its sum can exceed int32")


def _average_pool(graph: Graph, operator: Operator) -> AveragePool:
    options = operator.options
    source, output = _activation(graph, operator.inputs[0]), _activation(graph, operator.outputs[0])
    if (source.scale, source.zero_point) != (output.scale, output.zero_point):
        raise InputError(
            f"tensor '{output.name}': average pooling does not rescale, yet its quantisation differs from the input's"
        )
    if len(source.shape) != 4 or len(output.shape) != 4 or source.shape[0] != 1 or source.shape[3] != output.shape[3]:
        raise InputError(f"tensor '{source.name}' {source.shape} to {output.shape}: one NHWC image is accepted")
    sides = [
        padding(options.padding, source.shape[a + 1], options.filter[a], options.stride[a], 1, output.shape[a + 1])
        for a in (0, 1)
    ]
    _check_padded(source, (*sides[0], *sides[1]))
    _check_sum(source)
    low, high = activation_range(options.activation, output)
    return AveragePool(options.filter, (*sides[0], *sides[1]), options.stride, low, high)


def _mean(graph: Graph, operator: Operator) -> Mean:
    source, output = _activation(graph, operator.inputs[0]), _activation(graph, operator.outputs[0])
    axes_tensor = graph.tensors[operator.inputs[1]]
    rank = len(source.shape)
    if axes_tensor.data is None or not axes_tensor.constant or axes_tensor.dtype != "int32":
        raise InputError(f"axes '{axes_tensor.name}' ({axes_tensor.dtype}) are not constant int32")
    if np.any((axes_tensor.data < -rank) | (axes_tensor.data >= rank)):
        raise InputError(f"axes '{axes_tensor.name}' {axes_tensor.data.tolist()} exceed the rank of {source.shape}")
    _check_sum(source)
    axes = tuple(sorted({int(axis) % rank for axis in axes_tensor.data.reshape(-1)}))
    count = int(np.prod([source.shape[axis] for axis in axes]))
    if output.bytes * count != source.bytes:
        raise InputError(f"tensor '{output.name}' {output.shape} is not the mean of {source.shape} over axes {axes}")
    real = float(np.float32(source.scale)) / float(np.float32(output.scale))
    multiplier, shift = arithmetic.mean_multiplier(real, count)
    if shift > 30:
        raise InputError(f"tensor '{output.name}': its scale {output.scale} is too small for the operator's input")
    return Mean(
        axes,
        count,
        source.zero_point,
        Requantization(np.array([multiplier], np.int32), np.array([shift], np.int32), output.zero_point, -128, 127),
    )


def _add(graph: Graph, operator: Operator) -> Add:
    first, second = (_activation(graph, index) for index in operator.inputs[:2])
    output = _activation(graph, operator.outputs[0])
    if first.shape != second.shape or first.shape != output.shape:
        raise InputError(
            f"tensor '{output.name}': {first.shape} + {second.shape} does not give {output.shape} element by element"
        )
    left_shift = 20
    twice_largest = 2.0 * max(float(np.float32(first.scale)), float(np.float32(second.scale)))
    pairs = [
        arithmetic.quantize_multiplier(float(np.float32(tensor.scale)) / twice_largest) for tensor in (first, second)
    ]
    real = twice_largest / (2.0**left_shift * float(np.float32(output.scale)))
    return Add(
        left_shift,
        (first.zero_point, second.zero_point),
        (pairs[0][0], pairs[1][0]),
        (pairs[0][1], pairs[1][1]),
        _requantization(np.array([real]), output, operator.options.activation),
    )


def _softmax(graph: Graph, operator: Operator) -> Softmax:
    source, output = _activation(graph, operator.inputs[0]), _activation(graph, operator.outputs[0])
    if (output.scale, output.zero_point) != (1 / 256, -128) or source.shape != output.shape:
        raise InputError(f"tensor '{output.name}': softmax gives scale 1/256 and zero point -128 in the input's shape")
    if not source.shape or source.shape[-1] >= 1 << arithmetic.SOFTMAX_SUM_BITS:
        raise InputError(f"tensor '{source.name}' {source.shape}: softmax over 1 to 4095 values is accepted")
    if operator.options.beta * source.scale <= 2.0**-26:
        raise InputError(
            f"tensor '{source.name}': beta {operator.options.beta} x scale {source.scale} is not above 2^-26"
        )
    return Softmax(arithmetic.softmax_exponentials(float(np.float32(source.scale)), operator.options.beta))


def _copy(graph: Graph, operator: Operator) -> Copy:
    source, output = _activation(graph, operator.inputs[0]), _activation(graph, operator.outputs[0])
    if source.bytes != output.bytes or source.dtype != output.dtype or source.quantization != output.quantization:
        raise InputError(f"tensor '{output.name}' does not hold the same values as '{source.name}'")
    return Copy()


_LOWERINGS: dict[str, Callable[[Graph, Operator], Lowered]] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "FULLY_CONNECTED": _fully_connected,
    "AVERAGE_POOL_2D": _average_pool,
    "MEAN": _mean,
    "ADD": _add,
    "SOFTMAX": _softmax,
    "RESHAPE": _copy,
}
