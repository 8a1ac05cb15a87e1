"""kws meta evaluate: accuracy after adaptation, over tasks of words and speakers that no training has heard."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mcu_codegen.errors import InputError
from mcu_codegen.report import Table

from ..training import checkpoint
from . import tasks
from .assess import accuracies, interval
from .learners import Adaptable, learner_of
from .train import configure_material, material_of

TESTED = 600
SEED = 2


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="of `kws meta`, or checkpoints; compared with the first"
    )
    configure_material(parser)
    tasks.configure(parser)
    parser.add_argument("--split", choices=("testing", "validation"), default="testing", help="default: %(default)s")
    parser.add_argument("--count", type=int, default=TESTED, metavar="N", help="tasks (default: %(default)s)")
    parser.add_argument(
        "--int8",
        type=int,
        default=0,
        metavar="N",
        help="of the first N tasks also the quantised networks' (default: 0)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(options: argparse.Namespace) -> int:
    if options.count < 2 or not 0 <= options.int8 <= options.count:
        raise InputError(
            f"--count {options.count} --int8 {options.int8}: 2 or more tasks, so many or fewer, are accepted"
        )
    paths = [checkpoint.of_run(path) for path in options.runs]
    held = [checkpoint.load(path) for path in paths]
    learners = [learner_of(each, path) for each, path in zip(held, paths, strict=True)]
    if any(each.window != held[0].window for each in held):
        raise InputError(f"{paths[0]}: the networks hear other features than each other")
    material, shape = material_of(options, held[0].window), tasks.shape_of(options)
    pool = getattr(material, options.split)
    found, integer = [], []
    for each, learner in zip(held, learners, strict=True):
        parts = shape, learner, each.window.front_end, options.count, SEED
        found.append(accuracies(Adaptable(each.network()), pool, *parts))
        if options.int8:
            from .integer import integer_accuracies  # NNCF takes seconds to load

            integer.append(integer_accuracies(each, pool, shape, learner, material, options.int8, SEED))
    rows = [
        summary(str(path), right, found[0], *integer[place : place + 1])
        for place, (path, right) in enumerate(zip(options.runs, found, strict=True))
    ]
    if options.json:
        print(json.dumps({"tasks": options.count, "shape": shape.text(), "runs": rows}))
    else:
        print(f"{shape.text()}, {options.count} tasks of {pool.name}\n{table(rows).text()}")
    return 0


def summary(
    name: str, right: np.ndarray, first: np.ndarray, integer: np.ndarray | None = None
) -> dict[str, str | list[float]]:
    """Percent, and points, each with its 95 % interval over tasks."""
    found: dict[str, str | list[float]] = {
        "run": name,
        "accuracy": percent(right),
        "difference": percent(right - first),
    }
    if integer is not None:
        found["int8 difference"] = percent(integer[:, 1] - integer[:, 0])
    return found


def percent(values: np.ndarray) -> list[float]:
    return [round(100 * each, 2) for each in interval(values)]


def table(rows: Sequence[dict[str, str | list[float]]]) -> Table:
    return Table(list(rows[0]), [[_cell(each) for each in row.values()] for row in rows])


def _cell(value: str | list[float]) -> str:
    return value if isinstance(value, str) else "{:.2f} [{:.2f}, {:.2f}]".format(*value)
