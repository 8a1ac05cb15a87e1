"""Random models that can be taught words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from gated_models import features, gated_model

from mcu_codegen.graph import Graph
from mcu_codegen.users.new_words import LastLayer, head_with
from mcu_codegen.users.teaching import UNITS, Teaching, hear


def teachable_model(seed: int = 0, gates: bool = False, frames: int = 7, **changed: object) -> Graph:
    """A network that hears all of its labels, silence too, and learns words, by constants that some of `changed`
    replace."""
    graph = _even(gated_model(seed, frames=frames)[0])
    codes, _ = hear(graph, features(graph, 200, seed + 1000))
    metadata = {key: value for key, value in graph.metadata.items() if gates or key != "gates"}
    return replace(graph, metadata=metadata | {"teaching": some_teaching(codes, **changed).metadata()})


def some_teaching(codes: np.ndarray, **changed: object) -> Teaching:
    """By the mean of int8 `codes` [N, features], and a covariance in which all of them vary together."""
    size = codes.shape[1]
    mixing = np.random.default_rng(3).normal(size=(size, size))
    inverse = np.tril(np.linalg.inv(mixing.T @ mixing / size + 0.3 * np.eye(size)))
    rows = np.rint(inverse / np.abs(inverse).max() * 127)[np.tril_indices(len(inverse))].astype(np.int8)
    centre = np.rint(UNITS * (codes.mean(axis=0) + 128)).astype(np.int16)
    return replace(Teaching(2, 5, 3, 11, 2000, centre, rows, 0), **changed)  # type: ignore[arg-type]


def clips_of_a_word(graph: Graph, count: int, seed: int = 0) -> np.ndarray:
    """int8 [count, features] that the last layer may read: one pattern, louder and quieter."""
    rng = np.random.default_rng([seed, 7])
    size = Teaching.of(graph).features
    pattern = rng.integers(0, 200, size)
    loud = pattern * rng.uniform(0.7, 1.2, (count, 1)) + rng.normal(0, 10, (count, size))
    return np.clip(np.rint(loud) - 128, -128, 127).astype(np.int8)


def _even(graph: Graph) -> Graph:
    """`graph` with biases that make the mean logits of its labels equal."""
    codes, _ = hear(graph, features(graph, 64))
    head, last = head_with(graph, []), LastLayer.of(graph)
    means = (codes.astype(np.int64) - head.zero_point).mean(axis=0) @ head.weights.T.astype(np.int64)
    index, tensors = graph.main.operators[last.dense].inputs[2], list(graph.tensors)
    tensors[index] = replace(tensors[index], data=-np.rint(means).astype(np.int32))
    return replace(graph, tensors=tensors)
