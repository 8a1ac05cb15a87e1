"""Kinds of layers, each by itself: our instructions beside CMSIS-NN's, on every core that has both.

    python benchmarks/layers.py [--target CORE ...]

The layers are those of ../shared/trials that `kernels` names, and those of `single_layers`. They are measured
as branches of one network, compiled for speed, so that a core is built for and run once per compiler. CMSIS-NN's counts
are in benchmarks/cmsis_nn.json; docs/kernels.md says how they were taken.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

import kernels
import single_layers
from tqdm import tqdm

from mcu_codegen.emulate import toolchain
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Entry, Graph, Operator, Tensor
from mcu_codegen.prove.measure import measure
from mcu_codegen.report import Table
from mcu_codegen.targets import TARGETS

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
    models = [*trials, *single_layers.COUNTED]
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
