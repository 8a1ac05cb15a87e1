"""Random graphs on emulated cores: many in one program, every layer compared with the NumPy executor, in a few steps
that carry state, and where there is state, once more after a reset. Every core's C of them is built, by each compiler,
for speed and for size.

    python tests/fuzz_graphs.py --count 2000 [--seed 0] [--target CORE ...]

Status 1 where a byte differs or C does not build; the seeds that show it are printed.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from random_graphs import random_graph, random_inputs
from tqdm import tqdm

from mcu_codegen.emit.cortex_m.instruction_sets import RENDERERS
from mcu_codegen.emit.model import emit_model
from mcu_codegen.emit.plan import INPUTS
from mcu_codegen.emit.portable.renderer import OPTIMIZE
from mcu_codegen.emulate import toolchain
from mcu_codegen.emulate.build import build
from mcu_codegen.emulate.core_executor import CoreExecutor
from mcu_codegen.emulate.host_executor import HostExecutor
from mcu_codegen.emulate.machine import Machine
from mcu_codegen.emulate.machines import machines
from mcu_codegen.errors import BuildError
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.graph import Graph, Tensor
from mcu_codegen.targets import TARGETS, Target

CORES = ("cortex-m0", "cortex-m4", "cortex-m55")
TOGETHER = 50  # graphs in one program


def merged(seeds: Sequence[int]) -> Graph:
    """The random graphs of `seeds` as entries of one graph; they share nothing."""
    tensors: list[Tensor] = []
    entries = []
    for seed in seeds:
        graph, first = random_graph(seed), len(tensors)

        def moved(indices: Iterable[int], first: int = first) -> tuple[int, ...]:
            return tuple(index + first if index >= 0 else index for index in indices)

        tensors += [replace(tensor, name=f"{seed}_{tensor.name}") for tensor in graph.tensors]
        for entry in graph.entries:
            operators = [
                replace(operator, inputs=moved(operator.inputs), outputs=moved(operator.outputs))
                for operator in entry.operators
            ]
            entries.append(
                replace(
                    entry,
                    name=f"g{seed}_{entry.name}",
                    inputs=moved(entry.inputs),
                    outputs=moved(entry.outputs),
                    operators=operators,
                )
            )
    return Graph("merged", tensors, entries)


def machine_of(target: Target) -> Machine | str:
    """An emulator of `target`, the quicker one where there are two, or the reasons why there is none."""
    found = [machine for machine in reversed(machines(target).values())]
    return next((machine for machine in found if not isinstance(machine, str)), "; ".join(map(str, found)))


def differing(seeds: Sequence[int], cores: Iterable[str]) -> tuple[list[str], list[str]]:
    """("executor: entry, tensor" of every difference, what is absent) of the graphs of `seeds`."""
    graph = merged(seeds)
    executors: list[CoreExecutor | HostExecutor] = [HostExecutor(graph, inputs=each) for each in INPUTS]
    inputs = INPUTS[seeds[0] // TOGETHER % len(INPUTS)]  # by turns, for emulation takes longer
    absent = []
    for core in cores:
        machine = machine_of(TARGETS[core])
        if isinstance(machine, str):
            absent.append(f"{core}: {machine}")
        else:
            executors.append(CoreExecutor(graph, TARGETS[core], machine, toolchain.choose(), inputs=inputs))
    reference = NumpyExecutor(graph)
    found = []
    for entry in graph.entries:
        values = random_inputs(graph, len(found) + seeds[0], entry=entry.name)
        reference.reset()
        expected = reference.run(values, entry.name)
        carries = any(graph.tensors[index].persistent for each in entry.operators for index in each.outputs)
        for executor, _ in itertools.product(executors, range(1 + carries)):
            executor.reset()
            got = executor.run(values, entry.name)
            found += [
                f"{executor.name}: {entry.name}, {graph.tensors[index].name}"
                for index, found_values in got.items()
                if not np.array_equal(found_values, expected[index])
            ]
    return found, absent


def unbuilt(seeds: Sequence[int], cores: Iterable[str] = TARGETS) -> list[str]:
    """What a compiler says of the C for any of `cores`, with its first complaint."""
    graph = merged(seeds)
    compilers = [each for each in toolchain.available().values() if isinstance(each, toolchain.Toolchain)]
    found = []
    for target, optimize in itertools.product((TARGETS[core] for core in cores), OPTIMIZE):
        sources = emit_model(graph, renderer=RENDERERS[target.instruction_set](optimize))
        del sources["kws_model_selftest.c"]
        roots = [f"kws_model_{entry.name}" for entry in graph.entries]
        for compiler in compilers:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    build(Path(folder), sources, target, compiler, keep=roots, optimize=optimize)
                except BuildError as error:
                    found.append(f"seeds {seeds[0]} to {seeds[-1]}, {optimize}: {error}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="graphs (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the first one's (default: %(default)s)")
    parser.add_argument("--target", action="append", choices=TARGETS, help=f"default: {', '.join(CORES)}")
    options = parser.parse_args()
    failures = broken = 0
    absent: list[str] = []
    for start in tqdm(range(options.seed, options.seed + options.count, TOGETHER), "programs"):
        seeds = range(start, min(start + TOGETHER, options.seed + options.count))
        refused = unbuilt(seeds)
        found, absent = ([], []) if refused else differing(seeds, options.target or CORES)
        failures += len(found)
        broken += len(refused)
        for line in refused + found:
            print(line)
    for line in absent:
        print(f"absent: {line}")
    print(f"{options.count} graphs, {failures} tensors differ, {broken} programs do not build")
    return 1 if failures or broken else 0


if __name__ == "__main__":
    sys.exit(main())
