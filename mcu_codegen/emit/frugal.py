"""Where kernels of one layer trade RAM for instructions: which to take, so that the arena is as small as it can be."""

from __future__ import annotations

from collections.abc import Sequence

from .. import memory
from ..graph import Graph
from .kernel import Kernel


def planned(graph: Graph, candidates: Sequence[Sequence[Kernel]], reusable: bool) -> tuple[list[Kernel], memory.Plan]:
    """The kernel of each layer, and the plan for them. Layers count through all entries; `candidates` are the kernels
    of each in the order of their speed.

    No arena is smaller than what the layer needs that can do with no less than any other. Within a limit, each layer
    takes the first kernel that needs no more; the limit rises from there until no smaller arena can be found.
    """
    needs = []
    for level in range(max(map(len, candidates))):
        demands = {at: each[min(level, len(each) - 1)].demand for at, each in enumerate(candidates)}
        needs.append(memory.needs(graph, demands, reusable))
    by_layer = [of_layer[: len(each)] for each, of_layer in zip(candidates, zip(*needs, strict=True), strict=True)]
    least = max(map(min, by_layer))
    best: tuple[list[Kernel], memory.Plan] | None = None
    for limit in sorted({need for each in by_layer for need in each if need >= least}):
        if best is not None and best[1].arena_bytes <= limit:
            break
        kernels = [
            next(kernel for kernel, need in zip(each, of_layer, strict=True) if need <= limit)
            for each, of_layer in zip(candidates, by_layer, strict=True)
        ]
        made = memory.plan(graph, {at: kernel.demand for at, kernel in enumerate(kernels)}, reusable)
        if best is None or made.arena_bytes < best[1].arena_bytes:
            best = kernels, made
    assert best is not None
    return best
