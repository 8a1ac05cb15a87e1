"""A traced network and the numbers of its quantisation become an integer graph.

Knows torch.fx and the graph, nothing of NNCF: quantisation arrives as `Codes`, plain data by node name. A new kind of
layer is one function and one line in `_EMITTERS`; a new architecture of known layers needs no change.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional

from mcu_codegen import graph as g
from mcu_codegen.arithmetic import quantize_multiplier
from mcu_codegen.errors import InputError

from ..models.layers import ChannelsToColumns, ColumnsToChannels, SameConv2d, same_padding
from ..models.tracing import describe, module_of

SCORES = g.Quantization((1 / 256,), (-128,))
"""The quantisation of TFLite's int8 softmax."""


@dataclass(frozen=True)
class Codes:
    """What quantisation decided. Keys are names of the traced graph's nodes.

    `weights` holds int8 codes in torch's order and float32 scales, one per output channel; `biases` real values.
    `activations` has an entry for every node whose value the integer graph keeps, input and logits included.
    """

    weights: dict[str, tuple[np.ndarray, np.ndarray]]
    biases: dict[str, np.ndarray]
    activations: dict[str, g.Quantization]


def to_graph(
    name: str, traced: fx.GraphModule, codes: Codes, input_shape: tuple[int, ...], metadata: dict, answers: int = 1
) -> tuple[g.Graph, dict[str, str]]:
    """The integer graph of `traced`, and by the name of a node the name of the tensor that holds its value.

    The last `answers` outputs are logits, and end in a softmax each; others stay as they are. What an output needs
    comes before what only later ones need. `input_shape` is torch's, (1, channels, height, width); the graph's tensors
    are NHWC. Raises InputError for a layer that the integer graph lacks, naming it.
    """
    ShapeProp(traced).propagate(torch.zeros(input_shape))
    builder = _Builder(codes)
    entry = g.Entry("invoke", (), (), [])
    for node in traced.graph.nodes:
        if node in builder.values:
            continue  # fused into its producer
        if node.op == "placeholder":
            entry.inputs += (builder.activation(node, node, node.name),)
        elif node.op == "output":
            outputs = node.all_input_nodes
            others, early, last = outputs[:-answers], outputs[-answers:-1], outputs[-1]
            entry.outputs = (
                *(builder.values[each] for each in others),
                *(builder.softmax(each, f"{each.name}.scores") for each in early),
                builder.softmax(last, "scores"),
            )
        else:
            _emitter(node)(builder, node)
    entry.operators = _by_output(builder.operators, entry.outputs)
    names = {node.name: builder.tensors[index].name for node, index in builder.values.items()}
    return g.Graph(name, builder.tensors, [entry], metadata), names


def part(graph: g.Graph, outputs: Sequence[int], name: str, metadata: dict) -> g.Graph:
    """What computes the tensors `outputs` in the entry `invoke` of `graph`, as a graph of its own; what an output needs
    comes before what only later ones need."""
    operators = _by_output(graph.main.operators, outputs)
    touched = {index for each in operators for index in (*each.inputs, *each.outputs) if index >= 0}
    kept = sorted(touched.union(graph.main.inputs, outputs))
    place = {-1: -1} | {index: number for number, index in enumerate(kept)}

    def moved(indices: Sequence[int]) -> tuple[int, ...]:
        return tuple(place[index] for index in indices)

    entry = g.Entry(
        "invoke",
        moved(graph.main.inputs),
        moved(outputs),
        [replace(each, inputs=moved(each.inputs), outputs=moved(each.outputs)) for each in operators],
    )
    return g.Graph(name, [graph.tensors[index] for index in kept], [entry], metadata)


def _needed(operators: Sequence[g.Operator], outputs: Sequence[int]) -> list[g.Operator]:
    """Those of `operators` that compute the tensors `outputs`, in their order."""
    wanted = set(outputs)
    found: list[g.Operator] = []
    for each in reversed(operators):
        if each.outputs[0] in wanted:
            found.insert(0, each)
            wanted.update(each.inputs)
    return found


def _by_output(operators: Sequence[g.Operator], outputs: Sequence[int]) -> list[g.Operator]:
    """`operators` so that what an output needs comes before what only later ones need."""
    ordered: list[g.Operator] = []
    for output in outputs:
        ordered += [each for each in _needed(operators, [output]) if each not in ordered]
    return ordered


def _shape(node: fx.Node) -> tuple[int, ...]:
    """The node's value's shape in the graph's order: NCHW becomes NHWC."""
    shape = tuple(node.meta["tensor_meta"].shape)
    return (shape[0], *shape[2:], shape[1]) if len(shape) == 4 else shape


