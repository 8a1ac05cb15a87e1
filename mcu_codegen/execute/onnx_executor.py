"""ONNX Runtime: an ``.onnx`` file as it is, every operator in float between its QuantizeLinear and DequantizeLinear.

The package may be absent: ask `unavailable` first.
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..graph import Graph, Tensor


def unavailable() -> str:
    """Why ONNX Runtime cannot be used here, or "" where it can."""
    try:
        import onnxruntime  # noqa: F401
    except (ImportError, OSError) as error:  # OSError: installed, but its library does not load
        return f"the package onnxruntime (extra 'onnxruntime') cannot be imported: {error}"
    return ""


def run(model: bytes, graph: Graph, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Codes (N, *shape) of the outputs of `graph`, which was read from `model`, for codes (N, *shape) of its inputs.

    What is float at the file's edges is dequantised before and quantised behind, as the caller of C does. No operator
    is fused with another: fused, they compute in integers that differ from machine to machine.
    """
    if reason := unavailable():
        raise InputError(f"ONNX Runtime: {reason}")
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        sources, outputs = session.get_inputs(), [graph.tensors[index] for index in graph.main.outputs]
        tensors = [graph.tensors[index] for index in graph.main.inputs]
        results: list[list[np.ndarray]] = [[] for _ in outputs]
        for sample in zip(*inputs, strict=True):
            given = zip(sources, tensors, sample, strict=True)
            found = session.run(None, {source.name: _fed(source.type, *each) for source, *each in given})
            for values, tensor, value in zip(results, outputs, found, strict=True):
                values.append(_taken(tensor, np.asarray(value)))
    except Exception as error:  # ONNX Runtime raises types of its own, which derive from nothing narrower
        raise InputError(f"ONNX Runtime refuses the model: {' '.join(str(error).split())[:200]}") from None
    return [np.array(values) for values in results]


def _fed(kind: str, tensor: Tensor, codes: np.ndarray) -> np.ndarray:
    if kind != "tensor(float)":
        return codes
    return (codes.astype(np.float32) - np.float32(tensor.zero_point)) * np.float32(tensor.scale)


def _taken(tensor: Tensor, value: np.ndarray) -> np.ndarray:
    if value.dtype.kind != "f":
        return value
    ends = np.iinfo(tensor.dtype)
    scaled = np.rint(value / np.float32(tensor.scale)) + tensor.zero_point
    return np.clip(scaled, ends.min, ends.max).astype(tensor.dtype)
