"""What a comparison of executors finds, and how it is told."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..report import Table


@dataclass(frozen=True)
class Difference:
    """The first one that an executor showed, in the order of layers, then samples."""

    layer: str
    sample: int
    index: tuple[int, ...]
    expected: int
    found: int
    accumulator: int | None  # None where the layer has none

    def __str__(self) -> str:
        accumulator = "" if self.accumulator is None else f" (accumulator {self.accumulator})"
        return (
            f"{self.layer}, sample {self.sample}, index {self.index}:"
            f" {self.expected} expected{accumulator}, {self.found} found"
        )


@dataclass(frozen=True)
class Comparison:
    """One executor against NumPy. Counts are bytes."""

    name: str
    compared: int = 0
    differing: int = 0
    tolerated: int = 0  # of the differing: FULLY_CONNECTED of LiteRT, which requantises in float, off by one
    first: Difference | None = None  # of those that are not tolerated
    trouble: str = ""  # why it is absent, or how it failed
    remark: str = ""  # what whoever reads the differences should know
    largest: int = 0  # difference of two codes
    absent: bool = False
    asserted: bool = True  # False: reported, and no failure

    @property
    def passed(self) -> bool:
        return self.absent or not self.asserted or not (self.trouble or self.differing > self.tolerated)


@dataclass(frozen=True)
class Report:
    comparisons: list[Comparison]

    @property
    def passed(self) -> bool:
        """No difference in what is asserted."""
        return all(comparison.passed for comparison in self.comparisons)

    def table(self) -> Table:
        rows = []
        for each in self.comparisons:
            verdict = "absent" if each.absent else "DIFFERS" if not each.passed else "same"
            if each.tolerated:
                verdict = f"{verdict}; {each.tolerated} of FULLY_CONNECTED differ by one"
            if not each.asserted and each.differing:
                verdict = "differs; not asserted"
            remark = "; ".join(filter(None, (each.trouble or str(each.first or ""), each.remark)))
            rows.append((each.name, each.compared, each.differing, f"{verdict}: {remark}" if remark else verdict))
        return Table(("executor", "compared bytes", "differing bytes", "result"), rows)

    def to_dict(self) -> dict[str, Any]:
        return {"passed": self.passed, "executors": [asdict(comparison) for comparison in self.comparisons]}


def add(done: Comparison, layer: str, expected: np.ndarray, found: np.ndarray, tolerance: int = 0) -> Comparison:
    """`done` and one more layer (N, *shape), whose values may differ by `tolerance`."""
    if expected.shape != found.shape:
        return replace(done, trouble=f"{layer}: {expected.shape} values are expected, {found.shape} were found")
    distance = np.abs(expected.astype(np.int64) - found.astype(np.int64))
    first = done.first
    if first is None and np.any(distance > tolerance):
        sample, *index = (int(i) for i in np.argwhere(distance > tolerance)[0])
        at = (sample, *index)
        first = Difference(layer, sample, tuple(index), int(expected[at]), int(found[at]), None)
    return replace(
        done,
        compared=done.compared + expected.nbytes,
        differing=done.differing + int(np.count_nonzero(distance)) * expected.itemsize,
        tolerated=done.tolerated + int(np.count_nonzero((distance > 0) & (distance <= tolerance))),
        first=first,
        largest=max(done.largest, int(distance.max(initial=0))),
    )
