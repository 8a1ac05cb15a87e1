"""A person's recordings become her file: which channels of a gated network she keeps, and what its exits learn."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mcu_codegen.errors import InputError
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph
from mcu_codegen.users import gates
from mcu_codegen.users.blob import labels_of, user_groups
from mcu_codegen.users.exits import ALWAYS, NEVER, exits_of
from mcu_codegen.users.gates import Gates
from mcu_codegen.users.learning import NO_LABEL
from mcu_codegen.users.user import User

from ..data import audio, task_options
from ..data.task import fitted
from ..quantization.quantize import enrolment_of
from ..training.inference import window_of

FOLDERS = "folders"
_UNLABELLED = "?"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP", help="recordings of this person, of any words")
    parser.add_argument(
        "--model", type=Path, required=True, metavar="TFLITE", help="a model of `kws quantize` with gates or exits"
    )
    parser.add_argument("--user", required=True, metavar="NAME", help="writes NAME.user; a path is accepted too")
    parser.add_argument(
        "--words", type=task_options.word_list, metavar="A,B", help="the few words that she uses (default: all)"
    )
    parser.add_argument(
        "--labels",
        type=task_options.word_list,
        metavar="A,B",
        help=f"what exits learn: the word in each clip, in order, or '{FOLDERS}', the name of the folder it is in;"
        f" '{_UNLABELLED}' is no label (default: none, and the whole network's answers teach)",
    )
    parser.add_argument("--add", action="store_true", help="to what NAME.user holds already")


def run(options: argparse.Namespace) -> int:
    if not Path(options.user).name:
        raise InputError(f"--user {options.user!r}: a name is needed")
    if options.add and options.words is not None:
        raise InputError("--words: with --add, the words of the file stay; enrol anew to change them")
    model = tflite.read(options.model)
    groups, exits = user_groups(model), exits_of(model)
    labels = said(options.labels, options.clips, labels_of(model))
    if options.labels is not None and not exits:
        raise InputError(f"--labels: model '{model.name}' has no early exits; accepted for one that has")
    path = Path(options.user if options.user.endswith(".user") else f"{options.user}.user")
    user = User.load(path, model) if options.add else User.nobody(model, options.words)
    enrolment = tflite.read(enrolment_of(options.model)) if groups else None
    heard = recorded_features(options.clips, model)
    if enrolment is not None:
        user = user.heard(enrolment, heard) if options.add else User.enrol(model, enrolment, heard, options.words)
    if exits:
        user = user.taught(model, heard, labels)
    user.save(path)
    print(f"{path}: {describe_heard(user)}, {len(user.blob(model))} bytes for the board")
    print(f"words: {', '.join(user.words or labels_of(model)[2:])}")
    print("\n".join([*describe_gates(model, user.gates(groups)), *describe_exits(model, user)]))
    return 0


def said(option: Sequence[str] | None, clips: Sequence[Path], labels: Sequence[str]) -> list[int]:
    """The label of each clip by --labels, `NO_LABEL` where nobody gave one. Raises InputError."""
    if option is None:
        return [NO_LABEL] * len(clips)
    words = [clip.resolve().parent.name for clip in clips] if option == [FOLDERS] else option
    if len(words) != len(clips):
        raise InputError(f"--labels: {len(words)} for {len(clips)} clips; one a clip is accepted, or '{FOLDERS}'")
    for clip, word in zip(clips, words, strict=True):
        if word not in (_UNLABELLED, *labels):
            raise InputError(f"--labels: '{word}' of {clip}; accepted are {', '.join(labels)} and {_UNLABELLED}")
    return [NO_LABEL if word == _UNLABELLED else labels.index(word) for word in words]


def recorded_features(clips: Sequence[Path], model: Graph) -> np.ndarray:
    """The int8 features (K, *input shape) of recorded clips, the loudest part of each that its window holds."""
    window = window_of(model)
    samples = np.stack([fitted(audio.read(clip)[0], window.length) for clip in clips])
    return window.extract(samples)[:, np.newaxis, ..., np.newaxis]


def describe_heard(user: User) -> str:
    """How much the user's file holds."""
    if user.exits is None:
        return f"{user.utterances} utterances"
    kept = user.exits.buffer.labels
    teaching = f"exits learnt from the last {len(kept)}, {np.sum(kept >= 0)} with a label"
    return f"{user.exits.buffer.heard} utterances; {teaching}"


def describe_gates(model: Graph, opened: Gates) -> list[str]:
    """Which channels stay, a line a group."""
    groups = gates.groups(model) if opened else ()
    return [
        f"{group.name}: {gate.sum() * group.size:>3} of {gate.size * group.size} channels  "
        + "".join("#" if each else "." for each in gate)
        for group, gate in zip(groups, opened, strict=True)
    ]


def describe_exits(model: Graph, user: User) -> list[str]:
    """How sure each exit must be to answer, a line an exit; nothing for a user of the factory's exits."""
    if user.learnt is None:
        return []
    return [
        f"exit {number}: answers {_sure(own)} (factory: {_sure(each.threshold)})"
        for number, (each, own) in enumerate(zip(exits_of(model), user.learnt.applied(), strict=True), 1)
    ]


def _sure(threshold: int) -> str:
    if threshold in (ALWAYS, NEVER):
        return "always" if threshold == ALWAYS else "never"
    return f"from {(threshold + 128) / 256:.0%} on"
