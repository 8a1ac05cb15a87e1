"""The static memory plan: where every activation, persistent tensor and scratch buffer lies in one arena.

Entries never overlap in time, so each plans the arena afresh behind the persistent tensors, which lie at its start and
are never shared. An entry's inputs and outputs lie in the caller's memory. What only takes its input, or a part of it,
as it is gives these bytes another name wherever both can lie in the same place; elsewhere it is a copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from .errors import InputError
from .graph import Entry, Graph, Operator

ALIGNMENT = 16
"""Of the arena and of every offset in it, in bytes: enough for every load of every core, MVE included."""

_SEARCH_NODES = 2000
"""Partial packings that the search for a smaller arena may visit in one entry."""


@dataclass(frozen=True)
class Demand:
    """What the kernel of one operator asks for."""

    scratch_bytes: int = 0
    in_place: bool = False  # it may write its output over its first input, from the same address on
    ahead: bool = False  # it may do so where the output is longer, and begins at least as much earlier
    part: int | None = None  # its output is nothing but the bytes of its first input from this one on


@dataclass(frozen=True)
class Place:
    """Where a tensor lies: in the arena, `at` bytes from its start, or as the caller's input or output number `at`."""

    memory: str  # "arena", "input" or "output"
    at: int


@dataclass(frozen=True)
class Block:
    """One rectangle of the picture "arena over time": bytes of the arena, held while operators `first`..`last` run.

    Operators count through all entries, in order. Where a kernel works in place, the block of its input ends at the
    operator at which that of its output begins; on the same bytes, but that a longer output begins earlier.
    """

    name: str
    offset: int
    bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class EntryPlan:
    """Where the tensors of one entry lie. Operators count through all entries, in order."""

    places: dict[int, Place]  # by tensor; constants have none. An output that lies elsewhere is copied at the end
    scratch: dict[int, Block]  # by operator
    in_place: frozenset[int]  # operators that write their output over their first input
    aliases: dict[int, int]  # by operator that only names a part of its first input: where that begins, in bytes
    least_bytes: int  # what is alive at the fullest operator, persistent tensors included: no arena can be smaller


@dataclass(frozen=True)
class Plan:
    """`entries` is by entry name; `blocks` holds all that lies in the arena; `arena_bytes` is a multiple of 16."""

    arena_bytes: int
    persistent_bytes: int
    entries: dict[str, EntryPlan]
    blocks: tuple[Block, ...]


def plan(graph: Graph, demands: Mapping[int, Demand]) -> Plan:
    """Place everything. `demands` is by operator, counted through all entries; one left out asks for nothing.

    Raises InputError where an operator reads what nothing wrote, writes what is written already, or updates a
    persistent tensor that it reads with a kernel that cannot work in place.
    """
    steps = sum(len(entry.operators) for entry in graph.entries)
    persistent: dict[int, Place] = {}
    blocks: list[Block] = []
    persistent_bytes = 0
    for index, tensor in enumerate(graph.tensors):
        if tensor.persistent:
            persistent[index] = Place("arena", persistent_bytes)
            blocks.append(Block(tensor.name, persistent_bytes, tensor.bytes, 0, max(steps - 1, 0)))
            persistent_bytes += _aligned(tensor.bytes)
    entries: dict[str, EntryPlan] = {}
    arena_bytes, first = persistent_bytes, 0
    for entry in graph.entries:
        local = [demands.get(first + position, Demand()) for position in range(len(entry.operators))]
        _refuse_unordered(graph, entry, local)
        entries[entry.name], more, height = _plan_entry(graph, entry, local, first, persistent, persistent_bytes)
        blocks += more
        arena_bytes = max(arena_bytes, height)
        first += len(entry.operators)
    planned = Plan(arena_bytes, persistent_bytes, entries, tuple(blocks))
    check(graph, planned)
    return planned


def check(graph: Graph, planned: Plan) -> None:
    """Prove the plan by playing it; independent of how it was made. Raises AssertionError.

    Each operator stamps its tensor's number on every byte that it writes, and whoever reads must find the stamps whole.
    """
    play = _Play(graph, planned)
    persistent = [index for index, tensor in enumerate(graph.tensors) if tensor.persistent]
    play.enter(graph.main)
    for index in persistent:
        play.write(index)
    first = 0
    for entry in graph.entries:
        play.enter(entry)
        play.assert_whole(persistent, f"before '{entry.name}'")
        for index in entry.inputs:
            play.write(index)
        for position, (layer, operator) in enumerate(graph.layers(entry), start=first):
            play.step(position, layer, operator)
        results = [index for index in entry.outputs if not graph.tensors[index].constant]
        play.assert_whole([*persistent, *results], f"after '{entry.name}'")
        first += len(entry.operators)


