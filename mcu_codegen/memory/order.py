"""The order of operators: the branches of a network may run one after the other or by turns, and RAM depends on it.

What a file says is one order of many that compute the same. This one is searched for the least live bytes. An output is
taken to lie on the largest input that ends with it, as nearly every kernel allows.
"""

from __future__ import annotations

import heapq
from dataclasses import replace

from ..graph import Entry, Graph

_STATES = 3000
"""How many sets of operators done the search looks at in one entry, before it leaves the order as it is."""


def ordered(graph: Graph) -> Graph | None:
    """`graph` with the operators of some entry in an order in which less lives at once; None where there is none.

    Of a network with early exits there is none: operators stand in the order of the exits.
    """
    if "exits" in graph.metadata:
        return None
    entries = [_ordered(graph, entry) for entry in graph.entries]
    return None if entries == graph.entries else replace(graph, entries=entries)


def _ordered(graph: Graph, entry: Entry) -> Entry:
    steps = _Steps(graph, entry)
    order = _search(steps)
    if order is None or steps.peak(order) >= steps.peak(range(len(entry.operators))):
        return entry
    return replace(entry, operators=[entry.operators[number] for number in order])


class _Steps:
    """What each operator of an entry waits for, and what it does to the bytes that live. Sets of operators are bits."""

    def __init__(self, graph: Graph, entry: Entry) -> None:
        callers = {*entry.inputs, *entry.outputs}
        self.bytes: list[int] = []  # of each operator's output; the caller's count nothing
        self.inputs: list[set[int]] = []  # of each operator, the operators that write what it reads
        self.waits: list[int] = []  # for which operators each waits
        self.readers = [0] * len(entry.operators)  # of each operator's output
        writers: dict[int, int] = {}
        stateful = 0
        for number, operator in enumerate(entry.operators):
            touched = [index for index in (*operator.inputs, *operator.outputs) if index >= 0]
            state = any(graph.tensors[index].persistent for index in touched)
            inputs = {writers[index] for index in operator.inputs if index in writers}
            waits = sum(1 << writer for writer in inputs)
            for writer in inputs:
                self.readers[writer] |= 1 << number
            if state:  # what meets persistent tensors keeps its order
                waits |= stateful
                stateful |= 1 << number
            output = operator.outputs[0]
            outside = output in callers or graph.tensors[output].persistent
            writers[output] = number
            self.bytes.append(0 if outside else graph.tensors[output].bytes)
            self.inputs.append(inputs)
            self.waits.append(waits)

    def run(self, number: int, done: int, live: int) -> tuple[int, int]:
        """(bytes that live while operator `number` runs, and afterwards), where `live` bytes do before."""
        after = done | 1 << number
        ending = [self.bytes[writer] for writer in self.inputs[number] if not self.readers[writer] & ~after]
        output = self.bytes[number]
        during = live + output - min(output, max(ending, default=0))
        return during, live - sum(ending) + (output if self.readers[number] else 0)

    def peak(self, order: list[int] | range) -> int:
        """The most bytes that live in any operator."""
        most = done = live = 0
        for number in order:
            during, live = self.run(number, done, live)
            most, done = max(most, during), done | 1 << number
        return most


def _search(steps: _Steps) -> list[int] | None:
    """The order with the least peak; None where the search ends before it is found."""
    count = len(steps.bytes)
    # whichever partial order has needed least goes on, of those the longest; then the file's own order
    queue: list[tuple[int, int, list[int], int, int]] = [(0, 0, [], 0, 0)]
    seen: set[int] = set()
    while queue and len(seen) < _STATES:
        most, _, order, done, live = heapq.heappop(queue)
        if len(order) == count:
            return order
        if done in seen:
            continue
        seen.add(done)
        for number in range(count):
            if not done >> number & 1 and not steps.waits[number] & ~done:
                during, after = steps.run(number, done, live)
                item = (max(most, during), -len(order) - 1, [*order, number], done | 1 << number, after)
                heapq.heappush(queue, item)
    return None
