"""A student learns: from labels, and from a larger network's answers and attention."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from mcu_codegen.errors import InputError
from mcu_codegen.listen.frontend import FrontEnd

from ..data import augment
from ..data.corpus import UNKNOWN
from ..training.checkpoint import Checkpoint
from ..training.distillation import softened_divergence
from ..training.inference import real
from ..training.optimizer import adamw
from ..training.recipe import Recipe, ramp
from .attention import distance, observed

Epoch = Callable[[int], tuple[np.ndarray, np.ndarray]]
"""From an epoch's number to int8 features [N, frames, coefficients] and labels int64[N]."""


@dataclass(frozen=True)
class Lesson:
    """How a student is taught. The first three are the weights of the parts of its loss."""

    labels: float = 0.5
    answers: float = 0.5
    attention: float = 1.0
    batch: int = 128
    learning_rate: float = 2e-3  # the highest; a cosine down to zero follows
    weight_decay: float = 1e-2
    label_smoothing: float = 0.1


class Teacher:
    """A trained network, asked about the labels of a student."""

    def __init__(self, held: Checkpoint, student: Checkpoint) -> None:
        """Raises InputError where it hears other features than the student, or lacks one of its labels."""
        if held.window != student.window:
            raise InputError(
                f"--teacher: front end {held.front_end}, {held.window.context} frames of context; the student's"
                f" {student.front_end} and {student.window.context} are accepted"
            )
        if absent := [label for label in student.labels if label not in held.labels]:
            raise InputError(
                f"--teacher: knows nothing of {', '.join(absent)}; a network that the student's words are among is"
                f" accepted, this one knows {', '.join(held.labels)}"
            )
        self.network = held.network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # words that the student lacks are unknown ones to it
        meant = [label if label in student.labels else UNKNOWN for label in held.labels]
        self._places = [torch.tensor([label == each for each in meant]) for label in student.labels]

    @torch.no_grad()
    def __call__(self, features: Tensor) -> Tensor:
        """Its logits of the student's labels, [N, labels]."""
        logits: Tensor = self.network(features)
        return torch.stack([logits[:, place].logsumexp(1) for place in self._places], 1)


def teach(
    student: nn.Module,
    teacher: Teacher,
    examples: Epoch,
    epochs: int,
    lesson: Lesson,
    front_end: FrontEnd,
    seed: Sequence[int],
    title: str,
) -> None:
    """Train `student` in place."""
    student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # quicker on a CPU
    optimizer = adamw(student.parameters(), lesson.weight_decay)
    student.train()
    with observed(student) as own, observed(teacher.network) as shown:
        for epoch in range(epochs):
            codes, targets = examples(epoch)
            rng = np.random.default_rng([*seed, epoch])
            codes = augment.spec_augment(
                codes, front_end.floor_codes, rng, Recipe.time_masks, Recipe.time_width, band_masks=0
            )
            steps = math.ceil(len(codes) / lesson.batch)
            bar = tqdm(range(steps), f"{title} {epoch + 1}/{epochs}", leave=False, mininterval=0.5, disable=None)
            for step in bar:
                rows = slice(step * lesson.batch, (step + 1) * lesson.batch)
                rate = lesson.learning_rate * ramp(epoch + step / steps, min(1.0, epochs / 4), epochs)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                features, labels = real(codes[rows], front_end), torch.from_numpy(targets[rows])
                answers, outputs = teacher(features), student(features)
                loss = lesson.labels * cross_entropy(outputs, labels, label_smoothing=lesson.label_smoothing)
                loss = loss + lesson.answers * softened_divergence(outputs, answers)
                loss = loss + lesson.attention * distance(list(own.values()), list(shown.values()))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    student.eval()