class _Play:
    """Memory whose bytes hold the number of the tensor that wrote them."""

    def __init__(self, graph: Graph, planned: Plan) -> None:
        self.graph, self.planned = graph, planned
        self.arena = np.full(planned.arena_bytes, -1)
        self.stamps: dict[int, int] = {}  # by tensor; that of an alias is its source's

    def enter(self, entry: Entry) -> None:
        self.plan = self.planned.entries[entry.name]
        self.caller = {
            Place(memory, number): np.full(self.graph.tensors[index].bytes, -1)
            for memory, indices in (("input", entry.inputs), ("output", entry.outputs))
            for number, index in enumerate(indices)
        }

    def bytes_of(self, index: int) -> np.ndarray:
        place, tensor = self.plan.places[index], self.graph.tensors[index]
        return self.caller[place] if place.memory != "arena" else self.slice(tensor.name, place.at, tensor.bytes)

    def slice(self, name: str, offset: int, size: int) -> np.ndarray:
        assert offset % ALIGNMENT == 0 and 0 <= offset <= len(self.arena) - size, f"'{name}' lies at {offset}"
        return self.arena[offset : offset + size]

    def write(self, index: int) -> None:
        self.stamps[index] = index
        self.bytes_of(index)[:] = index

    def assert_whole(self, indices: list[int], when: str) -> None:
        for index in indices:
            name = self.graph.tensors[index].name
            assert np.all(self.bytes_of(index) == self.stamps[index]), f"'{name}' is overwritten {when}"

    def step(self, position: int, layer: str, operator: Operator) -> None:
        source, target = operator.inputs[0], operator.outputs[0]
        read = _variables(self.graph, operator)
        self.assert_whole(read, f"before {layer}")
        if position in self.plan.scratch:
            scratch = self.plan.scratch[position]
            self.slice(scratch.name, scratch.offset, scratch.bytes)[:] = -1
            self.assert_whole(read, f"by the scratch of {layer}")
        places = self.plan.places
        same_place = places.get(source) == places[target]
        if position in self.plan.aliases:
            part = replace(places[source], at=places[source].at + self.plan.aliases[position])
            assert part == places[target], f"{layer} does not lie in its input"
            self.stamps[target] = self.stamps[source]
            return
        if position in self.plan.in_place:
            longer = max(0, self.graph.tensors[target].bytes - self.graph.tensors[source].bytes)
            assert same_place or places[source].at - places[target].at >= longer > 0, f"{layer} is not in place"
            read = [index for index in read if self.stamps[index] != self.stamps[source]]
        for index in operator.outputs:
            self.write(index)
        self.assert_whole(read, f"by {layer}")


@dataclass
class _Buffer:
    """Bytes at one offset: one tensor, or several that follow each other in place.

    `profile[i]` bytes are alive while operator i runs; it shrinks when the larger of two tensors dies.
    """

    profile: np.ndarray
    spans: list[tuple[str, int, int, int]] = field(default_factory=list)  # name, bytes, first, last
    starts: list[int] = field(default_factory=list)  # of each span, behind `offset`
    offset: int = 0

    def hold(self, name: str, size: int, first: int, last: int, start: int = 0) -> int:
        """Keep a tensor `start` bytes behind the start while operators `first`..`last` run; returns the number of its
        span."""
        self.spans.append((name, size, first, last))
        self.starts.append(start)
        alive = self.profile[first : last + 1]
        np.maximum(alive, start + _aligned(size), out=alive)
        return len(self.spans) - 1

    def lift(self, size: int) -> None:
        """Make room for `size` bytes before everything that is held so far."""
        self.starts = [start + size for start in self.starts]
        self.profile[self.profile > 0] += size

    def at(self, span: int) -> int:
        return self.offset + self.starts[span]

    def blocks(self, position: int) -> list[Block]:
        """What it holds, in order, where the entry's first operator is at `position`."""
        return [
            Block(name, self.at(number), size, position + a, position + b)
            for number, (name, size, a, b) in enumerate(self.spans)
        ]


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _variables(graph: Graph, operator: Operator) -> list[int]:
    """What `operator` reads and may differ from call to call."""
    return [index for index in operator.inputs if index >= 0 and not graph.tensors[index].constant]


