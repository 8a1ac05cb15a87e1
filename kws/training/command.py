"""kws train: the options of training, and what follows it: gates, and early exits."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from mcu_codegen.errors import InputError

from .. import models
from ..data import task_options
from ..data.everyday import NAME as EVERYDAY
from ..data.task import Task
from ..models.exits import places_of
from ..personalize.exit_training import ExitRecipe, train_exits
from ..personalize.gate_training import GATED, GateRecipe, train_gates
from ..personalize.gated import GatedNetwork
from ..personalize.users import speakers_of
from . import checkpoint, run_options
from .checkpoint import BEST, Checkpoint
from .recipe import Augmentation, Recipe
from .train import train


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
    parser.add_argument(
        "--every-word",
        action="store_true",
        help="in training tell every word of --data apart, those of _unknown_ too: features for words that are taught"
        f" later (`kws meta adapt`); --data {EVERYDAY} brings some six hundred",
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
    for name in ("epochs", "front_end", "streaming", "every_word") if options.start else ():
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
    recipe = recipe.with_every_word() if options.every_word else recipe
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
