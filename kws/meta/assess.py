"""How well a network learns tasks: accuracy task by task, with intervals, and how many steps it should take."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import torch

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
    parts = subject, pool, shape, front_end, tasks, seed
    return _asked(*parts, lambda clips, ways: [subject.adapt(clips, ways, learner)])[:, 0]


def by_steps(
    subject: Adaptable, pool: Pool, shape: Shape, learner: Learner, front_end: FrontEnd, tasks: int, seed: int
) -> npt.NDArray[np.float64]:
    """The same after every step, [tasks, steps]."""
    parts = subject, pool, shape, front_end, tasks, seed
    return _asked(*parts, lambda clips, ways: subject.steps(clips, ways, learner))


def _asked(
    subject: Adaptable,
    pool: Pool,
    shape: Shape,
    front_end: FrontEnd,
    tasks: int,
    seed: int,
    taught: Callable[[Clips, int], Iterable[Adapted]],
) -> npt.NDArray[np.float64]:
    """Accuracy of each network that `taught` makes of the clips and the number of words of a task."""
    pool.check(shape)
    found = []
    for episode in progress(pool.draws(shape, tasks, seed), f"{shape.text()}, {pool.name}", tasks, "task"):
        support, query = clips_of(episode, front_end)
        found.append([right(subject, adapted, query) for adapted in taught(support, len(episode.words))])
    return np.array(found)


@torch.no_grad()
def right(subject: Adaptable, adapted: Adapted, query: Clips) -> float:
    return float((subject.logits(adapted, query.features).argmax(1) == query.labels).double().mean())


def interval(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean and 95 % interval of the mean over tasks, by bootstrap."""
    draws = np.random.default_rng(0).integers(len(values), size=(_DRAWS, len(values)))
    low, high = np.quantile(values[draws].mean(1), (0.025, 0.975))
    return float(values.mean()), float(low), float(high)
