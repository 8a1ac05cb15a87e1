"""TRANSPOSE_CONV as CONV_2D without a multiplication by zero.

With stride s, output positions of equal remainder modulo s, its phase, meet the same taps of the kernel: every s-th. So
a convolution of stride 1 computes all phases of a position as channels, with ceil(k / s) taps along each axis, and a
transposition puts the phases side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from ..graph import Conv2D, NoOptions, Operator, Quantization, Tensor
from .made import Made


@dataclass(frozen=True)
class _Axis:
    """One spatial axis. Output p lies at p + `cut` of the phases in a row."""

    size: int  # of the output
    stride: int
    taps: int  # of each phase
    before: int  # padding of the input
    after: int
    positions: int  # of the convolution
    cut: int

    @staticmethod
    def of(padding: str, source: int, size: int, kernel: int, stride: int) -> _Axis:
        expected = -(-size // stride) if padding == "SAME" else (size - kernel) // stride + 1
        if source != expected:
            raise InputError(
                f"{padding} padding of {size} with kernel {kernel} and stride {stride} takes {expected}, not {source}"
            )
        cut = max((source - 1) * stride + kernel - size, 0) // 2 if padding == "SAME" else 0
        taps = -(-kernel // stride)
        first, last = cut // stride, (cut + size - 1) // stride
        return _Axis(size, stride, taps, taps - 1 - first, last - (source - 1), last - first + 1, cut - first * stride)


def convolution_of_phases(made: Made, operator: Operator) -> list[Operator]:
    """PAD, CONV_2D, TRANSPOSE and STRIDED_SLICE, those of them that do something."""
    shape_index, weights, source, *bias = operator.inputs
    inner, filters, output = (made.tensors[index] for index in (source, weights, operator.outputs[0]))
    wanted, options = tuple(made.constant(shape_index, "output shape")), operator.options
    images = all(len(tensor.shape) == 4 for tensor in (inner, filters, output))
    if not images or wanted != output.shape or inner.shape[0] != output.shape[0]:
        raise InputError(f"tensor '{output.name}' {output.shape}: '{inner.name}' {inner.shape} to {wanted} is no image")
    if filters.data is None or not filters.constant or filters.shape[3] != inner.shape[3]:
        raise InputError(f"weights '{filters.name}' {filters.shape} are not constant or do not fit {inner.shape}")
    if filters.shape[0] != output.shape[3]:
        raise InputError(f"weights '{filters.name}' {filters.shape} do not fit output {output.shape}")
    rows, columns = (
        _Axis.of(options.padding, inner.shape[a], output.shape[a], filters.shape[a], options.stride[a - 1])
        for a in (1, 2)
    )
    operators, name, (images_count, channels) = [], output.name, (output.shape[0], output.shape[3])
    pads = ((rows.before, rows.after), (columns.before, columns.after))
    if np.any(pads):
        data = np.array([(0, 0), *pads, (0, 0)], np.int32)
        paddings = made.add(Tensor(f"{name}/paddings", data.shape, "int32", None, data))
        size = (inner.shape[0], *(n + sum(pad) for n, pad in zip(inner.shape[1:3], pads, strict=True)), inner.shape[3])
        padded = made.like(source, f"{name}/padded", size)
        operators.append(Operator("PAD", (source, paddings), (padded,), NoOptions()))
        source = padded
    phases = rows.stride * columns.stride
    constants = [
        _weights_of_phases(made, filters, rows, columns),
        *(_repeated(made, i, phases) for i in bias if i >= 0),
    ]
    grid = (images_count, rows.positions, columns.positions)
    whole = (images_count, rows.positions * rows.stride, columns.positions * columns.stride, channels)
    here = operator.outputs[0]
    cut = whole != output.shape
    joined = made.like(here, f"{name}/whole", whole) if cut else here
    convolved = made.like(here, f"{name}/phases", (*grid, phases * channels)) if phases > 1 else joined
    operators.append(
        Operator("CONV_2D", (source, *constants), (convolved,), Conv2D("VALID", activation=options.activation))
    )
    if phases > 1:
        apart = made.like(here, f"{name}/apart", (*grid, rows.stride, columns.stride, channels))
        order = made.integers(f"{name}/order", (0, 1, 3, 2, 4, 5))
        side = (images_count, rows.positions, rows.stride, columns.positions, columns.stride, channels)
        turned = made.like(here, f"{name}/turned", side)
        operators.append(made.reshape(convolved, apart))
        operators.append(Operator("TRANSPOSE", (apart, order), (turned,), NoOptions()))
        operators.append(made.reshape(turned, joined))
    if cut:
        begin = (0, rows.cut, columns.cut, 0)
        end = (images_count, rows.cut + rows.size, columns.cut + columns.size, channels)
        operators.append(made.slice(joined, here, begin, end))
    return operators


def _weights_of_phases(made: Made, filters: Tensor, rows: _Axis, columns: _Axis) -> int:
    """(phases * channels, taps, taps, depth); a tap beyond the kernel is zero."""
    assert filters.data is not None
    channels, height, width, depth = filters.shape
    whole = np.zeros((channels, rows.taps * rows.stride, columns.taps * columns.stride, depth), filters.dtype)
    whole[:, :height, :width] = filters.data
    taps = whole.reshape(channels, rows.taps, rows.stride, columns.taps, columns.stride, depth)[:, ::-1, :, ::-1]
    data = np.ascontiguousarray(taps.transpose(2, 4, 0, 1, 3, 5)).reshape(-1, rows.taps, columns.taps, depth)
    quantization = _tiled(filters.quantization, rows.stride * columns.stride)
    return made.add(
        replace(filters, name=f"{filters.name}/phases", shape=data.shape, data=data, quantization=quantization)
    )


def _repeated(made: Made, index: int, times: int) -> int:
    bias = made.tensors[index]
    if bias.data is None or not bias.constant:
        raise InputError(f"bias '{bias.name}' is not constant")
    data = np.tile(bias.data.reshape(-1), times)
    quantization = _tiled(bias.quantization, times)
    return made.add(replace(bias, name=f"{bias.name}/phases", shape=data.shape, data=data, quantization=quantization))


def _tiled(quantization: Quantization | None, times: int) -> Quantization | None:
    if quantization is None or quantization.per_tensor:
        return quantization
    return Quantization(quantization.scale * times, quantization.zero_point * times, quantization.axis)
