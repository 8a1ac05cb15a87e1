"""Pools, means and maxima."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from ..graph import DepthwiseConv2D, Gather, Mean, Pool2D, Quantization, Softmax
from .onnx_builder import Builder
from .onnx_file import Node
from .onnx_layout import Layout
from .onnx_values import Codes, Pending, Value, codes_of, integers_of
from .onnx_windows import Axis, Windows, check_image, image, padded, windows

_SOFTMAX = Quantization((1 / 256,), (-128,))
"""What SOFTMAX gives, whatever its input."""


def max_pool(build: Builder, node: Node, values: Sequence[Value | None]) -> Value:
    """The largest code; whatever is computed before is quantised first, which changes no maximum."""
    return build.moved(node, values[0], lambda codes: _max_pool(build, node, codes), lambda shape: _pooled(node, shape))


def _pooled(node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    over = _windows(node, shape)
    return over.value(*shape[:2]).shape


def _windows(node: Node, shape: tuple[int, ...]) -> Windows:
    check_image(shape)
    kernel = node.integers("kernel_shape")
    if kernel is None or len(node.outputs) > 1:
        raise InputError("no kernel_shape, or a second output; one output is accepted")
    return windows(node, shape, kernel)


def _max_pool(build: Builder, node: Node, codes: Codes) -> Codes:
    """Padding never wins: SAME leaves it out; else it is the lowest code, where that is the code of 0 with which PAD
    fills, or rows and columns at the edge are repeated, which changes no maximum."""
    over, (images, channels) = _windows(node, codes.shape), codes.shape[:2]
    if over.dilation != (1, 1) or any(axis.before >= axis.kernel for axis in (over.rows, over.columns)):
        raise InputError(f"dilation {over.dilation}, or windows outside the image; 1 is accepted, and no such windows")
    here, padding = image(build, node, codes), over.padding
    if padding is None and codes.quantization.zero_point == (-128,):
        here, padding = padded(build, node, here, over)
    for number, axis in ((1, over.rows), (2, over.columns)):
        if padding is None and not axis.valid:
            here = _edge_repeated(build, node, here, number, axis)
    options = Pool2D(padding or "VALID", over.stride, over.kernel)
    output = build.operator(node, "MAX_POOL_2D", (here,), over.output(images, channels), codes.quantization, options)
    return Codes(output, over.value(images, channels), codes.quantization, codes.unsigned)


def _edge_repeated(build: Builder, node: Node, source: int, number: int, axis: Axis) -> int:
    tensor = build.tensors[source]
    chosen = np.clip(np.arange(-axis.before, axis.size + axis.after), 0, axis.size - 1)
    indices = build.integers(f"{node.name}/rows", chosen.tolist())
    shape = [len(chosen) if at == number else size for at, size in enumerate(tensor.shape)]
    return build.operator(node, "GATHER", (source, indices), shape, build.quantization(source), Gather(number))


def average_pool(build: Builder, node: Node, values: Sequence[Value | None]) -> Pending:
    source = codes_of(node, values, 0)
    over, (images, channels) = _windows(node, source.shape), source.shape[:2]
    if over.whole:
        return _mean(build, node, source, range(2, len(source.shape)), keep=True)
    if over.dilation != (1, 1) or node.integer("ceil_mode", 0):
        raise InputError(f"dilation {over.dilation}, or ceil_mode; 1, and no such mode, are accepted")
    inside = over.padding == "VALID"
    counted = inside or node.integer("count_include_pad", 0) != 0
    if not counted and over.padding != "SAME":
        raise InputError("padding that is neither SAME nor counted; either is accepted")
    layout = over.value(images, channels)

    def emit(quantization: Quantization, activation: str) -> Codes:
        """AVERAGE_POOL_2D cannot rescale; a convolution with equal weights can, the larger the more exactly."""
        shape, here = over.output(images, channels), image(build, node, source)
        if (not inside and counted) or (counted and quantization != source.quantization):
            here, padding = padded(build, node, here, over)
            weights = np.full((1, *over.kernel, channels), 127, np.int8)
            scale = Quantization((float(np.float32(1 / (127 * math.prod(over.kernel)))),), (0,))
            equal = build.constant_codes(f"{node.name}/weights", weights, scale)
            options = DepthwiseConv2D(padding, over.stride, (1, 1), activation)
            output = build.operator(node, "DEPTHWISE_CONV_2D", (here, equal), shape, quantization, options)
            return Codes(output, layout, quantization)
        pool = Pool2D(over.padding or "VALID", over.stride, over.kernel)
        output = build.operator(node, "AVERAGE_POOL_2D", (here,), shape, source.quantization, pool)
        return build.quantized(node, Codes(output, layout, source.quantization), quantization)

    return Pending(layout.shape, emit)


def global_average_pool(build: Builder, node: Node, values: Sequence[Value | None]) -> Pending:
    source = codes_of(node, values, 0)
    return _mean(build, node, source, range(2, len(source.shape)), keep=True)


def reduce_mean(build: Builder, node: Node, values: Sequence[Value | None]) -> Pending:
    source = codes_of(node, values, 0)
    return _mean(build, node, source, _axes(node, values, len(source.shape)), node.integer("keepdims", 1) != 0)


def _axes(node: Node, values: Sequence[Value | None], rank: int) -> tuple[int, ...]:
    """An attribute, or since later an input; all where there is neither."""
    axes = node.integers("axes") or integers_of(node, values, 1, "axes")
    if not axes:
        if node.integer("noop_with_empty_axes", 0):
            raise InputError("reduces nothing; axes are accepted, or none for all")
        axes = tuple(range(rank))
    if not all(-rank <= axis < rank for axis in axes):
        raise InputError(f"axes {axes} of rank {rank}")
    return tuple(sorted({axis % rank for axis in axes}))


def _mean(build: Builder, node: Node, source: Codes, axes: Sequence[int], keep: bool) -> Pending:
    layout, order = _reduced(source, axes, keep)

    def emit(quantization: Quantization, _activation: str) -> Codes:
        here = build.arranged(node, source, order)
        shape = [1 if axis in axes else source.shape[axis] for axis in order]
        numbers = build.integers(f"{node.name}/axes", [order.index(axis) for axis in axes])
        output = build.operator(node, "MEAN", (here, numbers), shape, quantization, Mean(keep_dims=True))
        return Codes(output, layout, quantization)

    return Pending(layout.shape, emit)


def _reduced(source: Codes, axes: Sequence[int], keep: bool) -> tuple[Layout, tuple[int, ...]]:
    """The layout of `source` with its `axes` reduced to 1, and the order of axes that both are held in."""
    order = source.layout.order or tuple(range(len(source.shape)))
    kept = Layout.of([1 if axis in axes else size for axis, size in enumerate(source.shape)], order)
    if keep:
        return kept, order
    squeezed = kept.reshaped([size for axis, size in enumerate(source.shape) if axis not in axes])
    assert squeezed is not None
    return squeezed, order


def reduce_max(build: Builder, node: Node, values: Sequence[Value | None]) -> Value:
    """REDUCE_MAX, and a MAX_POOL over all of an image."""

    def axes(rank: int) -> Sequence[int]:
        return range(2, rank) if node.kind == "GlobalMaxPool" else _axes(node, values, rank)

    keep = node.kind == "GlobalMaxPool" or node.integer("keepdims", 1) != 0

    def shape_of(shape: tuple[int, ...]) -> tuple[int, ...]:
        reduced = axes(len(shape))
        return tuple(1 if axis in reduced else size for axis, size in enumerate(shape) if keep or axis not in reduced)

    def move(codes: Codes) -> Codes:
        reduced = axes(len(codes.shape))
        layout, order = _reduced(codes, reduced, keep)
        here = build.arranged(node, codes, order)
        numbers = build.integers(f"{node.name}/axes", [order.index(axis) for axis in reduced])
        shape = [1 if axis in reduced else codes.shape[axis] for axis in order]
        output = build.operator(node, "REDUCE_MAX", (here, numbers), shape, codes.quantization, Mean(keep_dims=True))
        return Codes(output, layout, codes.quantization, codes.unsigned)

    return build.moved(node, values[0], move, shape_of)


def softmax(build: Builder, node: Node, values: Sequence[Value | None]) -> Pending:
    """SOFTMAX in gemmlowp's fixed point, along the last axis held; behind it a table for any other scale than 1/256."""
    source = codes_of(node, values, 0)
    rank, axis = len(source.shape), node.integer("axis", -1 if node.opset >= 13 else 1)
    if not -rank <= axis < rank:
        raise InputError(f"axis {axis} of rank {rank}")
    axis %= rank
    if node.opset < 13 and math.prod(source.shape[axis + 1 :]) > 1:
        raise InputError(f"axis {axis} of {source.shape}: all axes from there on at once; the last axis is accepted")
    others = [each for each in source.layout.order or range(rank) if each != axis]
    order = (*others, axis)

    def emit(quantization: Quantization, _activation: str) -> Codes:
        here = build.arranged(node, source, order)
        shape = build.tensors[here].shape
        output = build.operator(node, "SOFTMAX", (here,), shape, _SOFTMAX, Softmax())
        return build.quantized(node, Codes(output, Layout.of(source.shape, order), _SOFTMAX), quantization)

    return Pending(source.shape, emit)
