"""mcu-codegen emit: the C of an int8 model."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .. import files, targets
from ..emit.activity import emit_activity
from ..emit.decision import emit_decision
from ..emit.frontend import emit_frontend
from ..emit.learning import emit_learning
from ..emit.model import ARENAS, emit_plan
from ..emit.plan import compile_plan
from ..emit.selftest import SELFTESTS
from ..emit.teaching import emit_teaching, labels_with_new_words, with_last_layer
from ..emit.text import Origin
from ..emit.user import emit_user
from ..errors import InputError
from ..formats import opening, tflite
from ..graph import Graph
from ..listen.decision import Decision, detectable
from ..listen.pipeline import Pipeline
from ..listen.step import step_of
from ..prove.measurement import ram_line
from . import listening_options, personal_options, render_options, streaming_options


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("model", metavar="MODEL", help="int8 .tflite, or ONNX in QDQ form")
    parser.add_argument(
        "--target",
        metavar="CORE",
        help=f"core to choose kernels for: {', '.join(targets.TARGETS)} (default: portable C for any)",
    )
    render_options.configure(parser)
    personal_options.configure(parser)
    streaming_options.configure(parser)
    listening_options.configure(parser)
    parser.add_argument(
        "--enrol", metavar="ENROL.tflite", help="enrol users on the board, with the enrolment network of a gated model"
    )
    parser.add_argument("--learn", action="store_true", help="let early exits learn from a user on the board")
    parser.add_argument(
        "--learn-word", action="store_true", help="let users teach words on the board, to a model of `kws meta adapt`"
    )
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
    graph = opening.read(options.model)
    streaming = streaming_options.chosen(options, graph)
    enrolment = None if options.enrol is None else tflite.read(options.enrol)
    origin = Origin(_command(options), graph.sha256)
    sources = _personal(options, graph, enrolment, origin)
    target = targets.find(options.target) if options.target else None
    graph, renderer = personal_options.shipped(options, graph, target, enrolment)
    graph = step_of(graph, options.rows_per_step) if streaming else graph
    pipeline = listening_options.pipeline(options, graph)
    if pipeline is not None:
        sources |= _surroundings(options, pipeline, target.instruction_set if target else "portable", origin)
    whole = with_last_layer(graph) if options.learn_word else graph
    plan = compile_plan(whole, renderer, options.name, options.input)
    sources |= emit_plan(plan, options.arena, options.selftest, origin.command)
    folder = Path(options.out)
    files.write_all(folder, sources)
    for name, text in sources.items():
        print(f"{folder / name}  {len(text.encode()):,} bytes")
    if plan.sparse:
        kept, weights = (sum(each) for each in zip(*plan.sparse.values(), strict=True))
        print(f"sparse weights in {len(plan.sparse)} layers: {kept:,} bytes instead of {weights:,}")
    print(ram_line(plan.memory.arena_bytes, plan.memory.persistent_bytes, plan.callers_bytes, plan.least_bytes))
    if pipeline is not None:
        print(_decided(pipeline, options.model))
    for layer, reason in plan.portable.items():
        print(f"portable C: {layer}: {reason}")
    return 0


def _personal(options: argparse.Namespace, graph: Graph, enrolment: Graph | None, origin: Origin) -> dict[str, str]:
    """What makes a network one person's on the board, where options ask for it."""
    learns = options.learn or options.learn_word
    if enrolment is None and not learns:
        return {}
    if options.input == "reusable":
        raise InputError(f"--input reusable: accepted without --{'learn' if learns else 'enrol'}")
    sources = emit_user(graph, enrolment, options.name, origin)
    for option, emitted in (("learn", emit_learning), ("learn_word", emit_teaching)):
        if getattr(options, option):
            if options.user is not None and not options.switchable:
                flag = f"--{option.replace('_', '-')}"
                raise InputError(
                    f"{flag}: accepted without --user, or with --switchable; a network of one user learns no more"
                )
            sources |= emitted(graph, options.name, origin, options.arena)
    return sources


def _surroundings(
    options: argparse.Namespace, pipeline: Pipeline, instruction_set: str, origin: Origin
) -> dict[str, str]:
    """Front end, decision, and what lets the loop sleep."""
    prefix = options.name.removesuffix("_model")
    front_end, decision, activity = pipeline.front_end, pipeline.decision, pipeline.activity
    labels: Sequence[str] = pipeline.labels
    words: Sequence[str] | None = pipeline.words
    if options.learn_word:  # new words may be decided once they are taught
        labels, words = labels_with_new_words(pipeline.graph), words or detectable(labels)
    sources = emit_frontend(front_end, f"{prefix}_frontend", origin, instruction_set)
    sources |= emit_decision(
        decision, labels, f"{prefix}_decision", origin, words, activity is not None, pipeline.target_fa
    )
    if activity is not None:
        stride = decision.stride_hops
        sources |= emit_activity(activity, front_end.coefficients, stride, f"{prefix}_activity", origin)
    return sources


def _decided(pipeline: Pipeline, model: str) -> str:
    """What the board decides by, and for which rate of false accepts that was chosen, or how to choose."""
    decision = pipeline.decision
    if pipeline.target_fa is not None:
        return f"decision: {decision.text()}; chosen for {pipeline.target_fa:g} false accepts an hour"
    usual = "the usual " if replace(decision, stride_hops=Decision.stride_hops) == Decision() else ""
    return (
        f"decision: {usual}{decision.text()}; `kws evaluate {model} --stream --target-fa F` chooses for F false"
        " accepts an hour"
    )


def _command(options: argparse.Namespace) -> str:
    """The command line with every option spelled out, so that the files say how to make them again."""
    names = ["target", "user", "enrol", "optimize", "weights", "rows_per_step", "skip_silence", "name", "input"]
    names += ["arena", "selftest", "out"]
    named = {f"--{name.replace('_', '-')}": getattr(options, name) for name in names}
    named["--weights"] = options.weights or ("int8" if options.switchable else render_options.DEFAULT)
    words = [word for option, value in named.items() if value is not None for word in (option, str(value))]
    flags = ("switchable", "learn", "learn_word", "streaming")
    words += [f"--{name.replace('_', '-')}" for name in flags if getattr(options, name)]
    words += ["--no-streaming"] if options.streaming is False else []
    return shlex.join(["mcu-codegen", "emit", options.model, *words])
