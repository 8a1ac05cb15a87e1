"""What lives when in the arena, which of it may lie on what, and the bytes that no arena can do without."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import lcm

from .demand import ALIGNMENT, Over, aligned

_FAR = 1 << 40


@dataclass(frozen=True)
class Item:
    """Bytes at one offset of the arena while operators `first`..`last` of an entry run."""

    name: str
    bytes: int
    first: int
    last: int

    @property
    def size(self) -> int:
        """Aligned, for every offset is."""
        return aligned(self.bytes)

    def meets(self, other: Item) -> bool:
        """Whether both live during some operator."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Apart:
    """Distances from one item's beginning to another's that are forbidden: those between `low` and `high`, unless they
    are `shift` and a multiple, `fewest` to `most`, of `every` bytes more."""

    low: int
    high: int
    every: int = 0
    shift: int = 0
    fewest: int = 0
    most: int = 0

    def mirrored(self) -> Apart:
        """Of the distances from the other item."""
        return Apart(-self.high, -self.low, self.every, -self.shift, -self.most, -self.fewest)

    def next(self, distance: int) -> int:
        """The shortest allowed distance, a multiple of the alignment, that is no shorter than `distance`, which is
        one."""
        if not self.low < distance < self.high:
            return distance
        beyond = aligned(self.high)
        if not self.every:
            return beyond
        multiple = max(-((self.shift - distance) // self.every), self.fewest)
        found = self.shift + multiple * self.every
        return min(found, beyond) if multiple <= self.most else beyond


def apart(source: Item, start: int, size: int, target: Item, over: Over) -> Apart:
    """How far `target` must be from `source`, of which the operator that writes it reads `size` bytes from `start` on,
    and nobody reads anything later."""
    last = -target.bytes if over.last is None else max(over.last, -target.bytes)
    if not over.every:
        return Apart(start + last, start + size)
    every = lcm(over.every, ALIGNMENT)
    most = _FAR if over.most is None else over.most // every
    return Apart(start + last, start + size, every, start, -_FAR, most)


class Lifetimes:
    """The items of an entry and what keeps each two of them apart. `takes` gives, by (source, target), what replaces
    the rule that no two items that meet may share a byte."""

    def __init__(self, items: Sequence[Item], takes: Mapping[tuple[int, int], Sequence[Apart]]) -> None:
        self.items = items
        self.takes = takes
        self.neighbours: list[list[tuple[int, tuple[Apart, ...]]]] = [[] for _ in items]
        for b, item in enumerate(items):
            for a, other in enumerate(items[:b]):
                if not item.meets(other):
                    continue
                rules = takes.get((a, b))
                if rules is None and (b, a) in takes:
                    rules = [rule.mirrored() for rule in takes[b, a]]
                if rules is None:
                    rules = [Apart(-item.size, other.size)]
                self.neighbours[b].append((a, tuple(rules)))  # distances from a to b
                self.neighbours[a].append((b, tuple(rule.mirrored() for rule in rules)))

    def least_bytes(self) -> int:
        """No arena has fewer bytes."""
        return max(self.needs().values(), default=0)

    def needs(self) -> dict[int, int]:
        """By operator during which an item begins: what is alive, less what its output can take of inputs that end
        there."""
        saved: dict[int, int] = defaultdict(int)  # by target
        for (source, target), rules in self.takes.items():
            sizes = self.items[source].size, self.items[target].size
            saved[target] += max(sum(sizes) - _together(*sizes, rules), 0)
        needs = {}
        for step in {item.first for item in self.items}:
            alive = [number for number, item in enumerate(self.items) if item.first <= step <= item.last]
            taken = sum(
                min(saved[number], self.items[number].size) for number in alive if self.items[number].first == step
            )
            needs[step] = sum(self.items[number].size for number in alive) - taken
        return needs


def _together(source: int, target: int, rules: Sequence[Apart]) -> int:
    """The least bytes that hold both items, of so many bytes each."""

    def held(distance: int) -> int:
        return max(source, distance + target) - min(distance, 0)

    # what holds both is least where one lies within the other, from this distance on, and grows to both sides
    within = min(0, source - target)
    below = -settle([rule.mirrored() for rule in rules], -within)
    return min(held(settle(rules, within)), held(below))


def settle(rules: Sequence[Apart], distance: int) -> int:
    """The shortest distance that all rules allow, and no shorter than `distance`."""
    while True:
        further = max((rule.next(distance) for rule in rules), default=distance)
        if further == distance:
            return distance
        distance = further
