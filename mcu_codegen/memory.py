"""The static memory plan: where every activation, persistent tensor and scratch buffer lies in one arena.

Entries never overlap in time, so each plans the arena afresh behind the persistent tensors, which lie at its start and
are never shared. An entry's inputs and outputs lie in the caller's memory. A RESHAPE gives its input another name
wherever both can lie in the same place; elsewhere it is a copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .errors import InputError
from .graph import Entry, Graph, Operator

ALIGNMENT = 16
"""Of the arena and of every offset in it, in bytes: enough for every load of every core, MVE included."""

_SEARCH_NODES = 4000
"""Partial packings that the search for a smaller arena may visit in one entry."""


@dataclass(frozen=True)
class Demand:
    """What the kernel of one operator asks for."""

    scratch_bytes: int = 0
    in_place: bool = False  # it may write its output over its first input, from the same address on


@dataclass(frozen=True)
class Place:
    """Where a tensor lies: in the arena, `at` bytes from its start, or as the caller's input or output number `at`."""

    memory: str  # "arena", "input" or "output"
    at: int


@dataclass(frozen=True)
class Block:
    """One rectangle of the picture "arena over time": bytes of the arena, held while operators `first`..`last` run.

    Operators count through all entries, in order. Where a kernel works in place, the block of its input ends at the
    operator at which that of its output begins, on the same bytes.
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
    return Plan(arena_bytes, persistent_bytes, entries, tuple(blocks))


def check(graph: Graph, planned: Plan) -> None:
    """Prove the plan by playing it: each operator stamps its tensor's number on every byte that it writes.

    A reader must find the stamps of what it reads untouched. Independent of how the plan was made; raises
    AssertionError.
    """
    nobody = -1
    arena = np.full(planned.arena_bytes, nobody)
    stamps = {index: index for index, tensor in enumerate(graph.tensors) if tensor.persistent}
    first = 0
    for entry in graph.entries:
        entry_plan = planned.entries[entry.name]
        caller = {
            Place(memory, number): np.full(graph.tensors[index].bytes, nobody)
            for memory, indices in (("input", entry.inputs), ("output", entry.outputs))
            for number, index in enumerate(indices)
        }

        def region(
            index: int, entry_plan: EntryPlan = entry_plan, caller: dict[Place, np.ndarray] = caller
        ) -> np.ndarray:
            place = entry_plan.places[index]
            if place.memory != "arena":
                return caller[place]
            end = place.at + graph.tensors[index].bytes
            assert place.at % ALIGNMENT == 0 and end <= len(arena), f"'{graph.tensors[index].name}' at {place.at}"
            return arena[place.at : end]

        def assert_whole(indices: list[int], when: str) -> None:
            for index in indices:
                assert np.all(region(index) == stamps[index]), f"'{graph.tensors[index].name}' is overwritten {when}"

        for index in stamps if first == 0 else ():
            assert np.all(region(index) == nobody), f"'{graph.tensors[index].name}' shares its memory"
            region(index)[:] = index
        for index in entry.inputs:
            stamps[index] = index
            region(index)[:] = index
        for position, (layer, operator) in enumerate(graph.layers(entry), start=first):
            source, target = operator.inputs[0], operator.outputs[0]
            read = _variables(graph, operator)
            assert_whole(read, f"before {layer}")
            if position in entry_plan.scratch:
                scratch = entry_plan.scratch[position]
                arena[scratch.offset : scratch.offset + scratch.bytes] = nobody
                assert_whole(read, f"by the scratch of {layer}")
            if operator.kind == "RESHAPE" and entry_plan.places.get(source) == entry_plan.places[target]:
                stamps[target] = stamps[source]
                continue
            stamps[target] = target
            region(target)[:] = target
            if position in entry_plan.in_place:
                assert entry_plan.places[source] == entry_plan.places[target], f"{layer} is not in place"
                read = [index for index in read if stamps[index] not in (stamps[source], target)]
            assert_whole(read, f"by {layer}")
        held = [index for index, tensor in enumerate(graph.tensors) if tensor.persistent]
        assert_whole([*held, *(index for index in entry.outputs if not graph.tensors[index].constant)], "at the end")
        first += len(entry.operators)


@dataclass
class _Buffer:
    """Bytes at one offset: one tensor, or several that follow each other in place.

    `profile[i]` bytes are alive while operator i runs; it shrinks when the larger of two tensors dies.
    """

    profile: np.ndarray
    spans: list[tuple[str, int, int, int]] = field(default_factory=list)  # name, bytes, first, last
    offset: int = 0

    def hold(self, name: str, size: int, first: int, last: int) -> None:
        self.spans.append((name, size, first, last))
        alive = self.profile[first : last + 1]
        np.maximum(alive, _aligned(size), out=alive)

    def blocks(self, position: int) -> list[Block]:
        """What it holds, in order, where the entry's first operator is at `position`."""
        return [Block(name, self.offset, size, position + a, position + b) for name, size, a, b in self.spans]


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
            if index in read and not (demand.in_place and index == operator.inputs[0]):
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
    """(plan, blocks, end of the memory used) of one entry, whose arena begins behind `base` bytes."""
    places, alias = _fixed_places(graph, entry, persistent)
    last: dict[int, int] = {}
    for position, operator in enumerate(entry.operators):
        for index in (*operator.inputs, *operator.outputs):
            last[alias.get(index, index)] = position

    buffers: list[_Buffer] = []
    held: dict[int, _Buffer] = {}  # by tensor
    scratches: dict[int, _Buffer] = {}  # by operator of the entry
    in_place: set[int] = set()

    def new() -> _Buffer:
        buffers.append(_Buffer(np.zeros(len(demands), np.int64)))
        return buffers[-1]

    for position, ((layer, operator), demand) in enumerate(zip(graph.layers(entry), demands, strict=True)):
        source, target = alias.get(operator.inputs[0], operator.inputs[0]), operator.outputs[0]
        if demand.scratch_bytes:
            scratches[position] = new()
            scratches[position].hold(f"scratch of {layer}", demand.scratch_bytes, position, position)
        if source == target:
            in_place.add(first + position)  # an update of a persistent tensor
        if target in alias:
            held[target] = held[alias[target]]
        elif target not in places:
            size = graph.tensors[target].bytes
            if demand.in_place and source in held and last[source] == position and size <= graph.tensors[source].bytes:
                in_place.add(first + position)
                held[target] = held[source]
            else:
                held[target] = new()
            held[target].hold(graph.tensors[target].name, size, position, last[target])

    offsets, height = _pack([buffer.profile for buffer in buffers])
    for buffer, offset in zip(buffers, offsets, strict=True):
        buffer.offset = base + offset
    places.update({index: Place("arena", buffer.offset) for index, buffer in held.items()})
    alive = sum((buffer.profile for buffer in buffers), np.zeros(1, np.int64))
    planned = EntryPlan(
        places,
        {first + position: buffer.blocks(first)[0] for position, buffer in scratches.items()},
        frozenset(in_place),
        base + int(alive.max(initial=0)),
    )
    return planned, [block for buffer in buffers for block in buffer.blocks(first)], base + height


