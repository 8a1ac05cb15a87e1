"""Early exits: where inference may stop. What the metadata say of them, checked, and which exit answers.

The outputs of the main entry are the int8 scores of every exit, by depth; the last are the whole network's own. The
metadata set, under "exits", ``{"thresholds": [one a early exit]}``: inference stops at the first exit whose highest
score code is at least its threshold, so that 128 never stops there. `emit.exits` writes the same as C. A graph whose
metadata lack "exits" has none, whatever its outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..graph import Graph, Operator, Tensor

ALWAYS, NEVER = -128, 128
"""The thresholds that every score reaches, and none."""

_SCORES = (1 / 256, -128)  # scale and zero point


@dataclass(frozen=True)
class Exit:
    """An early exit of the main entry: its head ends in FULLY_CONNECTED and SOFTMAX."""

    name: str  # of the tensor of scores
    scores: int  # that tensor, int8 [1, labels]
    head: int  # position of its FULLY_CONNECTED in main.operators
    features: int  # the tensor that FULLY_CONNECTED reads
    threshold: int  # the factory's, ALWAYS..NEVER


def exits_of(graph: Graph) -> tuple[Exit, ...]:
    """The early exits of `graph`, by depth; none where its metadata list none.

    Raises InputError where the metadata do not fit the outputs, or the operators are not in the order of the exits.
    """
    if "exits" not in graph.metadata:
        return ()
    try:
        return _exits(graph)
    except InputError as error:
        raise InputError(f"model '{graph.name}': exits: {error}") from None


def stopped(scores: np.ndarray, thresholds: Sequence[int] | np.ndarray) -> np.ndarray:
    """Which exit answers, int[N]: the first one that is sure; the number of early exits where none is.

    `scores` are int8 [early exits, N, labels]; `thresholds` are one an exit, or one for each sample [early exits, N].
    """
    limits = np.asarray(thresholds, np.int64)
    sure = scores.max(axis=2) >= (limits if limits.ndim == 2 else limits[:, np.newaxis])
    return np.vstack([sure, np.ones((1, scores.shape[1]), bool)]).argmax(axis=0)


def answers(
    graph: Graph, values: Mapping[int, np.ndarray], thresholds: Sequence[int] | np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(which exit answers, int[N]; its scores, int8 [N, labels]) where `values` (N, *shape), by tensor, are of all
    layers.

    `thresholds` as in `stopped`; None: the factory's. A network without exits answers with its last output.
    """
    exits = exits_of(graph)
    every = [values[index] for index in (*(each.scores for each in exits), graph.main.outputs[-1])]
    scores = np.stack([each.reshape(len(each), -1) for each in every])
    chosen = stopped(scores[:-1], [each.threshold for each in exits] if thresholds is None else thresholds)
    return chosen, scores[chosen, np.arange(len(chosen))]


def needed_for(graph: Graph, index: int) -> set[int]:
    """The positions of all operators of the main entry without which tensor `index` cannot be computed."""
    writers = _writers(graph)
    return _needed(graph.main.operators, writers, writers[index])


def _writers(graph: Graph) -> dict[int, int]:
    """By tensor, the position of the operator that writes it."""
    return {operator.outputs[0]: position for position, operator in enumerate(graph.main.operators)}


def written(graph: Graph, index: int, kind: str) -> int:
    """The position of the operator of the main entry that writes a tensor. Raises InputError where it is no `kind`."""
    position = _writers(graph).get(index)
    found = "no operator" if position is None else graph.main.operators[position].kind
    if position is None or found != kind:
        raise InputError(f"tensor '{graph.tensors[index].name}' is written by {found}; {kind} is accepted")
    return position


def _exits(graph: Graph) -> tuple[Exit, ...]:
    listed, outputs = graph.metadata["exits"], graph.main.outputs
    thresholds = listed.get("thresholds") if isinstance(listed, dict) else None
    if not isinstance(thresholds, list) or len(thresholds) != len(outputs) - 1 or not thresholds:
        raise InputError(f"found thresholds {thresholds!r} for {len(outputs)} outputs; one an output but the last")
    for threshold in thresholds:
        if type(threshold) is not int or not ALWAYS <= threshold <= NEVER:
            raise InputError(f"threshold {threshold!r}; accepted are integers from {ALWAYS} to {NEVER}")
    if any(tensor.persistent for tensor in graph.tensors):
        raise InputError("persistent tensors would be behind the time after a stop; none are accepted")
    shape = graph.tensors[outputs[-1]].shape
    if len(shape) != 2 or shape[0] != 1:
        raise InputError(f"scores '{graph.tensors[outputs[-1]].name}' are of shape {shape}; (1, labels) is accepted")
    writers = _writers(graph)
    layers = [layer for layer, _ in graph.layers()]
    needed: set[int] = set()
    found = []
    for index, threshold in zip(outputs, [*thresholds, NEVER], strict=True):
        tensor = graph.tensors[index]
        last = written(graph, index, "SOFTMAX")
        _check_scores(tensor, shape)
        needed |= _needed(graph.main.operators, writers, last)
        if odd := set(range(last + 1)) ^ needed:
            raise InputError(f"{layers[min(odd)]} is out of order: exit '{tensor.name}' is complete without it")
        if index == outputs[-1]:
            break
        head = written(graph, graph.main.operators[last].inputs[0], "FULLY_CONNECTED")
        features, weights = graph.main.operators[head].inputs[:2]
        if graph.tensors[features].bytes != graph.tensors[weights].shape[-1]:
            raise InputError(f"{layers[head]}: {graph.tensors[features].bytes} inputs; one row of weights takes all")
        found.append(Exit(tensor.name, index, head, features, threshold))
    return tuple(found)


def _check_scores(tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tensor.dtype != "int8" or tensor.shape != shape or (tensor.scale, tensor.zero_point) != _SCORES:
        raise InputError(
            f"scores '{tensor.name}' are {tensor.dtype} {tensor.shape} with scale {tensor.scale} and zero point"
            f" {tensor.zero_point}; accepted are int8 {shape} with scale 1/256 and zero point -128"
        )


def _needed(operators: Sequence[Operator], writers: Mapping[int, int], last: int) -> set[int]:
    """The positions of all operators without which that at `last` cannot be computed, itself among them."""
    found: set[int] = set()
    open_ = [last]
    while open_:
        position = open_.pop()
        if position not in found:
            found.add(position)
            open_ += [writers[index] for index in operators[position].inputs if index in writers]
    return found
