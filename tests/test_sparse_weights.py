"""Layers of sparse weights: what is kept of them, and their kernels against the NumPy executor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from random_graphs import random_graph, random_inputs
from random_layers import KINDS, Layers
from test_kernels import agree

from mcu_codegen import cli
from mcu_codegen.emit import sparse
from mcu_codegen.emit.cortex_m.instruction_sets import DENSE, RENDERERS
from mcu_codegen.emit.plan import Plan, compile_plan
from mcu_codegen.emit.portable.renderer import OPTIMIZE
from mcu_codegen.emulate import toolchain
from mcu_codegen.emulate.host_executor import HostExecutor
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph
from mcu_codegen.targets import TARGETS


def sparse_layers(seed: int, keep: float) -> Graph:
    """Products of every number of rows, windows that are gathered and such that are whole rows, and a depthwise layer,
    of sparse weights."""
    layers = Layers(seed)
    for rows in (1, 2, 3, 4, 5, 9, 16, 21):
        source = layers.input(1, rows, 1, layers.one(16, 20, 64, 260))
        layers.convolution(source, layers.between(2, 30), (1, 1), (1, 1))
    layers.convolution(layers.input(1, 5, 5, 8), 6, (3, 3), (1, 1))
    layers.convolution(layers.input(1, 40, 1, 20), 6, (4, 1), (2, 1))
    for rows in (1, 9):
        layers.convolution(layers.input(1, rows, 1, 260), 1, (1, 1), (1, 1))
    layers.depthwise(layers.input(1, 5, 5, 8))
    return thinned(layers, keep)


def sparse_depthwise(seed: int, keep: float) -> Graph:
    """Depthwise layers of all kinds that have kernels, and such as have none, of sparse weights."""
    layers = Layers(seed)
    for kind in ("depthwise", "depthwise window", "column", "extreme column", "column of many", "in place", "step"):
        for _ in range(4):
            KINDS[kind](layers)
    return thinned(layers, keep)


def thinned(layers: Layers, keep: float) -> Graph:
    """What was drawn, with so much of its weights."""
    for tensor in layers.tensors:
        if tensor.data is not None and tensor.dtype == "int8":
            tensor.data[layers.rng.random(tensor.shape) > keep] = 0
    return layers.graph()


def sparse_kernels(plan: Plan) -> list[str]:
    """The layers whose kernels read sparse weights."""
    return [layer.name for layer in plan.layers if any(each.ctype == "uint8_t" for each in layer.kernel.arrays)]


@given(arrays.arrays(np.int8, st.integers(1, 70), elements=st.sampled_from([0] * 20 + [-127, -1, 5, 127])))
def test_entries_say_where_every_weight_is(weights: np.ndarray) -> None:
    pairs = sparse.entries(weights)
    if pairs is None:
        assert np.count_nonzero(weights) == len(weights) and len(weights) % 2
        return
    gaps = np.stack([pairs[:, 0] & 15, pairs[:, 0] >> 4], axis=1).ravel()
    places = np.cumsum(gaps.astype(int) + 1) - 1
    decoded = np.zeros_like(weights)
    decoded[places] = pairs[:, 1:].ravel().view(np.int8)  # raises where a place is outside
    np.testing.assert_array_equal(decoded, weights)


@given(st.integers(1, 5), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_masks_say_where_every_byte_is(rows: int, taps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = np.where(rng.random((rows, 4 * taps)) < 0.15, rng.integers(-128, 128, (rows, 4 * taps)), 0).astype(
        np.int8
    )
    others = rng.integers(0, 2**32, (2, rows, 3), np.uint32)
    constants = np.concatenate([others[0], weights.view("<u4"), others[1]], axis=1)
    kept = sparse.masked(weights, constants, 100)
    if kept is None:
        return
    octets, unpacked = iter(kept.array.values.tobytes()), []
    for _ in range(rows):
        unpacked += [next(octets) for _ in range(4 * kept.before)]
        for eight in range(0, 4 * kept.masked, 8):
            mask = next(octets)
            places = range(min(8, 4 * kept.masked - eight))
            unpacked += [next(octets) if mask & 128 >> place else 0 for place in places]
        unpacked += [next(octets) for _ in range(4 * kept.behind)]
    assert bytes(unpacked) == constants.tobytes() and next(octets, None) is None
    assert len(kept.array.values) <= constants.nbytes - weights.size / 2


def test_layers_are_sparse_where_that_halves_them() -> None:
    rng = np.random.default_rng(0)
    weights = rng.integers(1, 128, (8, 64)).astype(np.int8)
    assert sparse.channels(weights) is None
    weights[rng.random(weights.shape) > 0.15] = 0
    kept = sparse.channels(weights)
    assert kept is not None and sum(each.size for each in kept) <= 0.3 * weights.size


@pytest.mark.parametrize("keep", [0.0, 0.05, 0.15, 0.3])
@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m3", "cortex-m4", "cortex-m55"])
def test_sparse_kernels_equal_numpy(core: str, keep: float) -> None:
    graph, renderer = sparse_layers(1, keep), RENDERERS[TARGETS[core].instruction_set]()
    plan = compile_plan(graph, renderer)
    assert sparse_kernels(plan) == [*plan.sparse] and len(plan.sparse) >= (1 if keep == 0.3 else len(plan.layers))
    agree(graph, 1, core, toolchain.NAMES[int(100 * keep) % 2], renderer)


@pytest.mark.slow
@pytest.mark.parametrize("optimize", OPTIMIZE)
@pytest.mark.parametrize("instruction_set", RENDERERS)
def test_unpacked_weights_take_a_kilobyte_at_most(instruction_set: str, optimize: str) -> None:
    graph = sparse_depthwise(1, 0.15)
    dense, kept = (compile_plan(graph, kind[instruction_set](optimize)) for kind in (DENSE, RENDERERS))
    more = [
        with_less.kernel.demand.scratch_bytes - layer.kernel.demand.scratch_bytes
        for layer, with_less in zip(dense.layers, kept.layers, strict=True)
        if getattr(layer.operator.options, "depth_multiplier", 0) == 1  # of several outputs a channel: products
    ]
    assert max(more) <= 1024 and any(more) == (optimize != "ram")


@pytest.mark.slow
@pytest.mark.parametrize("keep", [0.0, 0.15, 0.3])
@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m3", "cortex-m4", "cortex-m55"])
def test_sparse_depthwise_equals_numpy(core: str, keep: float) -> None:
    graph, renderer = sparse_depthwise(1, keep), RENDERERS[TARGETS[core].instruction_set]()
    plan = compile_plan(graph, renderer)
    depthwise = [layer.kernel for layer in plan.layers if layer.operator.kind == "DEPTHWISE_CONV_2D"]
    # a channel at a time, and as a whole
    assert {"stream", "packed"} <= {
        each.role for kernel in depthwise for each in kernel.arrays if each.kept is not None
    }
    agree(graph, 1, core, toolchain.NAMES[int(100 * keep) // 5 % 2], renderer)


@pytest.mark.parametrize("layers", [sparse_layers, pytest.param(sparse_depthwise, marks=pytest.mark.slow)])
def test_portable_sparse_c_equals_numpy(layers: Callable[[int, float], Graph]) -> None:
    graph = layers(2, 0.15)
    inputs = random_inputs(graph, 1)
    got = HostExecutor(graph, renderer=RENDERERS["portable"]()).run(inputs)
    for tensor, values in NumpyExecutor(graph).run(inputs).items():
        np.testing.assert_array_equal(got[tensor], values, graph.tensors[tensor].name)


@pytest.mark.parametrize("instruction_set", RENDERERS)
def test_dense_weights_give_the_same_c(instruction_set: str) -> None:
    """Of kernels: a renderer that knows sparse layers renders others as one that does not."""
    graph = Layers(3)
    graph.convolution(graph.input(1, 9, 1, 32), 16, (1, 1), (1, 1))
    bodies = [compile_plan(graph.graph(), kind[instruction_set]()).layers[0].kernel.body for kind in (DENSE, RENDERERS)]
    assert bodies[0] == bodies[1]


def test_emit_says_which_weights_are_sparse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model.tflite"
    graph = replace(sparse_layers(1, 0.15), metadata={})
    model.write_bytes(tflite.write(graph))
    assert cli.main(["emit", str(model), "-o", str(tmp_path / "out")]) == 0
    assert "sparse weights in 13 layers" in capsys.readouterr().out
    assert cli.main(["emit", str(model), "--weights", "int8", "-o", str(tmp_path / "out")]) == 0
    assert "sparse" not in capsys.readouterr().out
    model.write_bytes(tflite.write(random_graph(5)))
    assert cli.main(["emit", str(model), "-o", str(tmp_path / "out")]) == 0
    assert "sparse" not in capsys.readouterr().out
