"""Outputs that lie on their inputs as far as kernels allow: what the order of reads and writes claims, executed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from random_graphs import random_inputs
from random_layers import KINDS, Layers
from test_kernels import agree

from mcu_codegen.emit import overlap
from mcu_codegen.emit.cortex_m.instruction_sets import RENDERERS
from mcu_codegen.emit.plan import Plan, compile_plan
from mcu_codegen.emit.portable.renderer import Renderer
from mcu_codegen.emulate.host_executor import HostExecutor
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.graph import Entry, Graph, NoOptions, Operator
from mcu_codegen.memory import ALIGNMENT, Over
from mcu_codegen.targets import TARGETS


def surrounded(graph: Graph) -> Graph:
    """Each layer between copies of its own by RELU, so that its inputs and its output are in the arena, and alone."""
    tensors, inputs, outputs, operators = list(graph.tensors), [], [], []

    def relu(source: int) -> int:
        tensors.append(replace(tensors[source], name=f"relu_{len(tensors)}"))
        operators.append(Operator("RELU", (source,), (len(tensors) - 1,), NoOptions()))
        return len(tensors) - 1

    for operator in graph.main.operators:
        taken: dict[int, int] = {}
        for index in operator.inputs:
            if index >= 0 and not graph.tensors[index].constant and index not in taken:
                tensors.append(replace(tensors[index], name=f"input_{len(tensors)}"))
                inputs.append(len(tensors) - 1)
                taken[index] = relu(inputs[-1])
        tensors.append(replace(tensors[operator.outputs[0]], name=f"output_{len(tensors)}"))
        target = len(tensors) - 1
        moved = tuple(taken.get(index, index) for index in operator.inputs)
        operators.append(replace(operator, inputs=moved, outputs=(target,)))
        outputs.append(relu(target))
    return Graph("surrounded", tensors, [Entry("invoke", tuple(inputs), tuple(outputs), operators)])


STATELESS = tuple(kind for kind in KINDS if kind != "step")


def layers(seed: int, count: int, kinds: Sequence[str] = STATELESS) -> Graph:
    """`count` layers or more of every kind."""
    drawn = Layers(seed)
    for kind in kinds:
        for _ in range(count):
            KINDS[kind](drawn)
    return surrounded(drawn.graph())


def overlapping(plan: Plan) -> Counter[str]:
    """How many layers of each kind of kernel write over an input, and how many as late as they may (``at the end``)."""
    found: Counter[str] = Counter()
    places = plan.memory.entries["invoke"].places
    for layer in plan.layers:
        kernel, target = layer.kernel, layer.operator.outputs[0]
        for number, index in enumerate(layer.operator.inputs):
            if layer.operator.kind == "RELU" or plan.graph.tensors[index].constant:
                continue
            distance = places[target].at - places[index].at
            if -plan.graph.tensors[target].bytes < distance < plan.graph.tensors[index].bytes:
                found[kernel.helpers[0].split("_")[0] if kernel.helpers else ""] += 1
                last = kernel.demand.over_input(number).last
                found["at the end"] += last is not None and last - distance < ALIGNMENT
    return found


KERNELS = {
    "cortex-m0": {"pack", "window", "rows", "pair", "add"},
    "cortex-m3": {"pack", "window", "widen", "add"},
    "cortex-m4": {"pack", "window", "widen", "across", "add"},
    "cortex-m55": {"pack", "fill", "across", "add"},
}
"""By core, how the names of the first helpers of kernels begin that write over their inputs."""


@pytest.mark.parametrize(
    "core", [pytest.param(core, marks=() if core == "cortex-m4" else pytest.mark.slow) for core in KERNELS]
)
def test_kernels_may_write_over_what_they_have_read(core: str) -> None:
    graph = layers(3, 2)
    renderer = RENDERERS[TARGETS[core].instruction_set]()
    found = overlapping(compile_plan(graph, renderer))
    assert found.keys() >= KERNELS[core] and found["at the end"] > 5, found
    agree(graph, 3, core, "gcc", renderer)


def test_portable_kernels_may_write_over_what_they_have_read() -> None:
    graph = layers(4, 1)
    assert overlapping(compile_plan(graph, Renderer()))["at the end"] > 5
    inputs = random_inputs(graph, 4)
    got = HostExecutor(graph, sanitize=["undefined"]).run(inputs)
    for tensor, values in NumpyExecutor(graph).run(inputs).items():
        np.testing.assert_array_equal(got[tensor], values, graph.tensors[tensor].name)


def test_rows_that_shrink_and_grow() -> None:
    assert overlap.rows(8, 4, 4, 0) == Over(last=-4)
    assert overlap.rows(8, 4, 4, 2) == Over(last=0)
    assert overlap.rows(8, 10, 4, 2) == Over(last=12)  # two rows of 10 are read before two of 4 are written
    assert overlap.rows(8, 4, 10, 2) == Over(last=-36)  # six rows of six more, then the last two are read
    assert overlap.rows(3, 4, 100, 4) == overlap.ANYWHERE


def test_a_kernel_that_claims_too_much_is_found() -> None:
    """The same layers, whose windows are said to trail a row less than they do."""

    class Bold(Renderer):
        def convolution(self, op, site):
            kernel = super().convolution(op, site)
            over = kernel.demand.over[0]
            row = site.inputs[0].bytes // site.inputs[0].shape[1]
            return replace(kernel, demand=replace(kernel.demand, over=(Over(over.last + row, over.every, over.most),)))

    graph = layers(4, 2, ["convolution"])
    inputs = random_inputs(graph, 4)
    got = HostExecutor(graph, Bold()).run(inputs)
    expected = NumpyExecutor(graph).run(inputs)
    assert any(not np.array_equal(got[tensor], values) for tensor, values in expected.items())
