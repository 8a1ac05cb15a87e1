"""Random graphs of one operator that has a state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from single_operators import Draw, activation, alone

from mcu_codegen.graph import Graph, Quantization, SequenceLstm, Svdf, Tensor

ZERO = (0,)


def svdf(draw: Draw, dtype: str) -> Graph:
    """With a state of `dtype`. Scales let the state and the output use most of their codes."""
    depth, moments, units, rank = draw.integer(1, 20), draw.integer(1, 6), draw.integer(1, 6), draw.integer(1, 3)
    filters, codes = units * rank, np.iinfo(dtype)
    source = activation((1, depth), draw.quantization(-6, 0))
    features = matrix(draw, (filters, depth), 0.01)
    state = state_of((1, filters * moments), draw.quantization(dtype=dtype) if dtype == "int8" else None, dtype)
    typical = 70 * np.sqrt(depth) * 70 * source.scale * 0.01
    assert state.quantization is not None
    state.quantization = replace(state.quantization, scale=(float(np.float32(typical / (codes.max / 2))),))
    reset(state)
    time = matrix(draw, (filters, moments), 0.003, dtype)
    bias = Tensor("", (units,), "int32", None, draw.rng.integers(-(2**18), 2**18, units).astype(np.int32))
    spread = codes.max / 3 * np.sqrt(rank * moments) * codes.max / 2 * 0.003 * state.scale
    output = activation((1, units), Quantization((float(np.float32(spread / 60)),), draw.quantization().zero_point))
    return with_states("SVDF", [source, features, time, bias, state], output, Svdf(rank, "RELU"), (4,))


def lstm(draw: Draw, dtype: str) -> Graph:
    """Gates are sometimes at their ends, mostly between."""
    steps, depth, cells = draw.integer(1, 5), draw.integer(1, 12), draw.integer(1, 9)
    shape, time_major = ((1, steps), False) if draw.integer(0, 1) else ((steps, 1), True)
    source = activation((*shape, depth), draw.quantization(-8, -5))
    output = activation((*shape, cells), Quantization((1 / 128,), (draw.integer(-20, 20),)))
    spread = float(np.float32(2.0 ** draw.rng.uniform(-8, -5)))
    products = [matrix(draw, (cells, count), spread) for count in (depth, cells) for _ in range(4)]
    biases = [
        Tensor("", (cells,), "int32", None, draw.rng.integers(-20000, 20000, cells).astype(np.int32)) for _ in range(4)
    ]
    hidden = state_of((1, cells), output.quantization, "int8")
    cell = state_of((1, cells), Quantization((2.0 ** draw.integer(-15, -9),), ZERO), "int16")
    tensors: list[Tensor | None] = [source, *products, None, None, None, *biases, None, None, hidden, cell]
    options = SequenceLstm(float(draw.rng.choice([0, 0.125, 10])), time_major)
    return with_states("UNIDIRECTIONAL_SEQUENCE_LSTM", tensors, output, options, (18, 19))


def matrix(draw: Draw, shape: tuple[int, ...], scale: float, dtype: str = "int8") -> Tensor:
    most = np.iinfo(dtype).max
    data = draw.rng.integers(-most, most + 1, shape).astype(dtype)
    return Tensor("", shape, dtype, Quantization((float(np.float32(scale)),), ZERO), data)


def state_of(shape: tuple[int, ...], quantization: Quantization | None, dtype: str) -> Tensor:
    tensor = Tensor("", shape, dtype, quantization or Quantization((1.0,), ZERO), persistent=True)
    reset(tensor)
    return tensor


def reset(state: Tensor) -> None:
    """What every interpreter resets it to."""
    state.data = np.full(state.shape, state.zero_point, state.dtype)


def with_states(
    kind: str, inputs: list[Tensor | None], output: Tensor, options: object, states: tuple[int, ...]
) -> Graph:
    """A graph of one operator; None is an input left out."""
    given = [tensor for tensor in inputs if tensor is not None]
    places = [-1 if tensor is None else next(n for n, each in enumerate(given) if each is tensor) for tensor in inputs]
    graph = alone(kind, given, output, options)
    operator = graph.main.operators[0]
    updated = tuple(places[number] for number in states)
    graph.main.operators[0] = replace(operator, inputs=tuple(places), outputs=(*operator.outputs, *updated))
    graph.main.inputs = tuple(index for index in graph.main.inputs if not given[index].persistent)
    return graph


STATEFUL: dict[str, tuple[Callable[[Draw, str], Graph], str]] = {
    "SVDF, 8 bits": (svdf, "int8"),
    "SVDF, 16 bits": (svdf, "int16"),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (lstm, ""),
}
