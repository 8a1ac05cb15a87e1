"""Offsets for the items of an entry, in as little memory as a search finds."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence

from .lifetimes import Item, Lifetimes, settle

_FEW = 5
"""Items all of whose orders are tried."""
_ROUNDS = 20
"""How often each of the orders that begin is improved."""


def pack(lifetimes: Lifetimes) -> tuple[list[int], int]:
    """(offset of each item, height).

    Items are placed in some order, each as low as those before it allow; every lowest packing comes from some order.
    A few orders are tried, and each is improved as long as that takes: what ends highest goes to the front. The search
    stops at a height that nothing can beat.
    """
    if not lifetimes.items:
        return [], 0
    least = lifetimes.least_bytes()
    best: tuple[int, list[int]] | None = None
    for order in _orders(lifetimes):
        tried: set[tuple[int, ...]] = set()
        for _ in range(_ROUNDS):
            offsets = _place(lifetimes, order)
            ends = [offset + item.size for offset, item in zip(offsets, lifetimes.items, strict=True)]
            height = max(ends)
            if best is None or height < best[0]:
                best = height, offsets
            if height == least:
                return offsets, height
            tried.add(tuple(order))
            highest = max(order, key=lambda number: (ends[number], order.index(number)))
            order = [highest, *(number for number in order if number != highest)]
            if tuple(order) in tried:
                break
    assert best is not None
    return best[1], best[0]


def _orders(lifetimes: Lifetimes) -> Iterator[list[int]]:
    """To begin with. By size, scratch last, many begin where the arena does, which is the shortest address; the last
    born first lets each input lie above the output that takes it; those around the fullest operator have the least
    room."""
    items = lifetimes.items
    numbers = range(len(items))
    if len(items) <= _FEW:
        yield from map(list, itertools.permutations(numbers))
        return
    needs = lifetimes.needs()
    fullest = max(needs, key=lambda step: needs[step])
    keys: tuple[Callable[[Item], tuple[int, ...]], ...] = (
        lambda item: (item.first == item.last, -item.size),
        lambda item: (-item.first, -item.size),
        lambda item: (-item.size, -item.first),
        lambda item: (not item.first <= fullest <= item.last, -item.first, -item.size),
        lambda item: (abs(item.first - fullest), -item.first, -item.size),
        lambda item: (item.first, -item.size),
        lambda item: (-item.size * (item.last - item.first + 1),),
    )
    for key in keys:
        by_key = [key(item) for item in items]
        yield sorted(numbers, key=by_key.__getitem__)
    shuffled, dice = list(numbers), random.Random(0)
    for _ in range(8):
        dice.shuffle(shuffled)
        yield list(shuffled)


def _place(lifetimes: Lifetimes, order: Sequence[int]) -> list[int]:
    """Each as low as those before it in `order` allow."""
    offsets = [-1] * len(lifetimes.items)
    for number in order:
        placed = [(offsets[other], rules) for other, rules in lifetimes.neighbours[number] if offsets[other] >= 0]
        at = 0
        while True:
            further = max((base + settle(rules, at - base) for base, rules in placed), default=at)
            if further == at:
                break
            at = further
        offsets[number] = at
    return offsets
