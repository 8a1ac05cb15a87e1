"""The personal table: every method on speakers never heard in training, averaged inside speakers, over seeds."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mcu_codegen import files
from mcu_codegen.errors import InputError

from ..data import task_options
from ..data.task import Examples, Task
from ..features import Window
from ..quantization.quantize import quantize
from ..training import checkpoint
from ..training.checkpoint import Checkpoint
from ..training.inference import features_of, logits, real
from . import plots
from .comparison import FULL, OWN, Subject
from .gate_training import GATED
from .gated import Costs, GatedNetwork
from .judgement import Judgement, judge
from .protocol import Speakers
from .runners import FloatRunner, IntegerRunner, Runner

COUNTS = (1, 3, 5, 10, 20)  # utterances to enrol with
THRESHOLDS = (-0.5, 0.5)  # beside 0: of the gates' logits, for the curve over kept MACs
_ENROL = 10  # utterances, where methods are compared


def voice(count: int) -> str:
    """The name of the protocol that enrols with `count` utterances of any words."""
    return f"voice-{count}"


VOICE, WORDS = voice(_ENROL), "words"  # the names of the two protocols in which all methods are compared
LEAST = 6  # clips that a speaker is judged by, at least
SETS = 30  # of half of the words
QUICK: dict[str, Any] = {"counts": (_ENROL,), "thresholds": (), "sets": 3}  # for integers, which NumPy runs slowly


def subject(folder: Path, small: Path | None, task: Task, examples: Examples, integer: bool) -> tuple[Subject, Window]:
    """What a folder of `kws train --gates` holds, beside the small network of another run, and its window.

    With `integer`, all answers are those of the int8 networks; prototypes too.
    """
    held, plain = checkpoint.load(folder / GATED), checkpoint.load(folder / checkpoint.BEST)
    gated = held.network()
    if not isinstance(gated, GatedNetwork) or (plain.labels, plain.front_end) != (held.labels, held.front_end):
        raise InputError(f"{folder}: no gated network; an --out folder of `kws train --gates` is accepted")
    if held.labels != task.labels:
        raise InputError(f"{folder}: labels {', '.join(held.labels)}; {', '.join(task.labels)} are compared")
    spec = held.window.front_end
    full = GatedNetwork(plain.network(), gated.size, spec.coefficients)
    codes, heard = features_of(examples, held.window), features_of(task.training, held.window)
    spoken = heard[task.training.labels > 0]
    little = None if small is None else checkpoint.load(checkpoint.of_run(small))
    if little is not None and (little.labels, little.window) != (held.labels, held.window):
        raise InputError(f"{small}: its labels and window are not those of {folder}")
    if integer:
        answers, everybody = (_integer(held, task, each) for each in (codes, spoken))
        untrained = dataclasses.replace(plain, state_dict=full.state_dict(), gate_size=gated.size)
        full_answers: Runner = _integer(untrained, task, codes)
        little_said = None if little is None else _integer_logits(little, task, codes)
    else:
        answers, everybody = (FloatRunner(gated, real(each, spec)) for each in (codes, spoken))
        full_answers = FloatRunner(full, real(codes, spec))
        little_said = None if little is None else logits(little.network(), codes, spec)
    mean = [each.mean(0, keepdim=True) for each in everybody.said()]
    costs = Costs.of(gated, codes.shape[1], codes.shape[2])
    return Subject(gated, full, answers, full_answers, little_said, mean, costs), held.window


def _integer(held: Checkpoint, task: Task, codes: np.ndarray) -> Runner:
    quantized = quantize(held, task)
    assert quantized.enrolment is not None
    return IntegerRunner(quantized.graph, quantized.enrolment, codes)


def _integer_logits(held: Checkpoint, task: Task, codes: np.ndarray) -> torch.Tensor:
    graph = quantize(held, task).graph
    return IntegerRunner(graph, graph, codes).whole()[1]


def evaluate(
    subjects: Sequence[Subject],
    features: torch.Tensor,
    task: Task,
    examples: Examples,
    speakers: Speakers,
    draws: int,
    counts: Sequence[int] = COUNTS,
    thresholds: Sequence[float] = THRESHOLDS,
    sets: int = SETS,
) -> dict[str, Judgement]:
    """The protocols of the table, by name: a voice for every K, and a voice with half of the words; then the voice
    again with fewer and more gates open. `features` are the real values of the clips of `examples`; `sets` of half of
    the words are drawn."""
    results = {}
    for count in counts:
        trials = speakers.voice(count, draws, LEAST, np.random.default_rng(count))
        if len({trial.speaker for trial in trials}) > 1:
            title = f"a voice, K = {count}"
            results[voice(count)] = judge(title, subjects, features, examples.labels, trials, others=count == _ENROL)
    rng = np.random.default_rng(0)
    words = range(2, len(task.labels))
    halves = list(itertools.combinations(words, len(words) // 2))
    few = [halves[pick] for pick in rng.permutation(len(halves))[:sets]]
    trials = speakers.words(_ENROL, few, rng)
    title = f"a voice and {len(few[0])} of {len(words)} words, K up to {_ENROL}"
    results[WORDS] = judge(title, subjects, features, examples.labels, trials)
    trials = speakers.voice(_ENROL, draws, LEAST, np.random.default_rng(_ENROL))
    for threshold in thresholds:
        title = f"a voice, K = {_ENROL}, gates above {threshold:+g}"
        results[f"{VOICE}@{threshold:+g}"] = judge(title, subjects, features, examples.labels, trials, threshold)
    return results


def configure(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument(
        "--personal", action="store_true", help="MODEL is an --out folder of `kws train --gates`, or one per seed"
    )
    parser.add_argument("--int8", action="store_true", help="all networks quantised; K = 10, few sets of words")
    parser.add_argument(
        "--small", type=Path, nargs="+", metavar="RUN", help="networks of about as many MACs, one per MODEL, to compare"
    )
    parser.add_argument("--keywords", type=int, default=0, metavar="N", help="only speakers with N clips of the words")
    parser.add_argument("--each", type=int, default=3, metavar="N", help="and N of each (default: %(default)s)")
    parser.add_argument(
        "--draws", type=int, default=10, metavar="N", help="enrolments a speaker (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write personal.json and pictures there")


def run(options: argparse.Namespace) -> int:
    """`kws evaluate RUN... --personal`: prints the tables, and writes JSON and pictures into --out."""
    if options.draws < 2:
        raise InputError(f"--draws {options.draws}: 2 or more is accepted")
    held = checkpoint.load(options.model[0] / GATED)
    if len(held.labels) < 4:
        raise InputError(f"{options.model[0]}: it knows {held.labels[2]} alone; two words or more are needed")
    task = task_options.again(options, held.labels, held.window.length)
    examples: Examples = getattr(task, options.split)
    small: list[Path | None] = options.small or [None] * len(options.model)
    if len(small) != len(options.model):
        raise InputError(f"--small: {len(small)} runs for {len(options.model)}; one for each is accepted")
    pairs = [
        subject(folder, little, task, examples, options.int8)
        for folder, little in zip(options.model, small, strict=True)
    ]
    if len({window for _, window in pairs}) > 1:
        raise InputError("the runs differ in their window; seeds of one training are accepted")
    subjects = [each for each, _ in pairs]
    speakers = Speakers(examples, task.labels, options.keywords, options.each)
    heard = speakers.with_clips(_ENROL + LEAST)
    if len(heard) < 2:
        raise InputError(f"{task.name}: {len(heard)} speakers with {_ENROL + LEAST} clips; two or more are needed")
    features = real(features_of(examples, held.window), held.window.front_end)
    protocol = QUICK if options.int8 else {}
    results = evaluate(subjects, features, task, examples, speakers, options.draws, **protocol)
    summary = {name: result.summary() for name, result in results.items()}
    if options.json:
        print(json.dumps(summary))
    else:
        print("\n\n".join(result.text() for name, result in results.items() if "@" not in name))
    if options.out:
        files.write_all(
            options.out,
            {"personal.json": json.dumps(summary, indent=2) + "\n", **_pictures(results, subjects[0], heard)},
        )
    return 0


def _pictures(results: Mapping[str, Judgement], subject: Subject, names: Sequence[str]) -> dict[str, bytes]:
    compared = results[VOICE]
    curves: dict[str, list[tuple[float, float]]] = {}
    for key, result in results.items():
        if key.startswith(VOICE):
            for name, share in result.kept.items():
                curves.setdefault(name, []).append((share, float(result.accuracy[name].mean())))
    counts = [group.channels // subject.gated.size for group in subject.gated.groups]
    gains = {results[key].title: results[key].accuracy[OWN] - results[key].accuracy[FULL] for key in (VOICE, WORDS)}
    return {
        "macs.png": plots.over_macs(curves, float(compared.accuracy[FULL].mean())),
        "gains.png": plots.gains(gains),
        "channels.png": plots.channels(compared.open, np.cumsum(counts).tolist(), names),
    }
