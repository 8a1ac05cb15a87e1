"""A word that a user teaches, learnt from a few clips of it: the specification.

Of a clip it takes the int8 features x that the last layer reads, and of several clips only their sum. The word's row
(`new_words`) is its linear discriminant (Fisher 1936) among words that lie about their means as those of the training
data do: the factory's inverse of that covariance, scaled, times the distance of the clips' mean from the `centre` of
all words. There are no steps and no rate. With `UNITS` parts of a feature's code:

    mean[i]   = (UNITS * sum over clips (x[i] + 128) + clips / 2) / clips, rounded down
    weight[i] = (sum over j (inverse[i, j] * (mean[j] - centre[j])) + half) >> shift, where half = 2^shift / 2
    bias      = offset - ((sum over i (weight[i] * (mean[i] + centre[i] - 2 * UNITS * (zero point + 128))) + UNITS)
                          >> UNIT_BITS + 1)

where weights saturate to -MOST_WEIGHT..MOST_WEIGHT before the bias is made of them, and that to +-MOST_BIAS. A word is
a function of its clips and the metadata: of no order, and of no other word that was taught. Every intermediate value
fits int32 for up to `MOST_FEATURES` features.

Under "teaching" the metadata have an object of these fields:

    {"fewest": 3, "most": 10, "words": 4, "shift": 11, "offset": 3900,
     "centre": UNITS parts, as hexadecimal bytes of little-endian int16, "inverse": the rows of the lower triangle,
     diagonal included, one after the other, as hexadecimal bytes of int8}

`emit.teaching` writes the same as C.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .. import arithmetic
from ..errors import InputError
from ..execute.numpy_executor import NumpyExecutor
from ..graph import Graph
from ..listen.decision import SILENCE
from .gates import Gates, open_channels
from .learning_constants import integer
from .new_words import LastLayer, Row, head_with
from .regression import MOST_BIAS, MOST_WEIGHT, Head, check_head

UNIT_BITS = 4
UNITS = 1 << UNIT_BITS  # parts of a feature's code, in which means are counted
MOST_MEAN = 255 * UNITS
MOST_SHIFT = 30
MOST_CLIPS, MOST_WORDS = 64, 16
MOST_FEATURES = arithmetic.INT32_MAX // (2 * MOST_MEAN * MOST_WEIGHT)


@dataclass(frozen=True, eq=False)
class Teaching:
    """How one network learns words."""

    fewest: int  # clips of a word
    most: int
    words: int  # a user may teach
    shift: int
    offset: int  # of a bias
    centre: np.ndarray  # int16 [features], 0..MOST_MEAN
    inverse: np.ndarray  # int8 [features * (features + 1) / 2], the rows of the lower triangle
    zero_point: int  # of the features

    @staticmethod
    def of(graph: Graph) -> Teaching:
        """What the metadata of `graph` say. Raises InputError where it can be taught no words."""
        head = head_of_new_word(graph)
        try:
            return _teaching(graph.metadata.get("teaching"), head)
        except InputError as error:
            raise InputError(f"model '{graph.name}': teaching: {error}") from None

    @property
    def features(self) -> int:
        """That the last layer reads."""
        return len(self.centre)

    def metadata(self) -> dict[str, Any]:
        """As the metadata hold it."""
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        return numbers | {"centre": self.centre.astype("<i2").tobytes().hex(), "inverse": self.inverse.tobytes().hex()}

    def learn(self, clips: np.ndarray) -> Row:
        """The row of the word in int8 `clips` [K, features]. Raises InputError where they cannot teach."""
        self.check(clips)
        count, square = len(clips), self._square()
        mean = (UNITS * sums(clips) + count // 2) // count
        moved = square @ (mean - self.centre) + ((1 << self.shift) >> 1) >> self.shift
        weights = np.clip(moved, -MOST_WEIGHT, MOST_WEIGHT)
        half_way = int(weights @ (mean + self.centre - 2 * UNITS * (self.zero_point + 128)))
        bias = self.offset - (half_way + UNITS >> UNIT_BITS + 1)
        return Row(weights.astype(np.int8), min(max(bias, -MOST_BIAS), MOST_BIAS))

    def check(self, clips: np.ndarray) -> None:
        """Raises InputError where a word is not learnt from these."""
        if not self.fewest <= len(clips) <= self.most:
            raise InputError(f"{len(clips)} clips of a word; {self.fewest} to {self.most} teach it")
        if clips.shape[1:] != (self.features,):
            raise InputError(f"clips of {clips.shape[1:]} features; {self.features} are accepted")

    def _square(self) -> np.ndarray:
        """int64 [features, features]."""
        whole = np.zeros((self.features, self.features), np.int64)
        whole[np.tril_indices(self.features)] = self.inverse
        return whole + np.tril(whole, -1).T


_NUMBERS = {
    "fewest": (1, MOST_CLIPS),
    "most": (1, MOST_CLIPS),
    "words": (1, MOST_WORDS),
    "shift": (0, MOST_SHIFT),
    "offset": (-MOST_BIAS, MOST_BIAS),
}
"""Fields that are one integer, from one number to another."""


def sums(clips: np.ndarray) -> np.ndarray:
    """All that learning takes of the features of clips, int8 [K, features], beside their number: int64 [features]."""
    return np.asarray((clips.astype(np.int64) + 128).sum(axis=0))


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
        if features > MOST_FEATURES:
            raise InputError(f"{features} features; up to {MOST_FEATURES} are accepted")
        check_head(head.last_label())  # the others stay as they are
    except InputError as error:
        raise InputError(f"model '{graph.name}': the last layer: {error}") from None
    return head


def _teaching(found: object, head: Head) -> Teaching:
    names = [field.name for field in fields(Teaching) if field.name != "zero_point"]
    if not isinstance(found, Mapping) or set(found) != set(names):
        what = ", ".join(map(str, found)) if isinstance(found, Mapping) else repr(found)
        raise InputError(f"found {what}; an object of {', '.join(names)} is accepted (`kws meta adapt --data`)")
    numbers = {name: integer(name, found[name], *limits) for name, limits in _NUMBERS.items()}
    if numbers["fewest"] > numbers["most"]:
        raise InputError(f"fewest: found {numbers['fewest']}; up to {numbers['most']}, the most, is accepted")
    features = head.weights.shape[1]
    centre = _codes("centre", found["centre"], "<i2", features)
    if centre.min() < 0 or centre.max() > MOST_MEAN:
        raise InputError(f"centre: found {centre.min()} to {centre.max()}; 0 to {MOST_MEAN} are accepted")
    inverse = _codes("inverse", found["inverse"], "i1", features * (features + 1) // 2)
    return Teaching(centre=centre.astype(np.int16), inverse=inverse, zero_point=int(head.zero_point), **numbers)


def _codes(name: str, found: object, kind: str, count: int) -> np.ndarray:
    try:
        codes = np.frombuffer(bytes.fromhex(found), kind)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: damaged ({error})") from None
    if len(codes) != count:
        raise InputError(f"{name}: found {len(codes)} numbers; {count} are accepted")
    return codes
