"""The proof of a plan, independent of how it was made: it is played.

Each operator stamps its tensor's number on every byte that it writes, and whoever reads must find the stamps whole. An
input that an output is written on has been read by then, if the kernel allows it, and nobody may read it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..graph import Entry, Graph, Operator
from .demand import ALIGNMENT, Demand
from .plan import Place, Plan, variables


def check(graph: Graph, planned: Plan, demands: Mapping[int, Demand]) -> None:
    """Raises AssertionError where `planned` overwrites what is alive, or an output lies on an input as its kernel's
    demand does not allow."""
    play = _Play(graph, planned, demands)
    persistent = [index for index, tensor in enumerate(graph.tensors) if tensor.persistent]
    play.enter(graph.main)
    for index in persistent:
        play.write(index)
    first = 0
    for entry in graph.entries:
        play.enter(entry)
        for index in entry.inputs:
            play.write(index)
        play.assert_whole(persistent, f"before '{entry.name}'")
        for position, (layer, operator) in enumerate(graph.layers(entry), start=first):
            play.step(position, layer, operator)
        results = [index for index in entry.outputs if not graph.tensors[index].constant]
        play.assert_whole([*persistent, *results], f"after '{entry.name}'")
        first += len(entry.operators)


class _Play:
    """Memory whose bytes hold the number of the tensor that wrote them."""

    def __init__(self, graph: Graph, planned: Plan, demands: Mapping[int, Demand]) -> None:
        self.graph, self.planned, self.demands = graph, planned, demands
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

    def whole(self, index: int) -> bool:
        return bool(np.all(self.bytes_of(index) == self.stamps[index]))

    def assert_whole(self, indices: list[int], when: str) -> None:
        for index in indices:
            assert self.whole(index), f"'{self.graph.tensors[index].name}' is overwritten {when}"

    def step(self, position: int, layer: str, operator: Operator) -> None:
        source, target = operator.inputs[0], operator.outputs[0]
        read = variables(self.graph, operator)
        self.assert_whole(read, f"before {layer}")
        if position in self.plan.scratch:
            scratch = self.plan.scratch[position]
            self.slice(scratch.name, scratch.offset, scratch.bytes)[:] = -1
            self.assert_whole(read, f"by the scratch of {layer}")
        places = self.plan.places
        if position in self.plan.aliases:
            part = replace(places[source], at=places[source].at + self.plan.aliases[position])
            assert part == places[target], f"{layer} does not lie in its input"
            self.stamps[target] = self.stamps[source]
            return
        before = {index: self.stamps[index] for index in read}
        for index in operator.outputs:
            self.write(index)
        self.assert_whole([*operator.outputs], f"by {layer}")
        demand = self.demands.get(position, Demand())
        for number, index in enumerate(operator.inputs):
            if index not in before or index in operator.outputs[1:]:  # a state, which the operator updates
                continue
            if index != target and np.all(self.bytes_of(index) == before[index]):
                continue
            within = places[index].memory == places[target].memory == "arena" or places[index] == places[target]
            distance = places[target].at - places[index].at if within else None
            allowed = distance is not None and demand.over_input(number).allows(distance)
            assert allowed, f"'{self.graph.tensors[index].name}' is overwritten by {layer}"
