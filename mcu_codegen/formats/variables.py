"""Resource variables as persistent tensors.

In a file VAR_HANDLE names a variable, a subgraph that CALL_ONCE runs gives it its first value, and READ_VARIABLE and
ASSIGN_VARIABLE copy it. In a graph the handle's own tensor is the persistent one, and both are copies in their place,
which are left out where it makes no difference.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from ..graph import Entry, NoOptions, Operator, Tensor
from .names import printable

HANDLE = "resource"
"""The type of a tensor that stands for a variable."""


@dataclass(frozen=True)
class CallOnce:
    subgraph: int


@dataclass(frozen=True)
class VarHandle:
    variable: str


VARIABLES: dict[str, type] = {
    "CALL_ONCE": CallOnce,
    "VAR_HANDLE": VarHandle,
    "READ_VARIABLE": NoOptions,
    "ASSIGN_VARIABLE": NoOptions,
}
"""Operator kinds of variables, with the class of their options."""


class Variables:
    """The variables of a file, of which `initial` holds the first values."""

    def __init__(self, initial: dict[str, np.ndarray]) -> None:
        self.initial = initial
        self._known: set[str] = set()  # of all entries
        self._handles: dict[int, str] = {}  # by tensor, of this entry
        self._tensors: dict[str, int] = {}  # the persistent tensor of what this entry has read
        self._assigned: set[str] = set()

    def start(self, tensors: list[Tensor], operator: Operator) -> None:
        """Note what `operator`, of a subgraph that runs once, gives to a variable. Raises InputError."""
        if operator.kind == "VAR_HANDLE":
            self._handles[operator.outputs[0]] = printable(operator.options.variable)
            return
        if operator.kind != "ASSIGN_VARIABLE":
            raise InputError("runs once, before all else; VAR_HANDLE and ASSIGN_VARIABLE are accepted there")
        name, value = self._name(tensors, operator), tensors[operator.inputs[1]]
        if value.data is None or not value.constant:
            raise InputError(f"variable '{name}' starts as '{value.name}', which is not constant")
        if name in self.initial:
            raise InputError(f"variable '{name}' is given a first value twice")
        self.initial[name] = value.data

    def enter(self) -> None:
        """Handles mean something in one subgraph only."""
        self._known |= set(self._handles.values())
        self._handles, self._tensors, self._assigned = {}, {}, set()

    def resolved(self, tensors: list[Tensor], operator: Operator) -> list[Operator]:
        """What stands for the next operator of the entry; `tensors` change. Raises InputError."""
        if operator.kind not in VARIABLES:
            for index in (*operator.inputs, *operator.outputs):
                if index >= 0 and (index in self._handles or tensors[index].dtype == HANDLE):
                    raise InputError(f"'{tensors[index].name}' is the handle of a variable; READ_VARIABLE reads it")
            return [operator]
        if operator.kind == "VAR_HANDLE":
            self._open(tensors, operator.outputs[0], printable(operator.options.variable))
        elif operator.kind == "READ_VARIABLE":
            return [_copy(self._read(tensors, operator), operator.outputs[0])]
        elif operator.kind == "ASSIGN_VARIABLE":
            return self._assign(tensors, operator)
        return []

    def finish(self, tensors: list[Tensor], entry: Entry) -> None:
        """Leave out the copies that `entry` can do without. Raises InputError where an end of the model is a handle."""
        for index in (*entry.inputs, *entry.outputs):
            if index in self._handles or (index >= 0 and tensors[index].dtype == HANDLE):
                raise InputError(f"input or output '{tensors[index].name}' is the handle of a variable")
        if self._handles:
            _without_copies(tensors, entry)

    def _open(self, tensors: list[Tensor], index: int, name: str) -> None:
        if tensors[index].dtype != HANDLE:
            raise InputError(f"'{tensors[index].name}' is {tensors[index].dtype}; a handle is accepted")
        if name in self._known:
            raise InputError(f"variable '{name}' is another subgraph's; one of a single subgraph is accepted")
        self._handles[index] = name
        tensors[index] = Tensor(tensors[index].name, (1,), "uint8")  # until it is read

    def _name(self, tensors: list[Tensor], operator: Operator) -> str:
        index = operator.inputs[0]
        if index not in self._handles:
            raise InputError(f"'{tensors[index].name}' is not the handle of a variable of this subgraph")
        return self._handles[index]

    def _read(self, tensors: list[Tensor], operator: Operator) -> int:
        """The persistent tensor of the variable."""
        name, value = self._name(tensors, operator), tensors[operator.outputs[0]]
        if name in self._assigned:
            raise InputError(f"variable '{name}' is read after it was assigned")
        if name not in self.initial:
            raise InputError(f"variable '{name}' has no first value; a subgraph that CALL_ONCE runs assigns it")
        index = self._tensors.setdefault(name, operator.inputs[0])
        if not tensors[index].persistent:
            first = self.initial[name]
            if (first.shape, first.dtype) != (value.shape, value.dtype):
                raise InputError(
                    f"variable '{name}' starts as {first.dtype} {first.shape}; '{value.name}' is {value.dtype}"
                    f" {value.shape}"
                )
            tensors[index] = replace(value, name=tensors[index].name, data=first, persistent=True)
        self._check(name, tensors[index], value)
        return index

    def _assign(self, tensors: list[Tensor], operator: Operator) -> list[Operator]:
        name, value = self._name(tensors, operator), operator.inputs[1]
        if name in self._assigned:
            raise InputError(f"variable '{name}' is assigned twice")
        self._assigned.add(name)
        if name not in self._tensors:  # nobody ever reads it
            return []
        self._check(name, tensors[self._tensors[name]], tensors[value])
        return [_copy(value, self._tensors[name])]

    def _check(self, name: str, variable: Tensor, value: Tensor) -> None:
        if not _same(variable, value):
            raise InputError(
                f"variable '{name}' is {variable.dtype} {variable.shape}; '{value.name}', {value.dtype} {value.shape},"
                " differs from that, or in scale or zero point"
            )


def _copy(source: int, output: int) -> Operator:
    return Operator("RESHAPE", (source,), (output,), NoOptions())


def _without_copies(tensors: list[Tensor], entry: Entry) -> None:
    """Leave out copies of and to persistent tensors whose bytes can be read, or written, where they lie."""
    for read in (True, False):
        place = 0
        while place < len(entry.operators):
            operator = entry.operators[place]
            source, target = operator.inputs[0], operator.outputs[0]
            if operator.kind != "RESHAPE" or not _same(tensors[source], tensors[target]):
                dropped = False
            elif read:
                dropped = tensors[source].persistent and _can_be_read(entry, source, target)
            else:
                dropped = tensors[target].persistent and _can_be_written(entry, source, target)
            if dropped:
                del entry.operators[place]
                rename(entry, *((target, source) if read else (source, target)))
            else:
                place += 1


def rename(entry: Entry, before: int, after: int) -> None:
    """In the operators of `entry`, the tensor `before` is `after`."""

    def renamed(indices: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(after if index == before else index for index in indices)

    for place, each in enumerate(entry.operators):
        if before in (*each.inputs, *each.outputs):
            entry.operators[place] = replace(each, inputs=renamed(each.inputs), outputs=renamed(each.outputs))


def places(entry: Entry, index: int, side: str) -> list[int]:
    """Which operators have the tensor at `index` on the `side` "inputs" or "outputs"."""
    return [place for place, operator in enumerate(entry.operators) if index in getattr(operator, side)]


def _same(first: Tensor, second: Tensor) -> bool:
    return all(getattr(first, what) == getattr(second, what) for what in ("shape", "dtype", "quantization"))


def _can_be_read(entry: Entry, source: int, target: int) -> bool:
    """Whether `source`, persistent, holds its former value for all who read `target`, its copy."""
    last, end = max(places(entry, target, "inputs"), default=-1), len(entry.operators)
    return target not in entry.outputs and last < min(places(entry, source, "outputs"), default=end)


def _can_be_written(entry: Entry, source: int, target: int) -> bool:
    """Whether nobody wants the former value of `target`, persistent, once `source`, its next one, is made."""
    made, copies = places(entry, source, "outputs"), places(entry, target, "outputs")
    return (
        len(made) == len(copies) == 1
        and source not in entry.outputs
        and max(places(entry, target, "inputs"), default=-1) < made[0]
    )
