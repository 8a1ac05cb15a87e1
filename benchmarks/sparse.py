"""What sparse weights save in flash and cost, or save, in instructions: a model with its smallest weights removed.

    python benchmarks/sparse.py MODEL.tflite [--removed 0.85 ...] [--target CORE ...]

Of every convolution and every fully connected layer the share `--removed` of the codes becomes zero, the smallest
first. That says nothing of accuracy, for which pruned networks are trained again.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

import numpy as np

from mcu_codegen import targets
from mcu_codegen.emit.cortex_m.instruction_sets import DENSE, RENDERERS
from mcu_codegen.emit.plan import compile_plan
from mcu_codegen.emulate import toolchain
from mcu_codegen.errors import InputError
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph
from mcu_codegen.prove.measure import measure
from mcu_codegen.report import Table

CORES = ("cortex-m0", "cortex-m3", "cortex-m4", "cortex-m55")


def pruned(graph: Graph, removed: float) -> Graph:
    """`graph` without the smallest codes of each layer."""
    tensors = list(graph.tensors)
    for operator in (each for entry in graph.entries for each in entry.operators):
        if operator.kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            weights = tensors[operator.inputs[1]]
            assert weights.data is not None
            order = np.argsort(np.abs(weights.data.astype(int)), axis=None, kind="stable")
            codes = weights.data.copy()
            codes.ravel()[order[: round(removed * codes.size)]] = 0
            tensors[operator.inputs[1]] = replace(weights, data=codes)
    return replace(graph, tensors=tensors)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL.tflite")
    parser.add_argument("--removed", type=float, nargs="+", default=[0.7, 0.85, 0.95], metavar="SHARE")
    parser.add_argument("--target", nargs="+", default=CORES, metavar="CORE")
    parser.add_argument("--compiler", metavar="NAME")
    options = parser.parse_args()
    compiler = toolchain.choose(options.compiler)
    graph = tflite.read(options.model)
    rows: list[tuple[object, ...]] = []
    for removed in options.removed:
        thin = pruned(graph, removed)
        for name in options.target:
            target = targets.find(name)
            plan = compile_plan(thin, RENDERERS[target.instruction_set]())
            kept_bytes, weights = (sum(each) for each in zip(*plan.sparse.values(), strict=True))
            kinds = (DENSE, RENDERERS)
            dense, kept = (measure(thin, target, compiler, kind[target.instruction_set]()) for kind in kinds)
            ratios = (f"{kept.instructions / dense.instructions:.2f}", f"{kept.flash:,} / {dense.flash:,}")
            share = f"{kept_bytes / weights:.3f}"
            rows.append((f"{removed:.0%}", name, share, kept.instructions, *ratios, f"{kept.ram:,} / {dense.ram:,}"))
    print(f"{graph.name}, {compiler.version} -O2\n")
    header = ("removed", "core", "bytes of weights", "instructions", "of dense", "flash / dense", "RAM / dense")
    print(Table(header, rows).text())
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(str(error))
