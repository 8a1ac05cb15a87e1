"""Two people of the demo: what they say to enrol, what they are judged by, and what a network costs on their core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcu_codegen.emulate import toolchain
from mcu_codegen.errors import InputError
from mcu_codegen.graph import Graph
from mcu_codegen.prove.measure import measure
from mcu_codegen.prove.measurement import Measurement
from mcu_codegen.targets import TARGETS

from ..data.task import Task
from ..personalize.protocol import Speakers, Trial

PROOF = 2  # utterances that go through every layer on every core
_ENROL = 20  # utterances, fewer where somebody said too few of the words that he uses


@dataclass(frozen=True)
class Somebody:
    """A test speaker."""

    name: str
    voice: Trial  # with all words
    words: Trial  # with those that are used

    def used(self, labels: Sequence[str]) -> list[str] | None:
        """The keywords that are used; None: all."""
        allowed = self.words.allowed
        return None if allowed.all() else [labels[label] for label in np.flatnonzero(allowed)[2:]]


def two_people(task: Task, seed: int) -> tuple[Somebody, ...] | str:
    """anna, who uses all words, and ben, who uses half of them; or why there are no such speakers."""
    rng = np.random.default_rng(seed)
    half = rng.permutation(np.arange(2, len(task.labels)))[: (len(task.labels) - 2) // 2].tolist()
    try:
        speakers = Speakers(task.testing, task.labels, keywords=2 * _ENROL)
    except InputError as error:
        return str(error)
    anna, *voices = speakers.voice(_ENROL, 1, 1, rng)
    few = {trial.speaker: trial for trial in speakers.words(_ENROL, [half] if half else [], rng)}
    for ben in voices:
        if ben.speaker in few:
            return Somebody("anna", anna, anna), Somebody("ben", ben, few[ben.speaker])
    return f"{task.name}: nobody else said two clips of {', '.join(task.labels[label] for label in half)}"


def accuracy(scores: np.ndarray, trial: Trial) -> float:
    """Of the int8 scores [Q, labels] of a user's queries, decided among her words."""
    return float(np.mean(np.where(trial.allowed, scores.astype(int), -129).argmax(1) == trial.truth))


def cost(graph: Graph, core: str, clips: np.ndarray | None = None) -> Measurement | str:
    """One inference of `graph` on a core, and with `clips` those of them, or why it was not measured."""
    try:
        return measure(graph, TARGETS[core], toolchain.choose(), clips=clips)
    except InputError as error:
        return str(error)
