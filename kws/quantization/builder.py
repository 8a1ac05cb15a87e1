"""Tensors and operators of an integer graph, as a traced network's layers add them.

Quantisation arrives as `Codes`, plain data by node name. Nothing here knows NNCF, or what kinds of layers there are.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional

from mcu_codegen import graph as g
from mcu_codegen.arithmetic import quantize_multiplier
from mcu_codegen.errors import InputError

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


_RELU: tuple[Any, ...] = (nn.ReLU, functional.relu, torch.relu, "relu")


@dataclass
class Builder:
    """A graph so far."""

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
        index = self.tensor(g.Tensor(name, shape_of(result), "int8", self.quantization(result)))
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

    def move(self, kind: str, node: fx.Node, options: Any, **places: Any) -> None:
        """Add an operator that moves codes as the integers of its constants, `places`, say."""
        source = self.values[node.all_input_nodes[0]]
        constants = [self.constant(f"{node.name}.{what}", np.array(each, np.int32)) for what, each in places.items()]
        quantization = self.tensors[source].quantization
        index = self.tensor(g.Tensor(f"{node.name}.{kind.lower()}", shape_of(node), "int8", quantization))
        self.operators.append(g.Operator(kind, (source, *constants), (index,), options))
        self.values[node] = index

    def softmax(self, logits: fx.Node, name: str) -> int:
        source = self.values[logits]
        index = self.tensor(g.Tensor(name, self.tensors[source].shape, "int8", SCORES))
        self.operators.append(g.Operator("SOFTMAX", (source,), (index,), g.Softmax()))
        return index


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """The node's value's shape in the graph's order: NCHW becomes NHWC."""
    shape = tuple(node.meta["tensor_meta"].shape)
    return (shape[0], *shape[2:], shape[1]) if len(shape) == 4 else shape


def called_by(node: fx.Node) -> tuple[Any, ...]:
    """What the node may be called by in the tables, most specific first."""
    module = module_of(node)
    return (node.target,) if module is None else type(module).__mro__


def _relu_after(node: fx.Node) -> fx.Node | None:
    """The ReLU that is the only user of `node`."""
    users = list(node.users)
    return users[0] if len(users) == 1 and any(target in _RELU for target in called_by(users[0])) else None


def _rounding_excess(real: np.ndarray) -> np.ndarray:
    """By how much of an accumulator step double rounding lifts positive results on average.

    The doubling high multiply leaves a grid of 2**shift output codes; of its points, the right shift rounds the halves
    up. That is half a point, and a point is 2**31 / multiplier accumulator steps. Taken from the bias, it keeps int8
    activations from drifting upwards layer by layer.
    """
    pairs = np.array([quantize_multiplier(float(value)) for value in real], np.float64)
    multiplier, shift = pairs.T
    return np.where((shift < 0) & (multiplier > 0), 2.0**30 / np.maximum(multiplier, 1), 0.0)
