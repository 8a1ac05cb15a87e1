"""The kernels of every instruction set against the NumPy executor, on shapes and values that reach them."""

from __future__ import annotations

import numpy as np
import pytest
from random_graphs import random_inputs
from random_layers import KINDS, Layers

from mcu_codegen.emit.cortex_m.instruction_sets import RENDERERS, WIDE
from mcu_codegen.emit.plan import compile_plan
from mcu_codegen.emit.portable.renderer import OPTIMIZE, Renderer
from mcu_codegen.emulate import toolchain
from mcu_codegen.emulate.core_executor import CoreExecutor
from mcu_codegen.emulate.machines import machines
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.graph import Graph, Pool2D
from mcu_codegen.targets import TARGETS

REACHED = {
    "cortex-m0": {"multiply", "rows", "column", "add", "subtract"},
    "cortex-m3": {"multiply", "rows", "column", "add", "subtract"},
    "cortex-m4": {"multiply", "rows", "column", "add", "subtract"},
    "cortex-m55": {"multiply", "rows", "add", "subtract", "sums"},
}
"""By core, how the names of its kernels begin: matrices, depthwise rows and columns, sums of two codes, sums over an
image."""


def executor(graph: Graph, core: str, compiler: str, renderer: Renderer) -> CoreExecutor:
    """Of `graph` on an emulated `core`, the quicker emulator first; where none is there, says so and skips."""
    target = TARGETS[core]
    present = [machine for machine in reversed(machines(target).values()) if not isinstance(machine, str)]
    chosen = toolchain.available()[compiler]
    if not present:
        pytest.skip(f"no emulated {core}: {machines(target)}")
    if isinstance(chosen, str):
        pytest.skip(chosen)
    return CoreExecutor(graph, target, present[0], chosen, renderer)


def compare(seed: int, core: str, compiler: str, count: int, weights: str = "int8", optimize: str = "speed") -> None:
    """`count` layers of every kind, in one program."""
    layers = Layers(seed)
    for draw in KINDS.values():
        for _ in range(count):
            draw(layers)
    graph = layers.graph()
    renderer = {"int8": RENDERERS, "int16": WIDE}[weights][TARGETS[core].instruction_set](optimize)
    plan = compile_plan(graph, renderer)
    used = {name.split("_")[0] for layer in plan.layers for name in layer.kernel.helpers}
    assert used >= REACHED[core]
    assert plan.memory.entries["invoke"].in_place
    agree(graph, seed, core, compiler, renderer)


def agree(graph: Graph, seed: int, core: str, compiler: str, renderer: Renderer) -> None:
    """Every tensor on random inputs, against the NumPy executor."""
    inputs = random_inputs(graph, seed)
    got = executor(graph, core, compiler, renderer).run(inputs)
    for tensor, values in NumpyExecutor(graph).run(inputs).items():
        np.testing.assert_array_equal(got[tensor], values, f"seed {seed}, {graph.tensors[tensor].name}")


@pytest.mark.parametrize("compiler", toolchain.NAMES)
@pytest.mark.parametrize("core", REACHED)
def test_kernels_equal_numpy(core: str, compiler: str) -> None:
    compare(1, core, compiler, 6)


@pytest.mark.parametrize("core", REACHED)
def test_small_kernels_equal_numpy(core: str) -> None:
    compare(1, core, "gcc" if core != "cortex-m55" else "clang", 4, optimize="size")


@pytest.mark.parametrize("optimize", OPTIMIZE)
def test_wide_weights_equal_numpy(optimize: str) -> None:
    compare(1, "cortex-m4", "gcc" if optimize == "size" else "clang", 4, "int16", optimize)


@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33"])
def test_residual_networks_equal_numpy(core: str) -> None:
    """The kernels of networks over time, on every core that has them."""
    layers = Layers(1)
    for kind in ("column", "extreme column", "stem", "residual"):
        for _ in range(20):
            KINDS[kind](layers)
    graph = layers.graph()
    renderer = RENDERERS[TARGETS[core].instruction_set]()
    assert compile_plan(graph, renderer).memory.entries["invoke"].aliases
    agree(graph, 1, core, "gcc", renderer)


@pytest.mark.parametrize("compiler", toolchain.NAMES)
def test_windows_that_shrink_at_the_edge(compiler: str) -> None:
    """A column pooled by windows of its own height: clang once made DLSTP loops of them that end after a round."""
    layers = Layers(0)
    for rows in range(2, 10):
        for kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
            source = layers.input(1, rows, 1, 1)
            output = layers.new((1, rows, 1, 1), "int8", layers.tensors[source].quantization)
            layers.append(kind, source, output, Pool2D("SAME", (1, 1), (rows, 1)))
    agree(layers.graph(), 0, "cortex-m55", compiler, RENDERERS["mve"]())


@pytest.mark.slow
@pytest.mark.parametrize("core", REACHED)
@pytest.mark.parametrize("seed", range(2, 5))
def test_kernels_equal_numpy_on_more_shapes(seed: int, core: str) -> None:
    compare(seed, core, toolchain.NAMES[seed % 2], 20)
