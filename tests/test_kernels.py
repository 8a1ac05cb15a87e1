"""The kernels of every instruction set against the NumPy executor, on shapes and values that reach them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from random_graphs import random_inputs
from random_layers import KINDS, Layers

from mcu_codegen import arithmetic
from mcu_codegen.emit.cortex_m.affine import affine
from mcu_codegen.emit.cortex_m.instruction_sets import DENSE, RENDERERS, WIDE
from mcu_codegen.emit.cortex_m.mve_assembly import LONGEST, shifting
from mcu_codegen.emit.cortex_m.pooling import PoolingKernels, share
from mcu_codegen.emit.plan import compile_plan
from mcu_codegen.emit.portable.renderer import HELPERS, OPTIMIZE, Renderer
from mcu_codegen.emulate import toolchain
from mcu_codegen.emulate.core_executor import CoreExecutor
from mcu_codegen.emulate.machines import machines
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.graph import Elementwise, FullyConnected, Graph, Operator, Pool2D, Quantization
from mcu_codegen.lower.common import Requantization
from mcu_codegen.lower.elementwise import Add
from mcu_codegen.targets import TARGETS

REACHED = {
    "cortex-m0": {"multiply", "rows", "column", "add", "product", "lookup", "sum4", "max", "average"},
    "cortex-m3": {"multiply", "dot", "rows", "column", "add", "product", "lookup", "max", "average"},
    "cortex-m4": {
        *("multiply", "dot", "rows", "column", "across", "add", "product", "greater", "lesser"),
        *("lookup", "max", "average"),
    },
    "cortex-m55": {
        *("multiply", "dot", "rows", "column", "across", "add", "product", "greater", "lesser"),
        *("lookup", "sums", "max", "average"),
    },
}
"""By core, how the names of its kernels begin: matrices, those of a single channel, depthwise rows and columns,
depthwise across channels (of MVE sixteen together), sums and products of two codes, the greater and the lesser of them,
tables, sums over an image (of Cortex-M0 instead of C's), pooled windows."""


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
    assert used >= REACHED[core] - ({"across"} if optimize == "size" and core == "cortex-m4" else set())
    agree(graph, seed, core, compiler, renderer)


def agree(graph: Graph, seed: int, core: str, compiler: str, renderer: Renderer) -> None:
    """Every tensor on random inputs, against the NumPy executor."""
    inputs = random_inputs(graph, seed)
    got = executor(graph, core, compiler, renderer).run(inputs)
    for tensor, values in NumpyExecutor(graph).run(inputs).items():
        np.testing.assert_array_equal(got[tensor], values, f"seed {seed}, {graph.tensors[tensor].name}")


@pytest.mark.parametrize("compiler", [toolchain.NAMES[0], pytest.param(toolchain.NAMES[1], marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "core", [pytest.param(core, marks=() if core != "cortex-m0" else pytest.mark.slow) for core in REACHED]
)
def test_kernels_equal_numpy(core: str, compiler: str) -> None:
    compare(1, core, compiler, 6)


@pytest.mark.parametrize("core", REACHED)
def test_small_kernels_equal_numpy(core: str) -> None:
    compare(1, core, "gcc" if core != "cortex-m55" else "clang", 4, optimize="size")


@pytest.mark.parametrize("optimize", OPTIMIZE)
def test_wide_weights_equal_numpy(optimize: str) -> None:
    compare(1, "cortex-m4", "gcc" if optimize == "size" else "clang", 4, "int16", optimize)


@pytest.mark.parametrize("core", REACHED)
def test_several_outputs_of_a_few_channels(core: str) -> None:
    """Depthwise, with a multiplier: as convolutions that mix the channels."""
    layers = Layers(0)
    for channels, multiplier in ((3, 8), (4, 2), (2, 3)):
        layers.depthwise(layers.input(1, 6, 7, channels), (1, 2), (3, 3), (1, 1), multiplier)
    renderer = RENDERERS[TARGETS[core].instruction_set]()
    graph = layers.graph()
    plan = compile_plan(graph, renderer)
    assert not plan.portable or core == "cortex-m0"  # where products with zeros left out are C
    outputs = [graph.tensors[each.outputs[0]] for each in graph.entries[0].operators]
    assert [layer.kernel.macs for layer in plan.layers] == [9 * math.prod(each.shape) for each in outputs]
    agree(graph, 0, core, "clang", renderer)


def test_right_shift_by_a_product() -> None:
    """Of MVE: it rounds as the shift does, or both are beyond all codes."""
    near = np.arange(-600, 600)[:, None] + np.array([-0.5, 0, 0.5])
    bounds = np.array([-(2**30), -(2**30) + 1, 2**30 - 1, 2**30])
    for shift in range(LONGEST + 1):
        centres = (near * 2**shift).astype(np.int64)
        powers = 1 << np.arange(8, 31)
        values = np.concatenate([each.ravel() for each in (centres - 1, centres, centres + 1, powers, -powers, bounds)])
        product = arithmetic.doubling_high_multiply(values, int(shifting(np.array(shift))))
        shifted = arithmetic.rounding_right_shift(values, shift)
        np.testing.assert_array_equal(np.clip(product, -256, 256), np.clip(shifted, -256, 256), f"shift {shift}")


@pytest.mark.parametrize("half_up", [False, True])
def test_means_of_windows(half_up: bool) -> None:
    """Every sum of as many codes as kernels have instructions for: by a factor of 16 bits, and MVE's product."""
    for taps in range(1, max(PoolingKernels.pooled) + 1):
        assert share(taps, half_up, 255), taps
        sums = np.arange(-128 * taps, 127 * taps + 1)
        moved = 128 if half_up else 0
        if taps > 1:
            product = arithmetic.doubling_high_multiply(sums + moved * taps, 2**31 // taps + 1) - moved
            np.testing.assert_array_equal(product, arithmetic.average(sums, taps, half_up), f"{taps} taps")


@pytest.mark.parametrize(
    "core",
    [pytest.param(core, marks=() if core == "cortex-m4" else pytest.mark.slow) for core in TARGETS],
)
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


PAIRS = {
    "equal scales": ("ADD", (0.05, 0.05, 0.081), (-4, -4, 7)),
    "equal scales, halves of a code": ("ADD", (0.05, 0.05, 0.1), (3, -128, 0)),
    "nearly equal": ("SUB", (0.05013, 0.04917, 0.06329), (-128, 5, -20)),
    "the second the greater, RELU": ("ADD", (0.02, 0.05, 0.05), (17, -128, -128)),
    "2^3 apart, halves of a code": ("SUB", (0.5, 0.0625, 1.0), (127, -128, 127)),
    "far apart": ("ADD", (1.0, 0.0003, 0.9), (0, 1, -1)),
    "most saturate": ("ADD", (1.0, 0.7, 0.01), (-10, 20, 3)),
    "few codes": ("ADD", (0.01013, 0.01917, 1.0), (-128, 127, 0)),
    "entries": ("ADD", (0.26, 0.45, 0.16), (5, 5, 127)),
    "entries, of which most saturate": ("SUB", (0.6, 0.7, 0.04), (-77, -128, 127)),
    "entries and a great shift": ("SUB", (0.5, 0.3, 1.0), (0, -77, 0)),
    "scaled": ("ADD", (0.6, 0.9, 0.2), (0, -77, 5)),
    "scaled, halves of a code": ("SUB", (0.7, 0.7, 0.6), (0, 0, 0)),
    "product": ("MUL", (0.05, 0.07, 0.9), (-4, 9, 7)),
    "product, halves of a code": ("MUL", (0.5, 0.25, 1.0), (0, 17, -3)),
    "product, the greatest multiplier": ("MUL", (0.5, 0.5, 1.0000001), (127, 127, -128)),
    "product, few codes": ("MUL", (0.01, 0.0013, 1.0), (-128, -128, 127)),
    "product, none above its zero point": ("MUL", (0.03, 0.1, 0.7), (127, -128, 0)),
}
"""Kind, scales and zero points of the inputs and of the output."""


@pytest.mark.parametrize("compiler", toolchain.NAMES)
@pytest.mark.parametrize("core", REACHED)
def test_all_pairs_of_codes(core: str, compiler: str) -> None:
    layers = Layers(0)
    for name, (kind, scales, zero_points) in PAIRS.items():
        first, second, output = (
            layers.new((1, 32, 256), "int8", Quantization((float(np.float32(scale)),), (zero_point,)))
            for scale, zero_point in zip(scales, zero_points, strict=True)
        )
        layers.inputs += [first, second]
        layers.append(kind, first, output, Elementwise("RELU" if "RELU" in name else "NONE"), second)
    codes = np.arange(-128, 128, dtype=np.int8)
    # in eight samples, which fit the RAM of every core
    pairs = [each.reshape(8, 1, 32, 256) for each in np.meshgrid(codes, codes, indexing="ij")]
    graph, renderer = layers.graph(), RENDERERS[TARGETS[core].instruction_set]()
    for layer, name in zip(compile_plan(graph, renderer).layers, PAIRS, strict=True):
        kinds = {"scaled": "add_scaled_entries_", "entries": "add_entries_", "product": "product_"}
        kind = next((kind for word, kind in kinds.items() if word in name), "add_")
        assert layer.kernel.helpers[0].startswith(kind), name
    inputs = pairs * len(PAIRS)
    got, expected = executor(graph, core, compiler, renderer).run(inputs), NumpyExecutor(graph).run(inputs)
    for operator, name in zip(graph.entries[0].operators, PAIRS, strict=True):
        np.testing.assert_array_equal(got[operator.outputs[0]], expected[operator.outputs[0]], name)


def test_sums_without_an_affine_form() -> None:
    """TFLite's roundings take pairs of codes on one line to sides of their borders that no straight line divides."""
    scaling = Requantization(np.array([1159187918]), np.array([-18]), -81, -128, 127)
    assert affine(Add(20, (84, -68), (1073741824, 1592169305), (0, -4), 1, scaling)) is None
    wraps = replace(scaling, shift=np.array([30]))
    assert affine(Add(20, (84, -68), (1073741824, 1592169305), (0, -4), 1, wraps)) is None


@pytest.mark.parametrize("instruction_set", RENDERERS)
def test_kernels_leave_portable_helpers_their_names(instruction_set: str) -> None:
    """A model may need both: one of them is then called in place of the other."""
    layers = Layers(0)
    for draw in KINDS.values():
        draw(layers)
    source = layers.input(1, 16)
    output = layers.activation((1, 4))
    layers.append("FULLY_CONNECTED", source, output, FullyConnected(), *layers.constants((4, 16), 0, source, output))
    for optimize in OPTIMIZE:
        renderer = RENDERERS[instruction_set](optimize)
        portable = {name: renderer.helpers[name] for name in HELPERS}
        compile_plan(layers.graph(), renderer)
        assert all(renderer.helpers[name] is helper for name, helper in portable.items())


def test_portable_layers_say_why() -> None:
    layers = Layers(0)
    output = layers.convolution(layers.input(1, 4, 4, 8), 1, (2, 2), (1, 1))
    source, weights, _ = layers.operators[-1].inputs
    scale = 1.5 * layers.tensors[output].scale / layers.tensors[source].scale
    layers.tensors[weights].quantization = Quantization((scale,), (0,), 0)
    layers.any_mean()
    graph = layers.graph()
    portable = compile_plan(graph, RENDERERS["dsp"]()).portable
    assert portable.pop("00_conv_2d").startswith("channel 0 has a right shift of -1 and accumulators up to ")
    assert portable == {"01_mean": "no kernel of dsp for Mean of 1 x 9 x 8 x 12"}
    assert not compile_plan(graph, Renderer()).portable


def scaled(layers: Layers, operator: Operator, shifts: Sequence[int], zero_point: int, activation: str) -> Operator:
    """`operator` with right shifts by turns, and weights so small that codes come on both sides of the zero point."""
    read, weight, bias, output = (layers.tensors[each] for each in (*operator.inputs, *operator.outputs))
    axis = weight.quantization.axis
    channels = weight.shape[axis]
    scales = layers.rng.uniform(0.51, 0.99, channels) * output.scale / read.scale / 2.0 ** np.resize(shifts, channels)
    weight.quantization = Quantization(tuple(map(float, scales)), (0,) * channels, axis)
    weight.data = layers.rng.integers(-1, 2, weight.shape).astype(np.int8)
    sums = np.moveaxis(weight.data, axis, 0).reshape(channels, -1).sum(axis=1, dtype=np.int32)
    bias.data = sums * np.int32(read.zero_point)
    output.quantization = Quantization((output.scale,), (zero_point,))
    return replace(operator, options=replace(operator.options, activation=activation))


@pytest.mark.parametrize(("core", "weights"), [*((core, "int8") for core in REACHED), ("cortex-m4", "int16")])
def test_channels_without_a_right_shift(core: str, weights: str) -> None:
    """Beside others that have one, short and long."""
    layers = Layers(0)
    ways = [
        (shifts, *codes)
        for shifts in ((0, 1), (0, 1, 9, 22))
        for codes in ((-128, "NONE"), (5, "NONE"), (5, "RELU"), (-40, "RELU_N1_TO_1"), (127, "NONE"))
    ]
    for way in ways:
        first = len(layers.operators)
        source = layers.input(1, 5, 5, 8)
        for channels, window in ((8, (3, 3)), (8, (1, 1)), (1, (5, 5))):
            layers.convolution(source, channels, window, (1, 1))
        layers.depthwise(source)
        layers.fully_connected(24, 6)
        layers.depthwise(layers.input(1, 9, 1, 8), window=(5, 1))
        layers.operators[first:] = [scaled(layers, each, *way) for each in layers.operators[first:]]
    graph, renderer = layers.graph(), {"int8": RENDERERS, "int16": WIDE}[weights][TARGETS[core].instruction_set]()
    assert not compile_plan(graph, renderer).portable
    agree(graph, 0, core, "gcc", renderer)


def singles(seed: int) -> Graph:
    layers = Layers(seed)
    for _ in range(30):
        layers.any_single()
    return layers.graph()


@pytest.mark.parametrize("instruction_set", [each for each in DENSE if each != "portable"])
def test_a_single_channel_has_a_kernel(instruction_set: str) -> None:
    """Such as the last layer of a wake word has."""
    for optimize in ("speed", "size"):
        for kinds in (DENSE, WIDE):
            if instruction_set in kinds:
                assert not compile_plan(singles(1), kinds[instruction_set](optimize)).portable


@pytest.mark.parametrize(
    "columns", [15, pytest.param(48, marks=pytest.mark.slow), pytest.param(130, marks=pytest.mark.slow)]
)
def test_wide_planes_of_cortex_m0(columns: int) -> None:
    """Rows of them are farther apart than a load reaches."""
    layers = Layers(columns)
    for stride in ((1, 1), (2, 2), (1, 2)):
        layers.depthwise(layers.input(1, 6, columns, 2), stride)
    graph, renderer = layers.graph(), RENDERERS["armv6m"]()
    assert not compile_plan(graph, renderer).portable
    agree(graph, columns, "cortex-m0", "gcc", renderer)


@pytest.mark.parametrize("compiler", ["gcc", pytest.param("clang", marks=pytest.mark.slow)])
def test_planes_of_cortex_m0_for_any_window(compiler: str) -> None:
    layers = Layers(0)
    for rows, columns, window, stride, dilation in (
        (6, 19, (5, 5), (1, 1), (1, 1)),
        (9, 10, (5, 5), (2, 2), (1, 1)),
        (9, 12, (5, 5), (3, 3), (1, 1)),
        (8, 9, (7, 7), (1, 1), (1, 1)),
        (3, 17, (1, 5), (1, 1), (1, 1)),
        (1, 40, (1, 32), (1, 1), (1, 1)),
        (11, 9, (5, 1), (2, 2), (1, 1)),
        (6, 7, (4, 2), (2, 1), (1, 1)),
        (7, 15, (3, 3), (1, 1), (2, 3)),
        (3, 6, (3, 5), (1, 1), (3, 7)),
        (5, 6, (11, 11), (1, 1), (1, 1)),
        (26, 1, (5, 3), (2, 3), (1, 1)),
        (15, 1, (5, 5), (1, 1), (2, 3)),
        (28, 5, (4, 5), (2, 5), (1, 1)),
    ):
        layers.depthwise(layers.input(1, rows, columns, 3), stride, window, dilation)
    graph, renderer = layers.graph(), RENDERERS["armv6m"]()
    assert not compile_plan(graph, renderer).portable
    agree(graph, 0, "cortex-m0", compiler, renderer)


def test_planes_of_cortex_m0_that_do_not_pay() -> None:
    layers = Layers(0)
    for size, window, stride in ((5, (5, 5), 5), (9, (2, 2), 4), (20, (1, 33), 1), (12, (12, 12), 1)):
        layers.depthwise(layers.input(1, size, size, 3), (stride, stride), window)
    assert list(compile_plan(layers.graph(), RENDERERS["armv6m"]()).portable.values()) == [
        "copying a plane does not pay: pixels 25, outputs 1",
        "copying a plane does not pay: pixels 36, outputs 4",
        "its window reaches too far",
        "its window reaches too far",
    ]


@pytest.mark.parametrize("compiler", ["gcc", pytest.param("clang", marks=pytest.mark.slow)])
@pytest.mark.parametrize("core", ["cortex-m3", "cortex-m4", "cortex-m55"])
def test_single_channels_equal_numpy(core: str, compiler: str) -> None:
    agree(singles(2), 2, core, compiler, RENDERERS[TARGETS[core].instruction_set]())


def test_dead_channels_and_clamps_have_kernels() -> None:
    """Of every seed: only what is strange in another way than these is left to portable C."""
    left = 0
    for seed in range(20):
        layers = Layers(seed)
        layers.convolution(layers.input(1, 4, 4, 16), 8, (1, 1), (1, 1))
        left += len(compile_plan(layers.graph(), RENDERERS["dsp"]()).portable)
    assert left <= 2


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "core"), list(enumerate(REACHED, start=2)))
def test_kernels_equal_numpy_on_more_shapes(seed: int, core: str) -> None:
    compare(seed, core, toolchain.NAMES[seed % 2], 20)
