"""Kernels that skip closed channels compute what the specification computes, zero points included."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from gated_models import features, gated_model, random_gates

from mcu_codegen.emit.cortex_m.instruction_sets import SWITCHABLE
from mcu_codegen.emit.model import emit_model
from mcu_codegen.emulate import host
from mcu_codegen.emulate.core_executor import CoreExecutor
from mcu_codegen.emulate.host_executor import HostExecutor
from mcu_codegen.emulate.machines import counting_machine, machines
from mcu_codegen.emulate.toolchain import choose
from mcu_codegen.errors import InputError
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.graph import Graph
from mcu_codegen.prove.measure import measure
from mcu_codegen.targets import TARGETS, find
from mcu_codegen.users import gates

# channels a gate of 1, 2, 4, 8; a window without neighbours; another zero point; positions that leave rows over;
# residual networks; signals; norms of columns
SHAPES = [
    {"size": 4},
    {"size": 2, "frames": 9},
    {"size": 1, "frames": 7},
    {"size": 8, "channels": 32, "frames": 8},
    {"size": 4, "zero_point": -100, "frames": 11},
    {"size": 3, "channels": 15, "frames": 6},
    {"size": 4, "kernel": (1, 1), "stride": (1, 1), "frames": 3, "blocks": 1},
    {"size": 1, "residual": True, "kernel": (3, 0), "stride": (1, 0)},
    {"size": 4, "residual": True, "kernel": (2, 0), "frames": 17, "channels": 32, "blocks": 3},
    {"size": 4, "stride": (1, 10), "window": (5, 1), "frames": 20},
    {"size": 4, "window": (1, 3), "norms": True, "frames": 9},
    {"size": 2, "channels": 10, "norms": True, "frames": 7},
]


def _case(number: int) -> tuple[Graph, gates.Gates]:
    model, _ = gated_model(number, **SHAPES[number])
    return model, random_gates(np.random.default_rng(number), [group.count for group in gates.groups(model)])


def _same(executor: HostExecutor | CoreExecutor, model: Graph, opened: gates.Gates) -> None:
    source = features(model, 3)
    expected = NumpyExecutor(model, gates.open_channels(model, opened)).run([source])
    for index, values in executor.run([source]).items():
        assert np.array_equal(values, expected[index]), model.tensors[index].name


@pytest.mark.parametrize(
    "number",
    [pytest.param(number, marks=() if number in (0, 7) else pytest.mark.slow) for number in range(len(SHAPES))],
)
def test_portable(number: int) -> None:
    model, opened = _case(number)
    renderer = SWITCHABLE["portable"]("speed", model, None, opened)
    _same(HostExecutor(model, renderer, sanitize=["undefined"]), model, opened)


def test_selftest_and_reset() -> None:
    model, opened = _case(0)
    sources = emit_model(model, renderer=SWITCHABLE["portable"]("speed", model, None, opened))
    library = ctypes.CDLL(str(host.build_shared_library(sources, defines=["KWS_MODEL_SELFTEST"])))
    library.kws_model_set_gates(b"\x11\x01")  # another user
    assert library.kws_model_selftest() == 0
    expected = NumpyExecutor(model, gates.open_channels(model, opened)).run([features(model, 1)])
    output = ctypes.create_string_buffer(model.tensors[model.main.outputs[0]].bytes)
    library.kws_model_invoke(features(model, 1).tobytes(), output)
    assert output.raw == expected[model.main.outputs[0]].tobytes()


@pytest.mark.parametrize(
    ("name", "number"),
    [
        pytest.param(name, number, marks=() if (name, number) == ("cortex-m4", 0) else pytest.mark.slow)
        for name in TARGETS
        for number in range(len(SHAPES))
    ],
)
def test_cores(name: str, number: int) -> None:
    target = find(name)
    present = [machine for machine in machines(target).values() if not isinstance(machine, str)]
    if not present:
        pytest.skip(f"no emulator of {name}")
    model, opened = _case(number)
    optimize = ("speed", "size")[number % 2]
    renderer = SWITCHABLE[target.instruction_set](optimize, model, None, opened)
    _same(CoreExecutor(model, target, present[0], choose(), renderer), model, opened)


def test_instructions_fall_with_the_channels() -> None:
    target = find("cortex-m4")
    try:
        counting_machine(target)
    except InputError as error:
        pytest.skip(str(error))
    model, _ = gated_model(frames=20, channels=32, blocks=3)
    half = [np.arange(group.count) < group.count // 2 for group in gates.groups(model)]
    full = measure(model, target, choose())
    switched = measure(model, target, choose(), SWITCHABLE["dsp"]("speed", model, None, half))
    pointwise = [position for position, layer in enumerate(full.layers) if layer.name.endswith("conv_2d")][2::2]
    for position in pointwise:  # a quarter of the MACs; without the inputs' share it were a half
        assert switched.layers[position].instructions < 0.45 * full.layers[position].instructions
