"""What is left of few-shot learning when weights go: accuracy after adaptation by share removed and by criterion.

    python benchmarks/few_shot.py --data FOLDER [--criteria anp,obs,magnitude,random,channels] [--seeds 0,1,2]

Trains an ordinary network of the words to learn from, meta-trains it (OUT/dense), prunes that by every criterion with
equal retraining (OUT/CRITERION-SEED, OUT/channels-SEED), and judges every network by the same test tasks: 5-way
5-shot, 5-way 1-shot, and one speaker's words (5-way 3-shot). Intervals are over tasks (bootstrap, 95 %), differences
paired. With --int8 N the networks of 0 and 85 % are also quantised after adaptation to each of N tasks. What is
finished in --out is not done again, what was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kws import models
from kws.data.opening import open_corpora
from kws.data.task_options import word_list
from kws.features import Window
from kws.meta.assess import accuracies
from kws.meta.evaluate import SEED, TESTED, percent
from kws.meta.integer import integer_accuracies
from kws.meta.learners import Adaptable, Learner, learner_of
from kws.meta.lessons import Lessons
from kws.meta.prune import LESSONS
from kws.meta.pruning import CRITERIA, STATE, Method, Pruning, round_name
from kws.meta.tasks import Material, Shape
from kws.meta.train import EPOCHS, START, VIEWS, meta_train
from kws.plots import png
from kws.training import checkpoint
from kws.training.checkpoint import BEST, Checkpoint
from kws.training.recipe import Augmentation, Recipe
from kws.training.train import LAST, train
from mcu_codegen import files
from mcu_codegen.report import Table

ROUNDS = "0.2,0.35,0.5,0.6,0.7,0.8,0.85,0.9,0.95"
SHOWN = "0.2,0.5,0.7,0.8,0.85,0.9,0.95"
MAC_ROUNDS = (0.3, 0.6)
INT8 = 0.85
SHAPES = {"5-shot": Shape(5, 5), "1-shot": Shape(5, 1), "speakers": Shape(5, 3, "speakers")}
TRAINED = SHAPES["5-shot"]
CHANNELS = "channels"


class Campaign:
    """One dense network, pruned in many ways; results in `out`."""

    def __init__(self, material: Material, learner: Learner, lessons: Lessons, retraining: Lessons, out: Path) -> None:
        self.material, self.learner, self.out = material, learner, out
        self.lessons, self.retraining = lessons, retraining

    def dense(self, model: str, seed: int) -> Checkpoint:
        start, folder = self.out / START, self.out / "dense"
        if not (folder / BEST).exists():
            recipe = replace(Recipe(), epochs=EPOCHS, augmentation=self.material.augmentation)
            parts = self.material.task, model, self.material.window.preset, recipe, seed, start
            ordinary = train(*parts, resume=(start / LAST).exists())
            taught = ordinary, self.material, TRAINED, self.learner, self.lessons, seed, folder
            meta_train(*taught, resume=(folder / LAST).exists())
        return checkpoint.load(folder / BEST)

    def prune(self, name: str, method: Method, dense: Checkpoint, seed: int) -> None:
        folder = self.out / name
        if (folder / BEST).exists():
            return
        learner = learner_of(dense, folder)
        run = Pruning(dense, learner, self.material, TRAINED, method, self.retraining, seed, folder)
        if (folder / STATE).exists():
            run.restore()
        run.run()

    def right(self, path: Path, kind: str, tasks: int) -> np.ndarray:
        """Accuracy of the network in `path` by task, [tasks]."""
        kept = path.with_suffix(f".{kind}-{tasks}.npy")
        if not kept.exists():
            held = checkpoint.load(path)
            parts = self.material.testing, SHAPES[kind], learner_of(held, path), held.window.front_end, tasks, SEED
            np.save(kept, accuracies(Adaptable(held.network()), *parts))
        return np.load(kept)

    def mean_right(self, names: Sequence[str], share: float, kind: str, tasks: int) -> np.ndarray:
        """The mean over pruned networks after that round, [tasks]."""
        paths = [self.out / name / round_name(share) for name in names]
        return np.mean([self.right(path, kind, tasks) for path in paths], axis=0)

    def integer(self, path: Path, kind: str, tasks: int) -> np.ndarray:
        """Of the float network and the integer one, [tasks, 2]."""
        kept = path.with_suffix(f".{kind}-int8-{tasks}.npy")
        if not kept.exists():
            held = checkpoint.load(path)
            parts = self.material.testing, SHAPES[kind], learner_of(held, path), self.material, tasks, SEED
            np.save(kept, integer_accuracies(held, *parts))
        return np.load(kept)


def curves(
    campaign: Campaign, names: Sequence[str], shown: Sequence[float], kind: str, tasks: int
) -> list[dict[str, Any]]:
    """A row for the dense network, for each pruned one after the rounds in `shown`, and for the mean of a criterion's
    seeds: accuracy, also beside others."""
    dense = campaign.right(campaign.out / "dense" / BEST, kind, tasks)
    rows: list[dict[str, Any]] = [{"network": "dense", "removed": 0.0, "accuracy": percent(dense)}]
    by_criterion: dict[str, list[str]] = {}
    for name in names:
        by_criterion.setdefault(name.rsplit("-", 1)[0], []).append(name)
    groups = {name: [name] for name in names}
    groups |= {f"{criterion}, all seeds": same for criterion, same in by_criterion.items() if len(same) > 1}
    for label, same in groups.items():
        criterion = same[0].rsplit("-", 1)[0]
        for share in MAC_ROUNDS if criterion == CHANNELS else shown:
            found = campaign.mean_right(same, share, kind, tasks)
            row: dict[str, Any] = {"network": label, "removed": share, "accuracy": percent(found)}
            row["beside dense"] = percent(found - dense)
            paired = [f"anp-{name.rsplit('-', 1)[1]}" for name in same]
            if criterion not in ("anp", CHANNELS) and {*paired} <= {*names}:
                row["anp beside it"] = percent(campaign.mean_right(paired, share, kind, tasks) - found)
            rows.append(row)
    return rows


def table(rows: Sequence[dict[str, Any]]) -> Table:
    header = ("network", "removed", "accuracy", "beside dense", "anp beside it")
    return Table(header, [[_cell(row.get(name, "")) for name in header] for row in rows])


def _cell(value: object) -> str:
    if isinstance(value, list):
        return "{:.2f} [{:.2f}, {:.2f}]".format(*value)
    return f"{value:.0%}" if isinstance(value, float) else str(value)


def picture(found: dict[str, list[dict[str, Any]]]) -> bytes:
    """Accuracy over the share that is gone, a panel for each kind of task, with intervals."""
    figure = Figure(figsize=(4.2 * len(found), 3.8), layout="constrained")
    for axes, (kind, rows) in zip(np.atleast_1d(figure.subplots(1, len(found))), found.items(), strict=True):
        names = list(dict.fromkeys(str(row["network"]) for row in rows if row["network"] != "dense"))
        for name in names:
            points = [row for row in rows if row["network"] in ("dense", name)]
            values = np.array([row["accuracy"] for row in points])
            shares = [100 * row["removed"] for row in points]
            axes.errorbar(shares, values[:, 0], np.abs(values[:, 1:] - values[:, :1]).T, label=name, capsize=2)
        axes.set(xlabel="removed, %", title=SHAPES[kind].text())
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("accuracy after adaptation, %")
    figure.axes[0].legend()
    return png(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, metavar="SPEC")
    parser.add_argument("--model", default="res1d-xs", metavar="NAME")
    parser.add_argument("--front-end", metavar="NAME", help="default: the model's")
    parser.add_argument("--learner", default="fomaml", metavar="NAME")
    parser.add_argument("--steps", type=int, default=Lessons.steps, metavar="N", help="of meta-training")
    parser.add_argument(
        "--round-steps", type=int, default=LESSONS.steps, metavar="N", help="of meta-training in each round"
    )
    parser.add_argument("--epochs", type=int, default=Method.epochs, metavar="N", help="of imitation in each round")
    parser.add_argument("--tasks-per-step", type=int, default=Lessons.tasks, metavar="N", help="of meta-training")
    parser.add_argument("--criteria", type=word_list, default=[*CRITERIA, CHANNELS], metavar="A,B")
    parser.add_argument("--seeds", type=word_list, default=["0"], metavar="A,B", help="of the pruning")
    parser.add_argument(
        "--rounds", type=word_list, default=word_list(ROUNDS), metavar="A,B", help="shares removed by then"
    )
    parser.add_argument("--spare-depthwise", action="store_true", help="leave depthwise layers whole")
    parser.add_argument("--shown", type=word_list, default=word_list(SHOWN), metavar="A,B", help="shares to judge")
    parser.add_argument("--kinds", type=word_list, default=[*SHAPES], metavar="A,B", help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--count", type=int, default=TESTED, metavar="N", help="test tasks of each kind")
    parser.add_argument("--int8", type=int, default=0, metavar="N", help="tasks to quantise after")
    parser.add_argument("--out", type=Path, default=Path("build/few_shot"))
    options = parser.parse_args()
    found = models.find(options.model)
    window = Window(options.front_end or found.front_end, found.context)
    material = Material(open_corpora(options.data), window, Augmentation(views=VIEWS), 0)
    for kind in options.kinds:  # what cannot be judged is refused before anything is trained
        material.testing.check(SHAPES[kind])
    learner, lessons = Learner(options.learner), Lessons(options.steps, options.tasks_per_step)
    campaign = Campaign(material, learner, lessons, replace(lessons, steps=options.round_steps), options.out)
    dense = campaign.dense(options.model, 0)
    names, rounds = [], tuple(map(float, options.rounds))
    for seed in map(int, options.seeds):
        for criterion in options.criteria:
            if criterion == CHANNELS:
                method = Method("anp", MAC_ROUNDS, whole_channels=True, epochs=options.epochs)
            else:
                method = Method(criterion, rounds, depthwise=not options.spare_depthwise, epochs=options.epochs)
            names.append(f"{criterion}-{seed}")
            campaign.prune(names[-1], method, dense, seed)
    shown = [float(share) for share in options.shown]
    results = {kind: curves(campaign, names, shown, kind, options.count) for kind in options.kinds}
    for kind, rows in results.items():
        print(f"{SHAPES[kind].text()}, {options.count} tasks\n{table(rows).text()}", flush=True)
    files.write_all(options.out, {"few_shot.json": json.dumps(results, indent=1), "few_shot.png": picture(results)})
    paths = {"dense": options.out / "dense" / BEST}
    paths |= {name: options.out / name / round_name(INT8) for name in names if not name.startswith(CHANNELS)}
    for name, path in paths.items() if options.int8 else ():
        both = campaign.integer(path, options.kinds[0], options.int8)
        cells = [_cell(percent(each)) for each in (both[:, 0], both[:, 1], both[:, 1] - both[:, 0])]
        print(f"int8 after adaptation, {name}: float {cells[0]}, int8 {cells[1]}, difference {cells[2]}", flush=True)


if __name__ == "__main__":
    main()
