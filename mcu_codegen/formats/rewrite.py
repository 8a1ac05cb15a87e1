"""Operators of a file that a graph says in others.

An operator of a graph has one output, and few kinds serve many: SPLIT, SPLIT_V and UNPACK are slices, CONCATENATION of
other scales requantises first, a CONV_2D in groups is one for each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..graph import Concatenation, DepthwiseConv2D, Entry, NoOptions, Operator, Quantization, Tensor
from .dilation import join_dilated
from .made import Made
from .reduction import maximum_as_pools
from .refusals import Refusals
from .transposed import convolution_of_phases


def rewrite(tensors: list[Tensor], entry: Entry, owners: dict[int, str], refusals: Refusals) -> None:
    """Put what a graph has in place of what it has not. New tensors are added behind all.

    `owners` says by output what errors call an operator; what cannot be rewritten is left and noted in `refusals`.
    """
    made = Made(tensors)
    with refusals.of():
        entry.operators = join_dilated(tensors, entry)
    used = {*entry.outputs, *(index for operator in entry.operators for index in operator.inputs)}
    operators: list[Operator] = []
    for operator in entry.operators:
        with refusals.of(owners.get(operator.outputs[0], operator.kind)):
            parts = _REWRITES.get(operator.kind, _as_it_is)(made, operator)
            operators += [part for part in parts if len(operator.outputs) == 1 or part.outputs[0] in used]
    entry.operators = operators


def _as_it_is(_made: Made, operator: Operator) -> list[Operator]:
    return [operator]


def _axis(made: Made, index: int, shape: tuple[int, ...]) -> int:
    found, rank = made.constant(index, "axis"), len(shape)
    if len(found) != 1 or not -rank <= found[0] < rank:
        raise InputError(f"axis '{made.tensors[index].name}' is {found}; one of {-rank}..{rank - 1} is accepted")
    return found[0] % rank


def _split(made: Made, operator: Operator) -> list[Operator]:
    axis_index, source = operator.inputs
    shape, parts = made.tensors[source].shape, operator.options.parts
    axis = _axis(made, axis_index, shape)
    if len(operator.outputs) != parts or shape[axis] % parts:
        raise InputError(
            f"'{made.tensors[source].name}' {shape} is not split along axis {axis} into {parts} equal parts,"
            f" the outputs being {len(operator.outputs)}"
        )
    return _slices(made, operator, source, axis, [shape[axis] // parts] * parts)


def _split_v(made: Made, operator: Operator) -> list[Operator]:
    source, sizes_index, axis_index = operator.inputs
    shape = made.tensors[source].shape
    axis, sizes = _axis(made, axis_index, shape), made.constant(sizes_index, "sizes")
    if sizes.count(-1) == 1:  # the rest
        sizes[sizes.index(-1)] = shape[axis] - sum(sizes) - 1
    if min(sizes) < 1 or sum(sizes) != shape[axis] or len(sizes) != len(operator.outputs):
        raise InputError(
            f"'{made.tensors[source].name}' {shape} is not split along axis {axis} into {sizes}, the outputs being"
            f" {len(operator.outputs)}"
        )
    return _slices(made, operator, source, axis, sizes)


def _unpack(made: Made, operator: Operator) -> list[Operator]:
    (source,) = operator.inputs
    shape, axis, parts = made.tensors[source].shape, operator.options.axis, len(operator.outputs)
    if not -len(shape) <= axis < len(shape) or not shape[axis] == parts == operator.options.count:
        raise InputError(
            f"'{made.tensors[source].name}' {shape} is not unpacked along axis {axis} into {operator.options.count},"
            f" the outputs being {parts}"
        )
    axis %= len(shape)
    return _slices(made, operator, source, axis, [1] * parts, shrink=1 << axis)


def _slices(
    made: Made, operator: Operator, source: int, axis: int, sizes: list[int], shrink: int = 0
) -> list[Operator]:
    """One slice of `source` for every output, of `sizes` along `axis`."""
    begin, end = [0] * len(made.tensors[source].shape), list(made.tensors[source].shape)
    slices = []
    for output, size in zip(operator.outputs, sizes, strict=True):
        end[axis] = begin[axis] + size
        slices.append(made.slice(source, output, begin, end, shrink))
        begin[axis] = end[axis]
    return slices


def _slice(made: Made, operator: Operator) -> list[Operator]:
    source, begin_index, size_index = operator.inputs
    begin, size = made.constant(begin_index, "begin"), made.constant(size_index, "size")
    shape = made.tensors[source].shape
    if not len(begin) == len(size) == len(shape):
        raise InputError(
            f"'{made.tensors[source].name}' {shape}: begin {begin} and size {size} are not one for each axis"
        )
    end = [whole if n == -1 else first + n for first, n, whole in zip(begin, size, shape, strict=True)]
    if any(not 0 <= first < last <= whole for first, last, whole in zip(begin, end, shape, strict=True)):
        raise InputError(f"'{made.tensors[source].name}' {shape} has no part from {begin} to {end}")
    return [made.slice(source, operator.outputs[0], begin, end)]


def _tile(made: Made, operator: Operator) -> list[Operator]:
    """One concatenation for each axis along which the input is repeated."""
    source, output = operator.inputs[0], made.tensors[operator.outputs[0]]
    times, shape = made.constant(operator.inputs[1], "multiples"), list(made.tensors[source].shape)
    if output.shape != tuple(size * n for size, n in zip(shape, times, strict=False)) or len(times) != len(shape):
        raise InputError(f"'{output.name}' {output.shape} is not {times} times '{made.tensors[source].name}' {shape}")
    axes = [axis for axis, n in enumerate(times) if n > 1]
    if not axes:
        return [made.reshape(source, operator.outputs[0])]
    operators = []
    for axis in reversed(axes):
        shape[axis] *= times[axis]
        last = axis == axes[0]
        grown = operator.outputs[0] if last else made.like(source, f"{output.name}/{axis}", tuple(shape))
        operators.append(Operator("CONCATENATION", (source,) * times[axis], (grown,), Concatenation(axis)))
        source = grown
    return operators


def _concatenation(made: Made, operator: Operator) -> list[Operator]:
    """Inputs on another scale than the output's are requantised; the reference's own kernels refuse them."""
    output = made.tensors[operator.outputs[0]]
    before, inputs = [], []
    for index in operator.inputs:
        tensor = made.tensors[index]
        if tensor.quantization not in (None, output.quantization) and tensor.dtype == output.dtype == "int8":
            rescaled = made.add(replace(output, name=f"{tensor.name}/rescaled", shape=tensor.shape))
            before.append(Operator("QUANTIZE", (index,), (rescaled,), NoOptions()))
            index = rescaled
        inputs.append(index)
    return [*before, replace(operator, inputs=tuple(inputs))]


def _convolution(made: Made, operator: Operator) -> list[Operator]:
    """A convolution in groups: DEPTHWISE_CONV_2D where each is one channel, else slices, convolutions and a
    concatenation."""
    source, filters, output = (made.tensors[index] for index in (*operator.inputs[:2], operator.outputs[0]))
    if len(source.shape) != 4 or len(filters.shape) != 4 or filters.shape[3] == source.shape[3]:
        return [operator]
    depth, channels = filters.shape[3], filters.shape[0]
    groups, rest = divmod(source.shape[3], depth)
    if rest or channels % groups or filters.data is None or not filters.constant or len(output.shape) != 4:
        raise InputError(
            f"weights '{filters.name}' {filters.shape} do not fit input {source.shape} and output {output.shape}:"
            f" {source.shape[3]} channels in groups of {depth}"
        )
    if depth == 1:
        quantization = filters.quantization and replace(filters.quantization, axis=3)
        data = np.ascontiguousarray(filters.data.transpose(3, 1, 2, 0))
        weights = made.add(Tensor(f"{filters.name}/depthwise", data.shape, filters.dtype, quantization, data))
        options = DepthwiseConv2D(**vars(operator.options), depth_multiplier=channels // groups)
        inputs = (operator.inputs[0], weights, *operator.inputs[2:])
        return [Operator("DEPTHWISE_CONV_2D", inputs, operator.outputs, options)]
    operators, parts = [], []
    each = channels // groups
    for group in range(groups):
        begin, end = [0, 0, 0, group * depth], [*source.shape[:3], (group + 1) * depth]
        part = made.like(operator.inputs[0], f"{source.name}/group_{group}", (*source.shape[:3], depth))
        operators.append(made.slice(operator.inputs[0], part, begin, end))
        chosen = slice(group * each, (group + 1) * each)
        constants = [_channels(made, index, chosen) for index in operator.inputs[1:]]
        parts.append(made.like(operator.outputs[0], f"{output.name}/group_{group}", (*output.shape[:3], each)))
        operators.append(Operator("CONV_2D", (part, *constants), (parts[-1],), operator.options))
    return [*operators, Operator("CONCATENATION", tuple(parts), operator.outputs, Concatenation(3))]


def _channels(made: Made, index: int, chosen: slice) -> int:
    """Some output channels of weights or a bias, the first axis."""
    if index < 0:
        return index
    tensor = made.tensors[index]
    if tensor.data is None or not tensor.constant:
        raise InputError(f"'{tensor.name}' is not constant")
    quantization = tensor.quantization
    if quantization is not None and not quantization.per_tensor:
        quantization = Quantization(quantization.scale[chosen], quantization.zero_point[chosen], quantization.axis)
    data = tensor.data[chosen]
    return made.add(Tensor(f"{tensor.name}/{chosen.start}", data.shape, tensor.dtype, quantization, data))


_REWRITES: dict[str, Callable[[Made, Operator], list[Operator]]] = {
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "UNPACK": _unpack,
    "SLICE": _slice,
    "TILE": _tile,
    "CONCATENATION": _concatenation,
    "CONV_2D": _convolution,
    "TRANSPOSE_CONV": convolution_of_phases,
    "REDUCE_MAX": maximum_as_pools,
}
