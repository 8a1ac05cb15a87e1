"""The functions of the generated interface: their prototypes, and how an entry calls its layers in order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import indent

from .. import memory
from ..graph import Entry, Tensor
from .constants import Pool
from .kernel import ctype, octets
from .plan import Layer, Plan

ARENAS = ("static", "caller")
"""Who owns the arena: the generated C, or the caller, who passes a pointer to every function."""


@dataclass(frozen=True)
class Signature:
    """What a C function is called with; `parameters` is name to declaration."""

    result: str
    name: str
    parameters: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.result} {self.name}({', '.join(self.parameters.values()) or 'void'})"


def signature(plan: Plan, entry: Entry | None, arena: str) -> Signature:
    """Of the function of an entry; of the reset, where `entry` is None."""
    parameters = _memory(arena)
    if entry and not plan.reusable:
        for word, indices, qualifier in (("input", entry.inputs, "const "), ("output", entry.outputs, "")):
            for name, index in zip(numbered(word, indices), indices, strict=True):
                parameters[name] = f"{qualifier}{plan.graph.tensors[index].dtype}_t *{name}"
    return Signature("void", f"{plan.name}_{entry.name if entry else 'reset'}", parameters)


def accessors(plan: Plan, entry: Entry, arena: str) -> list[tuple[Signature, int]]:
    """Where inputs and outputs of `entry` lie in the arena: the functions that say so, and the tensor of each."""
    prefix = plan.name if entry is plan.graph.main else f"{plan.name}_{entry.name}"
    return [
        (Signature(f"{qualifier}{plan.graph.tensors[index].dtype}_t", f"*{prefix}_{name}", _memory(arena)), index)
        for word, indices, qualifier in (("input", entry.inputs, ""), ("output", entry.outputs, "const "))
        for name, index in zip(numbered(word, indices), indices, strict=True)
    ]


def _memory(arena: str) -> dict[str, str]:
    """The parameter that is the arena, where the caller owns it."""
    return {"memory": "void *memory"} if arena == "caller" else {}


def numbered(word: str, items: Sequence[int]) -> list[str]:
    """``input``, or ``input_0, input_1, ...`` where there are several."""
    return [word] if len(items) == 1 else [f"{word}_{number}" for number in range(len(items))]


def function(plan: Plan, called: Signature, lines: Sequence[str], arena: str) -> str:
    """A function of the interface. ``arena`` is declared where a line uses it."""
    used = set(re.findall(r"\w+", " ".join(lines)))
    owner = f"{plan.name}_arena" if arena == "static" else "memory"
    declared = [f"int8_t *const arena = (int8_t *){owner};", ""] if "arena" in used else []
    unused = called.parameters.keys() - used - ({owner} if declared else set())
    body = [*declared, *(f"(void){name};" for name in sorted(unused)), *lines]
    return f"{called}\n{{\n" + indent("\n".join(body), "    ") + "\n}\n"


def entry_function(plan: Plan, entry: Entry, pool: Pool, arena: str) -> str:
    """The function that computes `entry`."""
    lines = [line for layer in plan.of(entry) for line in layer_calls(plan, layer, pool)]
    return function(plan, signature(plan, entry, arena), [*lines, *result_copies(plan, entry, pool)], arena)


def accessor_functions(plan: Plan, entry: Entry, pool: Pool, arena: str) -> list[str]:
    """The functions that say where inputs and outputs are."""
    texts = []
    for called, index in accessors(plan, entry, arena):
        through = "const void *" if called.result.startswith("const") else "void *"
        value = f"({called.result} *)({through})({pointer(plan, entry, index, pool)})"
        texts.append(function(plan, called, [f"return {value};"], arena))
    return texts


def reset_function(plan: Plan, pool: Pool, arena: str, more: Sequence[str]) -> str:
    """The reset, which ends in `more` lines."""
    lines = []
    places = plan.memory.entries[plan.graph.main.name].places
    for index, tensor in enumerate(plan.graph.tensors):
        if tensor.persistent:
            value, period = pool.initial(plan, index)
            lines.append(f"{plan.name}_repeat(arena + {places[index].at}, {tensor.bytes}, {value}, {period});")
    return function(plan, signature(plan, None, arena), [*lines, *more], arena)


def layer_calls(plan: Plan, layer: Layer, pool: Pool) -> list[str]:
    """C that computes one layer in its place, and shows it to who observes."""
    entry, operator, kernel = layer.entry, layer.operator, layer.kernel
    target = operator.outputs[0]
    seen = (*operator.inputs[: len(kernel.parameters)], *operator.outputs)
    pointers = [pointer(plan, entry, index, pool) for index in seen]
    if kernel.demand.scratch_bytes:
        pointers.append(f"arena + {plan.memory.entries[entry.name].scratch[layer.index].offset}")
    observed, size = pointer(plan, entry, target, pool), plan.graph.tensors[target].bytes
    lines = [] if is_alias(plan, layer) else [f"{layer.function}({', '.join(pointers)});"]
    return [*lines, f"{plan.name.upper()}_OBSERVE({layer.index}, {observed}, {size});"]


def result_copies(plan: Plan, entry: Entry, pool: Pool) -> list[str]:
    """C that gives the caller the outputs of `entry` that lie elsewhere."""
    lines: list[str] = []
    if plan.reusable:
        return lines
    for number, index in enumerate(entry.outputs):
        own = memory.Place("output", number)
        if plan.memory.entries[entry.name].places.get(index) != own:
            tensor, value = plan.graph.tensors[index], pointer(plan, entry, index, pool)
            to = octets(_caller(entry, own, tensor), tensor)
            lines.append(f"{plan.name}_copy({to}, {octets(value, tensor, 'const ')}, {tensor.bytes});")
    return lines


def is_alias(plan: Plan, layer: Layer) -> bool:
    """Whether the operator only gives its input, or a part of it, another name."""
    return layer.index in plan.memory.entries[layer.entry.name].aliases


def pointer(plan: Plan, entry: Entry, index: int, pool: Pool) -> str:
    """The C expression that points at a tensor, at elements of its `ctype`."""
    tensor = plan.graph.tensors[index]
    if tensor.constant:
        return pool.constant(plan, index)
    place = plan.memory.entries[entry.name].places[index]
    if place.memory == "arena":
        return (
            f"arena + {place.at}" if ctype(tensor) == "int8_t" else f"({ctype(tensor)} *)(void *)(arena + {place.at})"
        )
    return _caller(entry, place, tensor)


def _caller(entry: Entry, place: memory.Place, tensor: Tensor) -> str:
    """The caller's input or output, as the layers take it."""
    inside = place.memory == "input"
    name = numbered(place.memory, entry.inputs if inside else entry.outputs)[place.at]
    return f"({'const ' if inside else ''}int8_t *){name}" if tensor.dtype == "uint8" else name
