"""The integer graph of a network that nobody has trained: what its C costs does not depend on the weights."""

from __future__ import annotations

import math
import re

import numpy as np
from torch import fx, nn

from mcu_codegen.graph import Graph, Quantization

from .. import models
from ..features import Window
from ..models.layers import LAYERS
from ..models.tracing import module_of, trace
from .builder import Codes
from .export import to_graph
from .nncf_quantize import fold

_RELU, _LINEAR = Quantization((0.05,), (-128,)), Quantization((0.05,), (5,))


def representative(model: str, labels: int, window: Window) -> Graph:
    """The graph of the network `model` with random weights, and ranges of activations as calibration finds them: every
    channel uses much of its tensor's, and what follows a ReLU begins at the lowest code.

    Weights are the same every time. Raises InputError on an unknown network.
    """
    traced = trace(fold(models.build(model, labels)))
    front_end = window.front_end
    rng = np.random.default_rng(0)
    codes = Codes({}, {}, {})
    for node in traced.graph.nodes:
        module = module_of(node)
        if node.op == "placeholder":
            codes.activations[node.name] = Quantization((front_end.scale,), (front_end.zero_point,))
        elif node.op != "output":
            sources = node.all_input_nodes
            moves = not isinstance(module, LAYERS | nn.ReLU) and len(sources) == 1
            own = _RELU if isinstance(module, nn.ReLU) else _LINEAR
            codes.activations[node.name] = codes.activations[sources[0].name] if moves else own
        if isinstance(module, LAYERS):
            codes.weights[node.name] = _weights(module, codes.activations, node, rng)
            codes.biases[node.name] = rng.normal(0, 1, module.get_parameter("weight").shape[0])
    shape = (1, 1, window.frames(window.length), front_end.coefficients)
    return to_graph(re.sub(r"\W", "_", model), traced, codes, shape, {})[0]


def _weights(
    layer: nn.Module, activations: dict[str, Quantization], node: fx.Node, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Random codes, and scales by which typical sums of products use half of the output's range."""
    shape = tuple(layer.get_parameter("weight").shape)
    typical = 73 * 90 * math.sqrt(math.prod(shape[1:]))  # of a sum of products of codes
    step = activations[node.name].scale[0] / activations[node.all_input_nodes[0].name].scale[0]
    scales = step * 60 / typical * rng.uniform(0.7, 1.4, shape[0])
    return rng.integers(-127, 128, shape).astype(np.int8), scales.astype(np.float32)
