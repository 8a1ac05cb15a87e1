"""kws transfer: a small network goes on learning from a large one, on new data or words that nobody labelled.

After Zhao et al. (arXiv 2201.10947), of which the abstract was at hand: reconstructed; see docs/compression.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mcu_codegen.errors import InputError

from ..data import task_options
from ..data.audio import cache_folder
from ..data.corpus import Corpus
from ..data.opening import open_corpus
from ..data.task import Examples, Task, build, recordings, training_noises
from ..features import cached
from ..training import checkpoint, run_options
from ..training.checkpoint import BEST, Checkpoint
from ..training.inference import real
from ..training.recipe import Augmentation, views
from .learning import Lesson, Teacher, teach

_MEMORY = 0.25  # exemplars in an epoch, as a share of the new examples
_EPOCH = 6400  # new examples in an epoch at least: few clips are shown in many views
_VIEWS = 40  # augmented copies of the new clips at most


@dataclass(frozen=True)
class Method:
    epochs: int = 10
    sure: float = 0.7  # probability above which a teacher's answer is taken for a label
    exemplars: int = 5  # a class, of the old data
    lesson: Lesson = field(default_factory=Lesson)


def transfer(
    student: Checkpoint, teacher: Checkpoint, new: Task, old: Task | None, method: Method, seed: int
) -> Checkpoint:
    """The student after it has learnt `new`'s training clips from their labels and from the teacher's answers and
    attention; `method.exemplars` clips a class of `old` keep it from forgetting.

    Raises InputError where the teacher hears other features than the student or lacks one of its labels, and where the
    labels of `new` or `old` are not the student's.
    """
    for task in filter(None, (new, old)):
        student.check(task)
    large, window = Teacher(teacher, student), student.window
    repeats = -(-_EPOCH // len(new.training))
    fresh = views(new, window, Augmentation(views=min(_VIEWS, repeats * method.epochs)), seed)
    memory = views(_few(old, method.exemplars, seed), window, Augmentation(views=20), seed) if old else None

    def examples(epoch: int) -> tuple[np.ndarray, np.ndarray]:
        parts = [fresh.epoch(number, seed) for number in range(epoch * repeats, (epoch + 1) * repeats)]
        codes, labels = (np.concatenate(each) for each in zip(*parts, strict=True))
        if memory is not None:
            rng = np.random.default_rng([seed, epoch])
            rows = rng.integers(len(memory.labels), size=max(1, round(_MEMORY * len(labels))))
            codes = np.concatenate([codes, memory.features[rows]])
            labels = np.concatenate([labels, memory.labels[rows]])
            mixed = rng.permutation(len(labels))
            codes, labels = codes[mixed], labels[mixed]
        return codes, labels

    network = student.network()
    teach(network, large, examples, method.epochs, method.lesson, window.front_end, (seed,), "transfer")
    record = student.recipe | {"transferred": dataclasses.asdict(method), "transfer_seed": seed}
    return dataclasses.replace(student, state_dict=network.state_dict(), recipe=record)


def with_words(student: Checkpoint, words: Sequence[str]) -> Checkpoint:
    """A student whose last layer has a row for each of `words`, too, that says nothing yet.

    Raises InputError where it knows one of them, or its last layer is no linear one.
    """
    if known := [word for word in words if word in student.labels]:
        raise InputError(f"--words {','.join(known)}: the student knows that already; new words are accepted")
    *_, (name, last) = student.network().named_modules()
    if not isinstance(last, nn.Linear):
        raise InputError(f"the student ends in {type(last).__name__}; a linear layer can learn new words")
    state = dict(student.state_dict)
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    state[f"{name}.weight"] = torch.cat([weight, torch.zeros(len(words), weight.shape[1])])
    state[f"{name}.bias"] = torch.cat([bias, bias.min().repeat(len(words))])
    return dataclasses.replace(student, labels=(*student.labels, *words), state_dict=state)


def heard(corpus: Corpus, student: Checkpoint, teacher: Checkpoint, words: Sequence[str], sure: float) -> Task:
    """A task for the student's labels, `words` among them, from recordings that nobody labelled: the training clips of
    whose label the teacher is `sure`, with that label. Of what the corpus says of its clips, only the split is read.

    Raises InputError where the teacher is sure of no clip of one of `words`.
    """
    audio = recordings(corpus, "training", student.window.length)
    if not len(audio):
        raise InputError(f"{corpus.name}: no training clips; unlabelled ones are needed to learn from")
    large, window = Teacher(teacher, student), student.window
    features = cached(audio, window, cache_folder() / "features")
    parts = [large(real(features[at : at + 512], window.front_end)).softmax(1) for at in range(0, len(features), 512)]
    sureness, said = (each.numpy() for each in torch.cat(parts).max(1))
    rows = np.flatnonzero(sureness >= sure)
    labels = said[rows]
    if missing := [word for word in words if student.labels.index(word) not in labels]:
        raise InputError(
            f"{corpus.name}: of {len(audio)} training clips the teacher is sure of none of {', '.join(missing)} (a"
            f" probability of --sure {sure}); of each word some are needed"
        )
    chosen = Examples(audio[rows], labels, np.array(student.labels)[labels], np.full(len(rows), "", np.str_))
    digest = hashlib.sha256(chosen.audio.tobytes() + labels.tobytes()).hexdigest()
    none = _rows(chosen, np.zeros(0, np.int64))
    noises = training_noises(corpus)
    return Task(corpus.name, student.labels, digest[:24], chosen, none, none, noises)


def _few(task: Task, each: int, seed: int) -> Task:
    """`task` with so many training clips of every class, drawn at random."""
    rng = np.random.default_rng(seed)
    labels = task.training.labels
    rows = np.concatenate([rng.permutation(np.flatnonzero(labels == label))[:each] for label in np.unique(labels)])
    few = _rows(task.training, np.sort(rows))
    return dataclasses.replace(task, training=few, fingerprint=f"{task.fingerprint} {each} a class, seed {seed}")


def _rows(examples: Examples, rows: np.ndarray) -> Examples:
    return Examples(*(getattr(examples, each.name)[rows] for each in dataclasses.fields(examples)))


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("student", type=Path, metavar="STUDENT", help="a run of `kws compress` or `kws train`")
    parser.add_argument("--teacher", type=Path, required=True, metavar="RUN", help="the network that knows more")
    task_options.configure_again(parser)
    parser.add_argument(
        "--words",
        type=task_options.word_list,
        default=[],
        metavar="A,B",
        help="words that the teacher knows and the student does not: learnt from --data, whose labels nobody reads",
    )
    parser.add_argument(
        "--sure",
        type=float,
        default=Method.sure,
        metavar="P",
        help="with --words: probability above which the teacher is believed (default: %(default)s)",
    )
    parser.add_argument("--old", metavar="SPEC", help="what the student learnt from: exemplars of it are shown again")
    parser.add_argument(
        "--exemplars",
        type=int,
        default=Method.exemplars,
        metavar="M",
        help="of --old, a class (default: %(default)s)",
    )
    parser.add_argument("--epochs", type=int, default=Method.epochs, metavar="N", help="default: %(default)s")
    run_options.seed(parser, "order and augmentation")
    run_options.out(parser, "build/transfer", resume=False)


def run(options: argparse.Namespace) -> int:
    if options.epochs < 1 or options.exemplars < 1 or not 0 < options.sure < 1:
        raise InputError("--epochs and --exemplars are 1 or more, --sure is between 0 and 1")
    student, teacher = (checkpoint.load(checkpoint.of_run(each)) for each in (options.student, options.teacher))
    for held, what in ((student, "STUDENT"), (teacher, "--teacher")):
        if held.gate_size or held.exits:
            raise InputError(f"{what}: a network with gates or exits; one without is accepted")
    corpus = task_options.corpus_again(options, [*student.labels[2:], *options.words], student.window.length)
    known = student.labels[2:]
    if options.words:
        student = with_words(student, options.words)
        new = heard(corpus, student, teacher, options.words, options.sure)
        found = np.bincount(new.training.labels, minlength=len(student.labels))
        counts = ", ".join(f"{label} {count}" for label, count in zip(student.labels, found, strict=True))
        print(f"{len(new.training)} clips of which the teacher is sure: {counts}")
    else:
        new = build(corpus, known, options.exclude, length=student.window.length)
    old = _old(options, student, known) if options.old else None
    result = transfer(student, teacher, new, old, Method(options.epochs, options.sure, options.exemplars), options.seed)
    checkpoint.save(options.out / BEST, result)
    print(options.out / BEST)
    return 0


def _old(options: argparse.Namespace, student: Checkpoint, known: Sequence[str]) -> Task:
    """The task that the student learnt; new words are not among its unknown ones, and come behind those it knew."""
    corpus = open_corpus(options.old, student.labels[2:], student.window.length)
    spared = [word for word in options.words if word in corpus.words]
    task = build(corpus, known, [*options.exclude, *spared], length=student.window.length)
    return dataclasses.replace(task, labels=student.labels)
