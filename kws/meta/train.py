"""kws meta train: an ordinary network of the words to learn from, then the same network trained to be adapted."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from mcu_codegen import files
from mcu_codegen.errors import InputError

from .. import models
from ..data import task_options
from ..data.opening import open_corpora
from ..data.synthetic import NAME as SYNTHETIC
from ..features import Window
from ..training import checkpoint, run_options
from ..training.checkpoint import BEST, Checkpoint
from ..training.inference import features_of, real
from ..training.recipe import Augmentation, Recipe
from ..training.train import LAST
from ..training.train import train as train_ordinarily
from . import tasks
from .assess import MOST_STEPS, losses_by_steps
from .learners import LEARNERS, Adaptable, Learner
from .lessons import Lessons, MetaTraining
from .tasks import Material, Shape

START = "start"  # in --out: the run of the ordinary network
VALIDATED = 60  # tasks that choices are made by
VALIDATION_SEED = 1
EPOCHS, VIEWS = 40, 8


def meta_train(
    start: Checkpoint,
    material: Material,
    shape: Shape,
    learner: Learner,
    lessons: Lessons,
    seed: int,
    out: Path,
    resume: bool = False,
) -> Checkpoint:
    """`start` trained so that `learner` can adapt it to tasks of `shape`.

    `out` receives last.pt (what `resume` needs) and metrics.csv every few steps, and best.pt in the end: the number of
    steps of adaptation that is best on validation tasks is part of it, and its head knows the words that it was trained
    on. Every random number comes from `seed`: a resumed run gives the weights of an uninterrupted one, bit for bit, on
    the same number of threads. Raises InputError where `start` has gates or exits or other labels than `material`.
    """
    check_start(start, material)
    subject, front_end = Adaptable(start.network()), start.window.front_end
    identity = " ".join(
        map(str, [checkpoint.fingerprint(subject.network), material.task.fingerprint, shape, learner, lessons, seed])
    )
    run = MetaTraining(subject, material.training, shape, learner, lessons, front_end, (seed,))
    material.validation.check(shape)
    if resume:
        run.restore(checkpoint.read_state(out / LAST, identity))

    def put_aside() -> None:
        checkpoint.write_tensors(out / LAST, {"identity": identity, **run.state()})
        files.write_all(out, {"metrics.csv": csv_of(run.history)})

    run.run(f"{learner.name}, {shape.text()}", put_aside)
    learner = best_adaptation(subject, material, shape, [learner], start)
    record = {"meta_lessons": asdict(lessons), "meta_shape": asdict(shape), "meta_seed": seed}
    result = finished(start, subject, material, learner, record)
    checkpoint.save(out / BEST, result)
    return result


def check_start(start: Checkpoint, material: Material) -> None:
    if start.gate_size or start.exits:
        raise InputError("the network has gates or exits; one without is accepted")
    start.check(material.task)


def best_adaptation(
    subject: Adaptable, material: Material, shape: Shape, learners: Sequence[Learner], held: Checkpoint
) -> Learner:
    """Of `learners` the one, with a number of steps up to `MOST_STEPS`, whose loss is least on validation tasks."""
    found = []
    for each in learners:
        parts = subject, material.validation, shape, replace(each, steps=MOST_STEPS), held.window.front_end
        losses = np.nan_to_num(losses_by_steps(*parts, VALIDATED, VALIDATION_SEED).mean(0), nan=np.inf)
        found.append((float(losses.min()), replace(each, steps=int(losses.argmin()) + 1)))
    loss, best = min(found, key=lambda pair: pair[0])
    steps = f"{best.steps} steps of adaptation" if best.name != "prototypes" else "means of words"
    print(f"{best.name}, {shape.text()}: {steps}, {loss:.3f} nats on validation tasks")
    return best


def finished(
    held: Checkpoint, subject: Adaptable, material: Material, learner: Learner, record: dict[str, Any]
) -> Checkpoint:
    """The checkpoint of `subject`, with a head of the words that it was trained on fitted to its body."""
    fit_head(subject, features_of(material.task.training, held.window), material.task.training.labels, held)
    return replace(held, state_dict=subject.network.state_dict(), recipe=held.recipe | record, learner=asdict(learner))


def fit_head(subject: Adaptable, codes: np.ndarray, labels: np.ndarray, held: Checkpoint) -> None:
    """Logistic regression of `labels` on what the body makes of int8 features `codes`, by L-BFGS."""
    with torch.no_grad():
        parts = [subject.body(real(codes[at : at + 512], held.window.front_end)) for at in range(0, len(codes), 512)]
    embedded, targets = torch.cat(parts), torch.from_numpy(labels)
    head = subject.head
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    head.requires_grad_()
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        found = cross_entropy(head(embedded), targets) + 1e-4 * head.weight.square().sum()
        found.backward()
        return found

    optimizer.step(loss)
    head.requires_grad_(False)


def csv_of(history: Sequence[dict[str, float]]) -> str:
    text = io.StringIO()
    rows = csv.DictWriter(text, history[0], lineterminator="\n")
    rows.writeheader()
    rows.writerows(history)
    return text.getvalue()


def configure_material(parser: argparse.ArgumentParser, default: str | None = SYNTHETIC) -> None:
    """The options that say what is learnt from, the same in every verb of `kws meta`."""
    parser.add_argument(
        "--data",
        action="append",
        required=default is None,
        metavar="SPEC",
        help=f"as in `kws train`; its words are split as datasets/ says (default: {default})",
    )
    parser.add_argument(
        "--views", type=int, default=VIEWS, metavar="N", help="augmented copies of the clips (default: %(default)s)"
    )
    run_options.seed(parser, "everything by chance")


def material_of(options: argparse.Namespace, window: Window) -> Material:
    """What the options of `configure_material` describe, for a network with that window."""
    if options.views < 1:
        raise InputError(f"--views {options.views}: 1 or more is accepted")
    corpus = open_corpora(options.data or [SYNTHETIC], (), window.length)
    return Material(corpus, window, Augmentation(views=options.views), options.seed)


def configure(parser: argparse.ArgumentParser) -> None:
    configure_material(parser)
    task_options.configure_window(parser)
    network = parser.add_mutually_exclusive_group()
    network.add_argument(
        "--model", default=models.DEFAULT, metavar="NAME", help="as in `kws train` (default: %(default)s)"
    )
    network.add_argument(
        "--start", type=Path, metavar="RUN", help="an ordinary network of the same words, already trained"
    )
    parser.add_argument("--front-end", metavar="NAME", help="features (default: those that the network is made for)")
    parser.add_argument(
        "--epochs", type=int, default=EPOCHS, metavar="N", help="of ordinary training (default: %(default)s)"
    )
    parser.add_argument(
        "--learner", default=Learner.name, metavar="NAME", help=f"of {', '.join(LEARNERS)} (default: %(default)s)"
    )
    tasks.configure(parser)
    parser.add_argument(
        "--inner-steps",
        type=int,
        default=Learner.steps,
        metavar="N",
        help="of adaptation in training (default: %(default)s)",
    )
    parser.add_argument(
        "--inner-rate", type=float, default=Learner.rate, metavar="R", help="of the body (default: %(default)s)"
    )
    parser.add_argument(
        "--steps", type=int, default=Lessons.steps, metavar="N", help="of meta-training (default: %(default)s)"
    )
    parser.add_argument("--tasks-per-step", type=int, default=Lessons.tasks, metavar="N", help="default: %(default)s")
    run_options.out(parser, "build/meta")


def run(options: argparse.Namespace) -> int:
    for name in ("epochs", "steps", "tasks_per_step"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} {getattr(options, name)}: 1 or more is accepted")
    shape, learner = tasks.shape_of(options), Learner(options.learner, options.inner_steps, options.inner_rate)
    lessons = Lessons(options.steps, options.tasks_per_step)
    start = checkpoint.load(checkpoint.of_run(options.start)) if options.start else None
    window = start.window if start else _window(options)
    material = material_of(options, window)
    for pool in (material.training, material.validation):
        pool.check(shape)
    try:
        start = start or _ordinary(options, material, window)
        again = options.resume and (options.out / LAST).exists()
        meta_train(start, material, shape, learner, lessons, options.seed, options.out, again)
    except KeyboardInterrupt:
        print(f"interrupted; what is done is in {options.out}, --resume goes on from there")
        raise
    print(options.out / BEST)
    return 0


def _window(options: argparse.Namespace) -> Window:
    found = models.find(options.model)
    return Window(options.front_end or found.front_end, found.context, task_options.window(options))


def _ordinary(options: argparse.Namespace, material: Material, window: Window) -> Checkpoint:
    """Trained by the recipe of `kws train`, on the words and speakers to learn from."""
    out = options.out / START
    recipe = replace(Recipe(), epochs=options.epochs, augmentation=Augmentation(views=options.views))
    again = options.resume and (out / LAST).exists()
    return train_ordinarily(material.task, options.model, window.preset, recipe, options.seed, out, again)
