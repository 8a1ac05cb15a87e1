"""Kernels that need less RAM: the same bytes, and taken only where they make the arena smaller."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from random_layers import Layers
from test_kernels import agree
from test_memory import relu_chain
from test_overlap import layers, surrounded

from mcu_codegen import memory
from mcu_codegen.emit import frugal
from mcu_codegen.emit.cortex_m.instruction_sets import RENDERERS
from mcu_codegen.emit.kernel import Kernel
from mcu_codegen.emit.plan import compile_plan
from mcu_codegen.emit.portable.renderer import Renderer
from mcu_codegen.graph import FullyConnected
from mcu_codegen.memory import Demand
from mcu_codegen.targets import TARGETS

CORES = ("cortex-m0", "cortex-m3", "cortex-m4", "cortex-m55")


def sparing(core: str, last: int) -> Renderer:
    """A renderer for RAM that takes the kernel before the `last` ones, wherever a layer has so many."""
    renderer = RENDERERS[TARGETS[core].instruction_set]("ram")
    kernels = renderer.kernels

    def chosen(lowered, site):
        found = kernels(lowered, site)
        return [found[max(0, len(found) - 1 - last)]]

    renderer.kernels = chosen
    return renderer


def fully_connected(layers: Layers, depth: int, outputs: int) -> None:
    source, output = layers.input(1, depth), layers.activation((1, outputs))
    constants = layers.constants((outputs, depth), 0, source, output)
    layers.append("FULLY_CONNECTED", source, output, FullyConnected(), *constants)


@pytest.mark.parametrize(
    "core", [pytest.param(core, marks=[] if core == "cortex-m4" else [pytest.mark.slow]) for core in CORES]
)
def test_kernels_with_less_scratch_equal_numpy(core: str) -> None:
    graph = layers(6, 1, ["convolution", "depthwise", "depthwise window", "column", "pointwise", "stem", "pool"])
    for last in (0, 1):
        agree(graph, 6, core, "gcc", sparing(core, last))


@pytest.mark.parametrize("core", CORES)
def test_single_rows_where_they_lie_equal_numpy(core: str) -> None:
    drawn = Layers(2)
    for depth, outputs in ((4, 2), (16, 7), (64, 12), (200, 5), (640, 8), (700, 3), (16 * 13, 4)):
        fully_connected(drawn, depth, outputs)
    graph = surrounded(drawn.graph())
    renderer = sparing(core, 0)
    plan = compile_plan(graph, renderer)
    lying = [layer.kernel for layer in plan.layers if layer.operator.kind == "FULLY_CONNECTED"]
    assert sum(not each.demand.scratch_bytes and not each.portable for each in lying) >= 4
    agree(graph, 2, core, "gcc", renderer)


def kernel(scratch: int) -> Kernel:
    return Kernel("", Demand(scratch_bytes=scratch))


def test_slower_kernels_only_where_the_arena_would_grow() -> None:
    graph = relu_chain(8, 640, 640, 64, 64, 8)
    slow, quick = kernel(0), kernel(320)
    candidates = [[quick, slow] for _ in graph.main.operators]
    chosen, planned = frugal.planned(graph, candidates, reusable=False)
    assert planned.arena_bytes == memory.plan(graph, {}).arena_bytes == 1280
    # the second fills the arena; beside 640 bytes, all others have room
    assert [each is quick for each in chosen] == [True, False, True, True, True]


def test_a_limit_that_drifts_is_not_taken() -> None:
    """Without scratch every output lies 512 bytes before its input, and four such layers drift."""
    graph = relu_chain(8, 1024, 1024, 1024, 1024, 8)
    trailing = Kernel("", Demand(over=(memory.Over(-512),)))
    there = Kernel("", Demand(scratch_bytes=640, over=(memory.Over(0),)))
    chosen, planned = frugal.planned(graph, [[there, trailing]] * 5, reusable=False)
    assert planned.arena_bytes == 1024 + 640 and there in chosen


@pytest.mark.parametrize("core", CORES)
def test_a_wide_layer_needs_no_more_than_its_input_and_output(core: str) -> None:
    drawn = Layers(1)
    fully_connected(drawn, 640, 128)
    plan = compile_plan(drawn.graph(), RENDERERS[TARGETS[core].instruction_set]("ram"), inputs="reusable")
    assert plan.memory.arena_bytes == plan.least_bytes == 640 + 128 and not plan.portable


@pytest.mark.parametrize("core", CORES)
def test_known_networks_are_near_their_bound(core: str) -> None:
    """Two of `benchmarks/ram.py`, and what they came to."""
    known = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "ram.py"))
    for make, most in (("fully_connected", 768), ("mobilenet", 37_744)):
        plan = compile_plan(known[make](), RENDERERS[TARGETS[core].instruction_set]("ram"), inputs="reusable")
        assert plan.memory.arena_bytes <= min(most, known["WITHIN"] * plan.least_bytes)
