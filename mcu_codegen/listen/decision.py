"""From scores to detections, in integers: the specification, and its execution in Python.

Time is counted in hops of the front end. Once every `stride_hops` hops the network runs; its int8 scores (softmax:
scale 1/256, zero point -128) are averaged over the last `smoothing` inferences, those before the first counting as
zero. The label with the highest average (the first of equals) is detected if it is a keyword and its average reaches
`threshold`; for `refractory_hops` hops after a detection every further one is suppressed. A user may use only some of
the keywords; then the others take no part. `emit.decision` writes the same as C.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from ..errors import InputError

SILENCE, UNKNOWN = "_silence_", "_unknown_"

_LIMITS = {"stride_hops": (1, 1000), "smoothing": (1, 64), "threshold": (1, 255), "refractory_hops": (1, 65535)}


@dataclass(frozen=True)
class Decision:
    """What the firmware decides by. Raises InputError where a field is no integer within its limits."""

    stride_hops: int = 10  # hops between inferences
    smoothing: int = 3  # inferences averaged
    threshold: int = 128  # of the average score, in 1/256
    refractory_hops: int = 50  # hops after a detection without another

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise InputError(f"decision: {name} is {value!r}; accepted is an integer from {low} to {high}")

    def text(self) -> str:
        """For a terminal."""
        return (
            f"smoothing {self.smoothing}, threshold {self.threshold}, refractory time {self.refractory_hops} hops, an"
            f" inference every {self.stride_hops} hops"
        )

    def to_dict(self) -> dict[str, int]:
        return asdict(self)

    @staticmethod
    def from_dict(values: Any) -> Decision:
        """The decision that `to_dict` described. Raises InputError where a field is missing, unknown or bad."""
        names = [field.name for field in fields(Decision)]
        if not isinstance(values, Mapping) or set(values) != set(names):
            found = ", ".join(map(str, values)) if isinstance(values, Mapping) else repr(values)
            raise InputError(f"decision: found {found or 'no field'}; accepted are exactly {', '.join(names)}")
        return Decision(**values)


@dataclass(frozen=True)
class Detection:
    label: int  # index into the labels
    hop: int  # hops heard when it was decided, modulo 2**32
    suppressed: bool  # it fell into the refractory time of an earlier one


class Detector:
    """The state of a decision over one stream: `hop` after every hop, `step` whenever `hop` asks for an inference."""

    def __init__(self, decision: Decision, labels: Sequence[str], words: Sequence[str] | None = None) -> None:
        """`labels` in the order of the scores; _silence_ and _unknown_ are never detected. `words` as in `allowed`."""
        self.decision = decision
        self.keywords = keywords(labels)
        self._allowed = np.array(allowed(labels, words))
        self.reset()

    def reset(self) -> None:
        """Forget all scores and detections; the next hop is the first."""
        self._scores = np.zeros((self.decision.smoothing, len(self.keywords)), np.int64)
        self._next = 0
        self._hops = 0
        self._until_inference = self.decision.stride_hops
        self._last: int | None = None

    def hop(self) -> bool:
        """Count one hop. True when an inference is due; then call `step` with its scores before the next hop."""
        self._hops = (self._hops + 1) & 0xFFFFFFFF
        self._until_inference -= 1
        if self._until_inference > 0:
            return False
        self._until_inference = self.decision.stride_hops
        return True

    def step(self, scores: np.ndarray) -> Detection | None:
        """Take the int8 scores [labels] of one inference."""
        self._scores[self._next] = scores.astype(np.int64) + 128
        self._next = (self._next + 1) % self.decision.smoothing
        sums = np.where(self._allowed, self._scores.sum(axis=0), -1)
        best = int(sums.argmax())
        if not self.keywords[best] or sums[best] < self.decision.threshold * self.decision.smoothing:
            return None
        refractory = self._last is not None and (self._hops - self._last) & 0xFFFFFFFF < self.decision.refractory_hops
        if not refractory:
            self._last = self._hops
        return Detection(best, self._hops, refractory)


def keywords(labels: Sequence[str]) -> list[bool]:
    """Which of `labels` can be detected. Raises InputError where the labels are no names or there are too few."""
    if not 2 <= len(labels) <= 127 or not all(isinstance(label, str) and label for label in labels):
        raise InputError(f"labels: found {list(labels)}; accepted are 2 to 127 names")
    return [label not in (SILENCE, UNKNOWN) for label in labels]


def detectable(labels: Sequence[str]) -> list[str]:
    """Those of `labels` that are keywords. Raises InputError as `keywords` does."""
    return [label for label, keyword in zip(labels, keywords(labels), strict=True) if keyword]


def allowed(labels: Sequence[str], words: Sequence[str] | None) -> list[bool]:
    """Which of `labels` may be decided for a user of the keywords `words` only; None: all of them.

    _silence_ and _unknown_ always may. Raises InputError where a word is no keyword, or there are none.
    """
    every = detectable(labels)
    chosen = every if words is None else list(words)
    odd = [word for word in chosen if word not in every]
    if odd or (words is not None and not chosen):
        raise InputError(f"words: found {odd[0] if odd else 'none'!r}; accepted are {', '.join(every)}")
    return [label in chosen or label not in every for label in labels]
