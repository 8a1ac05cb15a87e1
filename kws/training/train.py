"""Train a network on a corpus; continue after an interruption to the very same weights."""

from __future__ import annotations

import copy
import csv
import dataclasses
import io
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from mcu_codegen import files
from mcu_codegen.errors import InputError

from .. import models, plots
from ..data import augment
from ..data.audio import RATE
from ..data.task import Task
from ..evaluate import Result
from ..features import Window
from ..models.count import count
from . import checkpoint
from .checkpoint import BEST, Checkpoint
from .distillation import Teachers, softened_divergence
from .every_word import EveryWord
from .inference import features_of, logits, real
from .optimizer import adamw
from .recipe import Recipe, Views, ramp, view_clips, views

LAST = "last.pt"


def train(
    task: Task,
    model: str,
    preset: str,
    recipe: Recipe,
    seed: int,
    out: Path,
    resume: bool = False,
    teachers: Sequence[Checkpoint] = (),
) -> Checkpoint:
    """Train `model` on `task` and return the checkpoint that was best on the validation clips.

    `out` receives best.pt, last.pt (what --resume needs), metrics.csv, curves.png and confusion.png, all written anew
    after each epoch. Best means the highest mean recall of the classes, so that a class with many clips counts no more
    than another; it is sought in the last tenth of the epochs, for the maximum of many noisy values is luck, and the
    network still changes before (until then the newest epoch stands in). With `teachers`, of the same labels and
    front end, the loss is to one half the divergence from the mean of their logits (Hinton et al., arXiv 1503.02531);
    with `recipe.every_word` a second head learns, too, and is dropped (every_word.py).
    Every random number comes from `seed` and the epoch's number: a resumed run gives the weights of an uninterrupted
    one, bit for bit, on the same number of threads.
    """
    run = _Run(task, model, preset, recipe, seed, teachers)
    if resume:
        run.restore(out / LAST)
    window = run.window
    cost = count(run.network, window.frames(window.length), window.front_end.coefficients)
    print(
        f"{model}: {cost.parameters:,} parameters, {cost.macs:,} MACs; {task.name}, {len(task.training)} training clips"
    )
    training = views(task, window, recipe.augmentation, seed)
    validation = features_of(task.validation, window), task.validation.labels
    for epoch in range(run.epochs_done, recipe.epochs):
        result = run.epoch(epoch, training, validation)
        if run.best_epoch == epoch:
            checkpoint.save(out / BEST, run.best())
        checkpoint.write_tensors(out / LAST, run.state())
        pictures = {"curves.png": plots.curves(run.history)}
        if run.best_epoch == epoch:
            pictures["confusion.png"] = plots.confusion(result.confusion, task.labels)
        files.write_all(out, {"metrics.csv": _csv(run.history), **pictures})
    best = run.history[run.best_epoch]
    print(f"best epoch {best['epoch']}: validation accuracy {best['validation_accuracy']:.2%}; {out / BEST}")
    return run.best()


def _csv(history: list[dict[str, float]]) -> str:
    text = io.StringIO()
    rows = csv.DictWriter(text, history[0], lineterminator="\n")
    rows.writeheader()
    rows.writerows(history)
    return text.getvalue()


