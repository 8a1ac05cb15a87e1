"""REDUCE_MAX as MAX_POOL_2D: neighbouring axes are one axis of an image whose other axis is all before them."""

from __future__ import annotations

import math
from dataclasses import replace

from ..errors import InputError
from ..graph import Operator, Pool2D
from .made import Made


def maximum_as_pools(made: Made, operator: Operator) -> list[Operator]:
    """One pool for each run of neighbouring axes, and reshapes, which cost nothing."""
    source, output = (made.tensors[index] for index in (operator.inputs[0], operator.outputs[0]))
    rank, given = len(source.shape), made.constant(operator.inputs[1], "axes")
    if any(not -rank <= axis < rank for axis in given):
        raise InputError(f"tensor '{source.name}' {source.shape}: axes {given} exceed its rank")
    axes = {axis % rank for axis in given}
    kept = [1 if axis in axes else size for axis, size in enumerate(source.shape)]
    left_out = [size for axis, size in enumerate(source.shape) if axis not in axes]
    wanted = tuple(kept) if operator.options.keep_dims else tuple(left_out)
    if output.shape != wanted or source.quantization != output.quantization or source.dtype != output.dtype:
        raise InputError(
            f"tensor '{output.name}' {output.dtype} {output.shape} is not the maximum of '{source.name}' {source.dtype}"
            f" {source.shape} over axes {sorted(axes)}: {wanted} of equal scale is"
        )
    shape, here, operators = list(source.shape), operator.inputs[0], []
    for axis in sorted(axes, reverse=True):
        first = axis
        while first - 1 in axes:
            first -= 1
        if axis + 1 in axes or math.prod(shape[first : axis + 1]) == 1:
            continue  # done with the axis behind it, or nothing to do
        before, size, behind = (math.prod(each) for each in (shape[:first], shape[first : axis + 1], shape[axis + 1 :]))
        name = f"{output.name}/{axis}"
        image = made.add(replace(source, name=f"{name}/image", shape=(1, before, size, behind), data=None))
        pooled = made.add(replace(source, name=name, shape=(1, before, 1, behind), data=None))
        operators.append(made.reshape(here, image))
        operators.append(Operator("MAX_POOL_2D", (image,), (pooled,), Pool2D("VALID", (1, 1), (1, size))))
        here = pooled
        shape[first : axis + 1] = [1] * (axis + 1 - first)
    return [*operators, made.reshape(here, operator.outputs[0])]
