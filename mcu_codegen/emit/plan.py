"""What is decided before C is printed: the kernel and the C name of every operator, and the place of every tensor."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from .. import memory
from ..errors import InputError
from ..graph import Entry, Graph, Operator
from ..lower import FullyConnected, lower, require_codes
from ..users.exits import Exit, exits_of
from . import frugal
from .kernel import Kernel, Site, Unencodable
from .portable.renderer import Renderer

_OF_EXITS = ("run", "invoke_all", "set_thresholds", "set_head", "factory_head", "sure")  # functions of `emit.exits`

INPUTS = ("kept", "reusable")
"""Whether the caller's inputs stay as they are, or lie, like the outputs, in the arena and are overwritten."""


@dataclass(frozen=True)
class Layer:
    """One operator and the C function that computes it."""

    index: int  # counted through all entries: the number that KWS_MODEL_OBSERVE gets
    entry: Entry
    name: str  # as in errors and reports: "02_conv_2d"
    function: str
    operator: Operator
    kernel: Kernel


@dataclass(frozen=True)
class Plan:
    """Everything decided before printing."""

    name: str
    graph: Graph  # of early exits, the outputs are those of the whole network only
    exits: tuple[Exit, ...]
    renderer: Renderer
    layers: list[Layer]
    memory: memory.Plan
    reusable: bool  # whether inputs and outputs lie in the arena, where others take their place

    @property
    def portable(self) -> dict[str, str]:
        """By layer that runs as portable C though others have kernels, why."""
        return {
            layer.name: layer.kernel.portable
            for layer in self.layers
            if layer.kernel.portable and layer.index not in self.memory.entries[layer.entry.name].aliases
        }

    @property
    def sparse(self) -> dict[str, tuple[int, int]]:
        """By layer whose weights are kept sparse: the bytes that are kept of them, and of all its weights."""
        return {
            layer.name: (array.kept, self.graph.tensors[layer.operator.inputs[1]].bytes)
            for layer in self.layers
            for array in layer.kernel.arrays
            if array.kept is not None
        }

    @property
    def weights(self) -> str:
        """As which weights lie in flash."""
        return "int8" if self.renderer.weights == "sparse" and not self.sparse else self.renderer.weights

    @property
    def callers_bytes(self) -> int:
        """Inputs and outputs of the main entry, where they are the caller's."""
        main = self.graph.main
        return 0 if self.reusable else sum(self.graph.tensors[index].bytes for index in (*main.inputs, *main.outputs))

    @property
    def least_bytes(self) -> int:
        """The lower bound of the RAM of these kernels: of the arena, and what is the caller's."""
        return self.memory.least_bytes + self.callers_bytes

    def in_order(self, graph: Graph) -> Graph:
        """`graph`, which was planned, with its operators in the order of their execution."""
        entries = zip(graph.entries, self.graph.entries, strict=True)
        return replace(graph, entries=[replace(entry, operators=own.operators) for entry, own in entries])

    def of(self, entry: Entry) -> list[Layer]:
        """The layers of one entry."""
        return [layer for layer in self.layers if layer.entry is entry]


def compile_plan(
    graph: Graph, renderer: Renderer | None = None, name: str = "kws_model", inputs: str = INPUTS[0]
) -> Plan:
    """Lower every operator, choose its kernel and place its tensors. `name` prefixes every C name; `inputs` is one of
    INPUTS. Operators run in another order than that of `graph` where this makes the arena smaller.

    Raises InputError naming the layer and tensor that cannot be computed, or the layer and the line of its kernel that
    does not exist.
    """
    renderer = renderer or Renderer()
    plan = _compile(graph, renderer, name, inputs == "reusable")
    other = memory.ordered(graph)
    if other is None:
        return plan
    return min(plan, _compile(other, renderer, name, plan.reusable), key=lambda each: each.memory.arena_bytes)


def _compile(graph: Graph, renderer: Renderer, name: str, reusable: bool) -> Plan:
    """`compile_plan` in the order of `graph`."""
    for what, word in (("--name", name), *(("entry", entry.name) for entry in graph.entries)):
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", word):
            raise InputError(f"{what} '{word}': a C identifier that starts with a letter is accepted")
    exits = exits_of(graph)
    if reusable:
        _refuse_reuse(graph, bool(exits))
    taken = ("reset", "selftest", *(_OF_EXITS if exits else ()))
    if len({*taken, *(entry.name for entry in graph.entries)}) != len(graph.entries) + len(taken):
        raise InputError(f"entries: each needs a name of its own, other than {', '.join(map(repr, taken))}")
    if exits:  # the scores of the others are given away when it stops there, from their places in the arena
        graph = replace(graph, entries=[replace(graph.main, outputs=graph.main.outputs[-1:]), *graph.entries[1:]])
    heads = {each.head: number for number, each in enumerate(exits)}
    layers: list[Layer] = []
    candidates: list[list[Kernel]] = []
    for entry in graph.entries:
        for index in entry.inputs:
            if graph.tensors[index].persistent:
                raise InputError(f"entry '{entry.name}': its input '{graph.tensors[index].name}' is persistent")
        prefix = name if entry is graph.main else f"{name}_{entry.name}"
        for layer, operator in graph.layers(entry):
            lowered = lower(graph, operator, layer)
            output = graph.tensors[operator.outputs[0]]
            site = Site(name, tuple(graph.tensors[index] for index in operator.inputs if index >= 0), output)
            try:
                if isinstance(lowered, FullyConnected) and len(layers) in heads:
                    candidates.append([renderer.head(lowered, heads[len(layers)], site)])
                else:
                    candidates.append(renderer.kernels(lowered, site))
            except Unencodable as error:
                raise InputError(f"{layer}: {error}") from error
            layers.append(Layer(len(layers), entry, layer, f"{prefix}_{layer}", operator, candidates[-1][0]))
        for index in entry.inputs:  # behind the layers, which say what they want
            require_codes(graph.tensors[index])
    if not layers:
        raise InputError(f"model '{graph.name}' has no operators")
    kernels, planned = frugal.planned(graph, candidates, reusable)
    layers = [replace(layer, kernel=kernel) for layer, kernel in zip(layers, kernels, strict=True)]
    return Plan(name, graph, exits, renderer, layers, planned, reusable)


def _refuse_reuse(graph: Graph, exits: bool) -> None:
    """Raises InputError where inputs and outputs cannot lie in the arena, or functions would share a name."""
    if exits:
        raise InputError("--input reusable: accepted of a network without early exits")
    for entry in graph.entries:
        if re.search(r"(input|output)(_\d+)?$", entry.name):
            raise InputError(f"--input reusable: entry '{entry.name}': a name that does not end as 'input' is accepted")
