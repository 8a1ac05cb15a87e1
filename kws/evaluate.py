"""Accuracy of a float checkpoint or an int8 .tflite on a corpus."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mcu_codegen import files
from mcu_codegen.errors import InputError
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph

from . import plots
from .data import task_options
from .data.corpus import SILENCE, UNKNOWN
from .data.synthetic import NAME as SYNTHETIC
from .data.task import Examples
from .features import Window
from .listening import evaluate as listening
from .personalize import evaluate as personal
from .personalize import exit_evaluate
from .training import checkpoint
from .training.inference import features_of, logits, scores, window_of

# options that go with some of what is evaluated only: accuracy (""), --personal, --exits, --stream
_BELONGS = {
    "picture": ("", "--stream"),
    "int8": ("--personal",),
    "small": ("--personal", "--exits"),
    "out": ("--personal", "--exits"),
    "background": ("--stream",),
    "rooms": ("--stream",),
    "stride_hops": ("--stream",),
    "skip_silence": ("--stream",),
    "target_fa": ("--stream",),
}


@dataclass(frozen=True)
class Result:
    """What a network got right. `confusion` is int64[true, predicted]."""

    labels: tuple[str, ...]
    confusion: np.ndarray

    @staticmethod
    def of(labels: tuple[str, ...], true: np.ndarray, predicted: np.ndarray) -> Result:
        """From label indices int[N]."""
        size = len(labels)
        return Result(labels, np.bincount(true * size + predicted, minlength=size * size).reshape(size, size))

    @property
    def accuracy(self) -> float:
        """The share of examples that are right."""
        return float(np.trace(self.confusion) / max(1, self.confusion.sum()))

    @property
    def recalls(self) -> dict[str, float]:
        """Per class, the share of its examples that are right; a class without examples is left out."""
        held = self.confusion.sum(1)
        return {
            label: float(right / total)
            for label, right, total in zip(self.labels, np.diag(self.confusion), held, strict=True)
            if total
        }

    @property
    def balanced(self) -> float:
        """The mean of the recalls: the accuracy if every class had as many examples."""
        return float(np.mean(list(self.recalls.values())))

    def text(self) -> str:
        """Accuracy, recalls and confusion matrix for a terminal."""
        width = max(len(label) for label in self.labels)
        rows = [
            f"{label:>{width}}  {self.recalls.get(label, float('nan')):7.1%}  "
            + " ".join(f"{number or '.':>4}" for number in row)
            for label, row in zip(self.labels, self.confusion, strict=True)
        ]
        head = f"{'':>{width}}   recall  " + " ".join(f"{label[:4]:>4}" for label in self.labels)
        return "\n".join([f"accuracy {self.accuracy:.2%} of {self.confusion.sum()} clips", head, *rows])

    def summary(self) -> dict[str, object]:
        """The same for machines."""
        return {
            "accuracy": self.accuracy,
            "clips": int(self.confusion.sum()),
            "recall": self.recalls,
            "labels": list(self.labels),
            "confusion": self.confusion.tolist(),
        }


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", type=Path, nargs="+", metavar="MODEL", help="a checkpoint of `kws train`, or an int8 .tflite"
    )
    task_options.configure_again(parser, SYNTHETIC)
    parser.add_argument("--split", choices=("testing", "validation"), default="testing", help="default: %(default)s")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="write the confusion matrix or the curve there")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    listening.configure(parser.add_argument_group("hours of audio"))
    group = parser.add_argument_group("personal networks")
    personal.configure(group)
    exit_evaluate.configure(group)


def run(options: argparse.Namespace) -> int:
    kinds = {"--personal": options.personal, "--exits": options.exits, "--stream": options.stream is not None}
    kind, *more = [name for name, chosen in kinds.items() if chosen] or [""]
    if more:
        raise InputError(f"{more[0]}: goes without {kind}")
    for name, places in _BELONGS.items():
        if getattr(options, name) and kind not in places:
            fits = f"without {kind}" if "" in places else f"with {' or '.join(places)}"
            raise InputError(f"--{name.replace('_', '-')}: goes {fits}")
    if len(options.model) > 1 and kind in ("", "--stream"):
        raise InputError(f"{options.model[1]}: one MODEL is accepted; several with --personal or --exits")
    if kind:
        return {"--personal": personal, "--exits": exit_evaluate, "--stream": listening}[kind].run(options)
    options.model = options.model[0]
    labels, window, predict = _open(options.model)
    if labels[:2] != (SILENCE, UNKNOWN):
        raise InputError(f"{options.model}: labels {', '.join(labels)}; {SILENCE}, {UNKNOWN}, then words are accepted")
    task = task_options.again(options, labels, window.length)
    examples: Examples = getattr(task, options.split)
    if not len(examples):
        raise InputError(f"{task.name}: no clips in the {options.split} split")
    result = Result.of(labels, examples.labels, predict(features_of(examples, window)))
    print(json.dumps(result.summary()) if options.json else result.text())
    if options.picture:
        files.write_whole(options.picture, plots.confusion(result.confusion, labels))
    return 0


def _open(path: Path) -> tuple[tuple[str, ...], Window, Callable[[np.ndarray], np.ndarray]]:
    """Labels, window and a function from int8 features [N, ...] to predicted labels int64[N]."""
    if path.suffix == ".tflite":
        graph = tflite.read(path)
        return scored_labels(graph, path), window_of(graph), lambda features: scores(graph, features).argmax(1)
    held = checkpoint.load(checkpoint.of_run(path))
    network, spec = held.network(), held.window.front_end
    return held.labels, held.window, lambda features: logits(network, features, spec).argmax(1).numpy()


def scored_labels(graph: Graph, path: Path) -> tuple[str, ...]:
    """The labels in a model's metadata. Raises InputError where there are none or they do not match its outputs."""
    labels = tuple(graph.metadata.get("labels", ()))
    if not labels or "front_end" not in graph.metadata:
        raise InputError(
            f"{path}: no labels and front end in its metadata; a model written by `kws quantize` is accepted"
        )
    outputs = graph.tensors[graph.main.outputs[-1]].shape[-1]
    if len(labels) != outputs:
        raise InputError(f"{path}: {len(labels)} labels for {outputs} outputs")
    return labels