def _refuse_unordered(graph: Graph, entry: Entry, demands: list[Demand]) -> None:
    persistent = {index for index, tensor in enumerate(graph.tensors) if tensor.persistent}
    written = {*entry.inputs, *persistent}
    for (layer, operator), demand in zip(graph.layers(entry), demands, strict=True):
        read = _variables(graph, operator)
        for index in read:
            if index not in written:
                raise InputError(f"{layer}: tensor '{graph.tensors[index].name}' is read before it is written")
        for index in operator.outputs:
            name = graph.tensors[index].name
            if index in written and index not in persistent:
                raise InputError(f"{layer}: tensor '{name}' is written a second time")
            updated = index in operator.outputs[1:] or (demand.in_place and index == operator.inputs[0])
            if index in read and not updated:
                raise InputError(
                    f"{layer}: reads and writes persistent tensor '{name}'; only an operator that works in place may,"
                    " on its first input"
                )
            written.add(index)
    for index in entry.outputs:
        if index not in written and not graph.tensors[index].constant:
            raise InputError(f"entry '{entry.name}': nothing writes its output '{graph.tensors[index].name}'")


def _plan_entry(
    graph: Graph, entry: Entry, demands: list[Demand], first: int, persistent: dict[int, Place], base: int
) -> tuple[EntryPlan, list[Block], int]:
    """(plan, blocks, end of the memory used) of one entry, whose arena begins behind `base` bytes.

    An output that begins ahead of its input keeps room from the tensors before it, too, and a part that is only named
    keeps the whole; where that costs more than it saves, no output and no part does.
    """
    tried = [demands]
    if any(demand.ahead for demand in demands):
        tried.append([replace(demand, ahead=False) for demand in demands])
    if any(demand.part for demand in demands):
        tried += [[replace(demand, part=None if demand.part else demand.part) for demand in each] for each in tried]
    return min((_plan_with(graph, entry, each, first, persistent, base) for each in tried), key=lambda made: made[2])


def _plan_with(
    graph: Graph, entry: Entry, demands: list[Demand], first: int, persistent: dict[int, Place], base: int
) -> tuple[EntryPlan, list[Block], int]:
    places, alias, aliases = _fixed_places(graph, entry, demands, persistent)
    last: dict[int, int] = {}
    for position, operator in enumerate(entry.operators):
        for index in (*operator.inputs, *operator.outputs):
            last[alias.get(index, (index, 0))[0]] = position

    buffers: list[_Buffer] = []
    held: dict[int, tuple[_Buffer, int]] = {}  # by tensor: the buffer and the number of its span in it
    scratches: dict[int, _Buffer] = {}  # by operator of the entry
    in_place: set[int] = set()

    def new() -> _Buffer:
        buffers.append(_Buffer(np.zeros(len(demands), np.int64)))
        return buffers[-1]

    for position, ((layer, operator), demand) in enumerate(zip(graph.layers(entry), demands, strict=True)):
        named, target = operator.inputs[0], operator.outputs[0]
        source, part = alias.get(named, (named, 0))
        if demand.scratch_bytes:
            scratches[position] = new()
            scratches[position].hold(f"scratch of {layer}", demand.scratch_bytes, position, position)
        if source == target:
            in_place.add(first + position)  # an update of a persistent tensor
        if target not in alias and target not in places:
            size = graph.tensors[target].bytes
            over = None
            if source in held and last[source] == position:
                longer = size - graph.tensors[named].bytes
                over = held[source][0] if (demand.ahead if longer > 0 else demand.in_place) else None
            start = 0
            if over is not None:
                in_place.add(first + position)
                start = over.starts[held[source][1]] + part
                if longer > 0:
                    over.lift(_aligned(longer))
            buffer = new() if over is None else over
            held[target] = buffer, buffer.hold(graph.tensors[target].name, size, position, last[target], start)

    offsets, height = _pack([buffer.profile for buffer in buffers])
    for buffer, offset in zip(buffers, offsets, strict=True):
        buffer.offset = base + offset
    places.update({index: Place("arena", buffer.at(span)) for index, (buffer, span) in held.items()})
    places.update({index: Place("arena", places[source].at + part) for index, (source, part) in alias.items()})
    alive = sum((buffer.profile for buffer in buffers), np.zeros(1, np.int64))
    planned = EntryPlan(
        places,
        {first + position: buffer.blocks(first)[0] for position, buffer in scratches.items()},
        frozenset(in_place),
        {first + position: part for position, part in aliases.items()},
        base + int(alive.max(initial=0)),
    )
    return planned, [block for buffer in buffers for block in buffer.blocks(first)], base + height


