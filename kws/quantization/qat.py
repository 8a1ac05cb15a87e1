"""Quantisation-aware fine-tuning: the fake-quantised network learns to say what the float network says.

Batch normalisation is folded already. The loss is the divergence from the float network's answers, so no labels are
needed and the int8 network is pulled towards the very decisions that it replaces.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mcu_codegen.listen.frontend import FrontEnd

from ..training import checkpoint
from ..training.distillation import divergence
from ..training.inference import outputs, real
from ..training.recipe import Views, ramp

Outputs = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True)
class Schedule:
    """AdamW without weight decay; the learning rate falls from `learning_rate` to zero as a cosine.

    The rate is relative to each tensor's size: Adam's steps ignore scale, and after folding the first layer's weights
    are a hundred times smaller than the last one's.
    """

    epochs: int
    batch: int = 128
    learning_rate: float = 1e-3  # of a tensor's root mean square


class FineTuning:
    """All that changes during fine-tuning of `student`, in place, towards `teacher`, and how to take it up again."""

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        front_end: FrontEnd,
        schedule: Schedule,
        identity: str,
        seed: int,
        answers: int = 1,
    ) -> None:
        """The last `answers` outputs of both are logits. `identity` says which network and data these are: only a run
        of the same is taken up again."""
        self.student, self.teacher, self.front_end, self.answers = student, teacher, front_end, answers
        self.schedule, self.seed, self.identity = schedule, seed, f"{identity} {schedule} seed {seed}"
        groups = [
            {"params": [parameter], "size": max(float(parameter.detach().square().mean().sqrt()), 1e-4)}
            for parameter in student.parameters()
            if parameter.requires_grad
        ]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
        self.epochs_done = 0
        self.best_divergence = math.inf
        self.best_weights: dict[str, Tensor] = {}

    def run(self, training: Views, validation: np.ndarray, state: Path) -> float:
        """Train the epochs that are left and load the weights that were best on `validation`, int8[N, frames, ...].

        `state` is written after each epoch. Returns the validation divergence in nats of the best weights; those
        before the first epoch count too.
        """
        target = tuple(outputs(self.teacher, validation, self.front_end))
        if not self.best_weights:
            self._keep_best(validation, target)
        while self.epochs_done < self.schedule.epochs:
            self._epoch(training)
            self._keep_best(validation, target)
            checkpoint.write_tensors(state, self._state())
        self.student.load_state_dict(self.best_weights)
        return self.best_divergence

    def restore(self, path: Path) -> None:
        """Take up the run whose state is in `path`. Raises InputError where it is a run of something else."""
        state = checkpoint.read_state(path, self.identity)
        self.student.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epochs_done, self.best_divergence = state["epochs_done"], state["best_divergence"]
        self.best_weights = state["best_weights"]

    def _state(self) -> dict[str, Any]:
        return {
            "identity": self.identity,
            "student": self.student.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epochs_done": self.epochs_done,
            "best_divergence": self.best_divergence,
            "best_weights": self.best_weights,
        }

    def _epoch(self, training: Views) -> None:
        codes, _ = training.epoch(self.epochs_done, self.seed)
        steps = math.ceil(len(codes) / self.schedule.batch)
        title = f"fine-tuning {self.epochs_done + 1}/{self.schedule.epochs}"
        self.student.train()
        for step in tqdm(range(steps), title, leave=False, mininterval=0.5, disable=None):
            rate = self.schedule.learning_rate * ramp(self.epochs_done + step / steps, 0, self.schedule.epochs)
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group["size"]
            batch = real(codes[step * self.schedule.batch : (step + 1) * self.schedule.batch], self.front_end)
            with torch.no_grad():
                target = self.teacher(batch)
            loss = self._divergence(self.student(batch), target)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self.epochs_done += 1

    def _divergence(self, found: Outputs, wanted: Outputs) -> Tensor:
        """The mean over the answers."""
        pairs = zip(*(each if isinstance(each, tuple) else (each,) for each in (found, wanted)), strict=True)
        return torch.stack([divergence(*pair) for pair in list(pairs)[-self.answers :]]).mean()

    def _keep_best(self, validation: np.ndarray, target: Outputs) -> None:
        reached = float(self._divergence(tuple(outputs(self.student, validation, self.front_end)), target))
        if reached < self.best_divergence:
            self.best_divergence = reached
            self.best_weights = copy.deepcopy(self.student.state_dict())