class _Run:
    """All that changes during training, and how to put it aside and take it up again."""

    def __init__(
        self, task: Task, model: str, preset: str, recipe: Recipe, seed: int, teachers: Sequence[Checkpoint]
    ) -> None:
        architecture = models.find(model)
        self.window = Window(preset, architecture.context, task.length)
        self.front_end = self.window.front_end
        if architecture.coefficients not in (0, self.front_end.coefficients):
            raise InputError(
                f"--front-end {preset}: {self.front_end.coefficients} coefficients a frame; network {model} takes"
                f" {architecture.coefficients}, as {architecture.front_end} gives"
            )
        self.teachers = Teachers(teachers, task.labels, self.window)
        self.task, self.model, self.recipe, self.seed = task, model, recipe, seed
        torch.manual_seed(seed)
        self.network = models.build(model, len(task.labels))
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast on a CPU
        for layer in self.network.modules():
            if isinstance(layer, nn.ReLU):
                layer.inplace = True  # here only: a third less memory traffic, which is what limits the speed
        self.average = copy.deepcopy(self.network)
        self.body, self.head = models.body_and_head(self.network)
        self.every_word: EveryWord | None = None
        if recipe.every_word:
            clips = view_clips(task, recipe.augmentation, seed)
            self.every_word = EveryWord(task, clips, self.head.in_features, recipe.label_smoothing)
        trained = nn.ModuleList([self.network, *([self.every_word] if self.every_word else [])])
        self.optimizer = adamw(trained.parameters(), recipe.weight_decay)
        self.history: list[dict[str, float]] = []
        self.best_weights: dict[str, Tensor] = {}
        self.best_epoch = -1

    @property
    def epochs_done(self) -> int:
        return len(self.history)

    def epoch(self, number: int, training: Views, validation: tuple[np.ndarray, np.ndarray]) -> Result:
        """One pass over a view, then the averaged weights on the validation clips."""
        started = time.monotonic()
        rng = np.random.default_rng([self.seed, number])
        examples = training.rows(number, self.seed)
        codes, targets = training.features[examples], training.labels[examples]
        codes = augment.spec_augment(
            codes, self.front_end.floor_codes, rng, self.recipe.time_masks, self.recipe.time_width, band_masks=0
        )
        labels = torch.from_numpy(targets)
        steps = math.ceil(len(labels) / self.recipe.batch)
        loss_sum, right = 0.0, 0
        self.network.train()
        bar = tqdm(range(steps), f"epoch {number + 1}/{self.recipe.epochs}", leave=False, mininterval=0.5, disable=None)
        for step in bar:
            rows = slice(step * self.recipe.batch, (step + 1) * self.recipe.batch)
            for group in self.optimizer.param_groups:
                group["lr"] = self._learning_rate(number + step / steps)
            batch = real(codes[rows], self.front_end)
            embedded = self.body(batch)
            outputs = self.head(embedded)
            loss = cross_entropy(outputs, labels[rows], label_smoothing=self.recipe.label_smoothing)
            if self.teachers:
                loss = 0.5 * loss + 0.5 * softened_divergence(outputs, self.teachers(batch))
            if self.every_word:
                loss = loss + self.recipe.every_word * self.every_word.loss(embedded, examples[rows])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self._update_average(number * steps + step)
            loss_sum += loss.item() * len(outputs)
            right += int((outputs.argmax(1) == labels[rows]).sum())
        validation_loss, result = self._validate(*validation)
        self.history.append(
            {
                "epoch": number + 1,
                "learning_rate": self._learning_rate(number),
                "training_loss": loss_sum / len(labels),
                "training_accuracy": right / len(labels),
                "validation_loss": validation_loss,
                "validation_accuracy": result.balanced,
                "seconds": round(time.monotonic() - started, 1),
            }
        )
        settled = self.recipe.epochs - max(1, self.recipe.epochs // 10)  # the learning rate is near zero from here on
        if self.best_epoch < settled or result.balanced >= self.history[self.best_epoch]["validation_accuracy"]:
            self.best_epoch = number
            self.best_weights = {name: value.clone() for name, value in self.average.state_dict().items()}
        return result

    def best(self) -> Checkpoint:
        """The best weights so far."""
        record = {"data": self.task.name, "seed": self.seed, "best_epoch": self.best_epoch + 1}
        return Checkpoint(
            self.model,
            self.task.labels,
            self.front_end.name,
            self.best_weights,
            record | dataclasses.asdict(self.recipe),
            seconds=self.task.length / RATE,
        )

    def state(self) -> dict[str, Any]:
        """Everything `restore` needs, as plain values and tensors."""
        return {
            "identity": self._identity(),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "every_word": self.every_word.state_dict() if self.every_word else {},
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
        }

    def restore(self, path: Path) -> None:
        """Take up the run whose state is in `path`. Raises InputError where it is a run of other data or settings."""
        state = checkpoint.read_tensors(path)
        identity = state.get("identity", {})
        for name, wanted in self._identity().items():
            if identity.get(name) != wanted:
                raise InputError(
                    f"{path}: --resume needs the same {name}: that run's was {identity.get(name)}, now {wanted}"
                )
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        if self.every_word:
            self.every_word.load_state_dict(state["every_word"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history, self.best_epoch, self.best_weights = state["history"], state["best_epoch"], state["best_weights"]

    def _identity(self) -> dict[str, str]:
        settings = {
            "model": self.model,
            "front end": self.front_end,
            "seed": self.seed,
            "recipe": self.recipe,
            "teachers": self.teachers.fingerprints,
        }
        return {"data": self.task.fingerprint} | {name: repr(value) for name, value in settings.items()}

    def _learning_rate(self, epoch: float) -> float:
        """`epoch` counts fractions."""
        recipe = self.recipe
        return recipe.learning_rate * ramp(epoch, min(recipe.warmup_epochs, recipe.epochs / 4), recipe.epochs)

    def _update_average(self, step: int) -> None:
        """Fold the weights after `step` into the moving average, whose memory grows with the steps done."""
        share = max(1 - self.recipe.averaging, 9 / (10 + step))
        with torch.no_grad():
            pairs = zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True)
            for average, now in pairs:
                average.lerp_(now, share) if average.is_floating_point() else average.copy_(now)

    def _validate(self, codes: np.ndarray, labels: np.ndarray) -> tuple[float, Result]:
        outputs = logits(self.average, codes, self.front_end)
        loss = cross_entropy(outputs, torch.from_numpy(labels)).item()
        return loss, Result.of(self.task.labels, labels, outputs.argmax(1).numpy())
