"""Which tensors of a network flow: a window that moves on by some frames moves their rows on, and changes none of them.

A tensor flows along its time axis, before which there is no other of more than one index, so that rows lie in memory
one after the other. A layer passes the flow on where every row of its output comes from some rows of its inputs in the
same way; elsewhere (a mean over time, a fully connected layer over all rows) the flow ends, and what comes of it is a
matter of the whole window. Padding in time is refused: it makes the rows at both ends other than those between.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import InputError
from ..graph import Graph, Operator, Tensor
from ..lower import AveragePool, Convolution, MaxPool, lower
from ..lower.common import constant_integers
from ..lower.movement import slice_ranges

_SLIDING = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D"})
_BROADCASTING = frozenset({"ADD", "SUB", "MUL"})


@dataclass(frozen=True)
class Flow:
    """How a tensor flows: it has `rows` rows in a window along `axis`, a new one every `stride` frames."""

    axis: int
    rows: int
    stride: int

    def shape(self, tensor: Tensor, rows: int) -> tuple[int, ...]:
        """That of so many rows of `tensor`."""
        return (*tensor.shape[: self.axis], rows, *tensor.shape[self.axis + 1 :])


@dataclass(frozen=True)
class Span:
    """A row of output comes from `reach` neighbouring rows of input, the next one from those `stride` rows later; the
    newest row of a window comes from those before its last `unused` ones."""

    reach: int = 1
    stride: int = 1
    unused: int = 0

    def rows(self, outputs: int) -> int:
        """Of the last rows of input, how many are needed for the last so many of output."""
        return (outputs - 1) * self.stride + self.reach + self.unused


@dataclass(frozen=True)
class Read:
    """An operator that reads the last `rows` rows of a tensor, or only a sum over them."""

    operator: Operator
    rows: int
    summed: bool


@dataclass(frozen=True)
class Flows:
    """What flows in a network, by tensor, and how operators pass it on, by output."""

    graph: Graph
    tensors: dict[int, Flow]
    spans: dict[int, Span]

    @property
    def stride(self) -> int:
        """Frames after which every tensor has new rows."""
        return math.lcm(*(flow.stride for flow in self.tensors.values()))

    def reads(self, index: int, frames: int) -> Iterator[Read]:
        """Who reads a tensor that flows, after `frames` new frames."""
        flow = self.tensors[index]
        for operator in self.graph.main.operators:
            output = operator.outputs[0]
            if index not in operator.inputs:
                continue
            if output in self.spans:
                yield Read(operator, self.spans[output].rows(frames // self.tensors[output].stride), False)
            else:  # a sum changes by the rows that enter and leave; the whole is summed up where these are more
                yield Read(operator, flow.rows, operator.kind == "MEAN" and 2 * (frames // flow.stride) < flow.rows)


def flows_of(graph: Graph) -> Flows:
    """What flows behind the one input of `graph`. Raises InputError where the network cannot follow a stream."""
    (source,) = graph.main.inputs
    tensor = graph.tensors[source]
    axis = next((axis for axis, size in enumerate(tensor.shape) if size > 1), len(tensor.shape))
    if math.prod(tensor.shape[axis + 1 :]) < 2:
        raise InputError(
            f"input '{tensor.name}' {tensor.shape}: it has no time axis; frames of two or more features are accepted,"
            " as in (1, frames, features, 1)"
        )
    flows = Flows(graph, {source: Flow(axis, tensor.shape[axis], 1)}, {})
    for layer, operator in graph.layers():
        found = _passed_on(flows, layer, operator)
        if found is not None:
            flows.tensors[operator.outputs[0]], flows.spans[operator.outputs[0]] = found
    for index in graph.main.outputs:
        if index in flows.tensors:
            raise InputError(
                f"output '{graph.tensors[index].name}' {graph.tensors[index].shape}: it has a row for"
                f" {flows.tensors[index].rows} times; one answer about the whole window is accepted"
            )
    return flows


def _passed_on(flows: Flows, layer: str, operator: Operator) -> tuple[Flow, Span] | None:
    """How the output of `operator` flows and comes from its inputs, if it does. Raises InputError where it cannot."""
    graph = flows.graph
    output = graph.tensors[operator.outputs[0]]
    before = {flows.tensors[index] for index in operator.inputs if index in flows.tensors}
    if not before:
        return None
    if output.dtype == "int16":
        raise InputError(f"{layer}: '{output.name}' is int16; what flows is accepted in int8")
    if operator.kind in _SLIDING:
        found = _sliding(flows, layer, operator)
    elif operator.kind == "STRIDED_SLICE":
        found = _sliced(flows, operator)
    else:
        found = (Span(), 0) if len(before) == 1 and _by_rows(flows, layer, operator) else None
    if found is None:
        return None
    flow, (span, skipped) = before.pop(), found
    rows = (flow.rows - skipped - span.unused - span.reach) // span.stride + 1
    axis = _time_axis(output, rows)
    return None if rows == 1 or axis is None else (Flow(axis, rows, flow.stride * span.stride), span)


def _sliding(flows: Flows, layer: str, operator: Operator) -> tuple[Span, int] | None:
    """Of a convolution or of pooling: the span, and how many first rows of a window it leaves out."""
    flow = flows.tensors.get(operator.inputs[0])
    if flow is None or flow.axis not in (1, 2):
        return None
    side = flow.axis - 1
    lowered = lower(flows.graph, operator, layer)
    assert isinstance(lowered, Convolution | AveragePool | MaxPool)
    pads = lowered.pads[2 * side : 2 * side + 2]
    if any(pads):
        raise InputError(f"{layer}: pads time by {pads[0]} rows before and {pads[1]} after; none are accepted")
    if isinstance(lowered, Convolution):
        reach = (lowered.weights.shape[1 + side] - 1) * lowered.dilation[side] + 1
    else:
        reach = lowered.filter[side]
    stride = lowered.stride[side]
    return Span(reach, stride, (flow.rows - reach) % stride), 0


def _sliced(flows: Flows, operator: Operator) -> tuple[Span, int] | None:
    """Likewise."""
    flow = flows.tensors[operator.inputs[0]]
    ranges, kept = slice_ranges(flows.graph, operator)
    taken = ranges[flow.axis]
    if not kept[flow.axis] or taken.step < 1 or not taken:
        return None
    return Span(1, taken.step, flow.rows - 1 - taken[-1]), taken[0]


def _by_rows(flows: Flows, layer: str, operator: Operator) -> bool:
    """Whether an operator makes each row of its output from the same row of its inputs, and in the same way."""
    graph = flows.graph
    first = operator.inputs[0]
    sources = [index for index in operator.inputs if index in flows.tensors]
    flow, tensor = flows.tensors[sources[0]], graph.tensors[sources[0]]
    if operator.kind in _BROADCASTING:
        place = len(tensor.shape) - flow.axis  # from the last axis, as axes are matched
        for index in operator.inputs:
            shape = graph.tensors[index].shape
            if index in flows.tensors:
                fits = len(shape) - flows.tensors[index].axis == place
            else:
                fits = graph.tensors[index].constant and (len(shape) < place or shape[-place] == 1)
            if not fits:
                return False
        return True
    if operator.kind == "CONCATENATION":
        return len(sources) == len(operator.inputs) and operator.options.axis % len(tensor.shape) != flow.axis
    if operator.kind == "PAD":
        before, after = constant_integers(graph, operator.inputs[1], "paddings")[flow.axis].tolist()
        if before or after:
            raise InputError(f"{layer}: pads time by {before} rows before and {after} after; none are accepted")
        return True
    if operator.kind == "MEAN":
        axes = constant_integers(graph, operator.inputs[1], "axes").reshape(-1) % len(tensor.shape)
        return flow.axis not in axes
    if operator.kind == "SOFTMAX":
        return flow.axis != len(tensor.shape) - 1
    if operator.kind == "FULLY_CONNECTED":
        return (
            sources == [first]
            and math.prod(tensor.shape[flow.axis + 1 :]) % graph.tensors[operator.inputs[1]].shape[1] == 0
        )
    if operator.kind == "TRANSPOSE":
        order = constant_integers(graph, operator.inputs[1], "order of axes").reshape(-1).tolist()
        return _time_axis(graph.tensors[operator.outputs[0]], flow.rows) == order.index(flow.axis)
    return True


def _time_axis(tensor: Tensor, rows: int) -> int | None:
    """The axis of so many rows behind axes of one index only."""
    axis = next((axis for axis, size in enumerate(tensor.shape) if size > 1), None)
    return axis if axis is not None and tensor.shape[axis] == rows else None
