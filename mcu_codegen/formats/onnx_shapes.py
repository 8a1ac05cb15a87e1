"""Operators that give the same values another shape, or other axes; memory stays as it is where it can."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..errors import InputError
from .onnx_builder import Builder
from .onnx_file import Node
from .onnx_layout import Layout
from .onnx_values import Codes, CodesInput, Pending, Real, Value, integers_of
from .operators import MAX_OPTION

Values = Sequence[Value | None]


def reshape(build: Builder, node: Node, values: Values) -> Value:
    return _relabelled(build, node, values[0], lambda shape: new_shape(node, values, shape))


def new_shape(node: Node, values: Values, shape: tuple[int, ...]) -> tuple[int, ...]:
    """What Reshape, Flatten, Squeeze or Unsqueeze make of `shape`. Raises InputError."""
    rank = len(shape)
    if node.kind == "Flatten":
        axis = axis_of(node.integer("axis", 1), rank + 1)
        return math.prod(shape[:axis]), math.prod(shape[axis:])
    if node.kind == "Reshape":
        return _given_shape(node, values, shape)
    axes = node.integers("axes") or integers_of(node, values, 1, "axes")
    if node.kind == "Squeeze":
        chosen = {axis_of(axis, rank) for axis in axes} if axes else {axis for axis in range(rank) if shape[axis] == 1}
        if any(shape[axis] != 1 for axis in chosen):
            raise InputError(f"axes {sorted(chosen)} of {shape} are not all 1")
        return tuple(size for axis, size in enumerate(shape) if axis not in chosen)
    if not axes:
        raise InputError("no axes")
    grown = rank + len(axes)
    chosen, left = {axis_of(axis, grown) for axis in axes}, iter(shape)
    if len(chosen) < len(axes):
        raise InputError(f"axes {axes}: one of them twice")
    return tuple(1 if axis in chosen else next(left) for axis in range(grown))


def _given_shape(node: Node, values: Values, shape: tuple[int, ...]) -> tuple[int, ...]:
    given = integers_of(node, values, 1, "shape")
    if given is None:
        raise InputError("no shape")
    kept = node.integer("allowzero", 0) == 0
    sizes = [shape[axis] if size == 0 and kept and axis < len(shape) else size for axis, size in enumerate(given)]
    if sizes.count(-1) == 1:
        others = -math.prod(sizes)
        sizes[sizes.index(-1)] = math.prod(shape) // others if others > 0 else -1
    if min(sizes, default=1) < 1 or math.prod(sizes) != math.prod(shape):
        raise InputError(f"shape {given} for {shape}")
    return tuple(sizes)


def transpose(build: Builder, node: Node, values: Values) -> Value:
    """Nothing is moved: a value knows how its axes lie."""
    return build.moved(
        node,
        values[0],
        lambda codes: replace(codes, layout=codes.layout.transposed(permutation(node, len(codes.shape)))),
        lambda shape: tuple(shape[axis] for axis in permutation(node, len(shape))),
        permutes=True,
    )


def permutation(node: Node, rank: int) -> tuple[int, ...]:
    axes = node.integers("perm", tuple(reversed(range(rank)))) or ()
    if sorted(axes) != list(range(rank)):
        raise InputError(f"perm {axes} of rank {rank}")
    return axes


def depth_to_space(build: Builder, node: Node, values: Values) -> Value:
    """DepthToSpace and SpaceToDepth: a reshape, a transposition, a reshape."""
    block = node.integer("blocksize", 0)

    def steps(shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        if len(shape) != 4 or not 1 <= block <= MAX_OPTION:
            raise InputError(f"blocksize {block} of {shape}")
        images, channels, rows, columns = shape
        if node.kind == "SpaceToDepth":
            if rows % block or columns % block:
                raise InputError(f"blocksize {block} of {shape}")
            apart = (images, channels, rows // block, block, columns // block, block)
            return apart, (0, 3, 5, 1, 2, 4), (images, channels * block**2, rows // block, columns // block)
        if channels % block**2:
            raise InputError(f"blocksize {block} of {shape}")
        left, last = channels // block**2, (images, channels // block**2, rows * block, columns * block)
        if node.text("mode", "DCR") == "CRD":
            return (images, left, block, block, rows, columns), (0, 1, 4, 2, 5, 3), last
        return (images, block, block, left, rows, columns), (0, 3, 4, 1, 5, 2), last

    def move(codes: Codes) -> Codes:
        apart, axes, together = steps(codes.shape)
        split = reshaped(build, node, codes, apart)
        turned = replace(split, layout=split.layout.transposed(axes))
        return reshaped(build, node, turned, together)

    return build.moved(node, values[0], move, lambda shape: steps(shape)[2], permutes=True)


def identity(_build: Builder, node: Node, values: Values) -> Value:
    """Identity, and Dropout, which does nothing when nobody trains."""
    value = values[0]
    if value is None or len(node.outputs) > 1:
        raise InputError("no input, or a second output")
    return value


def cast(_build: Builder, node: Node, values: Values) -> Value:
    """To the type that a value has already, as PyTorch writes it around codes."""
    value = values[0]
    kind = "float" if isinstance(value, Real) or type(value) is Pending else ""
    if isinstance(value, Codes | CodesInput):
        kind = "uint8" if value.unsigned else "int8"
    if value is None or node.integer("to", 0) not in {"float": (1,), "uint8": (2,), "int8": (3,)}.get(kind, ()):
        raise InputError(f"makes another type of {kind or 'a constant'}; its own is accepted")
    return value


def _relabelled(
    build: Builder, node: Node, value: Value | None, shape_of: Callable[[tuple[int, ...]], tuple[int, ...]]
) -> Value:
    return build.moved(
        node, value, lambda codes: reshaped(build, node, codes, shape_of(codes.shape)), shape_of, permutes=True
    )


def reshaped(build: Builder, node: Node, codes: Codes, shape: tuple[int, ...]) -> Codes:
    """Another shape for the same values, in ONNX's order; the memory stays where that is possible."""
    layout = codes.layout.reshaped(shape)
    if layout is None:
        codes = build.contiguous(node, codes)
        layout = Layout.of(shape)
    return replace(codes, layout=layout)


def axis_of(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise InputError(f"axis {axis} of rank {rank}")
    return axis % rank
