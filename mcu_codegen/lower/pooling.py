"""Pooling and means: one value out of many of the same channel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .. import arithmetic
from ..errors import InputError
from ..graph import Graph, Operator, Tensor
from .common import (
    Requantization,
    activation_range,
    activations,
    check_padded,
    check_sum,
    constant_integers,
    int8_tensor,
    padding,
)


@dataclass(frozen=True)
class Pool:
    """Windows over an image; `pads` are (top, bottom, left, right) and take no part."""

    filter: tuple[int, int]
    pads: tuple[int, int, int, int]
    stride: tuple[int, int]
    low: int
    high: int


@dataclass(frozen=True)
class AveragePool(Pool):
    half_up: bool = False  # averages halfway between two codes; False: away from zero


class MaxPool(Pool):
    pass


@dataclass(frozen=True)
class Mean:
    axes: tuple[int, ...]
    count: int
    input_zero_point: int
    requantization: Requantization


@dataclass(frozen=True)
class Position:
    """ARG_MAX and ARG_MIN: along the middle axis of (outer, size, inner), where the first of the extreme codes is."""

    outer: int
    size: int
    inner: int
    largest: bool
    dtype: str  # int32 or int64


def lower_position(graph: Graph, operator: Operator) -> Position:
    source, output = int8_tensor(graph, operator.inputs[0]), graph.tensors[operator.outputs[0]]
    given, rank = constant_integers(graph, operator.inputs[1], "axis").reshape(-1), len(source.shape)
    if len(given) != 1 or not -rank <= given[0] < rank:
        raise InputError(f"tensor '{source.name}' {source.shape}: axis {given.tolist()}; one of its {rank} is accepted")
    axis = int(given[0]) % rank
    before, behind = source.shape[:axis], source.shape[axis + 1 :]
    if output.dtype not in ("int32", "int64") or output.shape != (*before, *behind):
        raise InputError(
            f"tensor '{output.name}' {output.dtype} {output.shape}: positions along axis {axis} of {source.shape} are"
            f" int32 or int64 {(*before, *behind)}"
        )
    sizes = math.prod(before), source.shape[axis], math.prod(behind)
    return Position(*sizes, operator.kind == "ARG_MAX", output.dtype)


def lower_pool(graph: Graph, operator: Operator) -> Pool:
    options = operator.options
    source, output = activations(graph, operator.inputs[0], operator.outputs[0])
    kind = MaxPool if operator.kind == "MAX_POOL_2D" else AveragePool
    # the reference takes the largest code as it is, whatever the output's scale; only its clamp is the output's
    if kind is AveragePool and (source.scale, source.zero_point) != (output.scale, output.zero_point):
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
    check_sum(source, math.prod(options.filter))
    low, high = activation_range(options.activation, output)
    window = (options.filter, (*sides[0], *sides[1]), options.stride, low, high)
    return MaxPool(*window) if kind is MaxPool else AveragePool(*window, options.half_up)


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
