"""Instructions of personal networks on a core, baked and switchable, over the share of MACs that a user keeps.

    python benchmarks/gates.py MODEL.tflite --target cortex-m4

A model without gates gets a group for every convolution and the depthwise one behind it. The open gates of each group
are drawn at random. `full` is the ordinary network; differences of a ratio from the share of MACs are what switching,
and what does not shrink, costs.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

import numpy as np

from mcu_codegen import targets
from mcu_codegen.emit.cortex_m.instruction_sets import SWITCHABLE
from mcu_codegen.emulate import toolchain
from mcu_codegen.errors import InputError
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph
from mcu_codegen.prove.measure import measure
from mcu_codegen.prove.measurement import Measurement
from mcu_codegen.report import Table
from mcu_codegen.users.bake import bake
from mcu_codegen.users.gates import Gates, groups


def gated(graph: Graph, size: int) -> Graph:
    """`graph` with gates of `size` channels, in the groups that it has, or of convolutions where it has none."""
    if "gates" in graph.metadata:
        known = [{**group, "size": size} for group in graph.metadata["gates"]]
        return replace(graph, metadata=graph.metadata | {"gates": known})
    listed: list[dict[str, object]] = []
    of: dict[int, list[str]] = {}  # the group of each tensor
    for operator in graph.main.operators:
        target = operator.outputs[0]
        if operator.kind == "CONV_2D":
            of[target] = []
            listed.append({"name": f"group{len(listed)}", "tensors": of[target], "size": size})
        elif operator.kind == "DEPTHWISE_CONV_2D":
            of[target] = of[operator.inputs[0]]
        else:
            continue
        of[target].append(graph.tensors[target].name)
    labels = [f"label {number}" for number in range(graph.tensors[graph.main.outputs[-1]].bytes)]
    return replace(graph, metadata={"labels": labels} | graph.metadata | {"gates": listed})


def drawn(graph: Graph, share: float, seed: int) -> Gates:
    """A `share` of the gates of every group, at random."""
    rng = np.random.default_rng(seed)
    gates = []
    for group in groups(graph):
        gate = np.zeros(group.count, bool)
        gate[rng.permutation(group.count)[: max(1, round(share * group.count))]] = True
        gates.append(gate)
    return gates


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL.tflite")
    parser.add_argument("--target", default="cortex-m4", metavar="CORE")
    parser.add_argument("--compiler", metavar="NAME")
    parser.add_argument("--size", type=int, default=4, help="channels a gate, whatever the model has")
    parser.add_argument("--share", type=float, nargs="+", default=[1, 0.75, 0.6875, 0.5, 0.25], help="of open gates")
    options = parser.parse_args()
    target, compiler = targets.find(options.target), toolchain.choose(options.compiler)
    graph = gated(tflite.read(options.model), options.size)
    full = measure(graph, target, compiler)
    rows: list[tuple[object, ...]] = [("full", *_row(full, full, full.macs))]
    for seed, share in enumerate(options.share):
        gates = drawn(graph, share, seed)
        baked = measure(bake(graph, gates), target, compiler)
        renderer = SWITCHABLE[target.instruction_set]("speed", graph, None, gates)
        switchable = measure(graph, target, compiler, renderer)
        rows.append((f"baked, {share:.0%} of gates", *_row(baked, full, baked.macs)))
        rows.append((f"switchable, {share:.0%} of gates", *_row(switchable, full, baked.macs)))
    print(f"{full.model} on {full.target}, {full.compiler}, counted in {full.emulator}\n")
    header = ("network", "MACs", "share", "instructions", "share", "difference", "flash", "RAM")
    print(Table(header, rows).text())
    return 0


def _row(measured: Measurement, full: Measurement, macs: int) -> tuple[object, ...]:
    kept, instructions = macs / full.macs, measured.instructions / full.instructions
    return (
        macs,
        f"{kept:.3f}",
        measured.instructions,
        f"{instructions:.3f}",
        f"{instructions - kept:+.3f}",
        measured.flash,
        measured.ram,
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(str(error))
