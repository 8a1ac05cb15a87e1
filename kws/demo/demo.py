"""The whole way in one go: a corpus in, C for a Cortex-M with its proof and its costs out, and a page about it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mcu_codegen import cli, files
from mcu_codegen.errors import InputError
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph
from mcu_codegen.listen.frontend import SAMPLE_RATE
from mcu_codegen.listen.pipeline import Pipeline
from mcu_codegen.prove import parity
from mcu_codegen.prove.measurement import Measurement
from mcu_codegen.report import Paragraph, Picture, Section, Table, page
from mcu_codegen.targets import TARGETS

from .. import models, plots
from ..data import task as task_options
from ..data.task import Task
from ..evaluate import Result
from ..quantization.qat import Schedule
from ..quantization.quantize import Comparison, quantize
from ..training.inference import features_of, scores
from ..training.recipe import Recipe
from ..training.train import train
from .users import People, cost, people

STREAM_CLIPS = 8  # test clips in the recording that the emulated boards hear
VIEWS = 20  # augmented copies of the training clips; more would learn more, and take longer
GATE_STEPS = 1000
CORE_CLIPS = 3  # test clips that go through every layer on every emulated core


@dataclass(frozen=True)
class Outcome:
    """Everything that the page and summary.json say."""

    task: Task
    comparison: Comparison
    result: Result  # of the integer network, on the test clips
    layers: parity.Report  # every executor, every layer
    whole: parity.Report  # executors that are quick enough for all test clips
    stream: parity.Report  # from waveform to decision
    heard: list[str]  # in that recording: words and when
    costs: dict[str, Measurement | str]  # by core, or why it was not measured
    people: People
    sources: list[Path]
    seconds: float

    def summary(self) -> dict[str, Any]:
        """For machines."""
        comparisons = [*self.whole.comparisons, *self.layers.comparisons, *self.stream.comparisons]
        return {
            "accuracy": {
                "float": self.comparison.float_accuracy,
                "fake_quant": self.comparison.fake_quant_accuracy,
                "int8": self.comparison.int8_accuracy,
                "clips": self.comparison.clips,
            },
            "parity": {
                "passed": self.passed,
                "executors": [
                    {"name": each.name, "compared": each.compared, "differing": each.differing, "absent": each.trouble}
                    for each in comparisons
                ],
            },
            "cores": {
                core: {
                    "instructions": cost.instructions,
                    "flash": cost.flash,
                    "ram": cost.ram,
                    "compiler": cost.compiler,
                }
                for core, cost in self.costs.items()
                if isinstance(cost, Measurement)
            },
            "users": self.people.summary(),
            "files": [str(path) for path in self.sources],
            "seconds": round(self.seconds, 1),
        }

    @property
    def passed(self) -> bool:
        """Whether every executor that is present agrees."""
        return all(report.passed for report in (self.layers, self.whole, self.stream)) and self.people.passed

    def accuracy(self) -> Table:
        """The three forms of the network on the test clips."""
        held = self.comparison
        return Table(
            ("network", "accuracy", "int8 decides alike"),
            [
                ("float", f"{held.float_accuracy:.2%}", f"{held.int8_agrees_with_float:.2%}"),
                ("NNCF fake-quantised", f"{held.fake_quant_accuracy:.2%}", f"{held.int8_agrees_with_fake_quant:.2%}"),
                ("int8, as on the board", f"{held.int8_accuracy:.2%}", ""),
            ],
        )

    def costs_table(self) -> Table:
        """One inference on every core."""
        return Table(
            ("core", "instructions", "flash", "RAM", "stack"),
            [
                (core, cost.instructions, cost.flash, cost.ram, cost.stack)
                if isinstance(cost, Measurement)
                else (core, cost, "", "", "")
                for core, cost in self.costs.items()
            ],
        )

    def sections(self, confusion: Path, curves: Path) -> list[Section]:
        """For people."""
        recalls = Table(("class", "recall"), [(label, f"{share:.1%}") for label, share in self.result.recalls.items()])
        return [
            Section("What it hears", [Paragraph(f"{self.comparison.clips} test clips."), self.accuracy(), recalls]),
            Section("Where it errs", [Picture(confusion, "Confusion matrix of the int8 network.")]),
            Section(
                "Proof",
                [
                    Paragraph("All test clips, every layer, against the NumPy executor:"),
                    self.whole.table(),
                    Paragraph(f"{CORE_CLIPS} test clips, every layer, on every core:"),
                    self.layers.table(),
                    Paragraph(f"A recording of {STREAM_CLIPS} clips from waveform to decision, on every core:"),
                    self.stream.table(),
                    Paragraph(f"Heard on all of them: {', '.join(self.heard) or 'nothing'}."),
                ],
            ),
            Section(
                "What it costs",
                [
                    Paragraph(
                        "One inference. Instructions are exact counts from emulation, not cycles; memory is in bytes."
                    ),
                    self.costs_table(),
                ],
            ),
            Section(
                "One person's network",
                [
                    Paragraph(
                        "Two voices that training never heard enrolled with a few utterances. What they said chose the"
                        " channels that they keep; nothing was trained. Accuracy is on other utterances of theirs."
                    ),
                    self.people.table(),
                    Paragraph("Every way to ship a user's network, every layer, on every core, and enrolment in C:"),
                    *(each.parity.table() for each in self.people.persons),
                ],
            ),
            Section("Training", [Picture(curves, "Loss and accuracy over epochs.")]),
            Section("The C", [Table(("file", "bytes"), [(str(path), path.stat().st_size) for path in self.sources])]),
        ]


def configure(parser: argparse.ArgumentParser) -> None:
    task_options.configure(parser)
    parser.add_argument("--epochs", type=int, default=40, metavar="N", help="of training (default: %(default)s)")
    parser.add_argument("--qat-epochs", type=int, default=1, metavar="N", help="of fine-tuning (default: %(default)s)")
    parser.add_argument(
        "--gate-steps", type=int, default=GATE_STEPS, metavar="N", help="of training gates (default: %(default)s)"
    )
    parser.add_argument(
        "--target", default="cortex-m4", metavar="CORE", help="that the C is for (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("build/demo"), metavar="FOLDER", help="default: %(default)s")


def run(options: argparse.Namespace) -> int:
    """Status 1 where two executors differ."""
    started = time.monotonic()
    if min(options.epochs, options.gate_steps) < 1 or options.qat_epochs < 0:
        raise InputError("--epochs and --gate-steps: 1 or more is accepted; --qat-epochs: 0 or more")
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
    with _step("Two people"):
        persons = people(
            held, task, options.gate_steps, recipe.augmentation, options.target, options.seed, out / "people"
        )
        print(persons.table().text())
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
        persons,
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
    """All test clips where that is quick; a few on every core; the recording on every board."""
    targets = list(TARGETS.values())
    inputs = codes[..., np.newaxis][:, np.newaxis]
    whole = parity.compare(graph, parity.executors(graph, []), {"invoke": [inputs]})
    layers = parity.compare(graph, parity.executors(graph, targets), {"invoke": [inputs[:CORE_CLIPS]]})
    pipeline = Pipeline.of(graph)
    return whole, layers, parity.stream(pipeline, parity.programs(pipeline, targets), audio)


def _write(out: Path, outcome: Outcome) -> None:
    confusion = out / "confusion.png"
    files.write_whole(confusion, plots.confusion(outcome.result.confusion, outcome.task.labels))
    content = page(
        "A keyword spotter, from recorded speech to C",
        f"Corpus: {outcome.task.name}. {', '.join(outcome.task.labels[2:])}.",
        outcome.sections(confusion, out / "train" / "curves.png"),
    )
    files.write_all(out, {"index.html": content, "summary.json": json.dumps(outcome.summary(), indent=2) + "\n"})
    tables = (outcome.accuracy(), outcome.costs_table(), outcome.people.table())
    print("".join(f"{table.text()}\n\n" for table in tables))
    print(f"the C:    {out / 'c'}\nthe page: {out / 'index.html'}\nnumbers:  {out / 'summary.json'}")
    print(f"{'every byte agrees' if outcome.passed else 'SOME BYTES DIFFER'}; {outcome.seconds:.0f} s")


@contextmanager
def _step(name: str) -> Iterator[None]:
    print(f"\n== {name}", flush=True)
    started = time.monotonic()
    yield
    print(f"   {time.monotonic() - started:.0f} s", flush=True)
