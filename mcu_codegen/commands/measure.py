"""mcu-codegen measure: what the C costs on a core."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .. import files, targets
from ..emit.plan import compile_plan
from ..emulate import toolchain
from ..errors import InputError
from ..formats import opening
from ..listen.step import step_of
from ..prove.arena_picture import arena_picture
from ..prove.listening import listening
from ..prove.measure import measure
from . import features, listening_options, personal_options, render_options, streaming_options

_MOST_SAMPLES = 1000


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = (
        "Instructions are exact and counted in an emulator; they are not cycles. The cycles shown for cortex-m4 are an "
        "estimate from the executed instructions, with memory that never waits. Of a model that names its front end, "
        "labels and decision, the whole loop from waveform to decision is measured, too."
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="int8 .tflite, or ONNX in QDQ form")
    parser.add_argument(
        "--target", default="cortex-m4", metavar="CORE", help=f"of {', '.join(targets.TARGETS)} (default %(default)s)"
    )
    parser.add_argument("--compiler", metavar="NAME", help=f"cross compiler, of {', '.join(toolchain.NAMES)}")
    render_options.configure(parser)
    personal_options.configure(parser)
    streaming_options.configure(parser)
    listening_options.configure(parser)
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
    graph = opening.read(options.model)
    streaming = streaming_options.chosen(options, graph)
    graph, renderer = personal_options.shipped(options, graph, target)
    graph = step_of(graph, options.rows_per_step) if streaming else graph
    listens = {"front_end", "labels", "decision"} <= graph.metadata.keys() or options.skip_silence is not None
    pipeline = listening_options.pipeline(options, graph) if listens else None
    clips = None if options.clips is None else features.read(graph, options.clips, "--clips")
    if not 1 <= options.samples <= _MOST_SAMPLES:
        raise InputError(f"--samples {options.samples}: 1 to {_MOST_SAMPLES} are accepted")
    compiler = toolchain.choose(options.compiler)
    result = measure(graph, target, compiler, renderer, clips, options.samples, options.input)
    loop = None if pipeline is None else listening(pipeline, target, compiler, renderer)
    if options.picture is not None:
        plan = compile_plan(graph, renderer, inputs=options.input)
        files.write_whole(options.picture, arena_picture(plan))
    if options.json:
        print(json.dumps({**result.to_dict(), **({"listening": loop.to_dict()} if loop else {})}, indent=2))
    else:
        print(result.text() + (f"\n\n{loop.text(result.instructions)}" if loop else ""))
    return 0
