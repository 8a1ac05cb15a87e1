"""How each kind of layer becomes an operator: a new kind is one function and one line in `_KINDS`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from mcu_codegen import graph as g
from mcu_codegen.errors import InputError

from ..models.layers import ChannelsToColumns, ColumnsToChannels, SameConv2d, same_padding
from ..models.tracing import describe, module_of
from .builder import Builder, called_by, shape_of


def _convolution(builder: Builder, node: fx.Node) -> None:
    module = module_of(node)
    assert isinstance(module, nn.Conv2d)
    stride, dilation = module.stride, module.dilation
    assert len(stride) == len(dilation) == 2
    options = g.Conv2D(_padding(node, module), stride, dilation)
    if module.groups == 1:
        builder.append("CONV_2D", node, builder.layer(node, (0, 2, 3, 1), axis=0), options)
    elif module.groups == module.in_channels:
        multiplier = module.out_channels // module.in_channels
        depthwise = g.DepthwiseConv2D(options.padding, stride, dilation, depth_multiplier=multiplier)
        builder.append("DEPTHWISE_CONV_2D", node, builder.layer(node, (1, 2, 3, 0), axis=3), depthwise)
    else:
        raise InputError(f"{describe(node)}: {module.groups} groups; 1 or one per input channel are accepted")


def _padding(node: fx.Node, module: nn.Conv2d) -> str:
    if isinstance(module, SameConv2d) or module.padding == "same":
        return "SAME"
    if module.padding in ("valid", (0, 0)):
        return "VALID"
    size = node.all_input_nodes[0].meta["tensor_meta"].shape[2:]
    reach = [(kernel - 1) * step + 1 for kernel, step in zip(module.kernel_size, module.dilation, strict=True)]
    wanted = [same_padding(*axis) for axis in zip(size, reach, module.stride, strict=True)]
    if module.padding_mode == "zeros" and [(pad, pad) for pad in module.padding] == wanted:
        return "SAME"
    raise InputError(f"{describe(node)}: padding {module.padding} is neither none nor SAME, which is {wanted}")


def _linear(builder: Builder, node: fx.Node) -> None:
    builder.append("FULLY_CONNECTED", node, builder.layer(node, (0, 1), axis=0), g.FullyConnected())


def _mean(builder: Builder, node: fx.Node) -> None:
    dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    rank = len(node.all_input_nodes[0].meta["tensor_meta"].shape)
    axes = sorted({int(dim) % rank for dim in (dims if isinstance(dims, tuple | list) else [dims])} if dims else ())
    if rank != 4 or not axes:
        raise InputError(f"{describe(node)}: mean over axes {dims}; those of an image are accepted")
    _average(builder, node, axes, bool(node.kwargs.get("keepdim", len(node.args) > 2 and node.args[2])))


def _pool(builder: Builder, node: fx.Node) -> None:
    size = getattr(module_of(node), "output_size", None)
    if size not in (1, (1, 1)):
        raise InputError(f"{describe(node)}: output size {size}; 1, the mean over height and width, is accepted")
    _average(builder, node, [2, 3], keep_dims=True)


def _average(builder: Builder, node: fx.Node, axes: Sequence[int], keep_dims: bool) -> None:
    """`axes` are torch's, of NCHW."""
    source = builder.values[node.all_input_nodes[0]]
    places = builder.constant(f"{node.name}.axes", np.array(sorted((0, 3, 1, 2)[axis] for axis in axes), np.int32))
    builder.append("MEAN", node, (source, places), g.Mean(keep_dims))


def _add(builder: Builder, node: fx.Node) -> None:
    if len(node.args) != 2 or not all(isinstance(value, fx.Node) for value in node.args) or node.kwargs:
        raise InputError(f"{describe(node)}: the sum of two tensors is accepted, found arguments {node.args}")
    first, second = (builder.values[value] for value in node.args if isinstance(value, fx.Node))
    builder.append("ADD", node, (first, second), g.Elementwise())


def _slice(builder: Builder, node: fx.Node) -> None:
    """Neighbouring rows, columns or channels."""
    places = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
    if not all(isinstance(place, slice) and place.step in (None, 1) for place in places):
        raise InputError(f"{describe(node)}: index {places}; slices of step 1 are accepted")
    sizes = node.all_input_nodes[0].meta["tensor_meta"].shape
    every = [*places, *(slice(None) for _ in sizes[len(places) :])]
    ordered = [every[axis] for axis in ((0, 2, 3, 1) if len(sizes) == 4 else range(len(sizes)))]
    options = g.StridedSlice(
        sum((place.start is None) << axis for axis, place in enumerate(ordered)),
        sum((place.stop is None) << axis for axis, place in enumerate(ordered)),
    )
    builder.move(
        "STRIDED_SLICE",
        node,
        options,
        begin=[place.start or 0 for place in ordered],
        end=[place.stop or 0 for place in ordered],
        strides=[1] * len(ordered),
    )


def _flatten(builder: Builder, node: fx.Node) -> None:
    """Only where nothing is reordered: torch flattens channels first, the graph channels last."""
    source = builder.tensors[builder.values[node.all_input_nodes[0]]]
    shape = shape_of(node)
    if len(source.shape) != 4 or source.shape[1:3] != (1, 1) or shape != (1, source.shape[3]):
        raise InputError(f"{describe(node)}: {source.shape} to {shape}; one position of all channels is accepted")
    _reshape(builder, node)


def _reshape(builder: Builder, node: fx.Node) -> None:
    builder.move("RESHAPE", node, g.NoOptions(), shape=shape_of(node))


def _pad(builder: Builder, node: fx.Node) -> None:
    module = module_of(node)
    assert isinstance(module, nn.ZeroPad2d)
    left, right, top, bottom = module.padding
    builder.move("PAD", node, g.NoOptions(), paddings=[(0, 0), (top, bottom), (left, right), (0, 0)])


_KINDS: dict[Any, Callable[[Builder, fx.Node], None]] = {
    nn.Conv2d: _convolution,
    nn.Linear: _linear,
    nn.AdaptiveAvgPool2d: _pool,
    torch.mean: _mean,
    "mean": _mean,
    operator.add: _add,
    operator.iadd: _add,
    torch.add: _add,
    operator.getitem: _slice,
    nn.ZeroPad2d: _pad,
    ColumnsToChannels: _reshape,
    ChannelsToColumns: _reshape,
    nn.Flatten: _flatten,
    torch.flatten: _flatten,
    "flatten": _flatten,
}
"""What a traced node calls (module class, function or method name) -> how it becomes an operator."""


def translate(builder: Builder, node: fx.Node) -> None:
    """Add what computes `node`. Raises InputError for a layer that the integer graph lacks, naming it."""
    for target in called_by(node):
        if target in _KINDS:
            return _KINDS[target](builder, node)
    known = sorted({str(getattr(target, "__name__", target)) for target in _KINDS})
    raise InputError(f"{describe(node)} is not supported; {', '.join(known)} and ReLU after one of them are")
