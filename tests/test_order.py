"""The order of operators: as the file has it, or one that needs less RAM and computes the same."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_graph, random_inputs

from mcu_codegen import memory
from mcu_codegen.emit.plan import compile_plan
from mcu_codegen.emulate.host_executor import HostExecutor
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.graph import Elementwise, Entry, Graph, NoOptions, Operator, Tensor
from mcu_codegen.memory.order import _Steps, ordered


def branches() -> Graph:
    """Two branches from one tensor, by turns: each widens it, and ends small."""
    sizes = {"input": 8, "source": 64, "wide_a": 640, "wide_b": 640, "end_a": 16, "end_b": 16, "sum": 16}
    names = list(sizes)
    tensors = [Tensor(name, (size,), "int8") for name, size in sizes.items()]

    def relu(source: str, target: str) -> Operator:
        return Operator("RELU", (names.index(source),), (names.index(target),), NoOptions())

    operators = [
        relu("input", "source"),
        relu("source", "wide_a"),
        relu("source", "wide_b"),
        relu("wide_a", "end_a"),
        relu("wide_b", "end_b"),
        Operator("ADD", (4, 5), (6,), Elementwise()),
    ]
    return Graph("branches", tensors, [Entry("invoke", (0,), (6,), operators)])


def test_one_branch_ends_before_the_next_begins() -> None:
    graph = branches()
    better = ordered(graph)
    assert better is not None
    assert [operator.outputs[0] for operator in better.main.operators] == [1, 2, 4, 3, 5, 6]
    assert memory.plan(graph, {}).arena_bytes == 64 + 640 + 640
    assert memory.plan(better, {}).arena_bytes == 640 + 64 + 16


def test_an_order_that_needs_no_more_stays() -> None:
    graph = branches()
    graph.main.operators[:] = [graph.main.operators[number] for number in (0, 2, 4, 1, 3, 5)]
    assert ordered(graph) is None


def test_early_exits_keep_their_order() -> None:
    graph = replace(branches(), metadata={"exits": {}})
    assert ordered(graph) is None


def test_state_is_met_in_its_order() -> None:
    """The first branch reads what the second one writes."""
    graph = branches()
    graph.tensors.append(Tensor("state", (64,), "int8", data=np.zeros(64, np.int8), persistent=True))
    graph.main.operators[2] = replace(graph.main.operators[2], inputs=(7,))
    graph.main.operators.insert(3, Operator("RELU", (1,), (7,), NoOptions()))
    order = [operator.outputs[0] for operator in (ordered(graph) or graph).main.operators]
    assert order.index(3) < order.index(7)


def orders(steps: _Steps, order: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """All that are possible."""
    done = sum(1 << number for number in order)
    if len(order) == len(steps.bytes):
        yield order
    for number, waits in enumerate(steps.waits):
        if not done >> number & 1 and not waits & ~done:
            yield from orders(steps, (*order, number))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_no_order_needs_less(seed: int) -> None:
    graph = random_graph(seed, operators=5)
    for entry, chosen in zip(graph.entries, (ordered(graph) or graph).entries, strict=True):
        steps = _Steps(graph, entry)
        some = list(itertools.islice(orders(steps), 500))
        taken = [entry.operators.index(operator) for operator in chosen.operators]
        assert steps.peak(taken) <= min(steps.peak(list(order)) for order in some)
        assert len(some) == 500 or tuple(taken) in some


@pytest.mark.parametrize("seed", [15, 18])
def test_the_code_runs_in_the_order_that_needs_less(seed: int) -> None:
    graph = random_graph(seed, operators=10)
    plan = compile_plan(graph)
    assert [entry.operators for entry in plan.graph.entries] != [entry.operators for entry in graph.entries]
    executor, reference = HostExecutor(graph), NumpyExecutor(graph)
    for entry in graph.entries:
        inputs = random_inputs(graph, seed, entry=entry.name)
        executor.reset()
        reference.reset()
        expected = reference.run(inputs, entry.name)
        for tensor, values in executor.run(inputs, entry.name).items():
            np.testing.assert_array_equal(values, expected[tensor])


@pytest.mark.parametrize("seed", range(8))
def test_every_order_computes_the_same(seed: int) -> None:
    graph = random_graph(seed, operators=12)
    inputs = random_inputs(graph, seed)
    expected = NumpyExecutor(graph).run(inputs)
    for tensor, values in NumpyExecutor(ordered(graph) or graph).run(inputs).items():
        np.testing.assert_array_equal(values, expected[tensor])
