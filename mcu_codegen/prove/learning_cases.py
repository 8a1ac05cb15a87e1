"""Random work for the C of learning: what there is to hear, to learn from and to load, some of it damaged."""

from __future__ import annotations

import numpy as np

from ..graph import Graph
from ..listen.decision import SILENCE, UNKNOWN
from ..users.blob import blob, labels_of, user_groups
from ..users.exits import exits_of
from ..users.gates import all_open
from ..users.learning import NO_LABEL, Learner, Utterances
from ..users.learning_constants import heads_of
from ..users.learnt import Learnt
from .learning import Given, Stored


def random_given(graph: Graph, heard: np.ndarray, seed: int = 0, buffers: int = 6) -> Given:
    """Utterances with random labels, buffers that teach or not, and blobs that are good or not.

    `heard` is int8 (N, *input shape).
    """
    rng = np.random.default_rng([seed, 3])
    constants, exits = Learner.of(graph).constants, len(exits_of(graph))
    said = rng.integers(NO_LABEL, len(labels_of(graph)), len(heard)).tolist()
    stored = []
    for number in range(buffers):
        count = constants.capacity if number % 2 == 0 else int(rng.integers(0, constants.capacity + 1))
        buffer = _random_buffer(graph, rng, count, ends=number % 3 == 2)
        if number == 1:  # what is heard
            buffer = Utterances.nothing(graph).joined(Utterances.of(graph, heard, said), constants.capacity)
        met = rng.integers(0, 2, exits).astype(bool).tolist()
        stored.append(Stored(buffer, met, broken=0 if number == 4 else None))
    odd = _random_buffer(graph, rng, constants.capacity)
    odd.labels[0] = len(labels_of(graph))
    stored.append(Stored(odd, [False] * exits))
    return Given(heard, said, stored, _odd_blobs(graph, rng))


def random_learnt(graph: Graph, rng: np.random.Generator) -> Learnt:
    """Any exits that a user of `graph` may have."""
    heads = heads_of(graph)
    met = rng.integers(0, 2, len(heads)).astype(bool).tolist()
    may = [place for place, each in enumerate(met) if each] + [len(heads)]
    return Learnt(
        tuple(rng.integers(-127, 128, head.weights.shape).astype(np.int8) for head in heads),
        tuple(rng.integers(-(1 << 22), (1 << 22) + 1, head.bias.shape).astype(np.int32) for head in heads),
        tuple(rng.integers(-128, 129, len(heads)).tolist()),
        tuple(met),
        int(rng.choice(may)),
    )


def _random_buffer(graph: Graph, rng: np.random.Generator, count: int, ends: bool = False) -> Utterances:
    """`ends`: all features at the ends of their range."""
    labels = len(labels_of(graph))
    codes = [
        rng.choice([-128, 127], (count, size)) if ends else rng.integers(-128, 128, (count, size))
        for size in _sizes(graph)
    ]
    scores = rng.integers(-128, 128, (count, labels)).astype(np.int8)
    capacity = Learner.of(graph).constants.capacity
    heard = count if count < capacity else count + int(rng.integers(0, 1000))
    said = rng.integers(NO_LABEL, labels, count)
    return Utterances(tuple(each.astype(np.int8) for each in codes), scores, said, heard)


def _odd_blobs(graph: Graph, rng: np.random.Generator) -> list[bytes]:
    """Good ones, and ones with a byte changed."""
    open_ = all_open(user_groups(graph))
    word = [label for label in labels_of(graph) if label not in (SILENCE, UNKNOWN)][:1]
    good = [blob(graph, open_, words, random_learnt(graph, rng)) for words in (None, word)]
    good += [blob(graph, open_, word), blob(graph, open_)]
    places = rng.integers(0, len(good[0]), 20).tolist()
    return [*good, *(good[0][:at] + bytes([good[0][at] ^ 1]) + good[0][at + 1 :] for at in places), good[1][:-1], b""]


def _sizes(graph: Graph) -> list[int]:
    return [graph.tensors[each.features].bytes for each in exits_of(graph)]
