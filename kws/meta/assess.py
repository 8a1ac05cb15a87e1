"""How well a network learns tasks: accuracy task by task, with intervals, and how many steps it should take."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import cross_entropy

from mcu_codegen.listen.frontend import FrontEnd

from ..data.audio import progress
from .learners import Adaptable, Adapted, Clips, Learner
from .lessons import clips_of
from .tasks import Pool, Shape

MOST_STEPS = 5
_DRAWS = 2000  # of the bootstrap


def accuracies(
    subject: Adaptable, pool: Pool, shape: Shape, learner: Learner, front_end: FrontEnd, tasks: int, seed: int
) -> npt.NDArray[np.float64]:
    """The share of right answers after adaptation in each of `tasks` tasks, which depend on `pool`, `shape` and `seed`
    alone: networks that are judged by the same tasks can be compared task by task."""
    found = [
        right(subject, subject.adapt(support, ways, learner), query)
        for support, query, ways in _asked(pool, shape, front_end, tasks, seed)
    ]
    return np.array(found)


def losses_by_steps(
    subject: Adaptable, pool: Pool, shape: Shape, learner: Learner, front_end: FrontEnd, tasks: int, seed: int
) -> npt.NDArray[np.float64]:
    """Cross-entropy in nats after every step, [tasks, steps]: it still tells networks apart that are right about all
    of a task's clips."""
    found = [
        [loss(subject, adapted, query) for adapted in subject.steps(support, ways, learner)]
        for support, query, ways in _asked(pool, shape, front_end, tasks, seed)
    ]
    return np.array(found)


def _asked(pool: Pool, shape: Shape, front_end: FrontEnd, tasks: int, seed: int) -> Iterator[tuple[Clips, Clips, int]]:
    """What is learnt from, what is asked, and the number of words, task by task."""
    pool.check(shape)
    for episode in progress(pool.draws(shape, tasks, seed), f"{shape.text()}, {pool.name}", tasks, "task"):
        yield *clips_of(episode, front_end), len(episode.words)


@torch.no_grad()
def right(subject: Adaptable, adapted: Adapted, query: Clips) -> float:
    return float((subject.logits(adapted, query.features).argmax(1) == query.labels).double().mean())


@torch.no_grad()
def loss(subject: Adaptable, adapted: Adapted, query: Clips) -> float:
    return cross_entropy(subject.logits(adapted, query.features), query.labels).item()


def interval(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean and 95 % interval of the mean over tasks, by bootstrap."""
    draws = np.random.default_rng(0).integers(len(values), size=(_DRAWS, len(values)))
    low, high = np.quantile(values[draws].mean(1), (0.025, 0.975))
    return float(values.mean()), float(low), float(high)
