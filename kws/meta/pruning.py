"""Pruning in rounds: a share of every layer's weights goes, then the network is meta-trained again without them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mcu_codegen import files
from mcu_codegen.errors import InputError

from ..training import checkpoint
from ..training.checkpoint import BEST, Checkpoint
from . import channels
from .assess import accuracies
from .imitation import imitated
from .learners import Adaptable, Adapted, Clips, Learner
from .lessons import Lessons, MetaTraining, clips_of
from .saliency import Columns, columns_of, hessians, prune_by_hessian, prune_by_score
from .tasks import Material, Shape
from .train import VALIDATED, VALIDATION_SEED, best_adaptation, check_start, finished

CRITERIA = {
    "anp": "second-order saliency in networks that are adapted to tasks (Gao et al., CIKM 2021)",
    "obs": "the same in the network that is not adapted (L-OBS, Dong et al., arXiv 1705.07565)",
    "magnitude": "the smallest weights",
    "random": "any weights",
}
HESSIAN = ("anp", "obs")
PAPER_ROUNDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85)
STATE, ROUNDS = "last.pt", "rounds.json"


@dataclass(frozen=True)
class Method:
    """`rounds` are shares of each layer's weights that are gone by then, or, of `whole_channels`, of the network's
    multiply-accumulates. A Hessian is of so many `tasks`. Depthwise layers can be spared: C keeps them dense. Before
    the lessons of a round the body imitates the whole one for so many `epochs`."""

    criterion: str = "anp"
    rounds: tuple[float, ...] = PAPER_ROUNDS
    tasks: int = 20
    whole_channels: bool = False
    depthwise: bool = True
    epochs: int = 30

    def __post_init__(self) -> None:
        if self.criterion not in CRITERIA:
            raise InputError(f"--criterion {self.criterion}: unknown; there are {', '.join(CRITERIA)}")
        pairs = zip((0.0, *self.rounds), self.rounds, strict=False)
        if not self.rounds or not all(before < share < 1 for before, share in pairs):
            raise InputError(f"--rounds {','.join(map(str, self.rounds))}: rising shares between 0 and 1 are accepted")
        if self.whole_channels and self.criterion not in HESSIAN:
            raise InputError(f"--channels: --criterion {self.criterion} knows none; {' or '.join(HESSIAN)} is accepted")
        if self.tasks < 1:
            raise InputError(f"--hessian-tasks {self.tasks}: 1 or more is accepted")
        if self.epochs < 0:
            raise InputError(f"--epochs {self.epochs}: 0 or more is accepted")


@dataclass(frozen=True)
class Round:
    share: float
    model: str
    weights: int  # of convolutions, that are not zero
    accuracy: float  # after adaptation, on validation tasks

    def text(self) -> str:
        return f"{self.share:.0%} removed: {self.model}, {self.weights:,} weights, {self.accuracy:.2%}"


def round_name(share: float) -> str:
    """What the network after that round is called in --out."""
    return f"round-{100 * share:g}.pt"


class Pruning:
    """All that changes while a network is pruned, and how to put it aside and take it up again."""

    def __init__(
        self,
        held: Checkpoint,
        learner: Learner,
        material: Material,
        shape: Shape,
        method: Method,
        lessons: Lessons,
        seed: int,
        out: Path,
    ) -> None:
        """Raises InputError where the network has gates or exits or other labels than `material`."""
        check_start(held, material)
        for pool in (material.training, material.validation):
            pool.check(shape)
        self.held, self.learner, self.material, self.shape = held, learner, material, shape
        self.whole = held
        self.method, self.lessons, self.seed, self.out = method, lessons, seed, out
        self.front_end = held.window.front_end
        self.rounds: list[Round] = []
        self.lesson: dict[str, Any] = {}  # of a round that is under way
        parts = [
            checkpoint.fingerprint(held.network()),
            material.task.fingerprint,
            learner,
            shape,
            method,
            lessons,
            seed,
        ]
        self.identity = " ".join(map(str, parts))

    def restore(self) -> None:
        state = checkpoint.read_state(self.out / STATE, self.identity)
        self.rounds = [Round(**each) for each in state["rounds"]]
        self.held, self.lesson = replace(self.held, model=state["model"], state_dict=state["network"]), state["lesson"]

    def run(self) -> Checkpoint:
        """The rounds that are left; best.pt is the network after the last."""
        for number, share in list(enumerate(self.method.rounds))[len(self.rounds) :]:
            if not self.lesson:
                self._remove(number, share)
                if self.method.epochs:
                    self._imitate(number)
            subject = Adaptable(self.held.network())
            self._teach(subject, number)
            self._finish(subject, share)
        checkpoint.save(self.out / BEST, self.held)
        return self.held

    def _remove(self, number: int, share: float) -> None:
        subject = Adaptable(self.held.network())
        found = self._hessians(subject, number)
        if self.method.whole_channels:
            self.held = channels.without(self.held, subject, found, share)
            return
        generator = torch.Generator().manual_seed(self.seed * 1000 + number)
        for name, columns in columns_of(subject).items():
            if columns.layer.groups > 1 and not self.method.depthwise:
                continue
            count = round(share * columns.layer.weight.numel()) - int((columns.layer.weight == 0).sum())
            if count > 0:
                _prune(columns, self.method.criterion, found.get(name), count, generator)
        self.held = replace(self.held, state_dict=subject.network.state_dict())

    def _hessians(self, subject: Adaptable, number: int) -> dict[str, torch.Tensor]:
        if self.method.criterion not in HESSIAN:
            return {}
        return hessians(subject, self._networks(subject, number))

    def _networks(self, subject: Adaptable, number: int) -> Iterable[tuple[Adapted, Clips]]:
        """Of each task the adapted network, or the one that is not, and the clips that it learns from."""
        for task in range(self.method.tasks):
            rng = np.random.default_rng([self.seed, number, task, 1])
            episode = self.material.training.draw(self.shape, rng)
            support, _ = clips_of(episode, self.front_end)
            ways = len(episode.words)
            if self.method.criterion == "anp":
                yield subject.adapt(support, ways, self.learner), support
            else:
                yield subject.unadapted(ways), support

    def _imitate(self, number: int) -> None:
        title = f"round {number + 1}/{len(self.method.rounds)}, imitation"
        parts = self.material.views, self.method.epochs, (self.seed, 1 + number), title
        self.held = imitated(self.held, self.whole, *parts)

    def _teach(self, subject: Adaptable, number: int) -> None:
        parts = self.material.training, self.shape, self.learner, self.lessons, self.front_end
        training = MetaTraining(subject, *parts, (self.seed, 1 + number))
        if self.lesson:
            training.restore(self.lesson)

        def put_aside() -> None:
            self.lesson = training.state()
            self._write()

        training.run(f"round {number + 1}/{len(self.method.rounds)}", put_aside)

    def _finish(self, subject: Adaptable, share: float) -> None:
        """A round is over: judge it, show it, and write all that it takes to go on from here.

        How the network is adapted is chosen anew: with few weights left, adapting them can do more harm than good.
        """
        learners = [self.learner, *([replace(self.learner, name="anil")] if self.learner.adapts_body else [])]
        learner = best_adaptation(subject, self.material, self.shape, learners, self.held)
        parts = self.material.validation, self.shape, learner, self.front_end
        accuracy = float(accuracies(subject, *parts, VALIDATED, VALIDATION_SEED).mean())
        record = {"pruned": asdict(self.method) | {"rounds": list(self.method.rounds)}, "pruned_seed": self.seed}
        self.held = finished(self.held, subject, self.material, learner, record)
        left = sum(int((each.layer.weight != 0).sum()) for each in columns_of(subject).values())
        self.rounds.append(Round(share, self.held.model, left, accuracy))
        self.lesson = {}
        checkpoint.save(self.out / round_name(share), self.held)
        self._write()
        files.write_all(self.out, {ROUNDS: json.dumps([asdict(each) for each in self.rounds], indent=2) + "\n"})
        print(self.rounds[-1].text(), flush=True)

    def _write(self) -> None:
        state = {"identity": self.identity, "rounds": [asdict(each) for each in self.rounds], "lesson": self.lesson}
        state |= {"model": self.held.model, "network": self.held.state_dict}
        checkpoint.write_tensors(self.out / STATE, state)


def _prune(
    columns: Columns, criterion: str, hessian: torch.Tensor | None, count: int, generator: torch.Generator
) -> None:
    if hessian is not None:
        prune_by_hessian(columns, hessian, count)
    elif criterion == "magnitude":
        prune_by_score(columns, torch.abs, count)
    else:
        prune_by_score(columns, lambda weights: torch.rand(weights.shape, generator=generator), count)
