"""Instructions a second of networks that listen: the whole window every so often, and steps of more and more frames.

    python benchmarks/stepping.py MODEL.tflite [...] [--target CORE ...] [--compiler NAME ...] [--rows-per-step N ...]

Steps of 2 frames answer every 40 ms where a hop is 20 ms. The whole network is counted as its decision runs it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mcu_codegen import targets
from mcu_codegen.emulate import toolchain
from mcu_codegen.formats import tflite
from mcu_codegen.listen.step import step_of
from mcu_codegen.prove.measure import measure
from mcu_codegen.report import Table

HEADER = ("network", "core", "compiler", "frames", "instructions", "a second", "flash", "RAM", "of it state")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--target", action="append")
    parser.add_argument("--compiler", action="append")
    parser.add_argument("--rows-per-step", type=int, action="append")
    options = parser.parse_args()
    rows = []
    for path in options.models:
        graph = tflite.read(path)
        for target in targets.find_all(options.target or ["cortex-m4", "cortex-m55", "cortex-m0"]):
            for compiler in options.compiler or ["clang"]:
                for frames in (None, *(options.rows_per_step or [2, 10])):
                    network = graph if frames is None else step_of(graph, frames)
                    cost = measure(network, target, toolchain.choose(compiler))
                    rows.append(
                        (
                            graph.name,
                            target.name,
                            compiler,
                            "whole" if frames is None else frames,
                            cost.instructions,
                            cost.instructions_a_second,
                            cost.flash,
                            cost.ram,
                            cost.ram_state,
                        )
                    )
    print(Table(HEADER, rows).text())


if __name__ == "__main__":
    main()
