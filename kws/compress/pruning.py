"""Iterative filter pruning: what changes from round to round, and how to take it up again."""

from __future__ import annotations

import copy
import dataclasses
import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from mcu_codegen import files
from mcu_codegen.errors import InputError

from .. import models
from ..data.task import Task
from ..evaluate import Result
from ..models.narrow import narrowed
from ..training import checkpoint
from ..training.checkpoint import BEST, Checkpoint
from ..training.inference import features_of, logits, real
from ..training.recipe import Augmentation, views
from . import rounds
from .costs import UNITS, Board, Costs
from .filters import Rank, without
from .learning import Lesson, Teacher, teach
from .rounds import Round

STATE, ROUNDS = "last.pt", "rounds.json"
_SAMPLE = 2048  # examples that filters are judged by


@dataclass(frozen=True)
class Goal:
    """`bounds`: costs at most, by the names of `Costs`. `max_drop`: points of validation accuracy that may be lost."""

    bounds: Mapping[str, int]
    max_drop: float | None = None


@dataclass(frozen=True)
class Method:
    step: float = 0.3  # the share of the channels that a round takes at first
    least_step: float = 0.02  # halved below this, pruning ends
    granule: int = 4  # channels; kernels take int8 channels four at a time
    epochs: int = 2  # of fine-tuning in each round
    last_epochs: int = 10  # and after the last
    lesson: Lesson = field(default_factory=Lesson)


