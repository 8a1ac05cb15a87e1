"""Words that a user has taught: rows of the last layer, and the network that has them.

A word is one label more: a row of weights and a bias of the last FULLY_CONNECTED, on whose logits SOFTMAX ends the main
entry. The other rows stay as they are, and so do their logits: where the new one is not the highest, the best label is
the one it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import lower
from ..errors import InputError
from ..graph import Entry, Graph, Quantization, Tensor
from ..listen.decision import keywords
from .exits import written
from .learnt import fits
from .regression import MOST_BIAS, MOST_WEIGHT, Head, head_of


@dataclass(frozen=True, eq=False)
class Row:
    """What a word adds to the last layer. Its weights have the scale of the factory's coarsest row."""

    weights: np.ndarray  # int8 [features], -MOST_WEIGHT..MOST_WEIGHT
    bias: int  # -MOST_BIAS..MOST_BIAS

    @staticmethod
    def blank(features: int) -> Row:
        """That of a word of which nothing is known."""
        return Row(np.zeros(features, np.int8), 0)


@dataclass(frozen=True, eq=False)
class NewWord:
    """A word that a user has taught, as her file holds it."""

    name: str
    clips: np.ndarray  # int8 [K, features], from which its row was learnt
    row: Row

    def to_dict(self) -> dict[str, Any]:
        """For JSON: arrays of int8 are hexadecimal bytes."""
        clips = [clip.tobytes().hex() for clip in self.clips]
        return {"name": self.name, "clips": clips, "weights": self.row.weights.tobytes().hex(), "bias": self.row.bias}

    @staticmethod
    def from_dict(values: Any) -> NewWord:
        """What `to_dict` described. Raises InputError where it is damaged."""
        try:
            clips, weights = (
                [np.frombuffer(bytes.fromhex(row), np.int8) for row in rows]
                for rows in (values["clips"], [values["weights"]])
            )
            if type(values["bias"]) is not int or type(values["name"]) is not str:
                raise TypeError(f"name {values['name']!r}, bias {values['bias']!r}")
            return NewWord(values["name"], np.stack(clips), Row(weights[0], values["bias"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"new words: damaged ({error})") from None


@dataclass(frozen=True)
class LastLayer:
    """Where the main entry of a graph ends: operators, by position, and tensors."""

    dense: int  # FULLY_CONNECTED
    softmax: int
    features: int  # the tensor that FULLY_CONNECTED reads
    logits: int
    scores: int

    @staticmethod
    def of(graph: Graph) -> LastLayer:
        """Raises InputError where it ends in something else."""
        operators = graph.main.operators
        scores = graph.main.outputs[-1]
        try:
            softmax = written(graph, scores, "SOFTMAX")
            logits = operators[softmax].inputs[0]
            dense = written(graph, logits, "FULLY_CONNECTED")
        except InputError as error:
            raise InputError(f"model '{graph.name}': {error}") from None
        return LastLayer(dense, softmax, operators[dense].inputs[0], logits, scores)


def with_words(graph: Graph, rows: Sequence[Row], names: Sequence[str]) -> Graph:
    """`graph` with a label more for each of `rows`, an ordinary graph. Raises InputError where it can have none."""
    if not rows:
        return graph
    last, labels = LastLayer.of(graph), [*graph.metadata.get("labels", []), *names]
    keywords(labels)
    if len(set(labels)) < len(labels):
        raise InputError(f"word '{names[-1]}': the model has it already; it has {', '.join(graph.metadata['labels'])}")
    operators = list(graph.main.operators)
    dense = operators[last.dense]
    if len(dense.inputs) < 3 or dense.inputs[2] < 0:
        raise InputError(f"model '{graph.name}': the last layer has no bias, which a new word needs")
    weights, bias = (graph.tensors[index] for index in dense.inputs[1:3])
    assert weights.data is not None and bias.data is not None
    features = graph.tensors[last.features].bytes
    for row in rows:
        if row.weights.shape != (features,) or not fits(row.weights, np.array(row.bias)):
            raise InputError(
                f"a row of {row.weights.size} weights; {features} of up to {MOST_WEIGHT}, and a bias of up to"
                f" {MOST_BIAS}, are accepted"
            )
    own_weights = np.array([row.weights for row in rows], np.int8).reshape(len(rows), features)
    own_bias = np.array([row.bias for row in rows], np.int32)
    tensors = list(graph.tensors)
    first = len(tensors)
    tensors.append(_longer(weights, np.concatenate([weights.data.reshape(-1, features), own_weights])))
    tensors.append(_longer(bias, np.concatenate([bias.data.reshape(-1), own_bias])))
    for index in (last.logits, last.scores):
        tensors.append(replace(tensors[index], shape=(1, len(weights.data) + len(rows))))
    logits, scores = first + 2, first + 3
    operators[last.dense] = replace(dense, inputs=(last.features, first, first + 1), outputs=(logits,))
    operators[last.softmax] = replace(operators[last.softmax], inputs=(logits,), outputs=(scores,))
    main = Entry(graph.main.name, graph.main.inputs, (*graph.main.outputs[:-1], scores), operators)
    metadata = graph.metadata | {"labels": labels}
    metadata.pop("target_fa", None)  # the decision was chosen for the other words
    return Graph(graph.name, tensors, [main, *graph.entries[1:]], metadata, graph.sha256)


def head_with(graph: Graph, rows: Sequence[Row]) -> Head:
    """The last layer with `rows`. Raises InputError where it can have none."""
    grown = with_words(graph, rows, [f"word {number}" for number in range(len(rows))])
    last, layers = LastLayer.of(grown), [layer for layer, _ in grown.layers()]
    dense, softmax = (lower.lower(grown, grown.main.operators[at], layers[at]) for at in (last.dense, last.softmax))
    assert isinstance(dense, lower.FullyConnected) and isinstance(softmax, lower.Softmax)
    return head_of(dense, softmax)


def _longer(tensor: Tensor, data: np.ndarray) -> Tensor:
    """`tensor` with `data`, which have more rows; the new ones have the coarsest scale."""
    quantization = tensor.quantization  # a bias may have none
    if quantization is not None and not quantization.per_tensor:
        more = len(data) - len(quantization.scale)
        scales = (*quantization.scale, *(max(quantization.scale),) * more)
        quantization = Quantization(scales, (0,) * len(scales))
    return replace(tensor, shape=data.shape, data=data, quantization=quantization)
