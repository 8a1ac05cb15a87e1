"""The plan: a place for every tensor and every scratch buffer.

Entries never overlap in time, so each plans the arena afresh behind the persistent tensors, which lie at its start and
are never shared. An entry's inputs and outputs lie in the caller's memory, unless the caller lets them lie in the
arena. What only takes its input, or a part of it, as it is gives these bytes another name wherever both can lie in the
same place; elsewhere it is a copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..errors import InputError
from ..graph import Entry, Graph, Operator
from .demand import ALIGNMENT, Demand, aligned
from .lifetimes import Apart, Item, Lifetimes, apart
from .packing import pack


@dataclass(frozen=True)
class Place:
    """Where a tensor lies: in the arena, `at` bytes from its start, or as the caller's input or output number `at`."""

    memory: str  # "arena", "input" or "output"
    at: int


@dataclass(frozen=True)
class Block:
    """One rectangle of the picture "arena over time": bytes of the arena, held while operators `first`..`last` run.

    Operators count through all entries, in order. Where an output takes bytes of an input, their blocks overlap in the
    one operator that does so.
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
    aliases: dict[int, int]  # by operator that only names a part of its first input: where that begins, in bytes
    least_bytes: int  # the lower bound: no arena can be smaller, persistent tensors included


@dataclass(frozen=True)
class Plan:
    """`entries` is by entry name; `blocks` holds all that lies in the arena; `arena_bytes` is a multiple of 16."""

    arena_bytes: int
    persistent_bytes: int
    entries: dict[str, EntryPlan]
    blocks: tuple[Block, ...]

    @property
    def least_bytes(self) -> int:
        """Below which no arena for these kernels can be."""
        return max((entry.least_bytes for entry in self.entries.values()), default=self.persistent_bytes)


def plan(graph: Graph, demands: Mapping[int, Demand], reusable: bool = False) -> Plan:
    """Place everything. `demands` is by operator, counted through all entries; one left out asks for nothing.

    With `reusable`, inputs lie in the arena until they have been read, and outputs until the entry ends. Raises
    InputError where an operator reads what nothing wrote, writes what is written already, or updates a persistent
    tensor that it reads with a kernel that cannot work in place.
    """
    steps = sum(len(entry.operators) for entry in graph.entries)
    persistent: dict[int, Place] = {}
    blocks: list[Block] = []
    persistent_bytes = 0
    for index, tensor in enumerate(graph.tensors):
        if tensor.persistent:
            persistent[index] = Place("arena", persistent_bytes)
            blocks.append(Block(tensor.name, persistent_bytes, tensor.bytes, 0, max(steps - 1, 0)))
            persistent_bytes += aligned(tensor.bytes)
    entries: dict[str, EntryPlan] = {}
    arena_bytes, first = persistent_bytes, 0
    for entry in graph.entries:
        local = [demands.get(first + position, Demand()) for position in range(len(entry.operators))]
        _refuse_unordered(graph, entry, local)
        tried = [_Entry(graph, entry, local, persistent, reusable)]
        if any(demand.part for demand in local):
            # a part that is only named keeps the whole, which may cost more than it saves
            copied = [replace(demand, part=None if demand.part else demand.part) for demand in local]
            tried.append(_Entry(graph, entry, copied, persistent, reusable))
        chosen = min((made.pack() for made in tried), key=lambda made: made.height)
        least = persistent_bytes + min(made.lifetimes.least_bytes() for made in tried)
        entries[entry.name], more = chosen.placed(first, persistent_bytes, least)
        blocks += more
        arena_bytes = max(arena_bytes, persistent_bytes + chosen.height)
        first += len(entry.operators)
    return Plan(arena_bytes, persistent_bytes, entries, tuple(blocks))


def needs(graph: Graph, demands: Mapping[int, Demand], reusable: bool = False) -> list[int]:
    """By operator, counted through all entries: the bytes of the arena below which it cannot run. Arguments are those
    of `plan`."""
    persistent = {index: Place("arena", 0) for index, tensor in enumerate(graph.tensors) if tensor.persistent}
    state = sum(aligned(graph.tensors[index].bytes) for index in persistent)
    found, first = [], 0
    for entry in graph.entries:
        local = [demands.get(first + position, Demand()) for position in range(len(entry.operators))]
        of_entry = _Entry(graph, entry, local, persistent, reusable).lifetimes.needs()
        found += [state + of_entry.get(position, 0) for position in range(len(entry.operators))]
        first += len(entry.operators)
    return found


def variables(graph: Graph, operator: Operator) -> list[int]:
    """What `operator` reads and may differ from call to call."""
    return [index for index in operator.inputs if index >= 0 and not graph.tensors[index].constant]


def _refuse_unordered(graph: Graph, entry: Entry, demands: list[Demand]) -> None:
    persistent = {index for index, tensor in enumerate(graph.tensors) if tensor.persistent}
    written = {*entry.inputs, *persistent}
    for (layer, operator), demand in zip(graph.layers(entry), demands, strict=True):
        read = variables(graph, operator)
        for index in read:
            if index not in written:
                raise InputError(f"{layer}: tensor '{graph.tensors[index].name}' is read before it is written")
        for index in operator.outputs:
            name = graph.tensors[index].name
            if index in written and index not in persistent:
                raise InputError(f"{layer}: tensor '{name}' is written a second time")
            updated = index in operator.outputs[1:] or (index == operator.inputs[0] and demand.over_input(0).allows(0))
            if index in read and not updated:
                raise InputError(
                    f"{layer}: reads and writes persistent tensor '{name}'; only an operator that works in place may,"
                    " on its first input"
                )
            written.add(index)
    for index in entry.outputs:
        if index not in written and not graph.tensors[index].constant:
            raise InputError(f"entry '{entry.name}': nothing writes its output '{graph.tensors[index].name}'")


class _Entry:
    """One entry, planned in an arena of its own."""

    def __init__(
        self, graph: Graph, entry: Entry, demands: list[Demand], persistent: dict[int, Place], reusable: bool
    ) -> None:
        self.graph, self.entry, self.demands = graph, entry, demands
        self.places, self.alias, self.aliases = _fixed_places(graph, entry, demands, persistent, reusable)
        self.items: list[Item] = []
        self.held: dict[int, int] = {}  # by tensor that is no alias: the number of its item
        self.scratch: dict[int, int] = {}  # by operator of the entry, likewise
        self._hold()
        self.lifetimes = Lifetimes(self.items, self._takes())
        self.offsets: list[int] = []
        self.height = 0

    def pack(self) -> _Entry:
        """Find the offsets."""
        self.offsets, self.height = pack(self.lifetimes)
        return self

    def _root(self, index: int) -> tuple[int, int]:
        """The tensor whose bytes `index` names, and from which one on."""
        return self.alias.get(index, (index, 0))

    def _hold(self) -> None:
        graph, entry = self.graph, self.entry
        last = {self._root(index)[0]: 0 for index in entry.inputs}
        for position, operator in enumerate(entry.operators):
            for index in (*operator.inputs, *operator.outputs):
                last[self._root(index)[0]] = position
        for index in entry.outputs:  # beyond the last operator: none takes their bytes
            last[self._root(index)[0]] = len(entry.operators)

        def hold(index: int, position: int) -> None:
            if index not in self.places and index not in self.alias and index not in self.held:
                self.held[index] = len(self.items)
                self.items.append(Item(graph.tensors[index].name, graph.tensors[index].bytes, position, last[index]))

        for index in entry.inputs:
            hold(index, 0)
        for position, ((layer, operator), demand) in enumerate(zip(graph.layers(entry), self.demands, strict=True)):
            if demand.scratch_bytes:
                self.scratch[position] = len(self.items)
                self.items.append(Item(f"scratch of {layer}", demand.scratch_bytes, position, position))
            hold(operator.outputs[0], position)

    def _takes(self) -> dict[tuple[int, int], list[Apart]]:
        """Which output may lie how on which input of its operator, that nobody reads afterwards."""
        takes: dict[tuple[int, int], list[Apart]] = {}
        for position, (operator, demand) in enumerate(zip(self.entry.operators, self.demands, strict=True)):
            target = self.held.get(operator.outputs[0])
            if target is None or self.items[target].first != position:
                continue
            for number, index in enumerate(operator.inputs):
                root, start = self._root(index)
                source = self.held.get(root)
                if source is None or source == target or self.items[source].last != position:
                    continue
                rule = apart(
                    self.items[source],
                    start,
                    self.graph.tensors[index].bytes,
                    self.items[target],
                    demand.over_input(number),
                )
                takes.setdefault((source, target), []).append(rule)
        return takes

    def placed(self, first: int, base: int, least: int) -> tuple[EntryPlan, list[Block]]:
        """(plan, blocks) behind `base` bytes, where the entry's first operator is at `first`."""
        blocks = [
            Block(
                item.name,
                base + offset,
                item.bytes,
                first + item.first,
                first + min(item.last, len(self.entry.operators) - 1),
            )
            for item, offset in zip(self.items, self.offsets, strict=True)
        ]
        places = dict(self.places)
        places.update({index: Place("arena", blocks[number].offset) for index, number in self.held.items()})
        places.update({index: Place("arena", places[root].at + at) for index, (root, at) in self.alias.items()})
        planned = EntryPlan(
            places,
            {first + position: blocks[number] for position, number in self.scratch.items()},
            {first + position: part for position, part in self.aliases.items()},
            least,
        )
        return planned, blocks


def _fixed_places(
    graph: Graph, entry: Entry, demands: list[Demand], persistent: dict[int, Place], reusable: bool
) -> tuple[dict[int, Place], dict[int, tuple[int, int]], dict[int, int]]:
    """Places that need no search; for each other tensor that is only a name, the tensor whose bytes it names and from
    which on; and by operator of the entry that only gives a name, where its output begins in its input."""
    places = dict(persistent)
    callers = () if reusable else (("input", entry.inputs), ("output", entry.outputs))
    for memory, indices in callers:
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
        # a persistent tensor that changes later may still be read, as it was, under the other name: so it is copied
        later = entry.operators[position + 1 :]
        if part % ALIGNMENT or (source in persistent and any(source in each.outputs for each in later)):
            continue
        if target in places:
            if places.get(source) == places[target]:
                aliases[position] = 0
        elif source not in places:
            root, start = alias.get(source, (source, 0))
            alias[target] = root, start + part
            aliases[position] = part
        elif part == 0 or places[source].memory == "arena":  # the caller's memory is known by its start
            places[target] = replace(places[source], at=places[source].at + part)
            aliases[position] = part
    return places, alias, aliases
