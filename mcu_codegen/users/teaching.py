"""A word that a user teaches, learnt from a few clips of it: the specification.

Of a clip of the word, and of a negative, it takes the int8 features that the last layer reads. The negatives are the
factory's: what is not the word, chosen from the training data, in the metadata of the graph. The word's row
(`new_words`) begins with zeros and learns by itself (`regression`), beside the factory's rows, which stay: every step
begins with the scores of all labels, and the word's is to be code 127 for a clip and -128 for a negative. An epoch
takes the negatives in order, and after every `turn` of them the next clip, round and round. So a word is a function of
its clips and the metadata, and of no other word that was taught.

Under "teaching" the metadata have an object of these fields:

    {"epochs": 10, "rate": [weight shift, bias shift], "margin": 4, "turn": 4, "fewest": 3, "most": 10, "words": 4,
     "negatives": [features as hexadecimal bytes, one each]}

`emit.teaching` writes the same as C.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..errors import InputError
from ..execute.numpy_executor import NumpyExecutor
from ..graph import Graph
from ..listen.decision import SILENCE
from .gates import Gates, open_channels
from .learning_constants import integer, listed
from .new_words import LastLayer, Row, head_with
from .regression import MOST_BIAS_SHIFT, MOST_WEIGHT_SHIFT, Head, Rates, check_head

MOST_EPOCHS, MOST_CLIPS, MOST_WORDS, MOST_NEGATIVES = 255, 64, 16, 255


@dataclass(frozen=True, eq=False)
class Teaching:
    """How words are learnt."""

    epochs: int
    rates: Rates  # of one label
    margin: int  # of an error, in 1/256, from which a row learns
    turn: int  # negatives for each clip
    fewest: int  # clips of a word
    most: int
    words: int  # a user may teach
    negatives: np.ndarray  # int8 [N, features]

    @staticmethod
    def of(graph: Graph) -> Teaching:
        """What the metadata of `graph` say. Raises InputError where it can be taught no words."""
        return Teacher.of(graph).teaching

    @property
    def features(self) -> int:
        """That the last layer reads."""
        return int(self.negatives.shape[1])

    def metadata(self) -> dict[str, Any]:
        """As the metadata hold it."""
        rate = [self.rates.weights[0], self.rates.biases[0]]
        negatives = [row.tobytes().hex() for row in self.negatives]
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        return numbers | {"rate": rate, "negatives": negatives}


_NUMBERS = {
    "epochs": (1, MOST_EPOCHS),
    "margin": (1, 255),
    "turn": (1, MOST_NEGATIVES),
    "fewest": (1, MOST_CLIPS),
    "most": (1, MOST_CLIPS),
    "words": (1, MOST_WORDS),
}
"""Fields that are one integer, from one number to another."""


@dataclass(frozen=True)
class Teacher:
    """Teaches words to one network."""

    head: Head  # the last layer, with a blank row
    teaching: Teaching

    @staticmethod
    def of(graph: Graph) -> Teacher:
        """Raises InputError where `graph` can be taught no words."""
        head = head_of_new_word(graph)
        try:
            return Teacher(head, _teaching(graph.metadata.get("teaching"), head.weights.shape[1]))
        except InputError as error:
            raise InputError(f"model '{graph.name}': teaching: {error}") from None

    def learn(self, clips: np.ndarray) -> Row:
        """The row of the word in int8 `clips` [K, features]. Raises InputError where they cannot teach."""
        *_, last = self.steps(clips)
        return last

    def steps(self, clips: np.ndarray) -> Iterator[Row]:
        """As `learn`, with a stop after every epoch."""
        self.check(clips)
        teaching = self.teaching
        features, targets = _epoch(clips, teaching.negatives, teaching.turn)
        for head in self.head.fit(teaching.rates, teaching.margin, features, targets, teaching.epochs):
            yield Row(head.weights[-1], int(head.bias[-1]))

    def check(self, clips: np.ndarray) -> None:
        """Raises InputError where a word is not learnt from these."""
        teaching = self.teaching
        if not teaching.fewest <= len(clips) <= teaching.most:
            raise InputError(f"{len(clips)} clips of a word; {teaching.fewest} to {teaching.most} teach it")
        if clips.shape[1:] != (teaching.features,):
            raise InputError(f"clips of {clips.shape[1:]} features; {teaching.features} are accepted")


def hear(graph: Graph, inputs: np.ndarray, gates: Gates | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(int8 [N, features] that the last layer reads of int8 `inputs` (N, *input shape), with `gates` open; bool [N],
    in which of them the network hears silence, which is no word)."""
    values = NumpyExecutor(graph, {} if gates is None else open_channels(graph, gates)).run([inputs])
    last, labels = LastLayer.of(graph), list(graph.metadata.get("labels", []))
    best = values[last.scores].reshape(len(inputs), -1).argmax(axis=1)
    silent = best == labels.index(SILENCE) if SILENCE in labels else np.zeros(len(inputs), bool)
    return values[last.features].reshape(len(inputs), -1), silent


