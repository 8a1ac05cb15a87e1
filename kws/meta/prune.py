"""kws meta prune: a meta-trained network loses most of its weights, and keeps learning new words from a few clips."""

from __future__ import annotations

import argparse
from pathlib import Path

from mcu_codegen.errors import InputError

from ..training import checkpoint, run_options
from . import tasks
from .learners import learner_of
from .lessons import Lessons
from .pruning import CRITERIA, PAPER_ROUNDS, STATE, Method, Pruning
from .train import configure_material, material_of

LESSONS = Lessons(steps=80)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", type=Path, metavar="RUN", help="the --out folder of `kws meta train`, or a checkpoint in it"
    )
    configure_material(parser)
    tasks.configure(parser)
    parser.add_argument(
        "--criterion", default=Method.criterion, metavar="NAME", help=f"of {', '.join(CRITERIA)} (default: %(default)s)"
    )
    parser.add_argument(
        "--channels", action="store_true", help="whole channels go; --rounds are shares of multiply-accumulates then"
    )
    parser.add_argument(
        "--spare-depthwise", action="store_true", help="leave depthwise layers whole, which C keeps dense anyway"
    )
    parser.add_argument(
        "--rounds",
        type=_shares,
        default=PAPER_ROUNDS,
        metavar="A,B",
        help=f"shares of the weights that are gone after each round (default: {','.join(map(str, PAPER_ROUNDS))})",
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=LESSONS.steps,
        metavar="N",
        help="of meta-training in a round (default: %(default)s)",
    )
    parser.add_argument("--tasks-per-step", type=int, default=LESSONS.tasks, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--epochs",
        type=int,
        default=Method.epochs,
        metavar="N",
        help="of imitation of the whole network before that (default: %(default)s)",
    )
    parser.add_argument(
        "--hessian-tasks",
        type=int,
        default=Method.tasks,
        metavar="N",
        help="tasks a Hessian is of (default: %(default)s)",
    )
    run_options.out(parser, "build/pruned")


def _shares(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.split(",")))


def run(options: argparse.Namespace) -> int:
    for name in ("steps", "tasks_per_step"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} {getattr(options, name)}: 1 or more is accepted")
    parts = options.rounds, options.hessian_tasks, options.channels, not options.spare_depthwise, options.epochs
    method = Method(options.criterion, *parts)
    path = checkpoint.of_run(options.checkpoint)
    held = checkpoint.load(path)
    learner, lessons = learner_of(held, path), Lessons(options.steps, options.tasks_per_step)
    material = material_of(options, held.window)
    pruning = Pruning(held, learner, material, tasks.shape_of(options), method, lessons, options.seed, options.out)
    if options.resume and (options.out / STATE).exists():
        pruning.restore()
    try:
        pruning.run()
    except KeyboardInterrupt:
        print(f"interrupted; the rounds that are done are in {options.out}, --resume goes on from there")
        raise
    print(options.out / checkpoint.BEST)
    return 0
