"""A step of a network gives, byte for byte, what the whole network gives of the last frames."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from gated_models import gated_model
from streaming_models import Layers, random_network, small_network

from mcu_codegen import targets
from mcu_codegen.emit.cortex_m.instruction_sets import RENDERERS
from mcu_codegen.emit.plan import compile_plan
from mcu_codegen.emulate.host_executor import HostExecutor
from mcu_codegen.errors import InputError
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.execute.tinygrad_executor import TinygradExecutor
from mcu_codegen.graph import STEPPING, Conv2D, Graph, Operator, Quantization, Tensor
from mcu_codegen.listen.flow import flows_of
from mcu_codegen.listen.frontend import PRESETS
from mcu_codegen.listen.step import silence, step_of
from mcu_codegen.prove import parity, streaming
from mcu_codegen.users.bake import bake
from mcu_codegen.users.gates import groups


def compared(graph: Graph, frames: int | None, *executors: type) -> parity.Report:
    step = step_of(graph, frames)
    assert step.step is not None
    heard = streaming.random_frames(step, 2 * step.step.window // step.step.frames + 8)
    if not executors:
        return parity.Report([streaming.against_windows(graph, step, heard)])
    return streaming.compare(graph, step, [make(step) for make in executors], heard)


def test_steps_of_random_networks_are_whole_windows():
    """By one stride and by three, until everything of the first window is forgotten twice; and as C."""
    kinds: Counter[str] = Counter()
    for seed in range(24):
        graph = random_network(seed)
        least = flows_of(graph).stride
        for frames, executors in ((least, [HostExecutor] if seed % 2 else []), (3 * least, [])):
            report = compared(graph, frames, *executors)
            assert report.passed, f"seed {seed}, {frames} frames: {report.table().text()}"
            assert report.comparisons[0].compared >= 50
        kinds.update(operator.kind for operator in step_of(graph).main.operators)
    assert kinds.keys() >= {*STEPPING, "STRIDED_SLICE", "ADD", "PAD", "MAX_POOL_2D", "CONCATENATION", "MEAN"}


@pytest.mark.slow
def test_steps_of_many_random_networks_are_whole_windows():
    for seed in range(1000, 1300):
        graph = random_network(seed)
        report = compared(graph, flows_of(graph).stride * int(1 + seed % 4))
        assert report.passed, f"seed {seed}: {report.table().text()}"


def test_tinygrad_steps():
    layers = Layers(2)
    source = layers.new((1, 12, 4, 1))
    graph = layers.graph(source, layers.closing(layers.convolution(source, 3, (3, 4)), "mean"))
    assert {each.kind for each in step_of(graph).main.operators} >= STEPPING.keys()
    assert compared(graph, None, TinygradExecutor).passed


def test_a_step_that_differs_is_found():
    graph = small_network()
    step = step_of(graph)
    shifted = next(number for number, each in enumerate(step.main.operators) if each.kind == "SHIFT_IN")
    window = step.tensors[step.main.operators[shifted].outputs[0]]
    window.data = np.asarray(window.data) ^ 1
    report = streaming.compare(graph, step, [HostExecutor(step)], streaming.random_frames(step, 40))
    assert not report.passed
    assert "numpy, whole windows" in report.table().text() and "DIFFERS" in report.table().text()
    whole, *rest = report.comparisons
    assert whole.first is not None and whole.first.sample < 15  # behind it, what was wrong at the start is forgotten
    assert rest[0].differing == 0


def test_a_step_computes_new_rows_only():
    """Of a residual network with a stride of two: two frames are one row behind the stem, and one a layer."""
    graph = small_network(frames=31)
    step = step_of(graph)
    assert step.step is not None and (step.step.frames, step.step.window) == (2, 31)
    rows = [step.tensors[each.outputs[0]].shape[1] for each in step.main.operators if each.kind.endswith("CONV_2D")]
    assert rows == [1] * 5
    states = {tensor.name.split(".")[-1]: tensor for tensor in step.tensors if tensor.persistent}
    assert states["sums"].dtype == "int32" and states["window"].dtype == "int8"
    # 30 frames end with one that no window of the stem reaches yet: it waits for the next step
    held = [each.tensors[each.main.operators[0].outputs[0]].shape[1] for each in (step, step_of(small_network()))]
    assert held == [3, 4]
    assert step_of(small_network(frames=31), 28).main.operators[-3].kind == "MEAN"  # adds up less than it would keep


def test_silence_is_the_floor_of_the_front_end():
    front_end = PRESETS["mfcc10"]
    graph = small_network(front_end="mfcc10")
    assert np.array_equal(silence(graph)[0, :, :, 0], np.tile(front_end.floor_codes, (30, 1)))
    step = step_of(graph)
    hears = front_end.floor_codes.reshape(1, 1, 1, 10, 1).repeat(2, axis=2)
    values = NumpyExecutor(step).run([hears])
    for index, tensor in enumerate(step.tensors):
        if tensor.persistent:
            assert np.array_equal(values[index][0], tensor.data), tensor.name
    output, whole = step.main.outputs[0], graph.main.outputs[0]
    assert np.array_equal(values[output], NumpyExecutor(graph).run([silence(graph)[np.newaxis]])[whole])


def test_one_users_network_streams():
    """Closed channels are cut out first; the step of what is left is a step like any other."""
    model, _ = gated_model(9, frames=15, residual=True)
    opened = [np.arange(group.count) % 2 == 0 for group in groups(model)]
    baked = bake(model, opened)
    step = step_of(baked)
    heard = streaming.random_frames(step, 40)
    assert streaming.against_windows(baked, step, heard).passed
    whole = step_of(model)
    assert sum(each.bytes for each in step.tensors) < sum(each.bytes for each in whole.tensors)
    assert "gates" not in whole.metadata  # a step's tensors are not those that they name


@pytest.mark.parametrize(
    ("channels", "columns", "frames"),
    [(8, 1, 1), (16, 3, 2), (40, 2, 1), pytest.param(136, 5, 3, marks=pytest.mark.slow)],
)
def test_running_sums_with_mve(channels, columns, frames):
    """Near and far places, one and many; the sums of half of the window at most are kept."""
    layers = Layers(channels)
    source = layers.new((1, 14, columns + 1, 1))
    graph = layers.graph(source, layers.closing(layers.convolution(source, channels, (2, 2)), "mean"))
    step = step_of(graph, frames)
    assert any(operator.kind == "SLIDING_SUM" for operator in step.main.operators)
    renderer = RENDERERS["mve"]()
    assert not any("sliding_sum" in layer for layer in compile_plan(step, renderer).portable)
    assert f"slide_{columns * frames}x{channels}" in renderer.helpers
    executors = parity.executors(step, targets.find_all(["cortex-m55"]))
    cores = [each for each in executors if "cortex-m55" in each.name]
    if all(isinstance(each, parity.Absent) for each in cores):
        pytest.skip("; ".join(each.reason for each in cores if isinstance(each, parity.Absent)))
    report = streaming.compare(graph, step, cores, streaming.random_frames(step, 40))
    assert report.passed, report.table().text()


@pytest.mark.slow
def test_minutes_of_audio_are_the_same_in_c():
    """More than three minutes at hops of 20 ms, from features to scores, as C on this host."""
    graph = small_network(front_end="mfcc10")
    step = step_of(graph)
    heard = streaming.random_frames(step, 4800)
    report = streaming.compare(graph, step, [HostExecutor(step)], heard)
    assert report.passed, report.table().text()
    assert report.comparisons[0].compared == 4800 * 4


def padded(kind: str) -> Graph:
    layers = Layers(1)
    source = layers.new((1, 20, 4, 1))
    if kind == "PAD":
        pads = layers.new((4, 2), np.array([[0, 0], [2, 0], [0, 0], [0, 0]], np.int32))
        value = layers.append("PAD", (source, pads), (1, 22, 4, 1), object(), source)
    else:
        value = layers.append("CONV_2D", (source, *layers.weights((3, 3, 3, 1), 0)), (1, 20, 4, 3), Conv2D("SAME"), -1)
    return layers.graph(source, layers.closing(value, "mean"))


def rows_as_output() -> Graph:
    layers = Layers(1)
    source = layers.new((1, 20, 4, 1))
    return layers.graph(source, layers.convolution(source, 3, (3, 4)))


def with_state() -> Graph:
    graph = small_network()
    graph.tensors.append(Tensor("state", (1,), "int8", Quantization((1.0,), (0,)), np.zeros(1, np.int8), True))
    return graph


def flat() -> Graph:
    layers = Layers(1)
    source = layers.new((1, 1, 1, 20))
    return layers.graph(source, layers.closing(source, "flat"))


def wide() -> Graph:
    graph = small_network()
    chosen = graph.main.operators[0].outputs[0]
    tensors = [replace(each, dtype="int16") if at == chosen else each for at, each in enumerate(graph.tensors)]
    return replace(graph, tensors=tensors)


@pytest.mark.parametrize(
    ("graph", "frames", "message"),
    [
        (padded("PAD"), None, "00_pad: pads time by 2 rows before and 0 after; none are accepted"),
        (padded("CONV_2D"), None, "00_conv_2d: pads time by 1 rows before and 1 after; none are accepted"),
        (
            small_network(),
            3,
            "--rows-per-step 3: multiples of 2 are accepted, the stride of model 'streamed' over time",
        ),
        (small_network(), 0, "--rows-per-step 0: multiples of 2"),
        (rows_as_output(), None, "it has a row for 18 times; one answer about the whole window is accepted"),
        (with_state(), None, "has persistent tensors"),
        (flat(), None, "input 't0' (1, 1, 1, 20): it has no time axis"),
        (wide(), None, "is int16; what flows is accepted in int8"),
    ],
)
def test_what_cannot_stream_is_refused(graph, frames, message):
    with pytest.raises(InputError) as refused:
        step_of(graph, frames)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_constant_that_differs_over_time_ends_the_flow():
    """What is added depends on where in the window a row is, so that all rows are needed anew."""
    layers = Layers(3)
    source = layers.new((1, 20, 4, 1))
    value = layers.convolution(source, 3, (3, 4))
    place = layers.rng.integers(-128, 128, (1, 18, 1, 1), np.int8)
    value = layers.add(value, layers.new(place.shape, place, Quantization((0.05,), (3,))))
    graph = layers.graph(source, layers.closing(value, "mean"))
    step = step_of(graph)
    assert [step.tensors[each.outputs[0]].shape for each in step.main.operators if each.kind == "ADD"] == [
        (1, 18, 1, 3)
    ]
    assert compared(graph, None).passed


def test_a_graph_of_several_inputs_is_refused():
    graph = small_network()
    entry = replace(graph.main, inputs=(0, 0))
    with pytest.raises(InputError, match="one entry with one input"):
        step_of(replace(graph, entries=[entry]))
    assert isinstance(graph.main.operators[0], Operator)