def can_be_taught(graph: Graph) -> bool:
    """Whether the metadata say how."""
    return "teaching" in graph.metadata


def check_rows(graph: Graph, rows: Sequence[Row]) -> None:
    """Raises InputError where these are not the rows of words that a user of `graph` may have taught."""
    teaching = Teaching.of(graph)
    if len(rows) > teaching.words:
        raise InputError(f"{len(rows)} new words; up to {teaching.words} can be taught")
    head_with(graph, rows)


def head_of_new_word(graph: Graph) -> Head:
    """The last layer of `graph` with a blank row. Raises InputError where a word cannot be learnt there."""
    if "exits" in graph.metadata:
        raise InputError(
            f"model '{graph.name}': it has early exits, which would answer before the last layer hears a new word;"
            " accepted is one without"
        )
    features = graph.tensors[LastLayer.of(graph).features].bytes
    head = head_with(graph, [Row.blank(features)])
    try:
        check_head(head)
    except InputError as error:
        raise InputError(f"model '{graph.name}': the last layer: {error}") from None
    return head


def _epoch(clips: np.ndarray, negatives: np.ndarray, turn: int) -> tuple[np.ndarray, np.ndarray]:
    """(features int8 [n, features], scores to learn int8 [n, 1]) in the order of an epoch."""
    features, targets, heard = [], [], 0
    for number, negative in enumerate(negatives, 1):
        features.append(negative)
        targets.append(-128)
        if number % turn == 0:
            features.append(clips[heard % len(clips)])
            targets.append(127)
            heard += 1
    return np.stack(features), np.array(targets, np.int8)[:, np.newaxis]


def _teaching(found: object, features: int) -> Teaching:
    names = [field.name for field in fields(Teaching) if field.name != "rates"] + ["rate"]
    if not isinstance(found, Mapping) or set(found) != set(names):
        raise InputError(f"found {found!r}; an object of {', '.join(names)} is accepted")
    numbers = {name: integer(name, found[name], *limits) for name, limits in _NUMBERS.items()}
    if numbers["fewest"] > numbers["most"]:
        raise InputError(f"fewest: found {numbers['fewest']}; up to {numbers['most']}, the most, is accepted")
    weight, bias = listed("rate", found["rate"], 2)
    rates = Rates((integer("rate", weight, 0, MOST_WEIGHT_SHIFT),), (integer("rate", bias, 0, MOST_BIAS_SHIFT),))
    rows = listed("negatives", found["negatives"], None)
    if not numbers["turn"] <= len(rows) <= MOST_NEGATIVES:
        raise InputError(f"negatives: found {len(rows)}; {numbers['turn']}, a turn, to {MOST_NEGATIVES} are accepted")
    try:
        negatives = np.stack([np.frombuffer(bytes.fromhex(row), np.int8) for row in rows])
    except (TypeError, ValueError) as error:
        raise InputError(f"negatives: damaged ({error})") from None
    if negatives.shape[1] != features:
        raise InputError(f"negatives: found {negatives.shape[1]} features; {features} are accepted")
    return Teaching(rates=rates, negatives=negatives, **numbers)
