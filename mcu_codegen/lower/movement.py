"""Operators that move codes and compute nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..graph import Graph, Operator, Tensor
from .common import check_same_codes, codes, constant_integers


@dataclass(frozen=True)
class Copy:
    """RESHAPE, SQUEEZE, EXPAND_DIMS: the bytes stay."""


@dataclass(frozen=True)
class Walk:
    """Positions in a tensor, counted in elements: `offset`, and `strides` (negative ones too) along a block's axes."""

    offset: int
    strides: tuple[int, ...]

    def positions(self, shape: tuple[int, ...]) -> np.ndarray:
        """Those of a block of `shape`, flat, in its order."""
        found = np.array([self.offset])
        for size, stride in zip(shape, self.strides, strict=True):
            found = (found[:, np.newaxis] + stride * np.arange(size)).reshape(-1)
        return found


@dataclass(frozen=True)
class Piece:
    """A block of `shape`, read from the operator's input number `input` along one walk and written along another."""

    input: int
    shape: tuple[int, ...]
    source: Walk
    target: Walk


@dataclass(frozen=True)
class Rearrange:
    """Pieces of the inputs, put together: TRANSPOSE, STRIDED_SLICE, CONCATENATION, PACK, PAD, phases of images."""

    pieces: tuple[Piece, ...]
    elements: int  # of the output
    fill: int | None = None  # the code between the pieces; None where they cover the output


def lower_copy(graph: Graph, operator: Operator) -> Copy:
    unchanged(graph, operator, same_size=True)
    return Copy()


def lower_transpose(graph: Graph, operator: Operator) -> Rearrange:
    source, output = unchanged(graph, operator, same_size=True)
    order = constant_integers(graph, operator.inputs[1], "order of axes").reshape(-1).tolist()
    rank = len(source.shape)
    axes = [axis % rank if -rank <= axis < rank else axis for axis in order]
    if sorted(axes) != list(range(rank)) or output.shape != tuple(source.shape[axis] for axis in axes):
        raise InputError(f"tensor '{output.name}' {output.shape}: axes {order} of {source.shape} do not give it")
    strides = strides_of(source.shape)
    walk = Walk(0, tuple(strides[axis] for axis in axes))
    return Rearrange((Piece(0, output.shape, walk, Walk(0, strides_of(output.shape))),), output.elements)


def lower_strided_slice(graph: Graph, operator: Operator) -> Rearrange:
    source, output = unchanged(graph, operator)
    ranges, kept = slice_ranges(graph, operator)
    shape = tuple(len(chosen) for chosen in ranges)
    if output.shape != tuple(size for size, keep in zip(shape, kept, strict=True) if keep) or 0 in shape:
        raise InputError(f"tensor '{output.name}' {output.shape} is not the slice {shape} of {source.shape}")
    strides = strides_of(source.shape)
    walk = Walk(
        sum(chosen.start * stride for chosen, stride in zip(ranges, strides, strict=True)),
        tuple(chosen.step * stride for chosen, stride in zip(ranges, strides, strict=True)),
    )
    return Rearrange((Piece(0, shape, walk, Walk(0, strides_of(shape))),), output.elements)


def slice_ranges(graph: Graph, operator: Operator) -> tuple[list[range], list[bool]]:
    """What a STRIDED_SLICE takes along every axis of its input, and whether the output keeps that axis."""
    source = graph.tensors[operator.inputs[0]]
    rank = len(source.shape)
    begins, ends, steps = (
        constant_integers(graph, index, what).reshape(-1).tolist()
        for index, what in zip(operator.inputs[1:], ("begin", "end", "strides"), strict=True)
    )
    if not len(begins) == len(ends) == len(steps) <= rank or 0 in steps:
        raise InputError(
            f"tensor '{source.name}' {source.shape}: begin {begins}, end {ends} and strides {steps};"
            " one of each for every sliced axis and no stride 0 are accepted"
        )
    options = operator.options
    ranges = [range(size) for size in source.shape]
    kept = [True] * rank
    for axis, (begin, end, step) in enumerate(zip(begins, ends, steps, strict=True)):
        size = source.shape[axis]
        if options.shrink_axis_mask >> axis & 1:
            if not -size <= begin < size:
                raise InputError(f"tensor '{source.name}' {source.shape}: there is no index {begin} along axis {axis}")
            ranges[axis], kept[axis] = range(begin % size, begin % size + 1), False
        else:
            first = None if options.begin_mask >> axis & 1 else begin
            last = None if options.end_mask >> axis & 1 else end
            ranges[axis] = range(*slice(first, last, step).indices(size))
    return ranges, kept