def _fixed_places(graph: Graph, entry: Entry, persistent: dict[int, Place]) -> tuple[dict[int, Place], dict[int, int]]:
    """Places that need no search, and for each other RESHAPE output the tensor whose bytes it names."""
    places = dict(persistent)
    for memory, indices in (("input", entry.inputs), ("output", entry.outputs)):
        for number, index in enumerate(indices):
            if not graph.tensors[index].constant:
                places.setdefault(index, Place(memory, number))
    reshapes = [(op.inputs[0], op.outputs[0]) for op in entry.operators if op.kind == "RESHAPE"]
    # what is only renamed to become an output can be written there in the first place
    for source, target in reversed(reshapes):
        if places.get(target, Place("", 0)).memory == "output" and not graph.tensors[source].constant:
            places.setdefault(source, places[target])
    alias: dict[int, int] = {}
    for source, target in reshapes:
        # a persistent tensor may change while its former value is still read under the other name, so it is copied
        if target in places or source in persistent or graph.tensors[source].constant:
            continue
        if source in places:
            places[target] = places[source]
        else:
            alias[target] = alias.get(source, source)
    return places, alias


def _pack(profiles: list[np.ndarray]) -> tuple[list[int], int]:
    """(offset of each buffer, height) with a small height.

    Every packing can be built in order of rising offsets, each buffer as low as those below it allow, so a depth-first
    search over such orders finds the best one. It descends first where a buffer fits lowest, then where it holds most
    bytes for longest, and stops at a height that nothing can beat or after `_SEARCH_NODES`.
    """
    count = len(profiles)
    if not count:
        return [], 0
    alive = np.array(profiles)
    peak = alive.max(axis=1)
    least = int(alive.sum(axis=0).max())
    # need[a, b]: what b must lie above a, if it does; 0 where they never meet
    need = np.array([[int(alive[a][alive[b] > 0].max()) for b in range(count)] for a in range(count)])
    area = alive.sum(axis=1)
    best: tuple[int, list[int]] = (int(peak.sum()) + 1, [])
    nodes = 0

    def descend(offsets: np.ndarray, floor: np.ndarray, lowest: int, left: frozenset[int], height: int) -> None:
        """`floor[b]` is where b can lie above all that is placed; nothing more may lie below `lowest`."""
        nonlocal best, nodes
        nodes += 1
        if not left:
            best = (height, offsets.tolist())
            return
        at = {b: max(int(floor[b]), lowest) for b in left}
        for b in sorted(left, key=lambda b: (at[b], -area[b], b)):
            stop = best[0] == least or (nodes > _SEARCH_NODES and best[1])
            if stop or max(at[c] + int(peak[c]) for c in left) >= best[0]:
                return
            placed = offsets.copy()
            placed[b] = at[b]
            raised = np.where(need[b] > 0, np.maximum(floor, at[b] + need[b]), floor)
            descend(placed, raised, at[b], left - {b}, max(height, at[b] + int(peak[b])))

    descend(np.zeros(count, np.int64), np.zeros(count, np.int64), 0, frozenset(range(count)), 0)
    return best[1], best[0]
