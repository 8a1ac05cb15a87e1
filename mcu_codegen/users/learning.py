"""One user's exits, learnt on the device: heads and thresholds from a buffer of utterances. The specification.

The buffer holds, for each utterance, the int8 features of every early exit's head, the int8 scores of the last exit
and a label or none. What an utterance teaches are scores: code 127 for its label and -128 for the others; without a
label the last exit's own scores, where the highest is at least `sure`, and else nothing.

Each head learns by itself (`regression`), from the factory's weights on, in three parts. The buffer is split into two
folds, between which the utterances of a label alternate: part 0 learns from fold 1 and then scores fold 0, part 1 the
other way round, and part 2 learns from everything and stays. Thresholds and bypass (`thresholds`) come from the scores
of parts 0 and 1, for a head is too sure of what it has learnt from. So a user's exits are a function of the buffer
alone, but for bypass, which remembers the last estimate.

An epoch takes n utterances in the order k * stride % n, k = 0, 1, ..., where stride is the greatest number up to 5n/8,
or 1, that has no divisor in common with n: utterances of one label that were heard together are learnt apart.

`learning_constants` are in the metadata of the graph. `emit.learning` writes the same as C.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..errors import InputError
from ..execute.numpy_executor import NumpyExecutor
from ..graph import Graph
from .exits import exits_of
from .gates import Gates, open_channels
from .learning_constants import Constants, constants_of, heads_of
from .learnt import Learnt
from .regression import Rates
from .thresholds import bypass, losses

NO_LABEL = -1
PARTS = 3


@dataclass(frozen=True, eq=False)
class Utterances:
    """What a buffer holds of n utterances, by place."""

    features: tuple[np.ndarray, ...]  # by early exit, int8 [n, features]
    scores: np.ndarray  # of the last exit, int8 [n, labels]
    labels: np.ndarray  # int [n], NO_LABEL where there is none
    heard: int  # utterances ever, n or more

    @staticmethod
    def of(graph: Graph, inputs: np.ndarray, labels: Iterable[int], gates: Gates | None = None) -> Utterances:
        """All of int8 `inputs` (n, *input shape), in order, as the whole network hears them, with `gates` open."""
        values = NumpyExecutor(graph, {} if gates is None else open_channels(graph, gates)).run([inputs])
        features = tuple(values[each.features].reshape(len(inputs), -1) for each in exits_of(graph))
        scores = values[graph.main.outputs[-1]].reshape(len(inputs), -1)
        return Utterances(features, scores, np.fromiter(labels, np.int64), len(inputs))

    @staticmethod
    def nothing(graph: Graph) -> Utterances:
        """An empty buffer."""
        tensors = [*(each.features for each in exits_of(graph)), graph.main.outputs[-1]]
        sizes = [graph.tensors[index].bytes for index in tensors]
        *features, scores = (np.empty((0, size), np.int8) for size in sizes)
        return Utterances(tuple(features), scores, np.empty(0, np.int64), 0)

    def joined(self, more: Utterances, capacity: int) -> Utterances:
        """What a buffer that holds `capacity` keeps: utterance i is at place i % capacity, until another comes there.

        This one is such a buffer; `more` were heard after it, in order.
        """
        count = len(self.labels)
        places = np.arange(count)
        numbers = places + (self.heard - 1 - places) // max(count, 1) * count
        numbers = np.concatenate([numbers, self.heard + np.arange(len(more.labels))])
        latest = np.argsort(numbers)[-capacity:]
        chosen = latest[np.argsort(numbers[latest] % capacity)]

        def kept(first: np.ndarray, second: np.ndarray) -> np.ndarray:
            return np.concatenate([first, second])[chosen]

        features = tuple(map(kept, self.features, more.features))
        scores, labels = kept(self.scores, more.scores), kept(self.labels, more.labels)
        return Utterances(features, scores, labels, self.heard + len(more.labels))


@dataclass(frozen=True)
class Step:
    """A head after one epoch."""

    exit: int
    part: int
    head: Teachable


class Teachable(Protocol):
    """A head that learns: `regression.Head`, or one of real numbers to compare it with."""

    @property
    def weights(self) -> np.ndarray: ...

    @property
    def bias(self) -> np.ndarray: ...

    def scores(self, features: np.ndarray) -> np.ndarray: ...

    def fit(
        self, rates: Rates, margin: int, features: np.ndarray, targets: np.ndarray, epochs: int
    ) -> Iterator[Teachable]: ...


@dataclass(frozen=True)
class Learner:
    """Learns users of one network."""

    heads: tuple[Teachable, ...]  # the factory's, by early exit
    constants: Constants

    @staticmethod
    def of(graph: Graph) -> Learner:
        """Raises InputError where the exits of `graph` cannot be learnt."""
        return Learner(heads_of(graph), constants_of(graph))

    def learn(self, utterances: Utterances, met: Sequence[bool] | None = None) -> Learnt:
        """The exits of a user. `met`: which met the goal at the last estimate, in a `Learnt`; None: the first one.

        Raises InputError where the buffer cannot teach.
        """
        steps = self.steps(utterances, met)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                learnt: Learnt = end.value
                return learnt

    def steps(self, utterances: Utterances, met: Sequence[bool] | None = None) -> Generator[Step, None, Learnt]:
        """As `learn`, with a stop after every epoch."""
        self.check(utterances)
        constants, labels = self.constants, utterances.labels
        targets, taught = self._targets(utterances)
        folds = _folds(np.where(labels < 0, utterances.scores.argmax(axis=1), labels))
        order = np.array(_order(len(labels)))
        learnt, codes, lost = [], [], []
        for number, features in enumerate(utterances.features):
            head, rates = self.heads[number], constants.rates[number]
            scores = np.empty_like(utterances.scores)
            for part in range(PARTS):
                head = self.heads[number]
                used = order[(taught & (folds != part))[order]]
                for after in head.fit(rates, constants.margin, features[used], targets[used], constants.epochs):
                    head = after
                    yield Step(number, part, head)
                scores[folds == part] = head.scores(features[folds == part])
            codes.append(scores.max(axis=1))
            lost.append(losses(scores, utterances.scores, labels))
            learnt.append(head)
        heard, goal = (np.stack(codes), np.stack(lost)), constants.goal
        enough = len(labels) >= constants.bypass_utterances
        now = tuple(enough and goal.good(each, *heard) for each in constants.bypasses)
        before = [False] * len(now) if met is None else met
        return Learnt(
            tuple(head.weights for head in learnt),
            tuple(head.bias for head in learnt),
            goal.choose(constants.points, *heard),
            now,
            bypass(before, now),
        )

    def _targets(self, utterances: Utterances) -> tuple[np.ndarray, np.ndarray]:
        """(scores to learn, int8 [n, labels]; whether there is something to learn, bool [n])."""
        labelled = utterances.labels >= 0
        own = np.where(np.arange(utterances.scores.shape[1]) == utterances.labels[:, np.newaxis], 127, -128)
        targets = np.where(labelled[:, np.newaxis], own, utterances.scores).astype(np.int8)
        return targets, labelled | (utterances.scores.max(axis=1) >= self.constants.sure)

    def check(self, utterances: Utterances) -> None:
        """Raises InputError where this is no buffer from which the exits can learn."""
        count, labels = utterances.scores.shape
        if not self.constants.fewest <= count <= self.constants.capacity:
            raise InputError(
                f"{count} utterances; {self.constants.fewest} to {self.constants.capacity} are accepted, from which"
                " exits learn"
            )
        wanted = [(count, head.weights.shape[1]) for head in self.heads]
        found = [features.shape for features in utterances.features]
        if found != wanted or labels != len(self.heads[0].weights) or utterances.labels.shape != (count,):
            raise InputError(
                f"a buffer of features {found} and scores {(count, labels)}; features {wanted} are accepted"
            )
        if utterances.heard != count and not utterances.heard > count == self.constants.capacity:
            raise InputError(f"a buffer of {count} after {utterances.heard} utterances; one that fills up is accepted")
        if not np.all((utterances.labels >= NO_LABEL) & (utterances.labels < labels)):
            odd = utterances.labels[(utterances.labels < NO_LABEL) | (utterances.labels >= labels)][0]
            raise InputError(f"label {odd}; 0 to {labels - 1}, or {NO_LABEL} for none, are accepted")


def _folds(labels: np.ndarray) -> np.ndarray:
    """0 or 1 by utterance: those of a label alternate."""
    seen: dict[int, int] = {}
    folds = []
    for label in labels.tolist():
        seen[label] = seen.get(label, -1) + 1
        folds.append(seen[label] % 2)
    return np.array(folds, np.int64)


def _order(count: int) -> list[int]:
    """The places of `count` utterances as an epoch takes them."""
    stride = max(count * 5 // 8, 1)
    while math.gcd(stride, count) != 1:
        stride -= 1
    return [k * stride % count for k in range(count)]
