"""The table of exits: every way of making them one person's, on speakers never heard in training."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from mcu_codegen import files
from mcu_codegen.errors import InputError
from mcu_codegen.report import Table

from ..data import task_options
from ..data.task import Examples, Task
from ..training import checkpoint
from ..training.checkpoint import Checkpoint
from . import exit_plots
from .exit_comparison import FACTORY, FULL, LABELLED, UNLABELLED, Subject, compare
from .exit_subjects import heard_by, labels_of, opened, subject
from .fine_tuning import Cost
from .protocol import Speakers, Trial, interval, per_speaker, worst_tenth

BUFFERS = (10, 20, 30)  # utterances
SETS = 10  # of half of the words, for users who never say the others
LEAST = 6  # clips that a speaker is judged by, at least
FEW = 10  # utterances of a user of half of the words


@dataclass(frozen=True)
class Row:
    """One way: by speaker, averaged over draws and seeds."""

    accuracy: np.ndarray
    macs: float
    exit: float
    training: Cost | None  # of one user


@dataclass(frozen=True)
class Judgement:
    """One kind of users."""

    title: str
    rows: dict[str, Row]

    @staticmethod
    def pooled(folds: Sequence[Judgement]) -> Judgement:
        """The same kind on the speakers of several folds, each answered by a network that never heard them."""
        counts = [len(fold.rows[FULL].accuracy) for fold in folds]

        def row(name: str) -> Row:
            each = [fold.rows[name] for fold in folds]
            macs, exit = np.average([(one.macs, one.exit) for one in each], axis=0, weights=counts)
            return Row(np.concatenate([one.accuracy for one in each]), float(macs), float(exit), each[0].training)

        return Judgement(folds[0].title, {name: row(name) for name in folds[0].rows})

    @property
    def counted(self) -> bool:
        """Whether the cost of learning is known."""
        return any(row.training for row in self.rows.values())

    def text(self) -> str:
        """For a terminal."""
        full = self.rows[FULL].accuracy
        lines = [
            (
                name,
                f"{row.macs:.0%}",
                f"1/{1 / row.macs:.2f}",
                f"{row.exit:.2f}",
                f"{row.accuracy.mean():.2%}",
                f"{np.median(row.accuracy):.2%}",
                f"{worst_tenth(row.accuracy):.2%}",
                f"{np.mean(row.accuracy < full):.0%}",
                f"{100 * (row.accuracy - full).mean():+.2f} [{_interval(row.accuracy - full)}]",
                f"{100 * (row.accuracy - full).max():+.1f}",
                *(_cost(row.training) if self.counted else ()),
            )
            for name, row in self.rows.items()
        ]
        columns = ("", "MACs", "", "exit", "mean", "median", "worst 10 %", "harmed", "this - full, points", "most")
        counted = ("learning: MACs", "bytes") if self.counted else ()
        own = self.rows[LABELLED].accuracy
        pairs = [
            f"own, labelled - {name}: {100 * (own - self.rows[name].accuracy).mean():+.2f}"
            f" [{_interval(own - self.rows[name].accuracy)}]"
            for name in self.rows
            if name not in (FULL, LABELLED)
        ]
        return f"{self.title}: {len(full)} speakers\n{Table((*columns, *counted), lines).text()}\n" + "\n".join(pairs)

    def summary(self) -> dict[str, object]:
        """For machines."""
        return {
            "title": self.title,
            "rows": {name: asdict(row) | {"accuracy": row.accuracy.tolist()} for name, row in self.rows.items()},
        }


def _cost(training: Cost | None) -> tuple[str, str]:
    return ("", "") if training is None else (f"{training.macs / 1e6:,.1f} M", f"{training.bytes:,}")


def _interval(values: np.ndarray) -> str:
    low, high = interval(values)
    return f"{100 * low:+.2f}, {100 * high:+.2f}"


def judge(title: str, subjects: Sequence[Subject], labels: np.ndarray, trials: Sequence[Trial]) -> Judgement:
    """All ways on `trials`, averaged over the seeds' subjects."""
    outcomes = [compare(subject, labels, trials) for subject in subjects]

    def mean(name: str, field: str) -> np.ndarray:
        return np.mean([per_speaker(trials, getattr(outcome[name], field)) for outcome in outcomes], axis=0)

    return Judgement(
        title,
        {
            name: Row(
                mean(name, "accuracy"),
                float(mean(name, "macs").mean()),
                float(mean(name, "exit").mean()),
                outcomes[0][name].training,
            )
            for name in outcomes[0]
        },
    )


