"""The two people choose channels: each enrols with a few utterances, and her network stands beside the full one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mcu_codegen import files
from mcu_codegen.emit.plan import compile_plan
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph
from mcu_codegen.prove import parity, personal
from mcu_codegen.prove.measurement import Measurement
from mcu_codegen.report import Table
from mcu_codegen.users import gates
from mcu_codegen.users.bake import bake
from mcu_codegen.users.exits import answers
from mcu_codegen.users.user import User

from ..data.task import Task
from ..personalize.gate_training import GateRecipe, train_gates
from ..personalize.protocol import Trial
from ..quantization.quantize import enrolment_of, quantize
from ..training.checkpoint import Checkpoint
from ..training.inference import features_of
from ..training.recipe import Augmentation
from .people import PROOF, Somebody, accuracy, cost


@dataclass(frozen=True)
class Person:
    """One user on clips of her own that she did not enrol with; her network's costs are of the baked one."""

    name: str
    words: tuple[str, ...]
    clips: int
    full_accuracy: float  # of the full int8 network, deciding among the same words
    accuracy: float
    kept: float  # share of MACs
    blob: int  # bytes
    cost: Measurement | str
    parity: parity.Report


@dataclass(frozen=True)
class People:
    """The users, and the full network that each has a part of."""

    persons: tuple[Person, ...]
    full: Measurement | str
    core: str

    @property
    def passed(self) -> bool:
        return all(person.parity.passed for person in self.persons)

    def table(self) -> Table:
        rows: list[tuple[object, ...]] = [("full network", "", "", "", "", *_costs(self.full))]
        for each in self.persons:
            accuracy = f"{each.accuracy:.1%} (full: {each.full_accuracy:.1%})"
            rows.append((each.name, len(each.words), accuracy, f"{each.kept:.0%}", each.blob, *_costs(each.cost)))
        return Table(
            ("network", "words", "accuracy", "MACs", "blob", f"instructions ({self.core})", "flash", "RAM"), rows
        )

    def summary(self) -> list[dict[str, Any]]:
        """For machines."""
        return [
            {
                "name": each.name,
                "words": list(each.words),
                "accuracy": {"full": each.full_accuracy, "int8": each.accuracy, "clips": each.clips},
                "macs_kept": each.kept,
                "blob_bytes": each.blob,
                "differing": sum(one.differing for one in each.parity.comparisons),
            }
            | (
                {"instructions": each.cost.instructions, "flash": each.cost.flash, "ram": each.cost.ram}
                if isinstance(each.cost, Measurement)
                else {}
            )
            for each in self.persons
        ]


def people(
    somebody: Sequence[Somebody] | str,
    held: Checkpoint,
    task: Task,
    steps: int,
    augmentation: Augmentation,
    core: str,
    seed: int,
    out: Path,
) -> People:
    """Give the trained network gates, quantise it, and enrol `somebody`; `out` receives models and users.

    Where there is nobody, the reason stands in the table, and nothing is trained.
    """
    if isinstance(somebody, str):
        return People((), somebody, core)
    gated = train_gates(held, task, GateRecipe(steps=steps), seed, out, augmentation=augmentation)
    quantized = quantize(gated, task, seed=seed)
    assert quantized.enrolment is not None
    path = out / "model.tflite"
    files.write_whole(path, tflite.write(quantized.graph))
    files.write_whole(enrolment_of(path), tflite.write(quantized.enrolment))
    model, enrolment = tflite.read(path), tflite.read(enrolment_of(path))
    codes = features_of(task.testing, held.window)[:, np.newaxis, ..., np.newaxis]
    persons = [_person(each, model, enrolment, codes, core, out) for each in somebody]
    return People(tuple(persons), cost(model, core), core)


def _person(who: Somebody, model: Graph, enrolment: Graph, codes: np.ndarray, core: str, out: Path) -> Person:
    trial, labels = who.words, model.metadata["labels"]
    words = who.used(labels)
    user = User.enrol(model, enrolment, codes[trial.enrol], words)
    user.save(out / f"{who.name}.user")
    blob = user.blob(model)
    files.write_whole(out / f"{who.name}.blob", blob)
    opened = user.gates(gates.groups(model))
    baked = bake(model, opened)
    return Person(
        who.name,
        tuple(words or labels[2:]),
        len(trial.query),
        _accuracy(model, codes, trial),
        _accuracy(baked, codes, trial),
        _macs(baked) / _macs(model),
        len(blob),
        cost(baked, core),
        personal.compare(model, enrolment, user, codes[trial.enrol[:PROOF]]),
    )


def _accuracy(graph: Graph, codes: np.ndarray, trial: Trial) -> float:
    _, scores = answers(graph, NumpyExecutor(graph).run([codes[trial.query]]))
    return accuracy(scores, trial)


def _macs(graph: Graph) -> int:
    return sum(layer.kernel.macs for layer in compile_plan(graph).layers)


def _costs(cost: Measurement | str) -> tuple[object, ...]:
    return (cost.instructions, cost.flash, cost.ram) if isinstance(cost, Measurement) else (cost, "", "")
