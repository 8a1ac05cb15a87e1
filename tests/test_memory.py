"""The memory plan: nothing alive is overwritten, and no byte more than needed."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_graph

from mcu_codegen import memory
from mcu_codegen.errors import InputError
from mcu_codegen.graph import Elementwise, Entry, Graph, NoOptions, Operator, Quantization, Tensor
from mcu_codegen.memory import Demand, Over, Place
from mcu_codegen.memory.lifetimes import Item, Lifetimes
from mcu_codegen.memory.packing import pack

seeds = st.integers(0, 2**32 - 1)
IN_PLACE = Demand(over=(Over(0), Over(0)))


def random_demands(graph: Graph, seed: int) -> dict[int, Demand]:
    """Scratch for some operators; outputs that may lie on inputs in one of the ways that there are; what may be a part
    of its input."""
    rng = np.random.default_rng(seed)
    operators = [operator for entry in graph.entries for operator in entry.operators]

    def part(operator: Operator) -> int | None:
        room = graph.tensors[operator.inputs[0]].bytes - graph.tensors[operator.outputs[0]].bytes
        if operator.kind not in ("RESHAPE", "STRIDED_SLICE") or room < 0:
            return None
        at = int(rng.integers(room + 1))
        return at - at % memory.ALIGNMENT if rng.random() < 0.7 else at

    def over(operator: Operator) -> Over | None:
        if operator.kind in ("ADD", "SHIFT_IN"):
            return Over(0)  # it may update a persistent tensor
        kinds = (None, Over(-int(rng.integers(400))), Over(every=int(rng.integers(1, 40))), Over(-16, 16, 0))
        return kinds[rng.integers(len(kinds))]

    return {
        position: Demand(
            int(rng.choice([0, 0, rng.integers(1, 300)])), tuple(over(operator) for _ in range(2)), part(operator)
        )
        for position, operator in enumerate(operators)
    }


def chain(*sizes: int, **tensors: Tensor) -> Graph:
    """x0 -> x1 -> ..., where every operator adds its input to itself; plus named tensors."""
    activations = [Tensor(f"x{i}", (size,), "int8", Quantization((1.0,), (0,))) for i, size in enumerate(sizes)]
    operators = [Operator("ADD", (i, i), (i + 1,), Elementwise()) for i in range(len(sizes) - 1)]
    return Graph("chain", [*activations, *tensors.values()], [Entry("invoke", (0,), (len(sizes) - 1,), operators)])


@settings(deadline=None)
@given(seeds)
def test_nothing_alive_is_overwritten(seed: int) -> None:
    graph, reusable = random_graph(seed), seed % 2 == 0
    demands = random_demands(graph, seed)
    planned = memory.plan(graph, demands, reusable)
    memory.check(graph, planned, demands)
    assert planned.arena_bytes >= max(entry.least_bytes for entry in planned.entries.values())
    assert planned.arena_bytes % memory.ALIGNMENT == 0
    for block in planned.blocks:
        assert block.offset % memory.ALIGNMENT == 0 and block.offset + block.bytes <= planned.arena_bytes


@settings(deadline=None)
@given(seeds)
def test_persistent_tensors_never_share(seed: int) -> None:
    graph = random_graph(seed)
    planned = memory.plan(graph, random_demands(graph, seed))
    for index, tensor in enumerate(graph.tensors):
        if not tensor.persistent:
            continue
        places = {entry.places[index] for entry in planned.entries.values()}
        assert len(places) == 1
        begin = places.pop().at
        others = [block for block in planned.blocks if block.name != tensor.name]
        assert all(o.offset + o.bytes <= begin or o.offset >= begin + tensor.bytes for o in others)


@settings(deadline=None)
@given(seeds)
def test_inputs_and_outputs_lie_with_the_caller(seed: int) -> None:
    graph = random_graph(seed)
    planned = memory.plan(graph, {i: IN_PLACE for i in range(100)})
    for entry in graph.entries:
        places = planned.entries[entry.name].places
        for number, index in enumerate(entry.inputs):
            assert places[index] == Place("input", number)
        for number, index in enumerate(entry.outputs):
            assert places[index] == Place("output", number) or graph.tensors[index].persistent


def test_the_least_arena_is_reached() -> None:
    """Where what lives at once allows no less; one in a hundred may need more, whatever the order."""
    missed = 0
    for seed in range(300):
        graph = random_graph(seed, operators=12)
        planned = memory.plan(graph, random_demands(graph, seed))
        missed += planned.arena_bytes > max(entry.least_bytes for entry in planned.entries.values())
    assert missed <= 3


@settings(deadline=None, max_examples=40)
@given(seeds)
def test_no_packing_of_few_items_is_lower(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spans = [sorted(rng.integers(0, 5, 2)) for _ in range(4)]
    items = [Item("", 16 * int(rng.integers(1, 4)), int(first), int(last)) for first, last in spans]

    def heights(offsets: np.ndarray) -> np.ndarray:
        """Of packings (offsets: items, packings), in units; 99 where two items overlap."""
        height = np.max([offset + item.size // 16 for offset, item in zip(offsets, items, strict=True)], axis=0)
        for (i, a), (j, b) in itertools.combinations(enumerate(items), 2):
            if a.meets(b):
                meet = (offsets[i] < offsets[j] + b.size // 16) & (offsets[j] < offsets[i] + a.size // 16)
                height = np.where(meet, 99, height)
        return height

    offsets, found = pack(Lifetimes(items, {}))
    every = np.stack(np.meshgrid(*[np.arange(10)] * 4)).reshape(4, -1)
    assert 16 * heights(np.array(offsets)[:, np.newaxis] // 16)[0] == found == 16 * heights(every).min()


def test_a_chain_needs_its_two_largest_neighbours() -> None:
    planned = memory.plan(chain(16, 100, 64, 200, 16), {})
    assert planned.arena_bytes == 64 + 208


@given(st.lists(st.integers(1, 5000), min_size=3, max_size=60))
def test_a_chain_of_any_length_needs_no_more_than_its_fullest_operator(sizes: list[int]) -> None:
    planned = memory.plan(chain(*sizes), {})
    assert planned.arena_bytes == planned.entries["invoke"].least_bytes


def test_in_place_kernels_share_their_input() -> None:
    graph = chain(64, 64, 64, 32, 64)
    planned = memory.plan(graph, demands := {i: IN_PLACE for i in range(4)})
    assert planned.arena_bytes == 64
    memory.check(graph, planned, demands)


def test_an_input_that_is_read_again_is_not_overwritten() -> None:
    graph = chain(64, 64, 64, 64)
    graph.main.operators[2] = Operator("ADD", (1, 2), (3,), Elementwise())
    planned = memory.plan(graph, demands := {i: IN_PLACE for i in range(3)})
    assert planned.arena_bytes == 128
    memory.check(graph, planned, demands)


def test_scratch_lies_beside_what_lives() -> None:
    graph = chain(64, 64, 64, 64)
    planned = memory.plan(graph, {1: Demand(scratch_bytes=100)})
    assert planned.arena_bytes == 64 + 64 + 112
    assert planned.entries["invoke"].scratch[1].bytes == 100


def test_a_reshape_is_another_name() -> None:
    graph = chain(64, 64, 64, 64)
    graph.main.operators[1] = Operator("RESHAPE", (1,), (2,), NoOptions())
    planned = memory.plan(graph, {1: Demand(part=0)})
    places = planned.entries["invoke"].places
    assert places[1] == places[2] and planned.arena_bytes == 64


def test_a_reshape_before_the_output_writes_the_output_at_once() -> None:
    graph = chain(64, 64, 64)
    graph.main.operators[1] = Operator("RESHAPE", (1,), (2,), NoOptions())
    planned = memory.plan(graph, {1: Demand(part=0)})
    assert planned.entries["invoke"].places[1] == Place("output", 0) and planned.arena_bytes == 0


def test_a_reshape_from_input_to_output_stays_a_copy() -> None:
    graph = chain(64, 64)
    graph.main.operators[0] = Operator("RESHAPE", (0,), (1,), NoOptions())
    places = memory.plan(graph, {0: Demand(part=0)}).entries["invoke"].places
    assert places == {0: Place("input", 0), 1: Place("output", 0)}


def test_a_reshape_of_a_persistent_tensor_stays_a_copy() -> None:
    """The tensor may be updated while its former value is still needed."""
    state = Tensor("state", (64,), "int8", Quantization((1.0,), (0,)), np.zeros(64, np.int8), persistent=True)
    graph = chain(64, 64, 64, state=state)
    graph.main.operators[0] = Operator("RESHAPE", (3,), (1,), NoOptions())
    graph.main.operators.insert(1, Operator("ADD", (3, 0), (3,), Elementwise()))
    planned = memory.plan(graph, demands := {0: Demand(part=0), 1: IN_PLACE})
    places = planned.entries["invoke"].places
    assert places[1] != places[3] and planned.persistent_bytes == 64 and planned.arena_bytes == 128
    memory.check(graph, planned, demands)


def test_a_part_is_another_name() -> None:
    graph = chain(64, 64, 32, 32, 64)
    graph.main.operators[1] = Operator("STRIDED_SLICE", (1,), (2,), NoOptions())
    planned = memory.plan(graph, demands := {1: Demand(part=16)})
    places = planned.entries["invoke"].places
    # the output may begin where the part ends
    assert places[2].at == places[1].at + 16 and planned.arena_bytes == 16 + 32 + 32
    memory.check(graph, planned, demands)


def test_a_part_off_the_alignment_stays_a_copy() -> None:
    graph = chain(64, 64, 32, 32, 64)
    graph.main.operators[1] = Operator("STRIDED_SLICE", (1,), (2,), NoOptions())
    assert not memory.plan(graph, {1: Demand(part=8)}).entries["invoke"].aliases


def test_what_is_left_of_the_whole_is_free_where_a_part_is_read_last() -> None:
    graph = chain(64, 96, 32, 32, 64)
    graph.main.operators[1] = Operator("STRIDED_SLICE", (1,), (2,), NoOptions())
    planned = memory.plan(graph, demands := {1: Demand(part=48), 2: IN_PLACE})
    places = planned.entries["invoke"].places
    assert places[2].at == places[1].at + 48 and places[3].at - places[2].at in range(-48, 1)
    assert planned.arena_bytes == 96
    memory.check(graph, planned, demands)


def test_a_small_part_does_not_keep_a_large_whole() -> None:
    """The whole would lie beside what comes between: 640 + 640 bytes."""
    graph = chain(640, 640, 640, 640, 16, 16)
    graph.main.operators[1] = Operator("STRIDED_SLICE", (1,), (4,), NoOptions())
    graph.main.operators[2] = Operator("ADD", (1, 1), (2,), Elementwise())
    graph.main.operators[3] = Operator("ADD", (2, 2), (3,), Elementwise())
    graph.main.operators[4] = Operator("ADD", (4, 3), (5,), Elementwise())
    demands = {1: Demand(part=16), 2: IN_PLACE, 3: IN_PLACE}
    planned = memory.plan(graph, demands)
    assert planned.arena_bytes == 640 + 16 and not planned.entries["invoke"].aliases
    memory.check(graph, planned, demands)


def test_entries_share_the_arena() -> None:
    graph = chain(16, 160, 16)
    graph.entries.append(Entry("enrol", (0,), (2,), graph.main.operators))
    planned = memory.plan(graph, {})
    assert planned.arena_bytes == 160
    assert [(block.first, block.last) for block in planned.blocks] == [(0, 1), (2, 3)]


def test_the_check_finds_a_wrong_plan() -> None:
    graph = chain(16, 160, 160, 16)
    planned = memory.plan(graph, {})
    entry = planned.entries["invoke"]
    wrong = replace(entry, places={**entry.places, 2: Place("arena", entry.places[1].at)})
    with pytest.raises(AssertionError, match="'x1' is overwritten by 01_add"):
        memory.check(graph, replace(planned, entries={"invoke": wrong}), {})


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (Operator("ADD", (2, 0), (1,), Elementwise()), "00_add: tensor 'x2' is read before it is written"),
        (Operator("ADD", (0, 0), (0,), Elementwise()), "00_add: tensor 'x0' is written a second time"),
        (Operator("ADD", (3, 0), (3,), Elementwise()), "00_add: reads and writes persistent tensor 'state'"),
    ],
)
def test_a_graph_out_of_order_is_refused(operator: Operator, message: str) -> None:
    state = Tensor("state", (16,), "int8", Quantization((1.0,), (0,)), np.zeros(16, np.int8), persistent=True)
    graph = chain(16, 16, 16, state=state)
    graph.main.operators[0] = operator
    with pytest.raises(InputError, match=message):
        memory.plan(graph, {})


def relu_chain(*sizes: int) -> Graph:
    """t0 -> t1 -> ..., of so many bytes, which need not be equal."""
    tensors = [Tensor(f"t{i}", (size,), "int8") for i, size in enumerate(sizes)]
    operators = [Operator("RELU", (i,), (i + 1,), NoOptions()) for i in range(len(sizes) - 1)]
    return Graph("chain", tensors, [Entry("invoke", (0,), (len(sizes) - 1,), operators)])


def test_a_longer_output_begins_ahead_of_its_input() -> None:
    """In the bytes of its input and before them; apart from each other they would need 256 + 512."""
    graph = relu_chain(8, 256, 512, 8)
    planned = memory.plan(graph, demands := {1: Demand(over=(Over(-256),))})
    places = planned.entries["invoke"].places
    assert planned.arena_bytes == planned.least_bytes == 512
    assert places[1].at - places[2].at == 256
    memory.check(graph, planned, demands)


def test_an_output_trails_what_is_still_read() -> None:
    """Three rows of 64 bytes before the input; the next one may not drift any lower, and lies above again."""
    graph = relu_chain(8, 1024, 1024, 128, 8)
    planned = memory.plan(graph, demands := {i: Demand(over=(Over(-192),)) for i in range(4)})
    places = planned.entries["invoke"].places
    assert planned.arena_bytes == planned.least_bytes == 1024 + 192
    assert places[1].at - places[2].at == 192
    memory.check(graph, planned, demands)


def test_whole_pixels_apart_are_enough_for_channel_by_channel() -> None:
    graph = relu_chain(8, 1200, 240, 8)
    planned = memory.plan(graph, demands := {1: Demand(over=(Over(every=24),)), 2: Demand(scratch_bytes=960)})
    places = planned.entries["invoke"].places
    assert planned.arena_bytes == 1200 and (places[2].at - places[1].at) % 24 == 0
    memory.check(graph, planned, demands)


def test_the_check_knows_what_kernels_allow() -> None:
    graph = relu_chain(8, 256, 512, 8)
    planned = memory.plan(graph, {1: Demand(over=(Over(-256),))})
    with pytest.raises(AssertionError, match="'t1' is overwritten by 01_relu"):
        memory.check(graph, planned, {1: Demand(over=(Over(-272),))})


def test_reusable_inputs_lie_in_the_arena() -> None:
    """The first is read last, and the output takes its place."""
    graph = relu_chain(640, 128, 128, 640)
    graph.main.operators[2] = Operator("ADD", (2, 2), (3,), Elementwise())
    planned = memory.plan(graph, {}, reusable=True)
    assert planned.arena_bytes == planned.least_bytes == 640 + 128
    assert {place.memory for place in planned.entries["invoke"].places.values()} == {"arena"}
    memory.check(graph, planned, {})


def test_several_reusable_inputs_and_outputs_live_together() -> None:
    graph = relu_chain(64, 64, 64, 64)
    graph.entries[0] = replace(graph.main, outputs=(1, 3))
    planned = memory.plan(graph, {i: IN_PLACE for i in range(3)}, reusable=True)
    places = planned.entries["invoke"].places
    assert planned.arena_bytes == 128 and places[1] != places[3]
