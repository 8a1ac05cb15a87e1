"""Train a network on a corpus; continue after an interruption to the very same weights."""

from __future__ import annotations

import argparse
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
from ..data import augment, task_options
from ..data.audio import RATE
from ..data.task import Task
from ..evaluate import Result
from ..features import Window
from ..models.count import count
from ..models.exits import places_of
from ..personalize.exit_training import ExitRecipe, train_exits
from ..personalize.gate_training import GATED, GateRecipe, train_gates
from ..personalize.gated import GatedNetwork
from ..personalize.users import speakers_of
from . import checkpoint, run_options
from .checkpoint import BEST, Checkpoint
from .distillation import Teachers, softened_divergence
from .inference import features_of, logits, real
from .recipe import Augmentation, Recipe, Views, ramp, views

LAST = "last.pt"


def configure(parser: argparse.ArgumentParser) -> None:
    task_options.configure(parser)
    network = parser.add_mutually_exclusive_group()
    network.add_argument(
        "--model",
        default=models.DEFAULT,
        metavar="NAME",
        help=f"of {', '.join(models.MODELS)}, perhaps with the channels of its groups, as res1d-l:64,48"
        " (default: %(default)s)",
    )
    network.add_argument(
        "--start",
        type=Path,
        metavar="RUN",
        help="with --gates or --exits: give them to this trained network; exits to one with gates, too",
    )
    parser.add_argument(
        "--streaming",
        action="store_true",
        help="for a board that listens all day: the form of the network that pads no time, examples in rooms and"
        " anywhere in the window, and speech without the words that goes on",
    )
    parser.add_argument("--front-end", metavar="NAME", help="features (default: those that the network is made for)")
    parser.add_argument("--epochs", type=int, metavar="N", help=f"default: {Recipe.epochs}")
    run_options.seed(parser, "weights, order and augmentation")
    run_options.out(parser, "build/train")
    parser.add_argument(
        "--teacher",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUN",
        help="learn from these networks' answers too, from their mean where there are several",
    )
    exits = parser.add_argument_group("early exits, at which inference stops where it is sure")
    exits.add_argument(
        "--exits", action="store_true", help="train exits after the network, and its gates; writes exits.pt too"
    )
    exits.add_argument(
        "--exit-places",
        type=_places,
        default=ExitRecipe.exits,
        metavar="A,B",
        help="0: behind the stem, 1: behind the first block, ... (default: 0,1,2)",
    )
    exits.add_argument("--exit-epochs", type=int, default=ExitRecipe.epochs, metavar="N", help="default: %(default)s")
    gates = parser.add_argument_group("gates, by which the network becomes one person's (see `kws enroll`)")
    gates.add_argument("--gates", action="store_true", help="train gates after the network; writes gated.pt too")
    gates.add_argument(
        "--keep-macs",
        type=float,
        default=GateRecipe.keep_macs,
        metavar="SHARE",
        help="default: %(default)s of the MACs",
    )
    gates.add_argument(
        "--gate-size", type=int, default=GateRecipe.size, metavar="N", help="channels a gate (default: %(default)s)"
    )
    gates.add_argument("--gate-steps", type=int, default=GateRecipe.steps, metavar="N", help="default: %(default)s")


def _places(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def run(options: argparse.Namespace) -> int:
    for name in ("epochs", "front_end", "streaming") if options.start else ():
        if getattr(options, name):
            raise InputError(f"--{name.replace('_', '-')}: goes without --start, whose network is trained already")
    model = models.streaming(options.model) if options.streaming else options.model
    epochs = Recipe.epochs if options.epochs is None else options.epochs
    if epochs < 1:
        raise InputError(f"--epochs {epochs}: at least 1 is needed")
    if not 0 < options.keep_macs <= 1:
        raise InputError(f"--keep-macs {options.keep_macs}: a share of 1 or less, above 0, is accepted")
    if options.gate_size < 1 or options.gate_steps < 1 or options.exit_epochs < 1:
        raise InputError("--gate-size, --gate-steps and --exit-epochs are 1 or more")
    if options.start and not (options.gates or options.exits):
        raise InputError("--start: goes with --gates or --exits")
    task = task_options.from_options(options)
    augmentation = Augmentation(views=min(Augmentation.views, epochs))  # an epoch takes one
    augmentation = augmentation.streamed() if options.streaming else augmentation
    recipe = dataclasses.replace(Recipe(), epochs=epochs, augmentation=augmentation)
    gates = GateRecipe(options.keep_macs, size=options.gate_size, steps=options.gate_steps)
    preset = options.front_end or models.find(model).front_end
    teachers = [checkpoint.load(checkpoint.of_run(each)) for each in options.teacher]
    start = _start(options.start, task, options.gates) if options.start else None
    untrained = models.build(start.model if start else model, len(task.labels))
    if options.gates:  # what would be refused is refused before the network is trained
        GatedNetwork(untrained, gates.size, 1)
        speakers_of(task)
    if options.exits:
        places_of(untrained, options.exit_places)
    try:
        held = start or train(task, model, preset, recipe, options.seed, options.out, options.resume, teachers)
        if options.gates:
            held = train_gates(held, task, gates, options.seed, options.out, options.resume, teachers=teachers)
        if options.exits:
            exits = ExitRecipe(options.exit_places, options.exit_epochs)
            train_exits(held, task, exits, options.seed, options.out, options.resume)
        if start:
            checkpoint.save(options.out / (GATED if start.gate_size else BEST), start)
    except KeyboardInterrupt:
        print(f"interrupted; the epochs that are done are in {options.out}, --resume goes on from there")
        raise
    return 0


def _start(path: Path, task: Task, gates: bool) -> Checkpoint:
    """The network that is to have `gates`, or exits alone, beside what it has."""
    held = checkpoint.load(checkpoint.of_run(path))
    found = [name for name, there in (("gates", held.gate_size), ("exits", held.exits)) if there]
    without = "neither gates nor exits" if gates else "no exits"
    if held.exits or (gates and held.gate_size) or held.labels != task.labels:
        raise InputError(
            f"--start {path}: a network of {', '.join(held.labels)} with {' and '.join(found) or without};"
            f" one of {', '.join(task.labels)} with {without} is accepted"
        )
    return held


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
    front end, the loss is to one half the divergence from the mean of their logits (Hinton et al., arXiv 1503.02531).
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
        weights = [parameter for parameter in self.network.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in self.network.parameters() if parameter.ndim == 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}],
            fused=True,
        )
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
        codes, targets = training.epoch(number, self.seed)
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
            outputs = self.network(batch)
            loss = cross_entropy(outputs, labels[rows], label_smoothing=self.recipe.label_smoothing)
            if self.teachers:
                loss = 0.5 * loss + 0.5 * softened_divergence(outputs, self.teachers(batch))
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
