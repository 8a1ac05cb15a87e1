"""One user's network as an ordinary graph: closed channels are cut out of weights, biases and activations.

A closed channel holds its tensor's zero point, which stands for 0, so whatever multiplies it adds nothing and can go.
The result computes the very codes of the open channels that `NumpyExecutor` computes with the others closed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from ..errors import InputError
from ..graph import RENAMING, Entry, Graph, Operator, Quantization, Tensor
from ..lower.common import constant_integers
from .gates import Gates, open_channels

Kept = Mapping[int, np.ndarray]
"""By tensor, bool along its last axis: what stays. Of a tensor that is not named, all stays."""


class Executor(Protocol):
    """See `execute.batches.BatchExecutor`."""

    name: str

    def reset(self) -> None: ...

    def run(self, inputs: list[np.ndarray], entry: str | None = None) -> dict[int, np.ndarray]: ...


# operators that turn zero points into zero points, channel by channel
_PASSING = frozenset({"AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "RELU", "RELU6", "HARD_SWISH", "QUANTIZE"})
_PAIRWISE = frozenset({"ADD", "SUB"})
_SUMMING = frozenset({"CONV_2D", "FULLY_CONNECTED"})


def bake(graph: Graph, gates: Gates, words: Sequence[str] | None = None) -> Graph:
    """`graph` with the channels that `gates` close cut out; `words` go into the metadata, for the decision.

    Entries, operators and names of activations stay as they are. Raises InputError naming the layer through which a
    closed channel would reach what cannot do without it.
    """
    kept = kept_channels(graph, gates)
    cut = _Cut(graph, kept)
    entries = [cut.entry(entry) for entry in graph.entries]
    metadata = {key: value for key, value in graph.metadata.items() if key != "gates"}
    if words is not None:
        metadata["words"] = list(words)
    return Graph(graph.name, cut.tensors, entries, metadata, graph.sha256)


def kept_channels(graph: Graph, gates: Gates) -> Kept:
    """What `gates` leave of every activation, those that only pass channels on included."""
    opened = open_channels(graph, gates)
    kept: dict[int, np.ndarray] = {}
    for entry in graph.entries:
        for layer, operator in graph.layers(entry):
            try:
                after = _after(graph, operator, kept, opened)
            except InputError as error:
                raise InputError(f"{layer}: {error}") from None
            if after is not None and not after.all():
                kept[operator.outputs[0]] = after
        for index in entry.outputs:
            if index in kept:
                raise InputError(f"entry '{entry.name}': channels of its output '{graph.tensors[index].name}' close")
    return kept


def restore(graph: Graph, kept: Kept, index: int, values: np.ndarray) -> np.ndarray:
    """`values` (N, *shape) of the baked tensor `index` as those of `graph`, with zero points where it is closed."""
    if index not in kept:
        return values
    tensor = graph.tensors[index]
    whole = np.full((len(values), *tensor.shape), tensor.zero_point, values.dtype)
    whole[..., kept[index]] = values
    return whole


class Restored:
    """An executor of a baked graph, seen as one of the gated graph: what closed holds its zero point."""

    def __init__(self, inner: Executor, graph: Graph, gates: Gates) -> None:
        """`inner` executes `bake(graph, gates)`."""
        self.name = f"{inner.name}, baked"
        self.inner, self.graph, self.kept = inner, graph, kept_channels(graph, gates)
        self._baked = bake(graph, gates)

    def reset(self) -> None:
        self.inner.reset()

    def run(self, inputs: list[np.ndarray], entry: str | None = None) -> dict[int, np.ndarray]:
        """As `execute.batches.BatchExecutor.run`."""
        found = self.inner.run(inputs, entry)
        pairs = zip(self.graph.entry(entry).operators, self._baked.entry(entry).operators, strict=True)
        places = {own.outputs[0]: operator.outputs[0] for operator, own in pairs}
        return {places[index]: restore(self.graph, self.kept, places[index], values) for index, values in found.items()}


def _after(graph: Graph, operator: Operator, kept: Kept, opened: Kept) -> np.ndarray | None:
    """What stays of the output of `operator`."""
    source, target = operator.inputs[0], operator.outputs[0]
    before, wanted = kept.get(source), opened.get(target)
    if wanted is not None and wanted.all():
        wanted = None
    if operator.kind in _SUMMING:
        if before is not None and operator.kind == "FULLY_CONNECTED":
            _columns(graph, operator, before)  # raises where they are not the same in every row
        return wanted
    others = [index for index in operator.inputs[1:] if index in kept]
    if operator.kind == "DEPTHWISE_CONV_2D":
        passed = None if before is None else np.repeat(before, operator.options.depth_multiplier)
    elif before is None and not others:
        passed = None
    elif operator.kind in _PASSING:
        passed = before
        rank = len(graph.tensors[source].shape)
        if operator.kind == "MEAN" and np.any(constant_integers(graph, operator.inputs[1], "axes") % rank == rank - 1):
            raise InputError(f"it takes a mean over the channels of '{graph.tensors[source].name}'; some are closed")
    elif operator.kind == "STRIDED_SLICE":
        passed = before
        if (shapes := [graph.tensors[index].shape for index in (source, target)])[0][-1] != shapes[1][-1]:
            raise InputError(f"it takes some channels of '{graph.tensors[source].name}'; some are closed")
    elif operator.kind in RENAMING:
        assert before is not None
        passed = _renamed(before, graph.tensors[source], graph.tensors[target])
    elif operator.kind in _PAIRWISE:
        passed = before
        if not _same(before, kept.get(operator.inputs[1])):
            raise InputError("its inputs have different channels closed")
    else:
        raise InputError(f"{operator.kind} cannot do without the closed channels of its input")
    if operator.kind == "DEPTHWISE_CONV_2D" and before is not None and wanted is None:
        raise InputError(
            f"channels of its input are closed, those of its output '{graph.tensors[target].name}' are not"
        )
    if wanted is not None and not _same(passed, wanted):
        raise InputError(f"it cannot close other channels of '{graph.tensors[target].name}' than of its input")
    return passed


def _same(first: np.ndarray | None, second: np.ndarray | None) -> bool:
    return (first is None) == (second is None) and (first is None or np.array_equal(first, second))  # type: ignore[arg-type]


def _renamed(before: np.ndarray, source: Tensor, target: Tensor) -> np.ndarray:
    whole = np.broadcast_to(before, source.shape).reshape(-1, target.shape[-1])
    if not np.all(whole == whole[0]):
        raise InputError(f"closed channels of '{source.name}' are no columns of '{target.name}'")
    return whole[0]


def _columns(graph: Graph, operator: Operator, before: np.ndarray) -> np.ndarray:
    """Of the weights of FULLY_CONNECTED, the columns that stay."""
    source, weights = (graph.tensors[index] for index in operator.inputs[:2])
    whole = np.broadcast_to(before, source.shape).reshape(-1, weights.shape[1])
    if not np.all(whole == whole[0]):
        raise InputError(f"closed channels of '{source.name}' are no columns of '{weights.name}'")
    return whole[0]


class _Cut:
    """The tensors of the baked graph; a constant is cut once for every use that differs."""

    def __init__(self, graph: Graph, kept: Kept) -> None:
        self.graph, self.kept = graph, kept
        self.tensors: list[Tensor] = []
        self._places: dict[object, int] = {}

    def entry(self, entry: Entry) -> Entry:
        operators = [self.operator(layer, operator) for layer, operator in self.graph.layers(entry)]
        inputs, outputs = (tuple(map(self.whole, indices)) for indices in (entry.inputs, entry.outputs))
        return Entry(entry.name, inputs, outputs, operators)

    def operator(self, layer: str, operator: Operator) -> Operator:
        source, target = operator.inputs[0], operator.outputs[0]
        before, after = self.kept.get(source), self.kept.get(target)
        constants = operator.inputs[1:]
        if operator.kind in _SUMMING or operator.kind == "DEPTHWISE_CONV_2D":
            axes: dict[int, np.ndarray | None] = {0: after, 3: before}
            if operator.kind == "DEPTHWISE_CONV_2D":
                axes = {3: after}
            elif operator.kind == "FULLY_CONNECTED":
                axes = {0: after, 1: None if before is None else _columns(self.graph, operator, before)}
                if after is not None and after.sum() == 1:
                    raise InputError(f"{layer}: one channel is left; FULLY_CONNECTED rounds one scale otherwise")
            inputs = [self.cut(constants[0], axes), *(self.cut(index, {0: after}) for index in constants[1:])]
        elif operator.kind == "RESHAPE" and constants:
            shape = np.array(self.shape(target), np.int32)
            inputs = [self.place(("shape", *shape), Tensor(f"{layer}_shape", shape.shape, "int32", None, shape))]
        else:
            inputs = [self.whole(index) for index in constants]
        return Operator(operator.kind, (self.whole(source), *inputs), (self.whole(target),), operator.options)

    def whole(self, index: int) -> int:
        """A tensor that keeps its data; an activation without its closed channels."""
        if index < 0:
            return index
        tensor = self.graph.tensors[index]
        shape = self.shape(index)
        return self.place(
            index,
            Tensor(tensor.name, shape, tensor.dtype, tensor.quantization, tensor.data, tensor.persistent),
        )

    def cut(self, index: int, axes: Mapping[int, np.ndarray | None]) -> int:
        """A constant with what stays along some axes."""
        cuts = {axis: keep for axis, keep in axes.items() if keep is not None}
        if index < 0 or not cuts:
            return self.whole(index)
        tensor = self.graph.tensors[index]
        data, quantization = tensor.data, tensor.quantization
        assert data is not None
        for axis, keep in cuts.items():
            data = np.compress(keep, data, axis)
            if quantization is not None and not quantization.per_tensor and quantization.axis == axis:
                quantization = Quantization(
                    tuple(np.compress(keep, quantization.scale).tolist()),
                    tuple(np.compress(keep, quantization.zero_point).tolist()),
                    axis,
                )
        key = (index, *((axis, keep.tobytes()) for axis, keep in cuts.items()))
        return self.place(key, Tensor(tensor.name, data.shape, tensor.dtype, quantization, data))

    def shape(self, index: int) -> tuple[int, ...]:
        shape, keep = self.graph.tensors[index].shape, self.kept.get(index)
        return shape if keep is None else (*shape[:-1], int(keep.sum()))

    def place(self, key: object, tensor: Tensor) -> int:
        if key not in self._places:
            self._places[key] = len(self.tensors)
            self.tensors.append(tensor)
        return self._places[key]