def lower_concatenation(graph: Graph, operator: Operator) -> Rearrange:
    output = codes(graph, operator.outputs[0])
    axis, rank = operator.options.axis, len(output.shape)
    if not -rank <= axis < rank:
        raise InputError(f"tensor '{output.name}' {output.shape}: there is no axis {axis}")
    axis %= rank
    strides = strides_of(output.shape)
    pieces, start = [], 0
    for number in range(len(operator.inputs)):
        source, _ = unchanged(graph, operator, number)
        if len(source.shape) != rank or any(
            size != of_output
            for place, (size, of_output) in enumerate(zip(source.shape, output.shape, strict=True))
            if place != axis
        ):
            raise InputError(
                f"tensor '{source.name}' {source.shape}: not a part of {output.shape} '{output.name}' along axis {axis}"
            )
        pieces.append(
            Piece(number, source.shape, Walk(0, strides_of(source.shape)), Walk(start * strides[axis], strides))
        )
        start += source.shape[axis]
    if start != output.shape[axis]:
        raise InputError(f"tensor '{output.name}' {output.shape}: the inputs have {start} along axis {axis}")
    return Rearrange(tuple(pieces), output.elements)


def lower_pack(graph: Graph, operator: Operator) -> Rearrange:
    output = codes(graph, operator.outputs[0])
    sources = [unchanged(graph, operator, number)[0] for number in range(len(operator.inputs))]
    axis, rank = operator.options.axis, len(output.shape)
    shape = sources[0].shape
    if not -rank <= axis < rank or any(source.shape != shape for source in sources):
        raise InputError(f"tensor '{output.name}' {output.shape}: inputs of {shape}, or no axis {axis}")
    axis %= rank
    if output.shape != (*shape[:axis], len(sources), *shape[axis:]):
        raise InputError(f"tensor '{output.name}' {output.shape}: {len(sources)} of {shape} along axis {axis} differ")
    strides = strides_of(output.shape)
    others = strides[:axis] + strides[axis + 1 :]
    pieces = (
        Piece(number, shape, Walk(0, strides_of(shape)), Walk(number * strides[axis], others))
        for number in range(len(sources))
    )
    return Rearrange(tuple(pieces), output.elements)


def lower_pad(graph: Graph, operator: Operator) -> Rearrange:
    source, output = unchanged(graph, operator)
    paddings = constant_integers(graph, operator.inputs[1], "paddings")
    if paddings.shape != (len(source.shape), 2) or np.any(paddings < 0):
        raise InputError(
            f"tensor '{source.name}' {source.shape}: paddings {paddings.tolist()};"
            " two that are not negative for every axis are accepted"
        )
    grown = tuple(int(size + before + after) for size, (before, after) in zip(source.shape, paddings, strict=True))
    if grown != output.shape:
        raise InputError(f"tensor '{output.name}' {output.shape}: padding {source.shape} gives {grown}")
    strides = strides_of(output.shape)
    offset = sum(int(before) * stride for before, stride in zip(paddings[:, 0], strides, strict=True))
    piece = Piece(0, source.shape, Walk(0, strides_of(source.shape)), Walk(offset, strides))
    return Rearrange((piece,), output.elements, output.zero_point)


def unchanged(graph: Graph, operator: Operator, number: int = 0, same_size: bool = False) -> tuple[Tensor, Tensor]:
    """(input `number`, output), whose codes mean the same."""
    source, output = codes(graph, operator.inputs[number]), codes(graph, operator.outputs[0])
    check_same_codes(source, output, operator.kind)
    if same_size and source.elements != output.elements:
        raise InputError(f"tensor '{output.name}' {output.shape} does not hold as many values as {source.shape}")
    return source, output


def strides_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Elements between neighbours along each axis."""
    return tuple(int(np.prod(shape[axis + 1 :], dtype=np.int64)) for axis in range(len(shape)))
