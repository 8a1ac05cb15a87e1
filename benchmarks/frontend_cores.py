"""The front end on every core with every compiler that is present: instructions of a frame by stage, flash and RAM.

    python benchmarks/frontend_cores.py [--target CORE ...] [--preset NAME ...]

Each is counted on the second of the self-test (silence, a chirp, noise, a square wave), and the dearest frame is shown;
beside it, what the portable C takes there. RAM is without the stack. Features are compared with NumPy's; a difference
ends with status 1.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from mcu_codegen.emit.frontend_selftest import selftest_audio
from mcu_codegen.emulate import toolchain
from mcu_codegen.emulate.frontend_program import STAGES, FrontEndProgram
from mcu_codegen.emulate.machines import counting_machine
from mcu_codegen.errors import InputError
from mcu_codegen.listen import frontend
from mcu_codegen.report import Table
from mcu_codegen.targets import TARGETS

HEADER = ("front end", "core", "compiler", "portable C", "frame", *STAGES, "history", "flash", "RAM")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", action="append", choices=TARGETS, help="default: all")
    parser.add_argument("--preset", action="append", choices=frontend.PRESETS, help="default: mfcc10 and logmel40")
    options = parser.parse_args()
    audio = selftest_audio()
    presets = options.preset or ["mfcc10", "logmel40"]
    rows, absent, differing = [], [], []
    combinations = list(itertools.product(presets, options.target or TARGETS, toolchain.available().items()))
    for preset, core, (name, compiler) in tqdm(combinations, "front ends on cores"):
        target, front_end = TARGETS[core], frontend.PRESETS[preset]
        try:
            machine = counting_machine(target)
        except InputError as error:
            absent.append(str(error))
            continue
        if isinstance(compiler, str):
            absent.append(f"{name}: {compiler}")
            continue
        program = FrontEndProgram(front_end, target, machine, compiler)
        portable = FrontEndProgram(front_end, replace(target, instruction_set="portable"), machine, compiler)
        if not np.array_equal(program.run(audio), frontend.features(front_end, audio)):
            differing.append(f"{preset} on {core}, {name}: other features than NumPy's")
        whole = [max(count.instructions[0] for count in each.count(audio)) for each in (portable, program)]
        stages = max((count.instructions for count in program.count_stages(audio)), key=sum)
        rows.append((preset, core, name, *whole, *stages, *program.memories()))
    print(Table(HEADER, rows).text())
    for line in dict.fromkeys([*absent, *differing]):
        print(line)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
