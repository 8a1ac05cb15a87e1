"""What the demo found: summary.json for machines, tables and the page for people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcu_codegen.prove import parity
from mcu_codegen.prove.measurement import Measurement
from mcu_codegen.report import Paragraph, Picture, Section, Table

from ..data.task import Task
from ..evaluate import Result
from ..quantization.quantize import Comparison
from .exits import Teaching
from .gates import People
from .listening import HOURS, TARGET, Heard

STREAM_CLIPS = 8  # test clips in the recording that the emulated boards hear
_SCORES = (
    "Shaded: what was spoken, and its word above. Lines: how sure the network was of each word, as the decision"
    " averages it. Triangles: detections that are right; crosses: others. Colours are words."
)
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
    ears: Heard
    people: People
    teaching: Teaching
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
            "listening": self.ears.summary(),
            "users": self.people.summary(),
            "exits": self.teaching.summary(),
            "files": [str(path) for path in self.sources],
            "seconds": round(self.seconds, 1),
        }

    @property
    def passed(self) -> bool:
        """Whether every executor that is present agrees."""
        return all(each.passed for each in (self.layers, self.whole, self.stream, self.people, self.teaching))

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

    def sections(self, confusion: Path, curves: Path, scores: Path | None) -> list[Section]:
        """For people; `scores` is the picture of a stretch of listening."""
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
                "Listening",
                [
                    Paragraph(
                        f"{HOURS * 60:.0f} minutes of words, other speech, rooms and noise, made of test clips. The"
                        f" second decision was chosen on as much validation audio for {TARGET:g} false accepts an hour;"
                        " so little audio promises no more (docs/listening.md)."
                    ),
                    self.ears.points(),
                    *([Picture(scores, _SCORES)] if scores else []),
                    Paragraph(
                        "Instructions a second from waveform to decision. Whole windows: the network computes all"
                        " frames whenever the decision is due. Steps: it computes what is new, with the same scores;"
                        " this is the C below. RAM is that of the whole loop."
                    ),
                    self.ears.seconds(),
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
            Section(
                "One person's exits",
                [
                    Paragraph(
                        "The same two people, with all words, and the network with early exits: it stops at the"
                        " first one that is sure. What they enrolled with, labelled, taught the exits, in integers,"
                        " as a board does it; the network itself stays as it is. Accuracy and instructions are on"
                        " other utterances of theirs, which are few: docs/early-exits.md has what many people gain."
                    ),
                    self.teaching.words(),
                    Paragraph(
                        "What it took to learn, in inferences of the network without exits, and the blob in bytes:"
                    ),
                    self.teaching.costs(),
                    Paragraph("Every layer with a person's own exits, and where inference stops, on every core:"),
                    *(each.parity.table() for each in self.teaching.persons),
                    Paragraph("What C learns from both, after every epoch, and what it loads, on every core:"),
                    self.teaching.learnt.table(),
                ],
            ),
            Section("Training", [Picture(curves, "Loss and accuracy over epochs.")]),
            Section("The C", [Table(("file", "bytes"), [(str(path), path.stat().st_size) for path in self.sources])]),
        ]
