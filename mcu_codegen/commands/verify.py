"""mcu-codegen verify: the proof that every executor computes the same bytes."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from .. import targets
from ..emulate import toolchain
from ..errors import InputError
from ..formats import opening, tflite
from ..graph import Graph
from ..listen.step import step_of
from ..prove import against_onnxruntime, learning, parity, personal, teaching
from ..prove import streaming as prove_streaming
from ..prove.comparison import Comparison, Report
from ..prove.learning_cases import random_given
from ..users.teaching import can_be_taught
from ..users.user import User
from . import features, personal_options, render_options, streaming_options


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = (
        "Executors: tinygrad, the C on this host, the C on every emulated core, LiteRT's reference kernels, "
        "ONNX Runtime for ONNX. Those that are not installed are named as absent. Exits that can learn do so, too; "
        "words are taught where they can be. Status 1: a byte differs."
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="int8 .tflite, or ONNX in QDQ form")
    parser.add_argument(
        "--target",
        action="append",
        metavar="CORE",
        help=f"a core to compare on; may be repeated; default all: {', '.join(targets.TARGETS)}",
    )
    parser.add_argument("--compiler", metavar="NAME", help=f"cross compiler, of {', '.join(toolchain.NAMES)}")
    render_options.configure(parser)
    streaming_options.configure(parser)
    parser.add_argument("--user", metavar="FILE.user", help="compare the network of this user, in every way to ship it")
    parser.add_argument(
        "--enrol", metavar="ENROL.tflite", help="with --user: compare enrolment in C too, the inputs being utterances"
    )
    given = parser.add_mutually_exclusive_group()
    given.add_argument(
        "--samples", type=int, metavar="N", help="random inputs (default: 4), or steps (default: three windows of them)"
    )
    given.add_argument(
        "--inputs",
        type=Path,
        metavar="FILE.npy",
        help="inputs (N, *shape), or a stream of frames (N, features), instead of random ones",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def run(options: argparse.Namespace) -> int:
    """The exit status: 0 where everything agrees."""
    chosen = targets.find_all(options.target)
    model, name = opening.load(options.model), str(options.model)
    graph = opening.examine(model, name).accepted(name)
    streaming = streaming_options.chosen(options, graph)
    inputs = {} if streaming else _inputs(graph, options)
    if options.enrol is not None and options.user is None:
        raise InputError("--enrol: accepted with --user")
    if options.input == "reusable" and options.user is not None:
        raise InputError("--input reusable: accepted without --user")
    if options.compiler is not None:
        toolchain.choose(options.compiler)
    renderers = {target.name: render_options.renderer(options, target) for target in chosen}
    cores = personal.Cores(chosen, options.compiler, renderers)

    def progress(comparison: Comparison) -> None:
        if sys.stderr.isatty():
            print(f"\r\033[K{comparison.name} done", end="", file=sys.stderr, flush=True)

    if streaming:
        if options.user is not None:
            graph = personal_options.own(graph, User.load(options.user, graph))
        step = step_of(graph, options.rows_per_step)
        executors = parity.executors(step, chosen, options.compiler, renderers, options.input)
        report = prove_streaming.compare(graph, step, executors, _frames(step, options), progress)
    elif options.user is None:
        executors = parity.executors(graph, chosen, options.compiler, renderers, options.input)
        report = parity.compare(graph, executors, inputs, progress)
        if "learning" in graph.metadata.get("exits", {}):
            given = random_given(graph, inputs[graph.main.name][0])
            learnt = learning.compare(graph, given, cores, progress)
            report = Report([*report.comparisons, *learnt.comparisons])
        if opening.is_onnx(model, name):
            report.comparisons.append(against_onnxruntime.compare(model, graph, inputs[graph.main.name]))
    else:
        user = User.load(options.user, graph)
        enrolment = None if options.enrol is None else tflite.read(options.enrol)
        report = personal.compare(graph, enrolment, user, inputs[graph.main.name][0], cores, progress)
    if options.user is None and can_be_taught(graph):  # whole windows teach, also where steps listen
        heard = (inputs or parity.random_inputs(graph, 4))[graph.main.name][0]
        taught = teaching.compare(graph, teaching.random_given(graph, heard), cores, progress)
        report = Report([*report.comparisons, *taught.comparisons])
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    if options.json:
        print(json.dumps({"model": str(options.model), "sha256": graph.sha256, **report.to_dict()}, indent=2))
    else:
        print(report.table().text())
    return 0 if report.passed else 1


def _inputs(graph: Graph, options: argparse.Namespace) -> parity.Inputs:
    if options.inputs is None:
        return parity.random_inputs(graph, _samples(options, 4))
    return {graph.main.name: [features.read(graph, options.inputs, "--inputs")]}


def _frames(step: Graph, options: argparse.Namespace) -> np.ndarray:
    """(steps, *input shape) of a step; as many as reach over three windows, unless there is a number, or a file."""
    assert step.step is not None
    if options.inputs is None:
        return prove_streaming.random_frames(step, _samples(options, -(-3 * step.step.window // step.step.frames)))
    return features.stream(step, options.inputs, "--inputs")


def _samples(options: argparse.Namespace, default: int) -> int:
    samples: int = default if options.samples is None else options.samples
    if samples < 1:
        raise InputError(f"--samples {samples}: 1 or more is accepted")
    return samples
