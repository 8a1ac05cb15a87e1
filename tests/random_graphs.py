"""Random integer graphs and inputs, each from one seed: what every executor, emitter and plan must agree on.

All operators, options and quantisations that `lower` accepts occur, on shapes so small that thousands run in seconds.
One graph in eight is large along some axis, for there the ranges of instructions end: offsets, constants, branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from random_compute import Computing
from random_movement import Moving

from mcu_codegen.graph import Entry, Graph, Operator


def random_graph(seed: int, operators: int = 7) -> Graph:
    """The graph of `seed`, with up to `operators` drawn operators in each of one or two entries."""
    return _Graphs(np.random.default_rng(seed), is_large(seed)).graph(f"random_{seed}", operators)


def is_large(seed: int) -> bool:
    """Whether the graph of `seed` is: the draws of the others do not depend on it."""
    return bool(np.random.default_rng((seed, 8)).random() < 1 / 8)


def random_inputs(graph: Graph, seed: int, count: int = 4, entry: str | None = None) -> list[np.ndarray]:
    """`count` samples (count, *shape) for each input of `entry` (default: the first), as executors take them.

    A sample is, by chance, uniform, made of the two extreme codes only, or of one code everywhere.
    """
    rng = np.random.default_rng(seed)
    chosen = next(candidate for candidate in graph.entries if entry in (None, candidate.name))
    inputs = []
    for index in chosen.inputs:
        tensor = graph.tensors[index]
        data = rng.integers(-128, 128, (count, *tensor.shape))
        for sample in data:
            style = rng.integers(4)
            if style == 0:
                sample[...] = rng.choice([-128, 127], tensor.shape)
            elif style == 1:
                sample[...] = rng.choice([-128, 127, tensor.zero_point, rng.integers(-128, 128)])
        inputs.append(data.astype(np.int8))
    return inputs


class _Graphs(Computing, Moving):
    """Draws entries of drawn operators."""

    def graph(self, name: str, most: int) -> Graph:
        first = self.entry("invoke", most, [])
        if self.chance(0.7):
            return Graph(name, self.tensors, [first])
        shared = first.operators[: self.integer(0, len(first.operators))]
        return Graph(name, self.tensors, [first, self.entry("enrol", most, shared)])

    def entry(self, name: str, most: int, shared: Sequence[Operator]) -> Entry:
        """An entry that begins with the operators `shared`: their constants and states, but activations of its own."""
        renamed: dict[int, int] = {}
        self.operators = [
            Operator(
                operator.kind,
                tuple(self.twin(index, renamed) for index in operator.inputs),
                tuple(self.twin(index, renamed) for index in operator.outputs),
                operator.options,
            )
            for operator in shared
        ]
        written = {operator.outputs[0] for operator in self.operators}
        inputs = [index for index in renamed.values() if index not in written]
        if not inputs or self.chance(0.3):
            inputs.append(self.activation(self.image()))
        values = [*self.states, *inputs, *(index for index in renamed.values() if index in written)]
        values = [index for index in values if self.tensors[index].dtype == "int8"]  # positions are no codes
        draws = [self.convolution, self.depthwise, self.fully_connected, self.pool, self.mean]
        draws += [self.pairwise, self.softmax, self.rename, self.update_state]
        draws += [self.function, self.transpose, self.strided_slice, self.concatenation, self.pad]
        draws += [self.prelu, self.extreme, self.resize, self.pack, self.gather, self.phases, self.position]
        often = np.array([4, 4, 2, 2, 1, 4, 1, 2, 1, 3, 1, 2, 2, 1, 1, 1, 1, 1, 1, 2, 1]) / 38
        wanted = len(self.operators) + self.integer(1, most)
        while len(self.operators) < wanted:
            source = values[-1] if self.chance(0.6) else self.one(values)  # chains grow, branches happen
            output = draws[self.rng.choice(len(draws), p=often)](source, values)
            if output is not None and output not in values and self.tensors[output].dtype == "int8":
                values.append(output)
        read = {index for operator in self.operators for index in operator.inputs}
        outputs = dict.fromkeys(operator.outputs[0] for operator in self.operators)
        chosen = [index for index in outputs if index not in read or self.chance(0.15)]
        return Entry(name, tuple(inputs), tuple(chosen or list(outputs)[-1:]), self.operators)

    def twin(self, index: int, renamed: dict[int, int]) -> int:
        if index < 0 or self.tensors[index].data is not None:
            return index
        if index not in renamed:
            renamed[index] = self.new("activation", replace(self.tensors[index]))
        return renamed[index]
