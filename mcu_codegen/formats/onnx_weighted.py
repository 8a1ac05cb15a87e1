"""Conv, ConvTranspose, Gemm and MatMul: sums of products with constant weights.

A bias, quantised or float, becomes int32 codes on the scale of the input times that of the weights, to the nearest,
half to even; a constant that is added before QuantizeLinear joins it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..graph import Conv2D, FullyConnected, Quantization, Tensor
from .normalize import TransposeConv
from .onnx_builder import Builder
from .onnx_file import Node
from .onnx_layout import Layout, sized
from .onnx_values import Codes, Pending, Value, Weights, codes_of, named
from .onnx_windows import check_image, image, image_layout, padded, windows
from .operators import MAX_OPTION

_SAME_SCALE = 2.0**-20  # what float32 rounds off a product of scales, and no more


def conv(build: Builder, node: Node, values: Sequence[Value | None]) -> Pending:
    source = codes_of(node, values, 0)
    check_image(source.shape)
    filters, groups = _weights(node, values, 1, 0), node.integer("group", 1)
    images, depth = source.shape[:2]
    channels = filters.shape[0]
    if len(filters.shape) != len(source.shape) or groups < 1 or filters.shape[1] * groups != depth or channels % groups:
        raise InputError(f"weights {filters.shape} in {groups} groups do not fit input {source.shape}")
    over = windows(node, source.shape, filters.shape[2:])
    kernel = _images(filters.codes, (0, 2, 3, 1))
    layout = over.value(images, channels)

    def emit(quantization: Quantization, activation: str, bias: np.ndarray) -> Codes:
        here, padding = padded(build, node, image(build, node, source), over)
        options = Conv2D(padding, over.stride, over.dilation, activation)
        inputs = here, *_constants(build, node, filters, kernel, source, bias)
        output = build.operator(node, "CONV_2D", inputs, over.output(images, channels), quantization, options)
        return Codes(output, layout, quantization)

    return _weighted(node, values, layout.shape, 1, source, filters, emit)


def conv_transpose(build: Builder, node: Node, values: Sequence[Value | None]) -> Pending:
    source = codes_of(node, values, 0)
    check_image(source.shape)
    filters = _weights(node, values, 1, 1)
    images, depth = source.shape[:2]
    if len(filters.shape) != len(source.shape) or filters.shape[0] != depth or node.integer("group", 1) != 1:
        raise InputError(f"weights {filters.shape} do not fit input {source.shape}; one group is accepted")
    grown = _grown(node, source.shape[2:], filters.shape[2:])
    rows, columns = (*grown, _Grown(1, 1, 0, 1))[:2]
    kernel, channels = _images(filters.codes.swapaxes(0, 1), (0, 2, 3, 1)), filters.shape[1]
    layout = image_layout((images, channels, *(axis.output for axis in grown)))

    def emit(quantization: Quantization, activation: str, bias: np.ndarray) -> Codes:
        """All of the output, then the part of it that padding leaves."""
        weights, bias_index = _constants(build, node, filters, kernel, source, bias)
        whole = images, rows.whole, columns.whole, channels
        operands = build.integers(f"{node.name}/shape", whole), weights, image(build, node, source), bias_index
        options = TransposeConv("VALID", (rows.stride, columns.stride), activation)
        there = build.operator(node, "TRANSPOSE_CONV", operands, whole, quantization, options)
        if whole != (images, rows.output, columns.output, channels):
            end = images, rows.first + rows.output, columns.first + columns.output, channels
            there = build.sliced(node, there, (0, rows.first, columns.first, 0), end)
        return Codes(there, layout, quantization)

    return _weighted(node, values, layout.shape, 1, source, filters, emit)


@dataclass(frozen=True)
class _Grown:
    """One axis of a transposed convolution."""

    stride: int
    whole: int  # of the output before padding is cut off, and with what output_padding adds
    first: int  # that is left
    output: int


def _grown(node: Node, sizes: tuple[int, ...], taps: tuple[int, ...]) -> list[_Grown]:
    count = len(sizes)
    strides, pads = node.integers("strides", (1,) * count) or (), node.integers("pads", (0,) * 2 * count) or ()
    extra, dilations = (node.integers(name, (n,) * count) for name, n in (("output_padding", 0), ("dilations", 1)))
    given = node.text("auto_pad", "NOTSET") != "NOTSET" or "output_shape" in node.attributes
    if given or dilations != (1,) * count or extra is None:
        raise InputError("dilation, output_shape or auto_pad; strides, pads and output_padding are accepted")
    fits = (len(strides), len(pads), len(extra)) == (count, 2 * count, count) and min(*strides, *pads, *extra) >= 0
    if not fits or not all(more < stride <= MAX_OPTION for more, stride in zip(extra, strides, strict=True)):
        raise InputError(f"strides {strides}, pads {pads} and output_padding {extra} for {count} axes")
    grown = []
    for axis, (size, tap, stride, more) in enumerate(zip(sizes, taps, strides, extra, strict=True)):
        before, whole = pads[axis], stride * (size - 1) + tap
        output = whole + more - before - pads[axis + count]
        if not 0 < output < 2**31:
            raise InputError(f"strides {strides}, pads {pads} of {sizes} leave nothing")
        grown.append(_Grown(stride, max(whole, before + output), before, output))
    return grown


def gemm(build: Builder, node: Node, values: Sequence[Value | None]) -> Pending:
    source = codes_of(node, values, 0)
    for name, default in (("alpha", 1.0), ("beta", 1.0), ("transA", 0)):
        if node.real(name, default) != default:
            raise InputError(f"{name} is {node.real(name, default)}; {default} is accepted")
    transposed = node.integer("transB", 0)
    filters = _weights(node, values, 1, 0 if transposed else 1)
    return _fully_connected(build, node, values, source, filters if transposed else _turned(filters))


def matmul(build: Builder, node: Node, values: Sequence[Value | None]) -> Pending:
    source = codes_of(node, values, 0)
    filters = _turned(_weights(node, values, 1, -1))
    return _fully_connected(build, node, values[:2], source, filters)


def _turned(filters: Weights) -> Weights:
    """Of MatMul, as (outputs, inputs)."""
    if math.prod(filters.shape[:-2]) != 1 or len(filters.shape) < 2:
        raise InputError(f"weights {filters.shape}; one matrix is accepted")
    return filters.reshaped(filters.shape[-2:]).transposed((1, 0))


def _fully_connected(
    build: Builder, node: Node, values: Sequence[Value | None], source: Codes, filters: Weights
) -> Pending:
    shape = source.shape
    if len(filters.shape) != 2 or len(shape) < 2 or shape[-1] != filters.shape[1]:
        raise InputError(f"weights {filters.shape} do not fit input {shape}")
    channels, depth = filters.shape
    rows = math.prod(shape[:-1])
    leading = sized(source.layout.atoms(range(len(shape) - 1)))
    memory = sized(source.layout.memory)
    kernel, apart = filters.codes, memory[: len(leading)] != leading
    if not apart:  # a flattened image stays as it lies in memory; the weights move instead
        features = sized(source.layout.axes[-1])
        order = [features.index(atom) + 1 for atom in memory[len(leading) :]]
        kernel = kernel.reshape(channels, *(atom.size for atom in features)).transpose(0, *order)
        kernel = np.ascontiguousarray(kernel).reshape(channels, depth)

    def emit(quantization: Quantization, activation: str, bias: np.ndarray) -> Codes:
        here = build.contiguous(node, source).index if apart else source.index
        inputs = build.shaped(node, here, (rows, depth)), *_constants(build, node, filters, kernel, source, bias)
        options = FullyConnected(activation)
        output = build.operator(node, "FULLY_CONNECTED", inputs, (rows, channels), quantization, options)
        return Codes(output, Layout.of((*shape[:-1], channels)), quantization)

    return _weighted(node, values, (*shape[:-1], channels), len(shape) - 1, source, filters, emit)


def _weights(node: Node, values: Sequence[Value | None], number: int, axis: int) -> Weights:
    """Symmetric int8 weights of one scale, or one per index along `axis`, that of output channels."""
    value = values[number] if number < len(values) else None
    if not isinstance(value, Weights) or value.codes.dtype != np.int8:
        what = "float" if isinstance(value, np.ndarray) else "not constant int8 codes, dequantised"
        raise InputError(f"weights {named(node, number)} are {what}; constant, quantised and dequantised are accepted")
    if np.any(value.zero_point):
        raise InputError(
            f"weights {named(node, number)} are asymmetric: a zero point lies {np.abs(value.zero_point).max()} from the"
            " middle; symmetric ones are accepted"
        )
    if value.scale.ndim and value.axis != axis % len(value.shape):
        raise InputError(f"weights {named(node, number)} have scales along axis {value.axis}, not that of the outputs")
    return value


def _images(kernel: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """Weights of two spatial axes, in `order`."""
    whole = kernel[..., np.newaxis] if kernel.ndim == 3 else kernel
    return np.ascontiguousarray(whole.transpose(order))


def _scales(filters: Weights, source: Codes) -> np.ndarray:
    """float64, of the accumulators."""
    scales = filters.scale.astype(np.float64) * float(np.float32(source.quantization.scale[0]))
    return np.asarray(scales)


def _constants(
    build: Builder, node: Node, filters: Weights, kernel: np.ndarray, source: Codes, bias: np.ndarray
) -> tuple[int, int]:
    """The tensors of weights, whose first axis is that of the outputs, and of bias codes."""
    scale = filters.scale.reshape(-1)
    zeros = (0,) * len(scale)
    weights = build.constant_codes(filters.name, kernel, Quantization(tuple(scale.tolist()), zeros))
    scales = _scales(filters, source).reshape(-1).astype(np.float32)
    quantization = Quantization(tuple(scales.tolist()), zeros)
    return weights, build.add(Tensor(f"{node.name}/bias", bias.shape, "int32", quantization, bias))


def _weighted(
    node: Node,
    values: Sequence[Value | None],
    shape: tuple[int, ...],
    axis: int,
    source: Codes,
    filters: Weights,
    emit: Callable[[Quantization, str, np.ndarray], Codes],
) -> Pending:
    """A value whose `axis` is that of output channels, each of which has a bias: input 2, or none."""
    scales = _scales(filters, source)

    def with_bias(bias: np.ndarray) -> Pending:
        codes = np.rint(bias / scales)
        if not np.all(np.abs(codes) < 2**31):
            raise InputError(f"its bias reaches {np.abs(codes).max():.3g} in codes of the accumulator, beyond int32")
        return Pending(
            shape,
            lambda quantization, activation: emit(quantization, activation, codes.astype(np.int32)),
            clampable=True,
            biased=lambda more: with_bias(bias + _per_channel(more, shape, axis)),
        )

    first = values[2] if len(values) > 2 else None
    if first is None:
        return with_bias(np.zeros(shape[axis]))
    if isinstance(first, Weights):
        first = _real_bias(first, scales)
    elif not isinstance(first, np.ndarray) or first.dtype != np.float32:
        raise InputError(f"bias {named(node, 2)} is not constant")
    if node.kind != "Gemm" and first.ndim == 1:
        return with_bias(_per_channel(first.reshape(-1, *(1,) * (len(shape) - 1 - axis)), shape, axis))
    return with_bias(_per_channel(first, shape, axis))


def _real_bias(bias: Weights, scales: np.ndarray) -> np.ndarray:
    """float64 values of quantised bias codes; on the scale of the accumulator they stay the codes that they are."""
    scale = bias.scale.astype(np.float64)
    if scale.shape == scales.shape or scales.size == 1 or scale.size == 1:
        scale = np.where(np.abs(scale / scales - 1) < _SAME_SCALE, scales, scale)
    return np.asarray((bias.codes.astype(np.int64) - bias.zero_point) * scale)


def _per_channel(constant: np.ndarray, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """float64[channels] of a constant that broadcasts to `shape` and differs along `axis` alone. Raises InputError."""
    sizes = (1,) * (len(shape) - constant.ndim) + constant.shape
    wanted = tuple(size if number == axis else 1 for number, size in enumerate(shape))
    fits = len(sizes) == len(shape) and all(size in (1, n) for size, n in zip(sizes, wanted, strict=True))
    if not fits:
        raise InputError(
            f"a constant of shape {constant.shape} is added; one value for each of {shape[axis]} channels is"
        )
    return np.broadcast_to(constant.astype(np.float64).reshape(-1), (shape[axis],))
