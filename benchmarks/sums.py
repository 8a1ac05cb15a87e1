"""Instructions an element of ADD, by what its scales allow: `python benchmarks/sums.py`.

Tests compare the bytes; this counts, per core and compiler, a layer of 4,096 elements of each kind in one program.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from random_layers import Layers

from mcu_codegen.emulate import toolchain
from mcu_codegen.graph import Elementwise, Graph, Quantization
from mcu_codegen.prove.measure import measure
from mcu_codegen.targets import TARGETS

KINDS = {
    "affine": ((0.05, 0.05, 0.081), (-4, -4, 7)),
    "two tables": ((0.26, 0.45, 0.16), (5, 5, 127)),
    "rescaled": ((0.3, 0.9, 0.6), (-128, 127, 0)),
}
"""Scales and zero points of both inputs and of the output."""

ELEMENTS = 4096
CORES = ("cortex-m0", "cortex-m3", "cortex-m4", "cortex-m55")


def sums() -> Graph:
    layers = Layers(0)
    for scales, zero_points in KINDS.values():
        first, second, output = (
            layers.new((1, ELEMENTS), "int8", Quantization((float(np.float32(scale)),), (zero_point,)))
            for scale, zero_point in zip(scales, zero_points, strict=True)
        )
        layers.inputs += [first, second]
        layers.append("ADD", first, output, Elementwise("NONE"), second)
    return layers.graph()


def main() -> None:
    print(f"{'':18}" + "".join(f"{kind:>12}" for kind in KINDS))
    for core in CORES:
        for name, chosen in toolchain.available().items():
            if isinstance(chosen, str):
                print(chosen)
                continue
            costs = measure(sums(), TARGETS[core], chosen).layers
            print(f"{core + ' ' + name:18}" + "".join(f"{cost.instructions / ELEMENTS:12.2f}" for cost in costs))


if __name__ == "__main__":
    main()
