"""Convolutions and fully connected layers: sums of products with constant weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import arithmetic
from ..errors import InputError
from ..graph import Graph, Operator, Tensor
from .common import (
    Requantization,
    activations,
    check_padded,
    check_scales,
    long_requantization,
    padding,
    requantization,
    scale_of,
)


@dataclass(frozen=True)
class Convolution:
    """CONV_2D and DEPTHWISE_CONV_2D. `pads` are (top, bottom, left, right), filled with the input's zero point."""

    weights: np.ndarray  # int8, or int16 where uint8 had a zero point; OHWI; depthwise 1HWO
    bias: np.ndarray  # int32, or int64 where requantisation is long; one per output channel
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
    weights: np.ndarray  # int8, or int16 as above; (outputs, inputs)
    bias: np.ndarray
    input_zero_point: int
    requantization: Requantization
    bound: np.ndarray


def lower_convolution(graph: Graph, operator: Operator) -> Convolution:
    options = operator.options
    source, output = activations(graph, operator.inputs[0], operator.outputs[0])
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
    bias = _bias(graph, operator, channels, source)
    real = _multipliers(source, scales, output, together=filters.dtype == "uint8")
    bound = accumulator_bound(weights, channel_axis, bias, source, filters.name)
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
    check_padded(source, (*sides[0], *sides[1]))
    return Convolution(
        weights,
        bias,
        source.zero_point,
        (*sides[0], *sides[1]),
        options.stride,
        options.dilation,
        multiplier,
        _scaling(real, output, options.activation, bias, bound),
        bound,
    )


def lower_fully_connected(graph: Graph, operator: Operator) -> FullyConnected:
    source, output = activations(graph, operator.inputs[0], operator.outputs[0])
    filters = graph.tensors[operator.inputs[1]]
    if (
        len(filters.shape) != 2
        or source.elements % filters.shape[1]
        or output.elements != source.elements // filters.shape[1] * filters.shape[0]
    ):
        raise InputError(
            f"weights '{filters.name}' {filters.shape} do not fit input {source.shape} and output {output.shape}"
        )
    channels = filters.shape[0]
    weights, scales = _weights(graph, operator.inputs[1], channels, 0)
    bias = _bias(graph, operator, channels, source)
    per_tensor = filters.quantization is not None and filters.quantization.per_tensor
    real = _multipliers(source, scales, output, together=per_tensor)
    bound = accumulator_bound(weights, 0, bias, source, filters.name)
    scaling = _scaling(real, output, operator.options.activation, bias, bound)
    # where convolutions wrap in every implementation, this operator saturates in those that requantise in float
    raised = bound << np.maximum(scaling.shift, 0).astype(np.int64)
    if bias.dtype == np.int32 and np.any(raised > arithmetic.INT32_MAX):
        channel = int(np.argmax(raised))
        raise InputError(
            f"weights '{filters.name}': the accumulator of channel {channel} can reach {bound[channel]}, which times"
            f" 2^{int(np.broadcast_to(scaling.shift, bound.shape)[channel])}, the left shift of its multiplier, is"
            " beyond int32"
        )
    return FullyConnected(weights, bias, source.zero_point, scaling, bound)


def _multipliers(source: Tensor, scales: np.ndarray, output: Tensor, together: bool) -> np.ndarray:
    """float64, one per output channel. `together`: the scales of input and weights are multiplied in float32, as the
    reference does in FULLY_CONNECTED with one scale and in convolutions of uint8."""
    if together:
        return (np.float32(source.scale) * scales).astype(np.float64) / scale_of(output)
    return np.asarray(scale_of(source) * scales.astype(np.float64) / scale_of(output))


def _weights(graph: Graph, index: int, channels: int, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights less their zero point, and their float32 scales, broadcast to one per output channel along `axis`."""
    tensor = graph.tensors[index]
    quantization = tensor.quantization
    if not tensor.constant or tensor.data is None or quantization is None or tensor.dtype not in ("int8", "uint8"):
        raise InputError(f"weights '{tensor.name}' ({tensor.dtype}) are not constant quantised int8")
    if tensor.dtype == "uint8" and quantization.per_tensor:
        check_scales(tensor, np.asarray(quantization.scale))
        return _differences(tensor.data, quantization.zero_point[0]), np.full(
            channels, quantization.scale[0], np.float32
        )
    if any(quantization.zero_point) or tensor.dtype == "uint8":
        raise InputError(f"weights '{tensor.name}' have a zero point other than 0")
    if not quantization.per_tensor and (quantization.axis != axis or len(quantization.scale) != channels):
        raise InputError(
            f"weights '{tensor.name}' have {len(quantization.scale)} scales along axis {quantization.axis};"
            f" {channels} along axis {axis} are accepted"
        )
    scales = np.broadcast_to(np.asarray(quantization.scale, np.float32), (channels,))
    check_scales(tensor, scales)
    return tensor.data, scales


def _differences(codes: np.ndarray, zero_point: int) -> np.ndarray:
    """uint8 codes less their zero point; int8 where all of them are."""
    values = codes.astype(np.int16) - np.int16(zero_point)
    return values.astype(np.int8) if np.all(np.abs(values) <= 127) else values


def _scaling(real: np.ndarray, output: Tensor, activation: str, bias: np.ndarray, bound: np.ndarray) -> Requantization:
    """Long where the bias is: the reference accumulates in its type."""
    if bias.dtype == np.int64:
        return long_requantization(real, output, activation, bound)
    return requantization(real, output, activation)


def _bias(graph: Graph, operator: Operator, channels: int, source: Tensor) -> np.ndarray:
    """int32, or int64 where the `source` is int16; FULLY_CONNECTED without any has sums of int32 all the same, as the
    reference has."""
    tensor = graph.tensor(operator.inputs[2]) if len(operator.inputs) > 2 else None
    dtype = "int64" if source.dtype == "int16" else "int32"
    if tensor is None:
        return np.zeros(channels, "int32" if operator.kind == "FULLY_CONNECTED" else dtype)
    if tensor.dtype != dtype or not tensor.constant or tensor.data is None or tensor.data.size != channels:
        raise InputError(f"bias '{tensor.name}' ({tensor.dtype}, {tensor.shape}) is not {channels} constant {dtype}")
    return tensor.data.reshape(channels)


def accumulator_bound(
    weights: np.ndarray, channel_axis: int, bias: np.ndarray, source: Tensor, name: str
) -> np.ndarray:
    """The largest magnitude that each channel's accumulator can reach at any step; int32 must hold it, or 48 bits where
    the bias is int64."""
    others = tuple(axis for axis in range(weights.ndim) if axis != channel_axis)
    codes = np.iinfo(source.dtype)
    reach = max(codes.max - source.zero_point, source.zero_point - codes.min)
    most, name_of_most = (2**47 - 1, "48 bits") if bias.dtype == np.int64 else (arithmetic.INT32_MAX, "int32")
    bound = np.abs(weights.astype(np.int64)).sum(axis=others) * reach + np.abs(bias.astype(np.int64))
    if np.any(bound > most):
        channel = int(np.argmax(bound))
        raise InputError(
            f"weights '{name}': the accumulator of channel {channel} can reach {bound[channel]}, beyond {name_of_most}"
        )
    return bound
