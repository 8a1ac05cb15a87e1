"""State that a file moves on by hand, as windows that SHIFT_IN moves in place.

No file has that operator. It has a CONCATENATION of kept and new rows and a STRIDED_SLICE of the newest ones of these,
which are kept for the next step. Whether the state is what is joined or what is kept, joined rows are the window.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..graph import Concatenation, Entry, Graph, NoOptions, Operator, Tensor
from .fold import sliced
from .made import Made
from .variables import places


def join_windows(tensors: list[Tensor], entry: Entry) -> None:
    """Put SHIFT_IN in place of what moves int8 state of `entry` on. State that was kept rows has room for new ones."""
    for operator in [each for each in entry.operators if each.kind == "CONCATENATION" and len(each.inputs) == 2]:
        (kept, rows), joined = operator.inputs, operator.outputs[0]
        cuts = [entry.operators[place] for place in places(entry, kept, "outputs")]
        if not cuts or not _moves_on(tensors, operator, cuts[0]) or len(places(entry, kept, "inputs")) != 1:
            continue
        if tensors[kept].persistent:
            if joined in entry.outputs:
                continue
            tensors[joined] = _with_room(tensors[kept], tensors[joined])
            tensors[kept] = replace(tensors[kept], persistent=False, data=None)
        entry.operators = [each for each in entry.operators if each is not cuts[0]]
        entry.operators[entry.operators.index(operator)] = Operator("SHIFT_IN", (joined, rows), (joined,), NoOptions())


def _moves_on(tensors: list[Tensor], operator: Operator, cut: Operator) -> bool:
    """Whether `cut` keeps the newest bytes of what `operator`, behind it in time, joins, and either is state."""
    (kept, rows), joined = (tuple(tensors[index] for index in operator.inputs), tensors[operator.outputs[0]])
    if cut.kind != "STRIDED_SLICE" or cut.inputs[0] != operator.outputs[0] or kept.persistent == joined.persistent:
        return False
    axis = operator.options.axis % max(len(joined.shape), 1)
    others = {each.shape[:axis] + each.shape[axis + 1 :] for each in (kept, rows, joined)}
    if len(others) > 1 or len({len(each.shape) for each in (kept, rows, joined)}) > 1:
        return False  # `lower` says that they do not fit each other, and how
    whole = kept.elements + rows.elements == joined.elements
    same = whole and all(
        (each.dtype, each.quantization) == ("int8", joined.quantization) for each in (kept, rows, joined)
    )
    if not same or rows.constant or math.prod(joined.shape[:axis]) != 1:  # SHIFT_IN moves bytes
        return False
    where = [tensors[index].data for index in cut.inputs[1:]]
    numbered = np.arange(joined.elements).reshape(joined.shape)
    try:
        found = sliced(cut, [numbered, *(data for data in where if data is not None)], kept)
    except (ValueError, IndexError):  # they do not fit each other: `lower` says how
        return False
    return found.shape == kept.shape and np.array_equal(found.reshape(-1), numbered.reshape(-1)[-kept.elements :])


def _with_room(state: Tensor, joined: Tensor) -> Tensor:
    """The window of the rows of `joined`, the newest being those of `state`; the others are never read."""
    assert state.data is not None
    older = [(after - before, 0) for before, after in zip(state.shape, joined.shape, strict=True)]
    return replace(joined, name=state.name, data=np.pad(state.data, older, mode="edge"), persistent=True)


def separate_windows(graph: Graph) -> Graph:
    """`graph` with the operators of a file in place of SHIFT_IN: `join_windows` makes it of them. What these need is
    behind all tensors."""
    made = Made(list(graph.tensors))
    entries = []
    for entry in graph.entries:
        operators: list[Operator] = []
        for operator in entry.operators:
            operators += _separate(made, operator) if operator.kind == "SHIFT_IN" else [operator]
        entries.append(replace(entry, operators=operators))
    return replace(graph, tensors=made.tensors, entries=entries)


def _separate(made: Made, operator: Operator) -> list[Operator]:
    (window, rows), output = operator.inputs, operator.outputs[0]
    whole, new = made.tensors[window].shape, made.tensors[rows].shape
    if whole == new:
        return [made.reshape(rows, output)]
    axis = next(axis for axis, (old, size) in enumerate(zip(whole, new, strict=True)) if old != size)
    begin = [size if place == axis else 0 for place, size in enumerate(new)]
    kept = made.like(
        window, f"{made.tensors[window].name}/kept", tuple(a - b for a, b in zip(whole, begin, strict=True))
    )
    cut = made.slice(window, kept, begin, whole)
    return [cut, Operator("CONCATENATION", (kept, rows), (output,), Concatenation(axis))]