class Pruning:
    """All that changes while a network is pruned, and how to put it aside and take it up again."""

    def __init__(
        self,
        held: Checkpoint,
        task: Task,
        board: Board,
        goal: Goal,
        method: Method,
        seed: int,
        out: Path,
        rank: Rank,
        augmentation: Augmentation,
    ) -> None:
        self.held, self.board, self.goal, self.method = held, board, goal, method
        self.seed, self.out, self.rank = seed, out, rank
        self.bounds = dict(goal.bounds)
        self.large, self.front_end = Teacher(held, held), held.window.front_end
        self.network, self.model, self.step = held.network(), held.model, method.step
        self.rounds: list[Round] = []
        identity = [checkpoint.fingerprint(self.network), task.fingerprint, board, goal, method, augmentation, seed]
        self._identity = " ".join(map(str, identity))
        self._refuse_what_nothing_keeps()
        self.training = views(task, held.window, augmentation, seed)
        self.validation = features_of(task.validation, held.window), task.validation.labels
        self._sample = real(self.training.epoch(0, seed)[0][:_SAMPLE], self.front_end)
        self._labels = task.labels

    def begin(self, resume: bool) -> None:
        """With the large network, or where an interrupted run had got to."""
        if resume:
            state = checkpoint.read_state(self.out / STATE, self._identity)
            self.model, self.step, self.rounds = state["model"], state["step"], rounds.from_json(state["rounds"])
            self.network = models.build(self.model, len(self._labels))
            self.network.load_state_dict(state["state_dict"])
        else:
            self._record(self.network, self.model, self._accuracy(self.network), True)

    def prune(self) -> bool:
        """One round; False where none is left to do: the bounds are kept, or nothing more can go."""
        if self.step < self.method.least_step or (self.bounds and self.board.fits(self.model, self.bounds)):
            return False
        kept = self._staying()
        if kept is None:
            return False
        model = models.name_with(self.model, [len(each) for each in kept])
        student = narrowed(self.network, kept)
        self._teach(student, self.method.epochs, f"round {len(self.rounds)}")
        accuracy = self._accuracy(student)
        least = -math.inf if self.goal.max_drop is None else self.rounds[0].accuracy - self.goal.max_drop / 100
        if accuracy >= least:
            self.network, self.model = student, model
        else:
            self.step /= 2
        self._record(student, model, accuracy, accuracy >= least)
        return True

    def last_lesson(self) -> Checkpoint:
        """What pruning has left, fine-tuned for longer. Raises InputError where a bound is exceeded."""
        over = self.board.costs(self.model).above(self.bounds)
        if over:
            drop, short = self.goal.max_drop, _too_little(self.bounds, over, self.model)
            allowed = "" if drop is None else f" that loses no more than --max-drop {drop} points"
            raise InputError(f"{short}, the narrowest found{allowed}; its rounds are in {self.out}")
        student = copy.deepcopy(self.network)
        self._teach(student, self.method.last_epochs, "last round")
        return self._checkpoint(student, self.model)

    def tighten(self, over: Mapping[str, int]) -> None:
        """Ask for as much less as was found too much."""
        for name, excess in over.items():
            self.bounds[name] -= excess

    def finish(self, result: Checkpoint, costs: Costs) -> None:
        """What it came to, beside the rounds. It can be taken up again from before the last lesson only."""
        accuracy = self._accuracy(result.network())
        self.rounds.append(Round(len(self.rounds), self.model, 0.0, accuracy, True, costs))
        self._show()
        checkpoint.save(self.out / BEST, result)

    def _refuse_what_nothing_keeps(self) -> None:
        held = models.widths_of(self.network)
        narrowest = models.name_with(self.model, [min(self.method.granule, width) for width in held])
        if not self.board.fits(narrowest, self.bounds):
            over = self.board.costs(narrowest).above(self.bounds)
            raise InputError(f"{_too_little(self.bounds, over, narrowest)}, the narrowest there is")

    def _staying(self) -> list[Tensor] | None:
        """The channels that stay when the next share of them goes, or as few as make it fit; None: no more can go."""
        scores = self.rank(self.network, self._sample)
        granule, total = self.method.granule, sum(map(len, scores))

        def widths(count: int) -> list[int]:
            return [len(each) for each in without(scores, count, granule)]

        def fits(count: int) -> bool:
            return self.board.fits(models.name_with(self.model, widths(count)), self.bounds)

        some = max(1, round(self.step * total))
        count = next((each for each in range(some, total + 1) if widths(each) != widths(0)), None)
        if count is None:
            return None
        if self.bounds and fits(count):
            count = bisect_left(range(count), True, key=fits)
        return without(scores, count, granule)

    def _teach(self, student: nn.Module, epochs: int, title: str) -> None:
        number = len(self.rounds)

        def examples(epoch: int) -> tuple[np.ndarray, np.ndarray]:
            return self.training.epoch(number * self.method.epochs + epoch, self.seed)

        lesson = self.method.lesson
        teach(student, self.large, examples, epochs, lesson, self.front_end, (self.seed, number), title)

    def _accuracy(self, network: nn.Module) -> float:
        codes, labels = self.validation
        predicted = logits(network, codes, self.front_end).argmax(1).numpy()
        return Result.of(self._labels, labels, predicted).balanced

    def _checkpoint(self, network: nn.Module, model: str) -> Checkpoint:
        record = self.held.recipe | {"compressed": dataclasses.asdict(self.method), "compressed_seed": self.seed}
        return dataclasses.replace(self.held, model=model, state_dict=network.state_dict(), recipe=record)

    def _record(self, network: nn.Module, model: str, accuracy: float, kept: bool) -> None:
        """A round is over: show it, and write all that it takes to go on from here."""
        number = len(self.rounds)
        done = Round(number, model, self.step, accuracy, kept, self.board.costs(model))
        self.rounds.append(done)
        checkpoint.save(self.out / f"round-{number}.pt", self._checkpoint(network, model))
        self._show()
        state = {"identity": self._identity, "model": self.model, "step": self.step}
        state |= {"rounds": rounds.to_json(self.rounds), "state_dict": self.network.state_dict()}
        checkpoint.write_tensors(self.out / STATE, state)

    def _show(self) -> None:
        print(self.rounds[-1].text(), flush=True)
        picture = rounds.picture(self.rounds, self.goal.bounds)
        files.write_all(self.out, {ROUNDS: rounds.to_json(self.rounds), "rounds.png": picture})


def _too_little(bounds: Mapping[str, int], over: Mapping[str, int], model: str) -> str:
    parts = (f"--{name} {bounds[name]:,}: {excess:,} {UNITS[name]} too few" for name, excess in over.items())
    return f"{', '.join(parts)} for {model}"
