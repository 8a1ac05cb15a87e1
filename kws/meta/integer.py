"""An adapted network in integers: what a microcontroller would run after a few clips were learnt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mcu_codegen.graph import Graph

from ..data.audio import progress
from ..quantization.nncf_quantize import Settings
from ..quantization.quantize import quantize
from ..training.checkpoint import Checkpoint
from ..training.inference import scores
from .assess import right
from .learners import Adaptable, Adapted, Learner
from .lessons import clips_of
from .tasks import Material, Pool, Shape

_SETTINGS = Settings(calibration_clips=100)


def adapted_checkpoint(held: Checkpoint, adapted: Adapted, words: tuple[str, ...]) -> Checkpoint:
    """The network of `held` adapted to tell `words` apart: an ordinary checkpoint."""
    head = list(held.state_dict)[-2:]  # weight and bias of the last layer
    state = held.state_dict | dict(adapted.body) | dict(zip(head, (adapted.weight, adapted.bias), strict=True))
    return replace(held, labels=words, state_dict={name: value.detach() for name, value in state.items()})


def integer_graph(held: Checkpoint, adapted: Adapted, words: tuple[str, ...], material: Material) -> Graph:
    """The same quantised by NNCF, calibrated on clips that the network was trained on."""
    return quantize(
        adapted_checkpoint(held, adapted, words), replace(material.task, labels=words), settings=_SETTINGS
    ).graph


def integer_accuracies(
    held: Checkpoint, pool: Pool, shape: Shape, learner: Learner, material: Material, tasks: int, seed: int
) -> npt.NDArray[np.float64]:
    """The share of right answers after adaptation, [tasks, 2]: of the float network, and of the integer one."""
    subject, front_end = Adaptable(held.network()), held.window.front_end
    held = replace(held, state_dict=subject.network.state_dict())
    found = []
    for episode in progress(pool.draws(shape, tasks, seed), f"int8, {shape.text()}", tasks, "task"):
        support, query = clips_of(episode, front_end)
        adapted = subject.adapt(support, len(episode.words), learner)
        predicted = scores(integer_graph(held, adapted, episode.words, material), episode.query).argmax(1)
        found.append((right(subject, adapted, query), float(np.mean(predicted == episode.query_labels))))
    return np.array(found)
