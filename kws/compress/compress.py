"""kws compress: a trained network gives up filters, round by round, until it fits.

After Zhao et al. (arXiv 2201.10947; criterion and policies from the sibling papers 2201.10520 and 2201.09881), of which
only abstracts were at hand: reconstructed. docs/compression.md says what is whose.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mcu_codegen import targets
from mcu_codegen.emulate import toolchain
from mcu_codegen.errors import InputError

from ..data import task_options
from ..data.task import Task
from ..evaluate import Result
from ..quantization.quantize import quantize
from ..training import checkpoint, run_options
from ..training.checkpoint import BEST, Checkpoint
from ..training.inference import scores
from ..training.recipe import Augmentation, Recipe
from . import attention, costs
from .costs import Board
from .filters import Rank
from .pruning import Goal, Method, Pruning


def compress(
    held: Checkpoint,
    task: Task,
    board: Board,
    goal: Goal,
    method: Method,
    seed: int,
    out: Path,
    resume: bool = False,
    rank: Rank = attention.of_filters,
    augmentation: Augmentation = Recipe.augmentation,
) -> Checkpoint:
    """The network of `held` with fewer channels, which keeps `goal`.

    Each round prunes, fine-tunes with the large network as teacher, and is taken back where accuracy falls too low;
    then the next takes half as much. The round that would go below the bounds takes only what it must. `out` receives
    best.pt in the end, and after each round round-N.pt, rounds.json, rounds.png and last.pt, which `resume` needs.

    Raises InputError where the narrowest network exceeds a bound, where `max_drop` does not let the bounds be met, and
    where the network has gates or exits or other labels than `task`.
    """
    held.check(task)
    if held.gate_size or held.exits:
        raise InputError("the network has gates or exits; one without is accepted, and takes them afterwards")
    run = Pruning(held, task, board, goal, method, seed, out, rank, augmentation)
    run.begin(resume)
    while True:
        while run.prune():
            pass
        result = run.last_lesson()
        integer = quantize(result, task).graph
        found = board.costs_of(integer, run.model)
        if not (over := found.above(goal.bounds)):
            break
        run.tighten(over)  # trained weights are not quite those that stood for them
    run.finish(result, found)
    right = Result.of(task.labels, run.validation[1], scores(integer, run.validation[0]).argmax(1)).balanced
    print(f"{out / BEST}: int8 {right:.2%} of validation clips (balanced)")
    return result


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", type=Path, metavar="RUN", help="the --out folder of `kws train`, or a checkpoint in it"
    )
    task_options.configure_again(parser)
    goal = parser.add_argument_group("what it must keep, one or more of these")
    goal.add_argument("--max-drop", type=float, metavar="POINTS", help="points of accuracy on validation clips")
    costs.configure(goal)
    parser.add_argument(
        "--target", default="cortex-m4", metavar="CORE", help=f"of {', '.join(targets.TARGETS)} (default: %(default)s)"
    )
    parser.add_argument(
        "--granule",
        type=int,
        default=Method.granule,
        metavar="N",
        help="channels go in multiples of it (default: %(default)s, as many as kernels take at a time)",
    )
    parser.add_argument(
        "--epochs", type=int, default=Method.epochs, metavar="N", help="of each round (default: %(default)s)"
    )
    parser.add_argument(
        "--last-epochs", type=int, default=Method.last_epochs, metavar="N", help="after the last (default: %(default)s)"
    )
    run_options.seed(parser, "order and augmentation")
    run_options.out(parser, "build/compress")


def run(options: argparse.Namespace) -> int:
    bounds = costs.bounds_of(options)
    if not bounds and options.max_drop is None:
        raise InputError("no goal: --max-drop, --params, --macs, --instructions, --flash or --ram is needed")
    for name in ("granule", "epochs", "last_epochs"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} {getattr(options, name)}: 1 or more is accepted")
    if options.max_drop is not None and options.max_drop < 0:
        raise InputError(f"--max-drop {options.max_drop}: 0 or more is accepted")
    target = targets.find(options.target)
    held = checkpoint.load(checkpoint.of_run(options.checkpoint))
    task = task_options.again(options, held.labels, held.window.length)
    task.split("validation")
    board = Board(target, toolchain.choose(), len(held.labels), held.window)
    method = Method(granule=options.granule, epochs=options.epochs, last_epochs=options.last_epochs)
    goal = Goal(bounds, options.max_drop)
    try:
        compress(held, task, board, goal, method, options.seed, options.out, options.resume)
    except KeyboardInterrupt:
        print(f"interrupted; the rounds that are done are in {options.out}, --resume goes on from there")
        raise
    return 0