@dataclass
class _Builder:
    codes: Codes
    tensors: list[g.Tensor] = field(default_factory=list)
    operators: list[g.Operator] = field(default_factory=list)
    values: dict[fx.Node, int] = field(default_factory=dict)  # node -> tensor that holds its value

    def tensor(self, tensor: g.Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, name: str, data: np.ndarray, quantization: g.Quantization | None = None) -> int:
        return self.tensor(g.Tensor(name, data.shape, data.dtype.name, quantization, data))

    def quantization(self, node: fx.Node) -> g.Quantization:
        if node.name not in self.codes.activations:
            raise InputError(f"{describe(node)}: its output has no quantiser")
        return self.codes.activations[node.name]

    def activation(self, node: fx.Node, result: fx.Node, name: str) -> int:
        """The int8 tensor of `result`, which is `node` or the ReLU fused into it."""
        index = self.tensor(g.Tensor(name, _shape(result), "int8", self.quantization(result)))
        self.values[node] = self.values[result] = index
        return index

    def append(self, kind: str, node: fx.Node, inputs: tuple[int, ...], options: Any) -> None:
        """Add an operator that computes `node`; a ReLU that alone uses it is fused where `options` can hold it."""
        relu = _relu_after(node) if hasattr(options, "activation") else None
        if relu is not None:
            options = replace(options, activation="RELU")
        name = f"{node.target}.{kind.lower()}" if node.op == "call_module" else node.name
        index = self.activation(node, relu or node, name)
        self.operators.append(g.Operator(kind, inputs, (index,), options))

    def layer(self, node: fx.Node, order: tuple[int, ...], axis: int) -> tuple[int, int, int]:
        """(input, weights, bias) of a convolution or linear layer: weights in `order`, their scales along `axis`."""
        source = self.values[node.all_input_nodes[0]]
        input_scale = self.tensors[source].scale
        codes, scales = self.codes.weights[node.name]
        bias = self.codes.biases[node.name]
        # a (nearly) dead channel's weight scale is so small that its bias would not fit int32: widen it
        widened = np.maximum(scales, (np.abs(bias) / (input_scale * 2**30)).astype(np.float32))
        codes = np.rint(codes * (scales / widened).reshape(-1, *(1,) * (codes.ndim - 1))).astype(np.int8)
        step = input_scale * widened.astype(np.float64)
        accumulator = bias / step
        if (relu := _relu_after(node)) is not None:
            accumulator -= _rounding_excess(step / self.quantization(relu).scale[0])
        zeros = (0,) * len(widened)
        weights = np.ascontiguousarray(codes.transpose(order))
        return (
            source,
            self.constant(f"{node.target}.weight", weights, g.Quantization(tuple(widened.tolist()), zeros, axis)),
            self.constant(
                f"{node.target}.bias",
                np.rint(accumulator).astype(np.int32),
                g.Quantization(tuple(step.astype(np.float32).tolist()), zeros),
            ),
        )

    def move(self, kind: str, node: fx.Node, what: str, values: np.ndarray) -> None:
        """Add an operator that moves codes as the constant `values`, its `what`, say."""
        source = self.values[node.all_input_nodes[0]]
        constant = self.constant(f"{node.name}.{what}", values)
        quantization = self.tensors[source].quantization
        index = self.tensor(g.Tensor(f"{node.name}.{kind.lower()}", _shape(node), "int8", quantization))
        self.operators.append(g.Operator(kind, (source, constant), (index,), g.NoOptions()))
        self.values[node] = index

    def softmax(self, logits: fx.Node, name: str) -> int:
        source = self.values[logits]
        index = self.tensor(g.Tensor(name, self.tensors[source].shape, "int8", SCORES))
        self.operators.append(g.Operator("SOFTMAX", (source,), (index,), g.Softmax()))
        return index


def _rounding_excess(real: np.ndarray) -> np.ndarray:
    """By how much of an accumulator step double rounding lifts positive results on average.

    The doubling high multiply leaves a grid of 2**shift output codes; of its points, the right shift rounds the halves
    up. That is half a point, and a point is 2**31 / multiplier accumulator steps. Taken from the bias, it keeps int8
    activations from drifting upwards layer by layer.
    """
    pairs = np.array([quantize_multiplier(float(value)) for value in real], np.float64)
    multiplier, shift = pairs.T
    return np.where((shift < 0) & (multiplier > 0), 2.0**30 / np.maximum(multiplier, 1), 0.0)


def _convolution(builder: _Builder, node: fx.Node) -> None:
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


def _linear(builder: _Builder, node: fx.Node) -> None:
    builder.append("FULLY_CONNECTED", node, builder.layer(node, (0, 1), axis=0), g.FullyConnected())


def _mean(builder: _Builder, node: fx.Node) -> None:
    dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    rank = len(node.all_input_nodes[0].meta["tensor_meta"].shape)
    axes = sorted({int(dim) % rank for dim in (dims if isinstance(dims, tuple | list) else [dims])} if dims else ())
    if rank != 4 or not axes:
        raise InputError(f"{describe(node)}: mean over axes {dims}; those of an image are accepted")
    _average(builder, node, axes, bool(node.kwargs.get("keepdim", len(node.args) > 2 and node.args[2])))