def _fixed_places(
    graph: Graph, entry: Entry, demands: list[Demand], persistent: dict[int, Place]
) -> tuple[dict[int, Place], dict[int, tuple[int, int]], dict[int, int]]:
    """Places that need no search; for each other tensor that is only a name, the tensor whose bytes it names and from
    which on; and by operator of the entry that only gives a name, where its output begins in its input."""
    places = dict(persistent)
    for memory, indices in (("input", entry.inputs), ("output", entry.outputs)):
        for number, index in enumerate(indices):
            if not graph.tensors[index].constant:
                places.setdefault(index, Place(memory, number))
    parts = [
        (position, operator.inputs[0], operator.outputs[0], demand.part)
        for position, (operator, demand) in enumerate(zip(entry.operators, demands, strict=True))
        if demand.part is not None and not graph.tensors[operator.inputs[0]].constant
    ]
    # what is only renamed to become an output can be written there in the first place
    for _, source, target, _ in reversed(parts):
        whole = graph.tensors[source].bytes == graph.tensors[target].bytes
        if whole and places.get(target, Place("", 0)).memory == "output":
            places.setdefault(source, places[target])
    alias: dict[int, tuple[int, int]] = {}
    aliases: dict[int, int] = {}
    for position, source, target, part in parts:
        # a persistent tensor may change while its former value is still read under the other name, so it is copied
        if part % ALIGNMENT or source in persistent:
            continue
        if target in places:
            if places.get(source) == places[target]:
                aliases[position] = 0
        elif source not in places:
            root, start = alias.get(source, (source, 0))
            alias[target] = root, start + part
            aliases[position] = part
        elif part == 0:  # the caller's memory is known by its start
            places[target] = places[source]
            aliases[position] = 0
    return places, alias, aliases


class _Packing(NamedTuple):
    """Some buffers placed, in order of rising offsets."""

    offsets: np.ndarray
    floor: np.ndarray  # by buffer: how low it can lie above all that are placed
    lowest: int  # no further buffer may lie lower
    left: np.ndarray  # buffers to be placed
    height: int


def _pack(profiles: list[np.ndarray]) -> tuple[list[int], int]:
    """(offset of each buffer, height) with a small height.

    Every packing can be built in order of rising offsets, each buffer as low as those below it allow, so a depth-first
    search over such orders finds the best one. It descends first where a buffer fits lowest. Among equals, two rules
    are tried: most bytes for longest, which suits branches, and first born, which is optimal for chains. The search
    stops at a height that nothing can beat, or after `_SEARCH_NODES` with each rule.
    """
    count = len(profiles)
    if not count:
        return [], 0
    alive = np.array(profiles)
    peak = alive.max(axis=1)
    least = int(alive.sum(axis=0).max())
    # need[a, b]: what b must lie above a, if it does; 0 where they never meet
    need = np.array([np.where(alive > 0, held, 0).max(axis=1) for held in alive])
    best, offsets = int(peak.sum()) + 1, np.zeros(count, np.int64)

    def extensions(packing: _Packing, priority: np.ndarray) -> Iterator[_Packing]:
        """The packing with one more buffer, the most promising first, while that can still beat the best."""
        left = packing.left
        at = np.maximum(packing.floor, packing.lowest)[left]
        for i in np.lexsort((priority[left], at)):
            if (at + peak[left]).max() >= best:
                return
            b, lowest = left[i], at[i]
            placed = packing.offsets.copy()
            placed[b] = lowest
            floor = np.where(need[b] > 0, np.maximum(packing.floor, lowest + need[b]), packing.floor)
            yield _Packing(placed, floor, lowest, np.delete(left, i), max(packing.height, lowest + peak[b]))

    nothing = np.zeros(count, np.int64)
    for priority in (-alive.sum(axis=1), (alive > 0).argmax(axis=1)):
        stack = [extensions(_Packing(nothing, nothing, 0, np.arange(count), 0), priority)]
        nodes = 0
        while stack and best > least and nodes < max(_SEARCH_NODES, 2 * count):
            nodes += 1
            packing = next(stack[-1], None)
            if packing is None:
                stack.pop()
            elif len(packing.left):
                stack.append(extensions(packing, priority))
            else:
                best, offsets = int(packing.height), packing.offsets
    return offsets.tolist(), best
