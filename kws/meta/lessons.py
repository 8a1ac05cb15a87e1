"""The loop of meta-training, the same for a whole network and for one that pruning has made holes in."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mcu_codegen.errors import InputError
from mcu_codegen.listen.frontend import FrontEnd

from ..training.inference import real
from ..training.recipe import ramp
from .learners import Adaptable, Clips, Learner
from .tasks import Episode, Pool, Shape

_WARMUP = 0.05  # of the steps
_SAVED = 50  # steps between two states that are put aside


@dataclass(frozen=True)
class Lessons:
    """`steps` of Adam, each on the mean gradient of `tasks` tasks; the learning rate, relative to each
    channel's weights (`Adaptable.sizes`), falls to zero as a cosine."""

    steps: int = 300
    tasks: int = 4
    learning_rate: float = 2e-3


def clips_of(episode: Episode, front_end: FrontEnd) -> tuple[Clips, Clips]:
    """What is learnt from and what is asked."""
    halves = (episode.support, episode.support_labels), (episode.query, episode.query_labels)
    support, query = (Clips(real(codes, front_end), torch.from_numpy(labels)) for codes, labels in halves)
    return support, query


class MetaTraining:
    """Trains `subject` in place. Every task comes from `seed` and the step's number."""

    def __init__(
        self,
        subject: Adaptable,
        pool: Pool,
        shape: Shape,
        learner: Learner,
        lessons: Lessons,
        front_end: FrontEnd,
        seed: Sequence[int],
    ) -> None:
        pool.check(shape)
        self.subject, self.pool, self.shape, self.learner = subject, pool, shape, learner
        self.lessons, self.front_end, self.seed = lessons, front_end, tuple(seed)
        self.optimizer = torch.optim.Adam(subject.theta.values())
        self.history: list[dict[str, float]] = []

    def run(self, title: str, put_aside: Callable[[], None]) -> None:
        """The steps that are left; `put_aside` is called now and then, and after the last."""
        started, sums = time.monotonic(), np.zeros(2)
        done = int(self.history[-1]["step"]) if self.history else 0
        bar = tqdm(range(done, self.lessons.steps), title, leave=False, mininterval=0.5, disable=None)
        for step in bar:
            sums += self._step(step)
            if (step + 1) % _SAVED == 0 or step + 1 == self.lessons.steps:
                loss, right = (sums / (step - done + 1)).tolist()
                seconds = round(time.monotonic() - started, 1)
                self.history.append({"step": step + 1, "loss": loss, "accuracy": right, "seconds": seconds})
                done, sums, started = step + 1, np.zeros(2), time.monotonic()
                put_aside()

    def state(self) -> dict[str, Any]:
        """What `restore` needs, plain values and tensors."""
        network = self.subject.network.state_dict()
        return {"network": network, "optimizer": self.optimizer.state_dict(), "history": self.history}

    def restore(self, state: dict[str, Any]) -> None:
        self.subject.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history = state["history"]

    def _step(self, number: int) -> np.ndarray:
        """Mean loss and accuracy on the query clips, float64[2]. Raises InputError where the loss is no number."""
        total: dict[str, Tensor] = {}
        found = np.zeros(2)
        for task in range(self.lessons.tasks):
            episode = self.pool.draw(self.shape, np.random.default_rng([*self.seed, number, task]))
            support, query = clips_of(episode, self.front_end)
            gradient, loss, right = self.subject.meta_gradient(support, query, len(episode.words), self.learner)
            total = {name: total[name] + each if total else each for name, each in gradient.items()}
            found += loss, right
        if not np.isfinite(found[0]):
            raise InputError(
                f"step {number + 1} of meta-training: the loss is no number, adaptation has diverged; a smaller"
                " --inner-rate (kws meta train) or fewer weights removed (--rounds) are worth trying"
            )
        rate = self.lessons.learning_rate * ramp(number, _WARMUP * self.lessons.steps, self.lessons.steps)
        self.optimizer.param_groups[0]["lr"] = rate
        sizes = self.subject.sizes()
        before = {name: value.detach().clone() for name, value in self.subject.theta.items()}
        for name, value in self.subject.theta.items():
            value.grad = total[name] / self.lessons.tasks
        self.optimizer.step()
        with torch.no_grad():  # a step is in units of what a channel's weights are
            for name, value in self.subject.theta.items():
                value.copy_(before[name] + (value - before[name]) * sizes[name].sqrt())
        return found / self.lessons.tasks
