"""Operators that move values: none of them changes a code, so each does with codes what it says of values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ..errors import InputError
from ..graph import Concatenation, Gather, Quantization
from .onnx_builder import Builder
from .onnx_file import Node
from .onnx_layout import Layout
from .onnx_shapes import axis_of, reshaped
from .onnx_values import Codes, Pending, Real, Value, Weights, integers_of

Values = Sequence[Value | None]
_End = 2**31 - 1


def slice_(build: Builder, node: Node, values: Values) -> Value:
    def ranges(shape: tuple[int, ...]) -> list[range]:
        starts, ends, axes, steps = (
            node.integers(name) or integers_of(node, values, number, name)
            for number, name in enumerate(("starts", "ends", "axes", "steps"), start=1)
        )
        starts, ends = starts or (), ends or ()
        axes = tuple(range(len(starts))) if axes is None else axes
        steps = (1,) * len(starts) if steps is None else steps
        if not len(starts) == len(ends) == len(axes) == len(steps) or any(step < 1 for step in steps):
            raise InputError(f"starts {starts}, ends {ends}, axes {axes}, steps {steps}; forward ones are accepted")
        chosen = [range(size) for size in shape]
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            axis = axis_of(axis, len(shape))
            chosen[axis] = range(*slice(start, end, step).indices(shape[axis]))
        return chosen

    return _cut(build, node, values[0], ranges)


def split(build: Builder, node: Node, values: Values) -> list[Value]:
    count = len(node.outputs)

    def bounds(part: int, shape: tuple[int, ...]) -> list[range]:
        axis = axis_of(node.integer("axis", 0), len(shape))
        sizes = node.integers("split") or integers_of(node, values, 1, "split")
        if sizes is None:
            each = -(-shape[axis] // count)
            sizes = (*(each,) * (count - 1), shape[axis] - each * (count - 1))
        if len(sizes) != count or min(sizes) < 1 or sum(sizes) != shape[axis]:
            raise InputError(f"parts {sizes} of axis {axis} of {shape}")
        begin = sum(sizes[:part])
        return [range(begin, begin + sizes[part]) if at == axis else range(size) for at, size in enumerate(shape)]

    return [_cut(build, node, values[0], partial(bounds, part)) for part in range(count)]


def _cut(build: Builder, node: Node, value: Value | None, ranges: Callable[[tuple[int, ...]], list[range]]) -> Value:
    def move(codes: Codes) -> Codes:
        chosen = ranges(codes.shape)
        if all(len(each) == size for each, size in zip(chosen, codes.shape, strict=True)):
            return codes
        codes = _whole_axes(build, node, codes)
        order = codes.layout.order or ()
        here = build.arranged(node, codes, order)
        taken = [chosen[axis] for axis in order]
        last = [each.start + (len(each) - 1) * each.step + 1 for each in taken]
        there = build.sliced(node, here, [each.start for each in taken], last, [each.step for each in taken])
        return replace(codes, index=there, layout=Layout.of([len(each) for each in chosen], order))

    def shape_of(shape: tuple[int, ...]) -> tuple[int, ...]:
        sizes = tuple(len(each) for each in ranges(shape))
        if 0 in sizes:
            raise InputError(f"nothing is left of {shape}: {sizes}")
        return sizes

    if value is not None and not isinstance(value, np.ndarray | Weights):
        shape_of(value.shape)
    return build.moved(node, value, move, shape_of, permutes=True)


def gather(build: Builder, node: Node, values: Values) -> Value:
    indices = values[1] if len(values) > 1 else None
    if not isinstance(indices, np.ndarray) or indices.dtype.kind not in "iu" or indices.ndim > 1 or not indices.size:
        raise InputError("its indices are not a constant list of integers")
    index = indices

    def chosen(shape: tuple[int, ...]) -> tuple[int, list[int]]:
        axis = axis_of(node.integer("axis", 0), len(shape))
        found = [int(each) for each in index.reshape(-1)]
        if not all(-shape[axis] <= each < shape[axis] for each in found):
            raise InputError(f"indices {found[:8]} along axis {axis} of {shape}")
        return axis, [each % shape[axis] for each in found]

    def shape_of(shape: tuple[int, ...]) -> tuple[int, ...]:
        axis, _ = chosen(shape)
        return (*shape[:axis], *index.shape, *shape[axis + 1 :])

    def move(codes: Codes) -> Codes:
        axis, rows = chosen(codes.shape)
        picked = _picked(build, node, codes, axis, rows)
        return reshaped(build, node, picked, shape_of(codes.shape))

    return build.moved(node, values[0], move, shape_of, permutes=True)


def _picked(build: Builder, node: Node, codes: Codes, axis: int, rows: Sequence[int]) -> Codes:
    codes = _whole_axes(build, node, codes)
    order, sizes = codes.layout.order or (), list(codes.shape)
    sizes[axis] = len(rows)
    here, numbers = build.arranged(node, codes, order), build.integers(f"{node.name}/indices", rows)
    shape, options = [sizes[each] for each in order], Gather(order.index(axis))
    there = build.operator(node, "GATHER", (here, numbers), shape, codes.quantization, options)
    return replace(codes, index=there, layout=Layout.of(sizes, order))


def concat(build: Builder, node: Node, values: Values) -> Value:
    given = [value for value in values if value is not None]
    shapes = [value.shape for value in given]
    rank = len(shapes[0])
    axis = axis_of(node.integer("axis", 0), rank)
    if any(shape[:axis] + shape[axis + 1 :] != shapes[0][:axis] + shapes[0][axis + 1 :] for shape in shapes):
        raise InputError(f"shapes {shapes[:8]} along axis {axis}")
    sizes = [sum(shape[axis] for shape in shapes) if each == axis else size for each, size in enumerate(shapes[0])]

    def joined(quantization: Quantization) -> Codes:
        parts = [build.quantized(node, value, quantization) for value in given]
        order = next((each.layout.order for each in parts if each.layout.order), tuple(range(rank)))
        inputs = [build.arranged(node, each, order) for each in parts]
        shape, options = [sizes[each] for each in order], Concatenation(order.index(axis))
        there = build.operator(node, "CONCATENATION", inputs, shape, quantization, options)
        return Codes(there, Layout.of(sizes, order), quantization)

    codes = [value for value in given if isinstance(value, Codes)]
    if len(codes) == len(given):
        if any(each.quantization != codes[0].quantization for each in codes):
            raise InputError("joins codes of different scales; equal ones are accepted")
        return replace(joined(codes[0].quantization), unsigned=codes[0].unsigned)
    plain = [value.codes for value in given if isinstance(value, Real) and value.table is None]
    if len(plain) == len(given) and all(each.quantization == plain[0].quantization for each in plain):
        return Real(joined(plain[0].quantization))
    return Pending(tuple(sizes), lambda quantization, _activation: joined(quantization))


def pad(build: Builder, node: Node, values: Values) -> Value:
    if node.text("mode", "constant") != "constant" or (len(values) > 3 and values[3] is not None):
        raise InputError(f"mode {node.text('mode', 'constant')}, or axes; constant padding of all axes is accepted")
    fill = values[2] if len(values) > 2 else np.float32(node.real("value", 0.0))
    if isinstance(values[0], Codes) or (fill is not None and np.any(fill != np.float32(0))):
        raise InputError("pads with another value than 0; 0 is accepted")
    value = values[0]
    if isinstance(value, Pending) and not value.low <= 0 <= value.high:  # the clamp may come last, and meet padding
        raise InputError(
            f"pads with 0 what was clamped to {value.low:g}..{value.high:g}; quantised before, it is accepted"
        )
    pads = node.integers("pads") or integers_of(node, values, 1, "pads") or ()

    def shape_of(shape: tuple[int, ...]) -> tuple[int, ...]:
        rank = len(shape)
        if len(pads) != 2 * rank or min(pads, default=0) < 0:
            raise InputError(f"pads {pads} of {shape}; two from 0 on for every axis are accepted")
        grown = tuple(size + pads[axis] + pads[axis + rank] for axis, size in enumerate(shape))
        if math.prod(grown) > _End:
            raise InputError(f"pads {pads} of {shape}")
        return grown

    def move(codes: Codes) -> Codes:
        sizes, rank = shape_of(codes.shape), len(codes.shape)
        if not any(pads):
            return codes
        codes = _whole_axes(build, node, codes)
        order = codes.layout.order or ()
        edges = build.integers(f"{node.name}/pads", [(pads[axis], pads[axis + rank]) for axis in order])
        here = build.arranged(node, codes, order)
        there = build.operator(node, "PAD", (here, edges), [sizes[axis] for axis in order], codes.quantization)
        return replace(codes, index=there, layout=Layout.of(sizes, order))

    return build.moved(node, values[0], move, shape_of)


def _whole_axes(build: Builder, node: Node, codes: Codes) -> Codes:
    """With no axis torn apart in memory."""
    return codes if codes.layout.order is not None else build.contiguous(node, codes)
