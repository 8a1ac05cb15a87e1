"""SVDF: filters over the values of a moment, whose results of the last moments are summed with weights of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..graph import Graph, Operator, Tensor
from .common import Requantization, int8_tensor, quantized_tensor, requantization
from .convolution import FullyConnected, accumulator_bound
from .int16 import Int16, on_int16


@dataclass(frozen=True)
class Svdf:
    """The state is (filters, moments), of codes like `time`.

    The moments move one towards the start, and the results of `features` become the last; then, for each unit, the sum
    over its `rank` filters and all moments of (state - zero point) * time, and the bias, is requantised. That sum wraps
    in int32, as the reference's does in practice.
    """

    features: FullyConnected | Int16[FullyConnected]
    time: np.ndarray  # int8 or int16, (filters, moments)
    bias: np.ndarray  # int32, one per unit
    rank: int
    state_zero_point: int
    requantization: Requantization


def lower_svdf(graph: Graph, operator: Operator) -> Svdf:
    source, output = int8_tensor(graph, operator.inputs[0]), int8_tensor(graph, operator.outputs[0])
    state = quantized_tensor(graph, operator.inputs[4], "int8", "int16")
    features, time = _weights(graph, operator.inputs[1], "int8"), _weights(graph, operator.inputs[2], state.dtype)
    rank, filters, moments = (operator.options.rank, *time.shape)
    if source.shape != (1, features.shape[1]) or features.shape[0] != filters or filters % rank:
        raise InputError(
            f"weights '{features.name}' {features.shape} and '{time.name}' {time.shape} of rank {rank} do not fit input"
            f" {source.shape}; one row is accepted"
        )
    if output.shape != (1, filters // rank) or state.shape != (1, filters * moments) or not state.persistent:
        raise InputError(
            f"output {output.shape} or state '{state.name}' {state.shape} do not fit {filters} filters of {moments}"
            f" moments and rank {rank}"
        )
    # in float32, as the reference computes them
    first = np.float32(source.scale) * np.float32(features.scale) / np.float32(state.scale)
    second = np.float32(state.scale) * np.float32(time.scale) / np.float32(output.scale)
    assert features.data is not None and time.data is not None
    nothing = np.zeros(filters, np.int32)
    filtered = FullyConnected(
        features.data,
        nothing,
        source.zero_point,
        requantization(np.array([first], np.float64), state, "NONE"),
        accumulator_bound(features.data, 0, nothing, source, features.name),
    )
    return Svdf(
        on_int16(filtered, state),
        time.data,
        _bias(graph, operator.inputs[3], filters // rank),
        rank,
        state.zero_point,
        requantization(np.array([second], np.float64), output, "NONE"),
    )


def _weights(graph: Graph, index: int, dtype: str) -> Tensor:
    tensor = quantized_tensor(graph, index, dtype)
    if not tensor.constant or tensor.zero_point or len(tensor.shape) != 2:
        raise InputError(f"weights '{tensor.name}' {tensor.shape} are not a constant matrix with zero point 0")
    return tensor


def _bias(graph: Graph, index: int, units: int) -> np.ndarray:
    tensor = graph.tensor(index)
    if tensor is None:
        return np.zeros(units, np.int32)
    if tensor.dtype != "int32" or not tensor.constant or tensor.data is None or tensor.data.size != units:
        raise InputError(f"bias '{tensor.name}' ({tensor.dtype}, {tensor.shape}) is not {units} constant int32")
    return tensor.data.reshape(units)
