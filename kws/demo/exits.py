"""The two people teach early exits: what a word costs on the core before and after, and what learning cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mcu_codegen import files
from mcu_codegen.emulate import toolchain
from mcu_codegen.errors import InputError
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph
from mcu_codegen.prove import learning, personal
from mcu_codegen.prove.learning import Given, Stored
from mcu_codegen.prove.measurement import Measurement
from mcu_codegen.prove.parity import Report
from mcu_codegen.report import Table
from mcu_codegen.targets import TARGETS
from mcu_codegen.users.exits import answers, exits_of
from mcu_codegen.users.learnt import with_exits
from mcu_codegen.users.user import User

from ..data.task import Task
from ..personalize.exit_training import ExitRecipe, train_exits
from ..personalize.protocol import Trial
from ..quantization.quantize import quantize
from ..training.checkpoint import Checkpoint
from ..training.inference import features_of
from ..training.recipe import Augmentation
from .people import PROOF, Somebody, accuracy, cost

PLACES = (1, 2)  # behind the first and the second block: the stem hears too little of a word to be sure
EPOCHS = 30  # an epoch of heads takes half a second


@dataclass(frozen=True)
class Heard:
    """A network on a user's clips."""

    accuracy: float
    stopped: list[int]  # clips at each exit; the last: nowhere
    instructions: float | None  # a clip, on average; None where they were not counted


@dataclass(frozen=True)
class Taught:
    """One user, on clips of her own that her exits did not learn from."""

    name: str
    clips: int
    utterances: int  # that they learnt from, all with a label
    networks: dict[str, Heard]  # by exits: "none", "factory" and "own"
    blob: int  # bytes
    learning: int | str  # instructions, or why they were not counted
    parity: Report

    @property
    def whole(self) -> float | None:
        """Instructions of the network without exits."""
        return self.networks["none"].instructions

    @property
    def inferences(self) -> float | None:
        """What learning took, in those."""
        return self.learning / self.whole if isinstance(self.learning, int) and self.whole else None


@dataclass(frozen=True)
class Teaching:
    """The users whose exits learnt, or why there are none."""

    persons: tuple[Taught, ...]
    exits: int  # early ones
    learnt: Report  # what C learns from both, in every epoch
    core: str
    reason: str = ""

    @property
    def passed(self) -> bool:
        return all(report.passed for report in (self.learnt, *(each.parity for each in self.persons)))

    def words(self) -> Table:
        """A word: how well it is heard, what it costs, where it stops."""
        ends = [*(f"stop at {number}" for number in range(1, self.exits + 1)), "run to the end"]
        rows: list[tuple[object, ...]] = []
        for each in self.persons:
            for name, heard in each.networks.items():
                share = f"{heard.instructions / each.whole:.0%}" if heard.instructions and each.whole else ""
                counted = "not counted" if heard.instructions is None else round(heard.instructions)
                places = [f"{clips / each.clips:.0%}" for clips in heard.stopped]
                missing = [""] * (len(ends) - len(places))
                rows.append((each.name, each.clips, name, f"{heard.accuracy:.1%}", counted, share, *missing, *places))
        header = ("person", "clips", "exits", "accuracy", f"instructions a word ({self.core})", "share", *ends)
        return Table(header, rows or [(self.reason, *[""] * (len(header) - 1))])

    def costs(self) -> Table:
        """Learning, once."""
        rows: list[tuple[object, ...]] = [
            (
                each.name,
                each.utterances,
                each.learning,
                "" if each.inferences is None else f"{each.inferences:.1f}",
                each.blob,
            )
            for each in self.persons
        ]
        nobody = [(self.reason, *[""] * 4)]
        return Table(
            ("person", "utterances", f"instructions to learn ({self.core})", "in inferences", "blob"), rows or nobody
        )

    def summary(self) -> list[dict[str, Any]]:
        """For machines."""
        return [
            {
                "name": each.name,
                "clips": each.clips,
                "utterances": each.utterances,
                "networks": {name: asdict(heard) for name, heard in each.networks.items()},
                "blob_bytes": each.blob,
                "learning_instructions": each.learning if isinstance(each.learning, int) else None,
                "differing": sum(one.differing for one in each.parity.comparisons),
            }
            for each in self.persons
        ]


def teach(
    somebody: Sequence[Somebody] | str,
    held: Checkpoint,
    plain: Graph,
    task: Task,
    epochs: int,
    augmentation: Augmentation,
    core: str,
    seed: int,
    out: Path,
) -> Teaching:
    """Give the trained network exits, quantise it, and let `somebody` teach them; `out` receives model and users.

    `plain` is the integer network without exits. Where there is nobody, the reason stands in the table, and nothing is
    trained.
    """
    if isinstance(somebody, str):
        return Teaching((), 0, Report([]), core, somebody)
    trained = train_exits(held, task, ExitRecipe(PLACES, epochs), seed, out, augmentation=augmentation)
    path = out / "model.tflite"
    files.write_whole(path, tflite.write(quantize(trained, task, seed=seed).graph))
    model = tflite.read(path)
    codes = features_of(task.testing, held.window)[:, np.newaxis, ..., np.newaxis]
    whole, users, persons = cost(plain, core), [], []
    for each in somebody:
        trial = each.voice
        user = User.nobody(model).taught(model, codes[trial.enrol], task.testing.labels[trial.enrol].tolist())
        user.save(out / f"{each.name}.user")
        files.write_whole(out / f"{each.name}.blob", user.blob(model))
        users.append(user)
        persons.append(_taught(each, plain, whole, model, user, codes, core))
    exits = len(exits_of(model))
    buffers = [Stored(_buffer(user), [False] * exits) for user in users]
    rows = np.concatenate([each.voice.enrol[:PROOF] for each in somebody])
    given = Given(codes[rows], task.testing.labels[rows].tolist(), buffers, [user.blob(model) for user in users])
    return Teaching(tuple(persons), exits, learning.compare(model, given), core)


def _taught(
    who: Somebody, plain: Graph, whole: Measurement | str, model: Graph, user: User, codes: np.ndarray, core: str
) -> Taught:
    assert user.learnt is not None
    trial = who.voice
    clips = codes[trial.query]
    networks = {"none": _heard(plain, whole, clips, trial)}
    for exits, graph in {"factory": model, "own": with_exits(model, user.learnt)}.items():
        networks[exits] = _heard(graph, cost(graph, core, clips), clips, trial)
    return Taught(
        who.name,
        len(trial.query),
        len(trial.enrol),
        networks,
        len(user.blob(model)),
        _learning_cost(model, user, core),
        personal.compare(model, None, user, codes[trial.enrol[:PROOF]]),
    )


def _heard(graph: Graph, measured: Measurement | str, clips: np.ndarray, trial: Trial) -> Heard:
    chosen, scores = answers(graph, NumpyExecutor(graph).run([clips]))
    counted = None
    if isinstance(measured, Measurement):
        counted = measured.clips.instructions if measured.clips else float(measured.instructions)
    return Heard(accuracy(scores, trial), np.bincount(chosen, minlength=len(exits_of(graph)) + 1).tolist(), counted)


def _learning_cost(model: Graph, user: User, core: str) -> int | str:
    try:
        return learning.instructions(model, _buffer(user), TARGETS[core], toolchain.choose())
    except InputError as error:
        return str(error)


def _buffer(user: User) -> learning.Utterances:
    assert user.exits is not None
    return user.exits.buffer
