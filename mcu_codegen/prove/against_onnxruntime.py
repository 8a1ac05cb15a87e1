"""ONNX Runtime's outputs beside those of NumPy: reported, for it rounds in float what is integers here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..execute import onnx_executor
from ..execute.numpy_executor import NumpyExecutor
from ..graph import Graph
from .comparison import Comparison, add


def compare(model: bytes, graph: Graph, inputs: Sequence[np.ndarray]) -> Comparison:
    """End to end, of the file `model` that `graph` was read from; `inputs` are codes (N, *shape) each."""
    done = Comparison("onnxruntime, end to end", asserted=False)
    if reason := onnx_executor.unavailable():
        return replace(done, trouble=reason, absent=True)
    expected = NumpyExecutor(graph).run(list(inputs))
    try:
        found = onnx_executor.run(model, graph, list(inputs))
    except InputError as error:
        return replace(done, trouble=str(error), absent=True)
    layers = {operator.outputs[0]: layer for layer, operator in graph.layers()}
    for index, values in zip(graph.main.outputs, found, strict=True):
        done = add(done, layers[index], expected[index], values)
    if not done.differing:
        return done
    return replace(done, remark=f"up to {done.largest} code{'s' if done.largest > 1 else ''}: it computes in float")
