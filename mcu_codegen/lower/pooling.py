"""Pooling and means: one value out of many of the same channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import arithmetic
from ..errors import InputError
from ..graph import Graph, Operator, Tensor
from .common import Requantization, activation_range, check_padded, check_sum, constant_integers, int8_tensor, padding


@dataclass(frozen=True)
class Pool:
    """Windows over an image; `pads` are (top, bottom, left, right) and take no part."""

    filter: tuple[int, int]
    pads: tuple[int, int, int, int]
    stride: tuple[int, int]
    low: int
    high: int


class AveragePool(Pool):
    pass


class MaxPool(Pool):
    pass


@dataclass(frozen=True)
class Mean:
    axes: tuple[int, ...]
    count: int
    input_zero_point: int
    requantization: Requantization


def lower_pool(graph: Graph, operator: Operator) -> Pool:
    options = operator.options
    source, output = int8_tensor(graph, operator.inputs[0]), int8_tensor(graph, operator.outputs[0])
    if (source.scale, source.zero_point) != (output.scale, output.zero_point):
        raise InputError(
            f"tensor '{output.name}': pooling does not rescale, yet its quantisation differs from the input's"
        )
    if len(source.shape) != 4 or len(output.shape) != 4 or source.shape[0] != 1 or source.shape[3] != output.shape[3]:
        raise InputError(f"tensor '{source.name}' {source.shape} to {output.shape}: one NHWC image is accepted")
    sides = [
        padding(options.padding, source.shape[a + 1], options.filter[a], options.stride[a], 1, output.shape[a + 1])
        for a in (0, 1)
    ]
    check_padded(source, (*sides[0], *sides[1]))
    check_sum(source)
    low, high = activation_range(options.activation, output)
    kind = MaxPool if operator.kind == "MAX_POOL_2D" else AveragePool
    return kind(options.filter, (*sides[0], *sides[1]), options.stride, low, high)


def lower_mean(graph: Graph, operator: Operator) -> Mean:
    source, output = int8_tensor(graph, operator.inputs[0]), int8_tensor(graph, operator.outputs[0])
    rank = len(source.shape)
    given = constant_integers(graph, operator.inputs[1], "axes")
    if np.any((given < -rank) | (given >= rank)):
        raise InputError(f"tensor '{source.name}' {source.shape}: axes {given.tolist()} exceed its rank")
    check_sum(source)
    axes = tuple(sorted({int(axis) % rank for axis in given.reshape(-1)}))
    count = int(np.prod([source.shape[axis] for axis in axes]))
    if output.bytes * count != source.bytes:
        raise InputError(f"tensor '{output.name}' {output.shape} is not the mean of {source.shape} over axes {axes}")
    return Mean(axes, count, source.zero_point, mean_requantization(source, output, count))


def mean_requantization(source: Tensor, output: Tensor, count: int) -> Requantization:
    """Sums of `count` codes of `source`, without their zero points, to codes of `output`."""
    real = float(np.float32(source.scale)) / float(np.float32(output.scale))
    multiplier, shift = arithmetic.mean_multiplier(real, count)
    if shift > 30:
        raise InputError(f"tensor '{output.name}': its scale {output.scale} is too small for the operator's input")
    return Requantization(np.array([multiplier], np.int32), np.array([shift], np.int32), output.zero_point, -128, 127)
