"""The whole table of early exits: trains what it needs, then judges every way of making them one person's, in int8.

    python benchmarks/exits.py [--model res1d-l] [--seeds 0,1,2] [--data FOLDER] [--front-end NAME] [--views N]
    python benchmarks/exits.py --corpus arabic [--model res1d-l]

Speech Commands: the speakers of the testing split with three clips of each word or more, over seeds. Arabic: 4 folds,
each of which tests 6 of the 24 speakers, chooses thresholds by 3 and trains on 15; one seed. Each network is first
judged by the testing clips of everybody, with its factory exits. Networks lie in OUT as benchmarks/accuracy.py trains
them, and are not trained again. Interrupted, it goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from accuracy import DATA, EXCLUDED, trained
from personal import ARABIC_RECIPE, arabic_folds

from kws import models
from kws.data import task_options
from kws.data.opening import open_corpus
from kws.data.task import Task, build
from kws.personalize.exit_comparison import Subject
from kws.personalize.exit_evaluate import Judgement, evaluate
from kws.personalize.exit_subjects import opened, subject
from kws.personalize.exit_training import EXITS, ExitRecipe, train_exits
from kws.personalize.protocol import Speakers
from kws.quantization.quantize import quantize
from kws.training import checkpoint
from kws.training.recipe import Augmentation, Recipe
from mcu_codegen import files
from mcu_codegen.formats import tflite
from mcu_codegen.report import Table
from mcu_codegen.users.exits import stopped

MODEL = "exits.tflite"


def model(task: Task, name: str, preset: str, seed: int, folder: Path, recipe: Recipe, exits: ExitRecipe) -> Path:
    """The integer network with exits of a run in `folder`, made where it is missing."""
    held = trained(task, name, preset, seed, folder, recipe)
    if not (folder / MODEL).exists():
        if not (folder / EXITS).exists():
            train_exits(held, task, exits, seed, folder, True, recipe.augmentation)
        files.write_whole(folder / MODEL, tflite.write(quantize(checkpoint.load(folder / EXITS), task).graph))
    return folder / MODEL


def factory(path: Path, found: Subject, labels: np.ndarray) -> Table:
    """What each exit answers by itself, what it costs up to there, and how often stopping ends there; of all clips,
    whose labels are int[N]."""
    early = [head.scores(each) for head, each in zip(found.learner.heads, found.clips.features, strict=True)]
    scores = np.stack([*early, found.clips.scores])
    taken, right = stopped(scores[:-1], found.thresholds), scores.argmax(2) == labels
    rows = [
        (f"exit {exit}", f"{alone.mean():.2%}", f"{cost:.3f}", f"{np.mean(taken == exit):.0%}")
        for exit, (alone, cost) in enumerate(zip(right, found.costs, strict=True))
    ]
    first, mean = right[taken, np.arange(len(taken))].mean(), found.costs[taken].mean()
    rows.append(("the first that is sure", f"{first:.2%}", f"{mean:.3f} = 1/{1 / mean:.2f}", ""))
    return Table((str(path), f"{len(taken)} clips", "share of MACs", "leaves there"), rows)


def judged(subjects: Sequence[Subject], task: Task, draws: int) -> dict[str, Judgement]:
    """By kind of users, over `subjects`, one a seed."""
    return evaluate(subjects, task, task.testing, Speakers(task.testing, task.labels, each=3), draws)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default="speech_commands", choices=("speech_commands", "arabic"))
    parser.add_argument("--model", default="res1d-l")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    parser.add_argument("--exit-epochs", type=int, default=16)
    parser.add_argument("--data", default=str(DATA))
    parser.add_argument("--exclude", type=task_options.word_list, default=EXCLUDED, metavar="A,B")
    parser.add_argument("--front-end", metavar="NAME")
    parser.add_argument("--views", type=int, default=Augmentation.views, help="augmented copies of the training set")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("build/accuracy"))
    options = parser.parse_args()
    preset = options.front_end or models.find(options.model).front_end
    exits = ExitRecipe(epochs=options.exit_epochs)
    if options.corpus == "arabic":
        tasks, recipe = dict(arabic_folds()), ARABIC_RECIPE
    else:
        corpus = open_corpus(options.data)
        task = build(corpus, task_options.default_words(corpus, options.exclude), options.exclude)
        tasks = dict.fromkeys(options.seeds.split(","), task)
        recipe = replace(Recipe(), epochs=options.epochs, augmentation=Augmentation(options.views))
    found = {}
    for name, task in tasks.items():
        seed, folder = 0 if options.corpus == "arabic" else int(name), options.out / f"{options.model}-{name}"
        path = model(task, options.model, preset, seed, folder, recipe, exits)
        found[name] = subject(opened(path), task, task.testing)
        print(f"{factory(path, found[name], task.testing.labels).text()}\n", flush=True)
    if options.corpus == "arabic":
        folds = [judged([found[name]], task, options.draws) for name, task in tasks.items()]
        results = [Judgement.pooled([fold[kind] for fold in folds]) for kind in folds[0]]
    else:
        results = list(judged(list(found.values()), task, options.draws).values())
    print("\n\n".join(result.text() for result in results))


if __name__ == "__main__":
    main()
