"""Random integer graphs and inputs, each from one seed: what every executor, emitter and plan must agree on.

All operators, options and quantisations that `lower` accepts occur, on shapes so small that thousands run in seconds.
One graph in eight is large along some axis, for there the ranges of instructions end: offsets, constants, branches. One
in five keeps state between the others, and has further operators beside them, each with inputs of its own: with a
state, on int16, or DIV.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from int16_operators import INT16
from random_compute import Computing
from random_movement import Moving
from random_states import Keeping
from single_operators import OPERATORS, Draw
from stateful_operators import STATEFUL

from mcu_codegen.graph import Entry, Graph, Operator


def random_graph(seed: int, operators: int = 7) -> Graph:
    """The graph of `seed`, with up to `operators` drawn operators in each of one or two entries."""
    further = np.random.default_rng((seed, 16))
    return _Graphs(np.random.default_rng(seed), is_large(seed), further).graph(f"random_{seed}", operators)


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
        codes = np.iinfo(tensor.dtype)
        data = rng.integers(codes.min, codes.max + 1, (count, *tensor.shape))
        for place in range(count):
            style = rng.integers(4)
            if style == 0:
                data[place] = rng.choice([codes.min, codes.max], tensor.shape)
            elif style == 1:
                drawn = rng.integers(codes.min, codes.max + 1)
                data[place] = rng.choice([codes.min, codes.max, tensor.zero_point, drawn])
        inputs.append(data.astype(tensor.dtype))
    return inputs


_FURTHER: dict[str, Callable[[Draw], Graph]] = {
    "DIV": partial(OPERATORS["DIV"], kind="DIV"),
    **{f"{kind} on int16": partial(make, kind=kind) for kind, make in INT16.items()},
    **{kind: partial(make, dtype=dtype) for kind, (make, dtype) in STATEFUL.items()},
}


class _Graphs(Computing, Moving, Keeping):
    """Draws entries of drawn operators. `further` decides which of them are extended, and changes nothing of others."""

    def __init__(self, rng: np.random.Generator, large: bool, further: np.random.Generator) -> None:
        super().__init__(rng, large)
        self.draw = Draw(0)
        self.draw.rng = further
        self.extended = bool(further.random() < 0.2)

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
        self.begin()
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
            if self.extended and self.draw.integer(0, 3) == 0:
                values.append(self.keep(values))
        self.end()
        for _ in range(self.draw.integer(1, 3) if self.extended else 0):
            inputs += self.further()
        read = {index for operator in self.operators for index in operator.inputs}
        outputs = dict.fromkeys(operator.outputs[0] for operator in self.operators)
        chosen = [index for index in outputs if index not in read or self.chance(0.15)]
        return Entry(name, tuple(inputs), tuple(chosen or list(outputs)[-1:]), self.operators)

    def further(self) -> list[int]:
        """The inputs of another operator, which the entry gets."""
        kinds = [*STATEFUL, "DIV"] if self.draw.integer(0, 1) else [*_FURTHER]
        graph = _FURTHER[kinds[self.draw.integer(0, len(kinds) - 1)]](self.draw)
        moved = [self.new("further", tensor) for tensor in graph.tensors]
        self.operators += [
            replace(
                operator,
                inputs=tuple(moved[index] if index >= 0 else index for index in operator.inputs),
                outputs=tuple(moved[index] for index in operator.outputs),
            )
            for operator in graph.main.operators
        ]
        return [moved[index] for index in graph.main.inputs]

    def twin(self, index: int, renamed: dict[int, int]) -> int:
        if index < 0 or self.tensors[index].data is not None:
            return index
        if index not in renamed:
            renamed[index] = self.new("activation", replace(self.tensors[index]))
        return renamed[index]
