"""A person's recordings become her file: which channels of a gated network she keeps."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mcu_codegen.errors import InputError
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph
from mcu_codegen.users import gates
from mcu_codegen.users.gates import Gates
from mcu_codegen.users.user import User

from ..data import audio
from ..data import task as task_options
from ..data.task import one_second
from ..quantization.quantize import enrolment_of
from ..training.inference import window_of


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP", help="recordings of this person, of any words")
    parser.add_argument("--model", type=Path, required=True, metavar="TFLITE", help="a gated model of `kws quantize`")
    parser.add_argument("--user", required=True, metavar="NAME", help="writes NAME.user; a path is accepted too")
    parser.add_argument(
        "--words", type=task_options.word_list, metavar="A,B", help="the few words that she uses (default: all)"
    )
    parser.add_argument("--add", action="store_true", help="to what NAME.user holds already")


def run(options: argparse.Namespace) -> int:
    if not Path(options.user).name:
        raise InputError(f"--user {options.user!r}: a name is needed")
    model, enrolment = (tflite.read(path) for path in (options.model, enrolment_of(options.model)))
    heard = recorded_features(options.clips, model)
    path = options.user if options.user.endswith(".user") else f"{options.user}.user"
    if not options.add:
        user = User.enrol(model, enrolment, heard, options.words)
    elif options.words is not None:
        raise InputError("--words: with --add, the words of the file stay; enrol anew to change them")
    else:
        user = User.load(path, model).heard(enrolment, heard)
    user.save(Path(path))
    opened = user.gates(gates.groups(model))
    print(f"{path}: {user.utterances} utterances, {len(user.blob(model))} bytes for the board")
    print(f"words: {', '.join(user.words or model.metadata['labels'][2:])}")
    print(describe(model, opened))
    return 0


def recorded_features(clips: list[Path], model: Graph) -> np.ndarray:
    """The int8 features (K, *input shape) of recorded clips, the loudest second of each."""
    window = window_of(model)
    samples = np.stack([one_second(audio.read(clip)[0]) for clip in clips])
    return window.extract(samples)[:, np.newaxis, ..., np.newaxis]


def describe(model: Graph, opened: Gates) -> str:
    """Which channels stay, in a line per group."""
    return "\n".join(
        f"{group.name}: {gate.sum() * group.size:>3} of {gate.size * group.size} channels  "
        + "".join("#" if each else "." for each in gate)
        for group, gate in zip(gates.groups(model), opened, strict=True)
    )
