"""mcu-codegen emit: the C of an int8 .tflite model."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from .. import files, targets
from ..emit import sparse
from ..emit.decision import emit_decision
from ..emit.frontend import emit_frontend
from ..emit.learning import emit_learning
from ..emit.model import ARENAS, emit_plan
from ..emit.plan import compile_plan
from ..emit.selftest import SELFTESTS
from ..emit.text import Origin
from ..emit.user import emit_user
from ..errors import InputError
from ..formats import tflite
from ..listen.pipeline import Pipeline
from ..prove.measurement import ram_line
from . import personal_options, render_options, streaming_options


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("model", metavar="MODEL.tflite", help="int8 model")
    parser.add_argument(
        "--target",
        metavar="CORE",
        help=f"core to choose kernels for: {', '.join(targets.TARGETS)} (default: portable C for any)",
    )
    render_options.configure(parser)
    personal_options.configure(parser)
    streaming_options.configure(parser)
    parser.add_argument(
        "--enrol", metavar="ENROL.tflite", help="enrol users on the board, with the enrolment network of a gated model"
    )
    parser.add_argument("--learn", action="store_true", help="let early exits learn from a user on the board")
    parser.add_argument("--name", default="kws_model", help="prefix of every file and C name (default: %(default)s)")
    parser.add_argument(
        "--arena",
        choices=ARENAS,
        default="static",
        help="who owns the working memory: the C itself, or the caller, who passes it to every function"
        " (default: %(default)s)",
    )
    parser.add_argument(
        "--selftest",
        choices=SELFTESTS,
        default="golden",
        help="what the self-test holds of each layer's output: a CRC-32, or all of it (default: %(default)s)",
    )
    parser.add_argument("-o", "--out", required=True, metavar="FOLDER", help="where the files go; made if missing")


def run(options: argparse.Namespace) -> int:
    """Write the network, and the front end and decision where the model names them. Raises InputError."""
    graph = tflite.read(options.model)
    streaming_options.chosen(options, graph)
    enrolment = None if options.enrol is None else tflite.read(options.enrol)
    origin = Origin(_command(options), graph.sha256)
    personal = enrolment is not None or options.learn
    if personal and options.input == "reusable":
        raise InputError(f"--input reusable: accepted without --{'learn' if options.learn else 'enrol'}")
    sources = emit_user(graph, enrolment, options.name, origin) if personal else {}
    if options.learn:
        if options.user is not None and not options.switchable:
            raise InputError(
                "--learn: accepted without --user, or with --switchable; a network of one user learns no more"
            )
        sources |= emit_learning(graph, options.name, origin, options.arena)
    target = targets.find(options.target) if options.target else None
    graph, renderer = personal_options.shipped(options, graph, target, enrolment)
    graph = streaming_options.heard(options, graph)
    plan = compile_plan(graph, renderer, options.name, options.input)
    sources |= emit_plan(plan, options.arena, options.selftest, origin.command)
    if "front_end" in graph.metadata:
        pipeline, prefix = Pipeline.of(graph), options.name.removesuffix("_model")
        instruction_set = target.instruction_set if target else "portable"
        sources |= emit_frontend(pipeline.front_end, f"{prefix}_frontend", origin, instruction_set)
        sources |= emit_decision(pipeline.decision, pipeline.labels, f"{prefix}_decision", origin, pipeline.words)
    folder = Path(options.out)
    files.write_all(folder, sources)
    for name, text in sources.items():
        print(f"{folder / name}  {len(text.encode()):,} bytes")
    kept = sparse.saved(graph) if renderer.weights == "sparse" else {}
    if kept:
        entries, weights = (sum(each) for each in zip(*kept.values(), strict=True))
        print(f"sparse weights in {len(kept)} layers: {entries:,} bytes instead of {weights:,}")
    print(ram_line(plan.memory.arena_bytes, plan.memory.persistent_bytes, plan.callers_bytes, plan.least_bytes))
    for layer, reason in plan.portable.items():
        print(f"portable C: {layer}: {reason}")
    return 0


def _command(options: argparse.Namespace) -> str:
    """The command line with every option spelled out, so that the files say how to make them again."""
    names = (
        "target",
        "user",
        "enrol",
        "optimize",
        "weights",
        "rows_per_step",
        "name",
        "input",
        "arena",
        "selftest",
        "out",
    )
    named = {f"--{name.replace('_', '-')}": getattr(options, name) for name in names}
    named["--weights"] = options.weights or ("int8" if options.switchable else render_options.DEFAULT)
    words = [word for option, value in named.items() if value is not None for word in (option, str(value))]
    words += [f"--{name}" for name in ("switchable", "learn", "streaming") if getattr(options, name)]
    words += ["--no-streaming"] if options.streaming is False else []
    return shlex.join(["mcu-codegen", "emit", options.model, *words])
