"""A network over a window of frames becomes a *step*: new frames in, the scores of the window that ends with them out.

Where time is not padded, a window that has moved on gives the rows of before, moved on, and a few new ones: a step
computes these only. Of every tensor whose rows are needed again, a persistent *window* keeps the last ones, the newest
at its end, so that whoever reads them finds them side by side; means over time keep integer sums. From there on, where
nothing flows any more (`flow`), everything is computed anew.

Persistent tensors start as silence that has lasted for ever leaves them. So a step gives, from the first one on, the
bytes that the whole network gives of the last frames: those heard, and silence before them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import InputError
from ..execute.numpy_executor import NumpyExecutor
from ..graph import Entry, Graph, MeanOfSums, NoOptions, Operator, SlidingSum, Step, StridedSlice, Tensor
from ..lower.common import constant_integers
from ..lower.movement import slice_ranges
from ..users.exits import exits_of
from .flow import Flows, flows_of
from .frontend import PRESETS


def step_of(graph: Graph, frames: int | None = None) -> Graph:
    """The step of `graph`, with `frames` new frames each: by default as few as its strides allow.

    Activations keep their names and have fewer rows. Raises InputError naming the layer that cannot follow a stream,
    or where `frames` is no multiple of the network's stride over time.
    """
    if len(graph.entries) != 1 or len(graph.main.inputs) != 1:
        raise InputError(f"model '{graph.name}': one entry with one input is accepted of what becomes a step")
    if exits_of(graph):
        raise InputError(f"model '{graph.name}': has early exits; what is behind a stop would miss rows of the stream")
    if any(tensor.persistent for tensor in graph.tensors):
        raise InputError(
            f"model '{graph.name}': has persistent tensors; a network without a state of its own is accepted"
        )
    flows = flows_of(graph)
    frames = flows.stride if frames is None else frames
    if frames < 1 or frames % flows.stride:
        raise InputError(
            f"--rows-per-step {frames}: multiples of {flows.stride} are accepted, the stride of model '{graph.name}'"
            " over time"
        )
    return _Step(graph, flows, frames).made()


def silence(graph: Graph) -> np.ndarray:
    """A window of silence (*input shape): the floor of the front end that the metadata name, else the zero point."""
    source = graph.tensors[graph.main.inputs[0]]
    front_end = PRESETS.get(graph.metadata.get("front_end", ""))
    if front_end is None or source.bytes % front_end.coefficients:
        return np.full(source.shape, source.zero_point, source.dtype)
    return np.resize(front_end.floor_codes, source.shape)


@dataclass
class _Step:
    """The step of `graph` in the making."""

    graph: Graph
    flows: Flows
    frames: int
    tensors: list[Tensor] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)  # by tensor of the network: its new rows, or all of it
    windows: dict[int, int] = field(default_factory=dict)  # by tensor of the network: its last rows
    sums: dict[int, int] = field(default_factory=dict)  # by output of a mean

    def made(self) -> Graph:
        (source,) = self.graph.main.inputs
        still = silence(self.graph)[np.newaxis]
        self.silent: Mapping[int, np.ndarray] = NumpyExecutor(self.graph).run([still]) | {source: still}
        self.keep(source)
        for operator in self.graph.main.operators:
            self.step(operator)
        outputs = tuple(self.places[index] for index in self.graph.main.outputs)
        entry = Entry("step", (self.places[source],), outputs, self.operators)
        metadata = {key: value for key, value in self.graph.metadata.items() if key != "gates"}
        step = Step(self.frames, self.flows.tensors[source].rows)
        return Graph(self.graph.name, self.tensors, [entry], metadata, self.graph.sha256, step)

    def step(self, operator: Operator) -> None:
        """What takes the place of `operator`."""
        output = operator.outputs[0]
        if output in self.flows.spans:
            inputs, options = self.moved(operator)
            place = self.new(replace(self.graph.tensors[output], shape=self.shape(output, self.entering(output))))
            self.append(operator.kind, inputs, place, options)
            self.keep(output, place)
        elif output in self.sums:
            count = self.graph.tensors[operator.inputs[0]].bytes // self.graph.tensors[output].bytes
            self.append("MEAN_OF_SUMS", (self.sums[output],), self.place(output), MeanOfSums(count))
        else:
            inputs = tuple(
                self.last(index, self.flows.tensors[index].rows) if index in self.flows.tensors else self.place(index)
                for index in operator.inputs
            )
            self.append(operator.kind, inputs, self.place(output), operator.options)

    def moved(self, operator: Operator) -> tuple[tuple[int, ...], Any]:
        """The inputs and the options of an operator that flows."""
        output = operator.outputs[0]
        rows = self.flows.spans[output].rows(self.entering(output))
        if operator.kind == "STRIDED_SLICE":
            return self.sliced(operator, rows)
        if operator.kind == "RESHAPE":
            return (self.last(operator.inputs[0], rows),), operator.options  # the output's shape says all
        inputs = tuple(
            self.last(index, rows) if index in self.flows.tensors else self.place(index) for index in operator.inputs
        )
        return inputs, operator.options

    def sliced(self, operator: Operator, rows: int) -> tuple[tuple[int, ...], Any]:
        """Of a slice, which takes its rows from where they are held, however many more there are."""
        source, output = operator.inputs[0], operator.outputs[0]
        held, start = self.held(source, rows)
        ranges, kept = slice_ranges(self.graph, operator)
        span = self.flows.spans[output]
        ranges[self.flows.tensors[source].axis] = range(start, start + rows - span.unused, span.stride)
        bounds = np.array([(taken.start, taken.stop, taken.step) for taken in ranges], np.int32).T
        open_ends, left_out = (
            sum(flag << axis for axis, flag in enumerate(flags))
            for flags in ((taken.stop < 0 for taken in ranges), (not keep for keep in kept))
        )
        name = self.graph.tensors[output].name
        inputs = (held, *(self.constant(f"{name}.bounds", each) for each in bounds))
        return inputs, StridedSlice(end_mask=open_ends, shrink_axis_mask=left_out)

    def keep(self, index: int, place: int | None = None) -> None:
        """Behind the new rows of a tensor, what keeps them for later: sums over its last rows, and its window."""
        tensor, flow, entering = self.graph.tensors[index], self.flows.tensors[index], self.entering(index)
        if place is None:
            place = self.new(replace(tensor, shape=self.shape(index, entering)))
        self.places[index] = place
        reads = list(self.flows.reads(index, self.frames))
        length = max((read.rows for read in reads), default=0)
        if length <= entering:
            return
        silent = self.silent[index][0]
        row = np.take(silent, [0], flow.axis)
        assert np.array_equal(silent, np.broadcast_to(row, silent.shape)), f"rows of silence in '{tensor.name}' differ"
        window = self.windows[index] = self.state(f"{tensor.name}.window", tensor, np.repeat(row, length, flow.axis))
        for read in reads:
            if read.summed:
                given = constant_integers(self.graph, read.operator.inputs[1], "axes").reshape(-1)
                axes = tuple(sorted({int(axis) % len(tensor.shape) for axis in given}))
                sums = self.state(f"{tensor.name}.sums", tensor, silent.sum(axis=axes, dtype=np.int32))
                options = SlidingSum(axes, length - flow.rows)
                self.sums[read.operator.outputs[0]] = self.append("SLIDING_SUM", (sums, window, place), sums, options)
        self.append("SHIFT_IN", (window, place), window, NoOptions())

    def last(self, index: int, rows: int) -> int:
        """A tensor that is the last so many rows of one of the network."""
        held, start = self.held(index, rows)
        if start == 0:
            return held
        whole, tensor = self.tensors[held], self.graph.tensors[index]
        begin = np.zeros(len(whole.shape), np.int32)
        begin[self.flows.tensors[index].axis] = start
        bounds = [begin, np.array(whole.shape, np.int32), np.ones_like(begin)]
        name = f"{tensor.name}.last_{rows}"
        inputs = (held, *(self.constant(f"{name}.bounds", each) for each in bounds))
        output = self.new(replace(tensor, name=name, shape=self.shape(index, rows)))
        return self.append("STRIDED_SLICE", inputs, output, StridedSlice())

    def held(self, index: int, rows: int) -> tuple[int, int]:
        """Where the last so many rows of a tensor are, and the first of them there."""
        held = self.places[index] if rows <= self.entering(index) else self.windows[index]
        return held, self.tensors[held].shape[self.flows.tensors[index].axis] - rows

    def entering(self, index: int) -> int:
        """New rows of a tensor in a step."""
        return self.frames // self.flows.tensors[index].stride

    def shape(self, index: int, rows: int) -> tuple[int, ...]:
        return self.flows.tensors[index].shape(self.graph.tensors[index], rows)

    def place(self, index: int) -> int:
        """A tensor that is the same in the step."""
        if index < 0:
            return index
        if index not in self.places:
            self.places[index] = self.new(self.graph.tensors[index])
        return self.places[index]

    def state(self, name: str, like: Tensor, data: np.ndarray) -> int:
        """A persistent tensor with codes, or sums of codes, of another one."""
        return self.new(Tensor(name, data.shape, data.dtype.name, like.quantization, data, persistent=True))

    def constant(self, name: str, values: np.ndarray) -> int:
        return self.new(Tensor(name, values.shape, "int32", None, values.astype(np.int32)))

    def new(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def append(self, kind: str, inputs: tuple[int, ...], output: int, options: Any) -> int:
        self.operators.append(Operator(kind, inputs, (output,), options))
        return output
