"""A few clips of a word become one more label of an int8 network: for everybody, or for one user on her board."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mcu_codegen import files
from mcu_codegen.errors import InputError
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph
from mcu_codegen.users.blob import user_groups
from mcu_codegen.users.new_words import LastLayer, with_words
from mcu_codegen.users.regression import MOST_BIAS
from mcu_codegen.users.teaching import MOST_SHIFT, UNITS, Teaching, can_be_taught, head_of_new_word, hear
from mcu_codegen.users.user import User

from ..data import task_options
from ..data.task import Task
from ..personalize.enroll import recorded_features
from ..training.inference import length_of, window_of


@dataclass(frozen=True)
class Settings:
    """How words are learnt; chosen on validation words."""

    clips: int = 60  # of each word, by which words are known to vary
    shrinkage: float = 2.0  # of their covariance towards one variance, in parts of the mean variance
    sureness: float = 0.14  # of the discriminant; 1 if words were normally distributed, and seen in the training data
    offset: float = 2.0  # of the logit of a word
    fewest: int = 3
    most: int = 10
    words: int = 4


DEFAULTS = Settings()


def teachable(graph: Graph, task: Task, settings: Settings = DEFAULTS) -> Graph:
    """`graph` with what words are learnt by in its metadata: how the words in the training clips of `task` vary, those
    of _unknown_ and silence too, as the last layer hears them.

    Raises InputError where a word cannot be learnt by the last layer, or no two clips of a word differ to it.
    """
    head_of_new_word(graph)
    rng, heard = np.random.default_rng(0), []
    for word in np.unique(task.training.words):
        rows = rng.permutation(np.flatnonzero(task.training.words == word))[: settings.clips]
        clips = window_of(graph).extract(task.training.audio[np.sort(rows)])
        heard.append(hear(graph, clips[:, np.newaxis, ..., np.newaxis])[0])
    ready = replace(graph, metadata=graph.metadata | {"teaching": discriminant(graph, heard, settings).metadata()})
    Teaching.of(ready)
    return ready


def discriminant(graph: Graph, heard: Sequence[np.ndarray], settings: Settings = DEFAULTS) -> Teaching:
    """By int8 features [N, features] of each word: linear discriminant analysis with one covariance for all words, and
    equal priors but for the offset.

    A row of weights is the inverse of that covariance times a word's distance from the centre; here it is scaled for
    the last layer of `graph`. Raises InputError where no two clips of a word differ.
    """
    means = np.stack([codes.mean(axis=0) for codes in heard])
    apart = np.concatenate([codes - mean for codes, mean in zip(heard, means, strict=True)])
    covariance = apart.T @ apart / max(len(apart) - len(means), 1)
    variance = float(np.diag(covariance).mean())
    if variance == 0:
        raise InputError(f"model '{graph.name}': no word has two clips that differ to its last layer")
    last = LastLayer.of(graph)
    weights = graph.tensors[graph.main.operators[last.dense].inputs[1]].quantization
    assert weights is not None
    logit = graph.tensors[last.features].scale * max(weights.scale)  # of one unit of an accumulator
    inverse = np.linalg.inv(covariance + settings.shrinkage * variance * np.eye(len(covariance)))
    real = inverse[np.tril_indices(len(inverse))] * settings.sureness / logit / UNITS
    most = 127 / float(np.abs(real).max())  # beyond which int8 does not reach
    shift = min(max(int(np.floor(np.log2(most))), 0), MOST_SHIFT)
    return Teaching(
        settings.fewest,
        settings.most,
        settings.words,
        shift,
        int(np.clip(np.rint(settings.offset / logit), -MOST_BIAS, MOST_BIAS)),
        np.rint(UNITS * (means.mean(axis=0) + 128)).astype(np.int16),
        np.rint(real * min(2.0**shift, most)).astype(np.int8),
        graph.tensors[last.features].zero_point,
    )


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Without --word: give MODEL what words are learnt by, measured in the clips of --data, and write it to"
        " --output. Such a model can be taught words, here and on a board."
    )
    parser.add_argument("model", type=Path, metavar="MODEL.tflite", help="an int8 model of `kws quantize`")
    parser.add_argument(
        "--word",
        nargs="+",
        metavar=("NAME", "CLIP"),
        help="a word that the model does not know, and 3 to 10 recordings of it",
    )
    parser.add_argument(
        "--data",
        action="append",
        metavar="SPEC",
        help="what MODEL was trained on, as `kws train` takes it; measures how words vary in it",
    )
    parser.add_argument(
        "--exclude", type=task_options.word_list, default=[], metavar="A,B", help="words of --data that are not used"
    )
    parser.add_argument(
        "--user", metavar="NAME", help="teach the word to this user, in NAME.user; a path, too; goes without -o"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="TFLITE", help="write a model, with the word if there is one"
    )


def run(options: argparse.Namespace) -> int:
    graph = tflite.read(options.model)
    if options.word is None:
        return _prepare(options, graph)
    name, clips = options.word[0], [Path(each) for each in options.word[1:]]
    if not clips:
        raise InputError(f"--word {name}: no recordings of it; --word NAME CLIP... is accepted")
    if (options.user is None) == (options.output is None):
        raise InputError("--user, for one user, or --output, for a model with the word: one of both is accepted")
    if options.user is not None and options.data:
        raise InputError("--data: accepted without --user, whose model must hold it already; write that first")
    if options.data:
        graph = teachable(graph, _task(options, graph))
    if not can_be_taught(graph):
        raise InputError(f"{options.model}: it lacks what words are learnt by; --data measures it")
    if options.user is not None:
        return _teach_user(options.user, graph, name, clips)
    row = Teaching.of(graph).learn(_heard(clips, graph))
    files.write_whole(options.output, tflite.write(with_words(graph, [row], [name])))
    print(f"{options.output}: '{name}' learnt from {len(clips)} clips")
    return 0


def _prepare(options: argparse.Namespace, graph: Graph) -> int:
    if options.user is not None:
        raise InputError("--user: accepted with --word")
    if not options.data or options.output is None:
        raise InputError("without --word, --data and --output are needed")
    task = _task(options, graph)
    files.write_whole(options.output, tflite.write(teachable(graph, task)))
    count = len(np.unique(task.training.words))
    print(f"{options.output}: words can be taught to it, as {count} words of {', '.join(options.data)} vary")
    return 0


def _task(options: argparse.Namespace, graph: Graph) -> Task:
    return task_options.again(options, graph.metadata.get("labels", []), length_of(graph))


def _teach_user(user_name: str, graph: Graph, word: str, clips: Sequence[Path]) -> int:
    if not Path(user_name).name:
        raise InputError(f"--user {user_name!r}: a name is needed")
    path = Path(user_name if user_name.endswith(".user") else f"{user_name}.user")
    user = User.load(path, graph) if path.exists() else User.nobody(graph)
    taught = user.with_word(graph, word, _heard(clips, graph, user))
    taught.save(path)
    words = ", ".join(f"'{each.name}' from {len(each.clips)} clips" for each in taught.new_words)
    print(f"{path}: {words}; {len(taught.blob(graph))} bytes for the board")
    return 0


def _heard(clips: Sequence[Path], graph: Graph, user: User | None = None) -> np.ndarray:
    """int8 [K, features] of the last layer. Raises InputError for a clip of silence."""
    groups = user_groups(graph)
    gates = user.gates(groups) if user is not None and groups else None
    features, silent = hear(graph, recorded_features(clips, graph), gates)
    for clip, quiet in zip(clips, silent.tolist(), strict=True):
        if quiet:
            raise InputError(f"{clip}: silence to the network; a recording of the word is accepted")
    return features
