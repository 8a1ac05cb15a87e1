"""What decisions detect in hours of scores: `listen.decision.Detector` for many inferences and settings at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mcu_codegen.listen.decision import allowed, keywords

from .hearing import Heard

APART = 1 << 17  # hops between two recordings on one axis of time: further than a refractory time reaches

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Candidates:
    """Inferences at which a keyword had the highest average score: what is detected but for threshold and refractory
    time. Times are hops since the start of the first recording; recordings are `APART` hops apart."""

    hops: Ints
    labels: Ints
    sums: Ints  # of the scores averaged, plus 128 each
    smoothing: int

    def detected(self, thresholds: npt.ArrayLike, refractory_hops: int) -> tuple[Ints, Ints]:
        """(hops, labels) of the detections that are not suppressed; `thresholds` has one for each label, or is one."""
        limits = np.asarray(thresholds)
        loud = self.sums >= (limits[self.labels] if limits.ndim else limits) * self.smoothing
        hops, labels = self.hops[loud], self.labels[loud]
        chosen, at = [], 0
        while at < len(hops):
            chosen.append(at)
            at = int(np.searchsorted(hops, hops[at] + refractory_hops))
        return hops[chosen], labels[chosen]


def candidates(
    heard: Sequence[Heard], smoothing: int, labels: Sequence[str], words: Sequence[str] | None = None
) -> Candidates:
    """Of all recordings, with the last `smoothing` inferences that ran averaged. `words` as in
    `listen.decision.allowed`."""
    takes_part, keyword = np.array(allowed(labels, words)), np.array(keywords(labels))
    found: list[tuple[Ints, Ints, Ints]] = []
    for each, start in zip(heard, starts(heard), strict=True):
        totals = np.cumsum(np.pad(each.scores.astype(np.int64) + 128, ((smoothing, 0), (0, 0))), axis=0)
        # row i of totals holds the inferences before i - smoothing + 1; those before the first count as zero
        sums = np.where(takes_part, totals[smoothing:] - totals[:-smoothing], -1)
        best = sums.argmax(axis=1)
        rows = np.flatnonzero(keyword[best])
        found.append((start + each.after[rows], best[rows], sums[rows, best[rows]]))
    hops, which, sums = (np.concatenate(part) for part in zip(*found, strict=True))
    return Candidates(hops, which, sums, smoothing)


def starts(heard: Sequence[Heard]) -> list[int]:
    """Where each recording starts on the axis of `Candidates`, in hops."""
    ends = np.cumsum([each.hops + APART for each in heard]).tolist()
    return [0, *ends][: len(heard)]
