"""Channel gates: which channels of a network one user keeps. The specification, and its execution in NumPy.

A gated model is two files. `model.tflite` is an ordinary network whose metadata list the gate groups, under "gates":
``[{"name": "conv1", "tensors": [names of activations], "size": 4}, ...]``. Gate i of a group governs the channels
i * size .. i * size + size - 1, along the last axis, of each of its tensors; a tensor that has a multiple of those
channels holds them one time after the other. A closed channel holds its tensor's zero point by definition.
`model.enrol.tflite` takes the same input; its outputs are one int8 tensor of logits per group, in the same order, of
the network without gates. Its metadata name the model, under "model": the first 8 bytes of the SHA-256 of
`model.tflite`, in hexadecimal.

They may say, under "absent", what leaving a word out changes: by group, label and gate an int8 step of the logits,
``[[[...] by gate] by label] by group``. Over K utterances a gate is open where the sum of its logits, and K times the
steps of all labels that the user does without, exceeds K times their zero point. A group that would have no open gate
opens the one with the greatest sum, the first of equals. `emit.user` writes the same as C.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from ..graph import Entry, Graph, Operator

MAX_UTTERANCES = 65535  # so that a sum of int8 logits, and K times a zero point, are far inside int32

ENROLMENT = "enrol/"  # before the names of the enrolment network's tensors in a joined graph

Gates = Sequence[np.ndarray]
"""By group, bool[count]: True where a gate is open."""


@dataclass(frozen=True)
class Group:
    """Tensors whose channels open and close together."""

    name: str
    tensors: tuple[int, ...]  # their indices in the graph
    size: int  # channels a gate
    count: int  # gates


def groups(graph: Graph) -> tuple[Group, ...]:
    """The gate groups that the metadata of `graph` list. Raises InputError where there are none, or they do not fit."""
    listed = graph.metadata.get("gates")
    if not isinstance(listed, list) or not listed:
        raise InputError(f"model '{graph.name}': its metadata list no gates, which a user's network needs")
    found: list[Group] = []
    for entry in listed:
        try:
            found.append(_group(graph, entry))
        except InputError as error:
            raise InputError(f"model '{graph.name}': gates: {error}") from None
    taken = [index for group in found for index in group.tensors]
    if len(set(taken)) != len(taken) or len({group.name for group in found}) != len(found):
        raise InputError(f"model '{graph.name}': gates: a name or a tensor is listed twice")
    return tuple(found)


def check_gates(groups: Sequence[Group], gates: Gates) -> None:
    """Raises InputError where `gates` are not bool[count] with an open one for every group."""
    found = [(gate.dtype.name, gate.shape) for gate in gates]
    if found != [("bool", (group.count,)) for group in groups]:
        accepted = ", ".join(f"{group.name}: {group.count}" for group in groups)
        raise InputError(f"gates: found {found}; accepted is bool for each of {accepted}")
    for group, gate in zip(groups, gates, strict=True):
        if not gate.any():
            raise InputError(f"gates: group '{group.name}' has no open gate; one or more are accepted")


def all_open(groups: Sequence[Group]) -> Gates:
    """The full network."""
    return [np.ones(group.count, bool) for group in groups]


def decide(sums: Sequence[np.ndarray], zero_points: Sequence[int], utterances: int) -> Gates:
    """The gates after `utterances` utterances (1..MAX_UTTERANCES), whose logits sum up to `sums` (int64[count] each).

    `zero_points` are those of the logits, by group.
    """
    if not 1 <= utterances <= MAX_UTTERANCES:
        raise InputError(f"enrolment: {utterances} utterances; 1 to {MAX_UTTERANCES} are accepted")
    decided = []
    for total, zero_point in zip(sums, zero_points, strict=True):
        gate = total > utterances * zero_point
        if not gate.any():
            gate[np.argmax(total)] = True
        decided.append(gate)
    return decided


def absent_steps(enrolment: Graph) -> list[np.ndarray]:
    """What leaving labels out changes, int8[labels, gates] by group; all zero where the metadata say nothing.

    Raises InputError where they do not fit the outputs.
    """
    labels = len(enrolment.metadata.get("labels", []))
    shapes = [(labels, enrolment.tensors[index].shape[-1]) for index in enrolment.main.outputs]
    listed = enrolment.metadata.get("absent")
    if listed is None:
        return [np.zeros(shape, np.int8) for shape in shapes]
    try:
        tables = [np.array(table) for table in listed]
    except (TypeError, ValueError):
        tables = []
    if [table.shape for table in tables] != shapes or not all(
        table.dtype.kind == "i" and abs(table).max(initial=0) <= 127 for table in tables
    ):
        raise InputError(f"model '{enrolment.name}': absent: accepted are int8 steps of shapes {shapes}")
    return [table.astype(np.int8) for table in tables]


def open_channels(graph: Graph, gates: Gates) -> dict[int, np.ndarray]:
    """By tensor, bool[C]: which channels are open, as `NumpyExecutor` and `bake` take them."""
    listed = groups(graph)
    check_gates(listed, gates)
    return {
        index: np.resize(np.repeat(gate, group.size), graph.tensors[index].shape[-1])
        for group, gate in zip(listed, gates, strict=True)
        for index in group.tensors
    }


def check_pair(model: Graph, enrolment: Graph) -> None:
    """Raises InputError where `enrolment` does not enrol users of `model`."""
    named = enrolment.metadata.get("model")
    if named != model.sha256[:16]:
        raise InputError(
            f"model '{enrolment.name}': it enrols for model {named!r}; accepted is {model.sha256[:16]!r},"
            f" the first 8 bytes of the SHA-256 of '{model.name}'"
        )
    found = [(enrolment.tensors[index].dtype, enrolment.tensors[index].shape) for index in enrolment.main.outputs]
    wanted = [("int8", (1, group.count)) for group in groups(model)]
    if found != wanted:
        raise InputError(f"model '{enrolment.name}': its outputs are {found}; accepted are {wanted}")
    sides = [
        [(each.dtype, each.shape, each.quantization) for each in map(graph.tensors.__getitem__, graph.main.inputs)]
        for graph in (model, enrolment)
    ]
    if sides[0] != sides[1]:
        raise InputError(f"model '{enrolment.name}': its inputs {sides[1]} are not those of the model, {sides[0]}")


def join(model: Graph, enrolment: Graph) -> Graph:
    """One graph of two entries, ``invoke`` and ``enrol``. Raises InputError where `check_pair` does.

    Generated C keeps equal constants once, so enrolment costs the flash of its heads and code only.
    """
    check_pair(model, enrolment)
    first = len(model.tensors)

    def moved(indices: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(index + first if index >= 0 else index for index in indices)

    operators = [
        Operator(each.kind, moved(each.inputs), moved(each.outputs), each.options) for each in enrolment.main.operators
    ]
    entry = Entry("enrol", moved(enrolment.main.inputs), moved(enrolment.main.outputs), operators)
    tensors = [*model.tensors, *(replace(each, name=ENROLMENT + each.name) for each in enrolment.tensors)]
    return Graph(model.name, tensors, [model.main, entry], model.metadata, model.sha256)


def _group(graph: Graph, entry: object) -> Group:
    if not isinstance(entry, dict) or set(entry) != {"name", "tensors", "size"}:
        raise InputError(f"found {entry!r}; accepted is an object of name, tensors and size")
    name, names, size = entry["name"], entry["tensors"], entry["size"]
    if not isinstance(name, str) or not isinstance(names, list) or not names or type(size) is not int or size < 1:
        raise InputError(f"found {entry!r}; accepted are a name, a list of tensor names and a size of 1 or more")
    indices = tuple(_activation(graph, each) for each in names)
    found = {graph.tensors[index].shape[-1] for index in indices}
    channels = min(found)
    if channels % size or any(each % channels for each in found):
        raise InputError(
            f"group '{name}': {sorted(found)} channels; accepted are a multiple of {size}, and multiples of that"
        )
    return Group(name, indices, size, channels // size)


def _activation(graph: Graph, name: object) -> int:
    written = {operator.outputs[0] for operator in graph.main.operators}
    found = [index for index in written if graph.tensors[index].name == name]
    if len(found) != 1:
        raise InputError(f"tensor {name!r} is the output of {len(found)} operators; one is accepted")
    tensor = graph.tensors[found[0]]
    if tensor.dtype != "int8" or tensor.persistent or not tensor.shape:
        raise InputError(f"tensor '{name}' is {tensor.dtype} {tensor.shape}; accepted is an int8 activation")
    tensor.zero_point  # noqa: B018 - raises where there is none
    return found[0]
