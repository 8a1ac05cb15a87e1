"""The whole way in one go: a corpus in, C for a Cortex-M with its proof and its costs out, and a page about it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mcu_codegen import cli, files
from mcu_codegen.errors import InputError
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph
from mcu_codegen.listen.frontend import SAMPLE_RATE
from mcu_codegen.listen.pipeline import Pipeline
from mcu_codegen.listen.step import step_of
from mcu_codegen.prove import parity, pipelines
from mcu_codegen.report import page
from mcu_codegen.targets import TARGETS

from .. import models, plots
from ..data import task_options
from ..data.task import Task
from ..evaluate import Result
from ..quantization.qat import Schedule
from ..quantization.quantize import quantize
from ..training.inference import features_of, scores
from ..training.recipe import Recipe
from ..training.train import train
from . import exits
from .gates import people
from .listening import Hours, listen
from .outcome import CORE_CLIPS, STREAM_CLIPS, Outcome
from .people import cost, two_people

VIEWS = 20  # augmented copies of the training clips; more would learn more, and take longer
GATE_STEPS = 1000


def configure(parser: argparse.ArgumentParser) -> None:
    task_options.configure(parser)
    parser.add_argument("--epochs", type=int, default=40, metavar="N", help="of training (default: %(default)s)")
    parser.add_argument("--qat-epochs", type=int, default=1, metavar="N", help="of fine-tuning (default: %(default)s)")
    parser.add_argument(
        "--gate-steps", type=int, default=GATE_STEPS, metavar="N", help="of training gates (default: %(default)s)"
    )
    parser.add_argument(
        "--exit-epochs", type=int, default=exits.EPOCHS, metavar="N", help="of training exits (default: %(default)s)"
    )
    parser.add_argument(
        "--target", default="cortex-m4", metavar="CORE", help="that the C is for (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("build/demo"), metavar="FOLDER", help="default: %(default)s")


def run(options: argparse.Namespace) -> int:
    """Status 1 where two executors differ."""
    started = time.monotonic()
    if min(options.epochs, options.gate_steps, options.exit_epochs) < 1 or options.qat_epochs < 0:
        raise InputError("--epochs, --gate-steps and --exit-epochs: 1 or more is accepted; --qat-epochs: 0 or more")
    out: Path = options.out
    with _step("Corpus"):
        task = task_options.from_options(options)
        print(
            f"{task.name}: {len(task.training)} training, {len(task.testing)} test clips of {len(task.labels)} classes"
        )
    with _step("Training"):
        recipe = dataclasses.replace(
            Recipe(),
            epochs=options.epochs,
            augmentation=dataclasses.replace(Recipe.augmentation, views=min(options.epochs, VIEWS)),
        )
        front_end = models.find(models.DEFAULT).front_end
        held = train(task, models.DEFAULT, front_end, recipe, options.seed, out / "train")
    with _step("Quantisation"):
        schedule = Schedule(options.qat_epochs) if options.qat_epochs else None
        quantized = quantize(held, task, schedule=schedule, state=out / "model.qat.pt", seed=options.seed)
        model = out / "model.tflite"
        files.write_whole(model, tflite.write(quantized.graph))
        (out / "model.qat.pt").unlink(missing_ok=True)
        codes = features_of(task.testing, held.window)
        comparison = quantized.compare(codes, task.testing.labels)
        print(comparison.text())
    with _step("C"):
        status = cli.main(["emit", str(model), "--target", options.target, "-o", str(out / "c")])
        if status:
            return status
    graph = tflite.read(model)
    with _step("Proof"):
        audio, spoken = _recording(task)
        whole, layers, stream = _prove(graph, codes, audio)
        for report in (whole, layers, stream):
            print(report.table().text(), end="\n\n")
        heard = _heard(Pipeline.of(graph), audio)
        print(f"spoken: {', '.join(spoken)}\nheard:  {', '.join(heard) or 'nothing'}")
    with _step("Costs"):
        costs = {core: cost(graph, core) for core in TARGETS}
    with _step("Listening"):
        corpus = task_options.corpus_again(options, task.labels[2:], held.window.length)
        corpus.load()
        ears = listen(graph, corpus, task, options.exclude)
        print(f"{ears.points().text()}\n\n{ears.seconds().text()}")
    somebody = two_people(task, options.seed)
    with _step("Two people"):
        persons = people(
            somebody, held, task, options.gate_steps, recipe.augmentation, options.target, options.seed, out / "people"
        )
        print(persons.table().text())
    with _step("Their exits"):
        teaching = exits.teach(
            somebody,
            held,
            graph,
            task,
            options.exit_epochs,
            recipe.augmentation,
            options.target,
            options.seed,
            out / "exits",
        )
        print(f"{teaching.words().text()}\n\n{teaching.costs().text()}")
    result = Result.of(task.labels, task.testing.labels, scores(graph, codes).argmax(1))
    outcome = Outcome(
        task,
        comparison,
        result,
        layers,
        whole,
        stream,
        heard,
        costs,
        ears,
        persons,
        teaching,
        sorted((out / "c").iterdir()),
        time.monotonic() - started,
    )
    _write(out, outcome)
    return 0 if outcome.passed else 1


def _recording(task: Task) -> tuple[np.ndarray, list[str]]:
    """int16 audio of a few spoken test clips, each with as much silence behind, and their words with times."""
    rows = np.random.default_rng(0).permutation(np.flatnonzero(task.testing.labels >= 2))[:STREAM_CLIPS]
    silence = np.zeros_like(task.testing.audio[0])
    audio = np.concatenate([part for row in rows for part in (task.testing.audio[row], silence)])
    seconds = 2 * len(silence) / SAMPLE_RATE
    return audio, [f"{task.testing.words[row]} {place * seconds:.1f} s" for place, row in enumerate(rows)]


def _heard(pipeline: Pipeline, audio: np.ndarray) -> list[str]:
    hop_seconds = pipeline.front_end.hop / SAMPLE_RATE
    return [
        f"{pipeline.labels[detection.label]} {detection.hop * hop_seconds:.1f} s"
        for detection in pipeline.run(audio).detections
        if not detection.suppressed
    ]


def _prove(graph: Graph, codes: np.ndarray, audio: np.ndarray) -> tuple[parity.Report, parity.Report, parity.Report]:
    """All test clips where that is quick; a few on every core; the recording on every board, which takes steps, against
    whole windows."""
    targets = list(TARGETS.values())
    inputs = codes[..., np.newaxis][:, np.newaxis]
    whole = parity.compare(graph, parity.executors(graph, []), {"invoke": [inputs]})
    layers = parity.compare(graph, parity.executors(graph, targets), {"invoke": [inputs[:CORE_CLIPS]]})
    stepping = pipelines.programs(Pipeline.of(step_of(graph)), targets)
    return whole, layers, pipelines.compare(Pipeline.of(graph), stepping, audio)


def _write(out: Path, outcome: Outcome) -> None:
    confusion = out / "confusion.png"
    files.write_whole(confusion, plots.confusion(outcome.result.confusion, outcome.task.labels))
    scores = None
    if isinstance(outcome.ears.hours, Hours):
        scores = out / "scores.png"
        files.write_whole(scores, outcome.ears.hours.picture)
    content = page(
        "A keyword spotter, from recorded speech to C",
        f"Corpus: {outcome.task.name}. {', '.join(outcome.task.labels[2:])}.",
        outcome.sections(confusion, out / "train" / "curves.png", scores),
    )
    files.write_all(out, {"index.html": content, "summary.json": json.dumps(outcome.summary(), indent=2) + "\n"})
    tables = (outcome.accuracy(), outcome.costs_table(), outcome.people.table(), outcome.teaching.words())
    print("".join(f"{table.text()}\n\n" for table in tables))
    print(f"the C:    {out / 'c'}\nthe page: {out / 'index.html'}\nnumbers:  {out / 'summary.json'}")
    print(f"{'every byte agrees' if outcome.passed else 'SOME BYTES DIFFER'}; {outcome.seconds:.0f} s")


@contextmanager
def _step(name: str) -> Iterator[None]:
    print(f"\n== {name}", flush=True)
    started = time.monotonic()
    yield
    print(f"   {time.monotonic() - started:.0f} s", flush=True)
