"""Kinds of layers, each by itself: our instructions beside CMSIS-NN's, on every core that has both.

    python benchmarks/layers.py [--target CORE ...]

The layers are those of ../shared/trials that `kernels` names, and MODELS, which have random weights. They are measured
as branches of one network, compiled for speed, so that a core is built for and run once per compiler. CMSIS-NN's counts
are in benchmarks/cmsis_nn.json; docs/kernels.md says how they were taken.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

import kernels
from residual import Builder
from tqdm import tqdm

from mcu_codegen.emulate import toolchain
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Elementwise, Entry, Graph, Operator, Pool2D, Tensor
from mcu_codegen.prove.measure import measure
from mcu_codegen.report import Table
from mcu_codegen.targets import TARGETS


def _depthwise(name: str, rows: int, columns: int, channels: int, window: tuple[int, int], padding: str) -> Graph:
    builder = Builder()
    source = builder.activation(1, rows, columns, channels)
    return _alone(name, builder, (source,), builder.depthwise(source, window, padding))


def _pool(name: str, kind: str, rows: int, columns: int, channels: int, window: tuple[int, int]) -> Graph:
    """Windows side by side."""
    builder = Builder()
    source = builder.activation(1, rows, columns, channels)
    output = builder.activation(1, rows // window[0], columns // window[1], channels)
    return _alone(name, builder, (source,), builder.append(kind, output, Pool2D("VALID", window, window), source))


def _add(name: str, rows: int, columns: int, channels: int, scales: tuple[float, float, float]) -> Graph:
    """`scales` are of both inputs and the output."""
    builder = Builder()
    shape = (1, rows, columns, channels)
    first, second, output = (builder.activation(*shape, scale=scale) for scale in scales)
    return _alone(name, builder, (first, second), builder.append("ADD", output, Elementwise(), first, second))


def _alone(name: str, builder: Builder, inputs: tuple[int, ...], output: int) -> Graph:
    return Graph(name, builder.tensors, [Entry("invoke", inputs, (output,), builder.operators)])


MODELS = (
    _depthwise("depthwise_3x1_64", 16, 1, 64, (3, 1), "SAME"),
    _depthwise("depthwise_5x1_64", 16, 1, 64, (5, 1), "SAME"),
    _depthwise("depthwise_15x1_64", 32, 1, 64, (15, 1), "SAME"),
    _depthwise("depthwise_9x1_one_output_64", 9, 1, 64, (9, 1), "VALID"),
    _depthwise("depthwise_3x3_image_3x3_256", 3, 3, 256, (3, 3), "SAME"),
    _pool("max_pool_2x2_32", "MAX_POOL_2D", 16, 16, 32, (2, 2)),
    _pool("average_pool_2x2_32", "AVERAGE_POOL_2D", 16, 16, 32, (2, 2)),
    _add("add_32", 16, 16, 32, (0.0471, 0.0625, 0.0813)),
    # ratios of 5/8 and 25/32: sums halfway between two codes are frequent, and no affine function follows them
    _add("add_of_ties_32", 16, 16, 32, (0.05, 0.0625, 0.08)),
)

CORES = ("cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55")


def together(models: Sequence[Graph]) -> Graph:
    """The layers of all `models`, in their order, as branches of one network that share nothing."""
    tensors: list[Tensor] = []
    operators: list[Operator] = []
    inputs: list[int] = []
    outputs: list[int] = []
    for model in models:
        first = len(tensors)
        tensors += [replace(tensor, name=f"{model.name}_{tensor.name}") for tensor in model.tensors]
        inputs += [first + index for index in model.main.inputs]
        outputs += [first + index for index in model.main.outputs]
        operators += [_moved(operator, first) for operator in model.main.operators]
    return Graph("layers", tensors, [Entry("invoke", tuple(inputs), tuple(outputs), operators)])


def _moved(operator: Operator, by: int) -> Operator:
    inputs = tuple(index + by if index >= 0 else index for index in operator.inputs)
    return replace(operator, inputs=inputs, outputs=tuple(index + by for index in operator.outputs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", action="append", choices=CORES, help="default: all")
    options = parser.parse_args()
    trials = [tflite.read(kernels.TRIALS / f"{name}.tflite") for name in kernels.LAYERS]
    models = [*trials, *MODELS]
    network = together(models)
    compilers = [each for each in toolchain.available().values() if not isinstance(each, str)]
    rows = []
    for core in tqdm(options.target or CORES, "cores"):
        for compiler in compilers:
            measurement = measure(network, TARGETS[core], compiler)
            for model, layer in zip(models, measurement.layers, strict=True):
                theirs = kernels.CMSIS_NN[model.name][core]
                way = "portable" if layer.name in measurement.portable else "kernel"
                ratio = f"{theirs / layer.instructions:.2f}"
                rows.append((model.name, core, compiler.name, layer.instructions, theirs, ratio, way))
    print(Table(("layer", "core", "compiler", "ours", "CMSIS-NN", "CMSIS-NN / ours", "as"), sorted(rows)).text())


if __name__ == "__main__":
    main()