def evaluate(
    subjects: Sequence[Subject], task: Task, examples: Examples, speakers: Speakers, draws: int
) -> dict[str, Judgement]:
    """Users of all words with buffers of several sizes, and users who never say half of the words."""
    results = {}
    for count in BUFFERS:
        trials = speakers.voice(count, draws, LEAST, np.random.default_rng(count))
        if len({trial.speaker for trial in trials}) > 1:
            results[f"all-{count}"] = judge(f"all words, {count} utterances", subjects, examples.labels, trials)
    rng, words = np.random.default_rng(0), np.arange(2, len(task.labels))
    sets = [np.sort(rng.permutation(words)[: len(words) // 2]).tolist() for _ in range(SETS)]
    trials = speakers.stream(FEW, sets, LEAST, rng)
    if len({trial.speaker for trial in trials}) > 1:
        title = f"{len(words) // 2} of {len(words)} words and no others, {FEW} utterances"
        results["few"] = judge(title, subjects, examples.labels, trials)
    if not results:
        raise InputError(f"{task.name}: no two speakers with {BUFFERS[0] + LEAST} clips; they are needed")
    return results


def configure(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument(
        "--exits",
        action="store_true",
        help="MODEL is an --out folder of `kws train --exits` (in float), or an int8 model made from it, with rows of"
        " gates where it has some; or one a seed",
    )


def run(options: argparse.Namespace) -> int:
    """`kws evaluate MODEL... --exits`: prints the tables, and writes JSON and pictures into --out."""
    small = options.small or []
    models = [opened(path) for path in options.model]
    if small and (len(small) != len(models) or not all(isinstance(each, Checkpoint) for each in models)):
        raise InputError("--small: goes with runs of `kws train --exits`, one for each")
    task = task_options.again(options, labels_of(models[0]), heard_by(models[0]).length)
    examples: Examples = getattr(task, options.split)
    others: Sequence[Checkpoint | None] = [checkpoint.load(checkpoint.of_run(path)) for path in small]
    others = others or [None] * len(models)
    subjects = [subject(model, task, examples, other) for model, other in zip(models, others, strict=True)]
    speakers = Speakers(examples, task.labels, options.keywords, options.each)
    results = evaluate(subjects, task, examples, speakers, options.draws)
    summary = {name: result.summary() for name, result in results.items()}
    print(json.dumps(summary) if options.json else "\n\n".join(result.text() for result in results.values()))
    if options.out:
        files.write_all(options.out, {"exits.json": json.dumps(summary, indent=2) + "\n", **_pictures(results)})
    return 0


def _pictures(results: Mapping[str, Judgement]) -> dict[str, bytes]:
    pictures: dict[str, bytes] = {}
    for key, result in results.items():
        points = {name: (row.macs, float(row.accuracy.mean())) for name, row in result.rows.items()}
        pictures[f"macs-{key}.png"] = exit_plots.over_macs(points, result.title)
    buffers = [count for count in BUFFERS if f"all-{count}" in results]
    if buffers:
        start = results[f"all-{buffers[0]}"].rows[FACTORY].exit
        pictures["depth.png"] = exit_plots.depth(
            {
                name: [(0, start), *((count, results[f"all-{count}"].rows[name].exit) for count in buffers)]
                for name in (LABELLED, UNLABELLED)
            }
        )
    return pictures
