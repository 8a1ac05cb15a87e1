"""A user's exits as the user's file holds them: the buffer that they learnt from, and what they learnt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..graph import Graph
from .learning import Learner, Utterances
from .learnt import Learnt, check_learnt


@dataclass(frozen=True, eq=False)
class OwnExits:
    """The buffer and the latest `Learner.learn` of it."""

    buffer: Utterances
    learnt: Learnt

    def to_dict(self) -> dict[str, Any]:
        """For JSON: arrays of int8 are hexadecimal bytes, one row after the other."""
        buffer, learnt = self.buffer, self.learnt
        return {
            "heard": buffer.heard,
            "labels": buffer.labels.tolist(),
            "scores": buffer.scores.tobytes().hex(),
            "features": [each.tobytes().hex() for each in buffer.features],
            "weights": [each.tobytes().hex() for each in learnt.weights],
            "biases": [each.tolist() for each in learnt.biases],
            "thresholds": list(learnt.thresholds),
            "met": list(learnt.met),
            "bypass": learnt.bypass,
        }

    @staticmethod
    def from_dict(values: Any, model: Graph) -> OwnExits:
        """What `to_dict` described. Raises InputError where it is damaged, or does not fit `model`."""
        learner = Learner.of(model)
        shapes = [head.weights.shape for head in learner.heads]
        try:
            buffer = _buffer(values, shapes)
            learnt = _learnt(values, shapes)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"exits: damaged ({error})") from None
        learner.check(buffer)
        check_learnt(model, learnt)
        return OwnExits(buffer, learnt)


def _buffer(values: Any, shapes: list[tuple[int, ...]]) -> Utterances:
    labels = np.array([_integer(label) for label in values["labels"]], np.int64)
    features = [_int8(text, (len(labels), shape[1])) for text, shape in zip(values["features"], shapes, strict=True)]
    scores = _int8(values["scores"], (len(labels), shapes[0][0]))
    return Utterances(tuple(features), scores, labels, _integer(values["heard"]))


def _learnt(values: Any, shapes: list[tuple[int, ...]]) -> Learnt:
    met = values["met"]
    if not all(type(each) is bool for each in met):
        raise ValueError(f"met: {met!r}")
    return Learnt(
        tuple(_int8(text, shape) for text, shape in zip(values["weights"], shapes, strict=True)),
        tuple(np.array([_integer(each) for each in row], np.int32) for row in values["biases"]),
        tuple(_integer(each) for each in values["thresholds"]),
        tuple(met),
        _integer(values["bypass"]),
    )


def _int8(text: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(text), np.int8).reshape(shape)


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no integer")
    return value
