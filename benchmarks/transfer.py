"""Unseen words: a student learns them from recordings that nobody labelled, by a teacher that knows them.

    python benchmarks/transfer.py [--folds 1] [--epochs 40] [--data ARABIC] [--out build/transfer]

Arabic Speech Commands, 40 words and 24 speakers. In each of up to four folds 6 speakers are tested, 3 choose the epoch,
9 train teacher and student, and 6 are the unlabelled recordings. The teacher knows all words; the student was trained
without every fourth of them, not even as unknown ones. Accuracy on the test speakers, float, old words beside new ones;
networks lie in --out and are not trained again.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from accuracy import DATA, trained

from kws.compress.learning import Lesson
from kws.compress.transfer import Method, heard, transfer, with_words
from kws.data.corpus import Corpus
from kws.data.opening import open_corpus
from kws.data.task import Examples, Task, build
from kws.training.checkpoint import Checkpoint
from kws.training.inference import features_of, logits
from kws.training.recipe import Augmentation, Recipe
from mcu_codegen.report import Table

TEACHER, STUDENT, FRONT_END = "res1d-m", "res1d-xs", "logmel40-20ms"
FOLDS = 4


def folds_of(corpus: Corpus, fold: int) -> tuple[Corpus, Corpus]:
    """The corpus to train and test with, and the one whose training clips are the unlabelled recordings."""
    names = sorted({clip.speaker for clip in corpus.clips})
    tested, others = names[fold::FOLDS], [name for place, name in enumerate(names) if place % FOLDS != fold]
    splits = dict.fromkeys(tested, "testing") | dict.fromkeys(others[:3], "validation")
    labelled = splits | dict.fromkeys(others[3:12], "training") | dict.fromkeys(others[12:], "aside")
    unlabelled = splits | dict.fromkeys(others[3:12], "aside") | dict.fromkeys(others[12:], "training")
    return corpus.split_anew(labelled), corpus.split_anew(unlabelled)


def shares(held: Checkpoint, task: Task, new: list[str]) -> list[float]:
    """The share of old and of new words that is right; a network that lacks a word has it wrong."""
    codes = features_of(task.testing, held.window)
    said = np.array(held.labels)[logits(held.network(), codes, held.window.front_end).argmax(1).numpy()]
    words = task.testing.words
    spoken, among = np.isin(words, task.labels[2:]), np.isin(words, new)
    return [100 * float((said == words)[spoken & part].mean()) for part in (~among, among)]


def judged(corpus: Corpus, fold: int, epochs: int, out: Path) -> dict[str, list[float]]:
    """Old, new and seconds by row."""
    labelled, unlabelled = folds_of(corpus, fold)
    new, old = corpus.words[::4], [word for word in corpus.words if word not in corpus.words[::4]]
    whole, known = build(labelled, old + new), build(labelled, old, new)
    recipe = dataclasses.replace(Recipe(), epochs=epochs, augmentation=Augmentation(views=10))
    teacher = trained(whole, TEACHER, FRONT_END, 0, out / f"{TEACHER}-all-{fold}", recipe)
    student = trained(known, STUDENT, FRONT_END, 0, out / f"{STUDENT}-old-{fold}", recipe)
    wide = with_words(student, new)
    task = heard(unlabelled, wide, teacher, new, Method.sure)
    print(f"fold {fold}: sure of {len(task.training)} unlabelled clips", flush=True)
    memory = dataclasses.replace(known, labels=wide.labels)
    labels = build(unlabelled, old + new)
    alone = Lesson(labels=1.0, answers=0.0, attention=0.0)
    ways = {
        "transfer, no labels": (task, None, Method()),
        "transfer, no labels, 5 exemplars a class": (task, memory, Method()),
        "true labels and the teacher, 5 exemplars": (labels, memory, Method()),
        "true labels of the new words alone, no teacher": (_only(labels, new), None, Method(lesson=alone)),
    }
    found = {"student before": [*shares(student, whole, new), 0.0], "teacher": [*shares(teacher, whole, new), 0.0]}
    for name, (learnt, remembered, method) in ways.items():
        started = time.monotonic()
        result = transfer(wide, teacher, learnt, remembered, method, 0)
        found[name] = [*shares(result, whole, new), time.monotonic() - started]
        print(name, found[name], flush=True)
    return found


def _only(task: Task, words: list[str]) -> Task:
    """`task` with training clips of `words` alone."""
    held = task.training
    rows = np.flatnonzero(np.isin(held.words, words))
    few = Examples(held.audio[rows], held.labels[rows], held.words[rows], held.speakers[rows])
    return dataclasses.replace(task, training=few, fingerprint=f"{task.fingerprint} only {words}")


def table(folds: Sequence[Mapping[str, Sequence[float]]], head: Sequence[str]) -> str:
    """A row for each name, its values' means over the folds, with standard errors where there are several."""
    rows = []
    for name in folds[0]:
        values = np.array([fold[name] for fold in folds])
        error = values.std(0, ddof=1) / len(folds) ** 0.5 if len(folds) > 1 else np.full(3, np.nan)
        cells = [
            f"{mean:.1f}" + ("" if np.isnan(e) else f" ± {e:.1f}")
            for mean, e in zip(values.mean(0), error, strict=True)
        ]
        rows.append((name, *cells))
    return Table(tuple(head), rows).text()


def run(description: str, judged: Callable[..., dict[str, list[float]]], head: Sequence[str], out: str) -> None:
    """The command line of a benchmark of folds, whose table is of what `judged` gives for each."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folds", type=int, default=1, choices=range(1, FOLDS + 1))
    parser.add_argument("--epochs", type=int, default=40, help="of teacher and student before transfer")
    parser.add_argument("--data", default=str(DATA.parent / "arabic_speech_commands"))
    parser.add_argument("--out", type=Path, default=Path(out))
    options = parser.parse_args()
    corpus = open_corpus(options.data)
    folds = [judged(corpus, fold, options.epochs, options.out) for fold in range(options.folds)]
    print(table(folds, head))


if __name__ == "__main__":
    run(__doc__, judged, ("", "old words, %", "new words, %", "seconds"), "build/transfer")
