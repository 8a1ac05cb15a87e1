"""What a step does with its state: windows of rows that move on, and sums over them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import InputError
from ..graph import Graph, Operator, Tensor
from .common import Requantization, check_sum, int8_tensor
from .pooling import mean_requantization


@dataclass(frozen=True)
class ShiftIn:
    """Elements move towards the start by as many as come in at the end."""

    elements: int  # of the window
    entering: int


@dataclass(frozen=True)
class SlidingSum:
    """sums + (the sum of the rows over `axes`) - (that of as many elements of the window from `leaving` on)."""

    axes: tuple[int, ...]
    leaving: int
    entering: int  # elements of the rows


@dataclass(frozen=True)
class MeanOfSums:
    """requantization(sum - offset)"""

    offset: int  # the zero point of all codes in a sum
    requantization: Requantization


def lower_shift_in(graph: Graph, operator: Operator) -> ShiftIn:
    window, rows = _window_and_rows(graph, operator, 0)
    return ShiftIn(math.prod(window.shape), math.prod(rows.shape))


def lower_sliding_sum(graph: Graph, operator: Operator) -> SlidingSum:
    window, rows = _window_and_rows(graph, operator, 1)
    sums, axes = graph.tensors[operator.inputs[0]], operator.options.axes
    check_sum(window)
    kept = math.prod(size for axis, size in enumerate(rows.shape) if axis not in axes)
    time = next(axis for axis, (old, new) in enumerate(zip(window.shape, rows.shape, strict=True)) if old != new)
    row = window.bytes // window.shape[time]
    if sums.dtype != "int32" or sums.bytes != 4 * kept or time not in axes:
        raise InputError(f"tensor '{sums.name}' {sums.shape}: not the sums of {window.shape} over axes {axes}")
    return SlidingSum(axes, operator.options.leaving * row, rows.bytes)


def lower_mean_of_sums(graph: Graph, operator: Operator) -> MeanOfSums:
    sums, output = graph.tensors[operator.inputs[0]], int8_tensor(graph, operator.outputs[0])
    count = operator.options.count
    return MeanOfSums(sums.zero_point * count, mean_requantization(sums, output, count))


def _window_and_rows(graph: Graph, operator: Operator, first: int) -> tuple[Tensor, Tensor]:
    """A persistent window and fewer rows of its kind, which are the operator's inputs from `first` on."""
    window, rows = (graph.tensors[index] for index in operator.inputs[first : first + 2])
    differing = [old - new for old, new in zip(window.shape, rows.shape, strict=True) if old != new]
    if not window.persistent or window.dtype != rows.dtype or len(differing) != 1 or differing[0] < 0:
        raise InputError(f"tensor '{rows.name}' {rows.shape}: not some rows of window '{window.name}' {window.shape}")
    return window, rows
