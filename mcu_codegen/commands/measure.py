"""mcu-codegen measure: what the C costs on a core."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .. import files, targets
from ..emit.plan import compile_plan
from ..emulate import toolchain
from ..errors import InputError
from ..formats import tflite
from ..prove.arena_picture import arena_picture
from ..prove.measure import measure
from . import features, personal_options, render_options

_MOST_SAMPLES = 1000


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = (
        "Instructions are exact and counted in an emulator; they are not cycles. The cycles shown for cortex-m4 are an "
        "estimate from the executed instructions, with memory that never waits."
    )
    parser.add_argument("model", type=Path, metavar="MODEL.tflite")
    parser.add_argument(
        "--target", default="cortex-m4", metavar="CORE", help=f"of {', '.join(targets.TARGETS)} (default %(default)s)"
    )
    parser.add_argument("--compiler", metavar="NAME", help=f"cross compiler, of {', '.join(toolchain.NAMES)}")
    render_options.configure(parser)
    personal_options.configure(parser)
    parser.add_argument(
        "--clips",
        type=Path,
        metavar="FILE.npy",
        help="inputs (N, *shape) of a network with early exits: also count where each stops, and their mean",
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=1,
        metavar="N",
        help="count so many pseudo-random inputs, and print the mean and the range (default %(default)s)",
    )
    parser.add_argument("--picture", type=Path, metavar="SVG", help="write a picture of the arena over time there")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")


def run(options: argparse.Namespace) -> int:
    """The exit status."""
    target = targets.find(options.target)
    graph, renderer = personal_options.shipped(options, tflite.read(options.model), target)
    clips = None if options.clips is None else features.read(graph, options.clips, "--clips")
    if not 1 <= options.samples <= _MOST_SAMPLES:
        raise InputError(f"--samples {options.samples}: 1 to {_MOST_SAMPLES} are accepted")
    result = measure(graph, target, toolchain.choose(options.compiler), renderer, clips, options.samples)
    if options.picture is not None:
        plan = compile_plan(graph, renderer)
        files.write_whole(options.picture, arena_picture(plan))
    print(json.dumps(result.to_dict(), indent=2) if options.json else result.text())
    return 0