def _pool(builder: _Builder, node: fx.Node) -> None:
    size = getattr(module_of(node), "output_size", None)
    if size not in (1, (1, 1)):
        raise InputError(f"{describe(node)}: output size {size}; 1, the mean over height and width, is accepted")
    _average(builder, node, [2, 3], keep_dims=True)


def _average(builder: _Builder, node: fx.Node, axes: Sequence[int], keep_dims: bool) -> None:
    """`axes` are torch's, of NCHW."""
    source = builder.values[node.all_input_nodes[0]]
    places = builder.constant(f"{node.name}.axes", np.array(sorted((0, 3, 1, 2)[axis] for axis in axes), np.int32))
    builder.append("MEAN", node, (source, places), g.Mean(keep_dims))


def _add(builder: _Builder, node: fx.Node) -> None:
    if len(node.args) != 2 or not all(isinstance(value, fx.Node) for value in node.args) or node.kwargs:
        raise InputError(f"{describe(node)}: the sum of two tensors is accepted, found arguments {node.args}")
    first, second = (builder.values[value] for value in node.args if isinstance(value, fx.Node))
    builder.append("ADD", node, (first, second), g.Elementwise())


def _slice(builder: _Builder, node: fx.Node) -> None:
    """Neighbouring rows, columns or channels."""
    places = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
    if not all(isinstance(place, slice) and place.step in (None, 1) for place in places):
        raise InputError(f"{describe(node)}: index {places}; slices of step 1 are accepted")
    source = builder.values[node.all_input_nodes[0]]
    sizes = node.all_input_nodes[0].meta["tensor_meta"].shape
    every = [*places, *(slice(None) for _ in sizes[len(places) :])]
    ordered = [every[axis] for axis in ((0, 2, 3, 1) if len(sizes) == 4 else range(len(sizes)))]
    options = g.StridedSlice(
        sum((place.start is None) << axis for axis, place in enumerate(ordered)),
        sum((place.stop is None) << axis for axis, place in enumerate(ordered)),
    )
    bounds = {
        "begin": [place.start or 0 for place in ordered],
        "end": [place.stop or 0 for place in ordered],
        "strides": [1] * len(ordered),
    }
    inputs = [builder.constant(f"{node.name}.{what}", np.array(each, np.int32)) for what, each in bounds.items()]
    index = builder.tensor(
        g.Tensor(f"{node.name}.strided_slice", _shape(node), "int8", builder.tensors[source].quantization)
    )
    builder.operators.append(g.Operator("STRIDED_SLICE", (source, *inputs), (index,), options))
    builder.values[node] = index


def _flatten(builder: _Builder, node: fx.Node) -> None:
    """Only where nothing is reordered: torch flattens channels first, the graph channels last."""
    source = builder.tensors[builder.values[node.all_input_nodes[0]]]
    shape = _shape(node)
    if len(source.shape) != 4 or source.shape[1:3] != (1, 1) or shape != (1, source.shape[3]):
        raise InputError(f"{describe(node)}: {source.shape} to {shape}; one position of all channels is accepted")
    _reshape(builder, node)


def _reshape(builder: _Builder, node: fx.Node) -> None:
    builder.move("RESHAPE", node, "shape", np.array(_shape(node), np.int32))


def _pad(builder: _Builder, node: fx.Node) -> None:
    module = module_of(node)
    assert isinstance(module, nn.ZeroPad2d)
    left, right, top, bottom = module.padding
    builder.move("PAD", node, "paddings", np.array([(0, 0), (top, bottom), (left, right), (0, 0)], np.int32))


_EMITTERS: dict[Any, Callable[[_Builder, fx.Node], None]] = {
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

_RELU: tuple[Any, ...] = (nn.ReLU, functional.relu, torch.relu, "relu")


def _targets(node: fx.Node) -> tuple[Any, ...]:
    """What the node may be called by in the tables, most specific first."""
    module = module_of(node)
    return (node.target,) if module is None else type(module).__mro__


def _is_relu(node: fx.Node) -> bool:
    return any(target in _RELU for target in _targets(node))


def _relu_after(node: fx.Node) -> fx.Node | None:
    """The ReLU that is the only user of `node`."""
    users = list(node.users)
    return users[0] if len(users) == 1 and _is_relu(users[0]) else None


def _emitter(node: fx.Node) -> Callable[[_Builder, fx.Node], None]:
    for target in _targets(node):
        if target in _EMITTERS:
            return _EMITTERS[target]
    known = sorted({str(getattr(target, "__name__", target)) for target in _EMITTERS})
    raise InputError(f"{describe(node)} is not supported; {', '.join(known)} and ReLU after one of them are")
