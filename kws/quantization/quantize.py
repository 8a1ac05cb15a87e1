"""A trained network becomes an int8 .tflite: NNCF after training, fine-tuning on request, then the integer graph."""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mcu_codegen import files
from mcu_codegen.errors import InputError
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph, Quantization
from mcu_codegen.listen.decision import Decision
from mcu_codegen.listen.flow import flows_of

from ..data import task_options
from ..data.task import Examples, Task
from ..models import find
from ..models.tracing import trace
from ..personalize.gated import Enrolment, GatedNetwork
from ..training import checkpoint
from ..training.checkpoint import Checkpoint
from ..training.inference import features_of, logits, real, scores
from ..training.recipe import Augmentation, views
from . import export, gates, nncf_quantize
from .exits import stop
from .qat import FineTuning, Schedule


@dataclass(frozen=True)
class Comparison:
    """The float network, NNCF's fake-quantised one and the integer one on the same clips; shares from 0 to 1."""

    clips: int
    float_accuracy: float
    fake_quant_accuracy: float
    int8_accuracy: float
    int8_agrees_with_float: float
    int8_agrees_with_fake_quant: float

    def text(self) -> str:
        """For a terminal."""
        rows = [
            ("float", self.float_accuracy, f"{self.int8_agrees_with_float:18.2%}"),
            ("NNCF fake-quant", self.fake_quant_accuracy, f"{self.int8_agrees_with_fake_quant:18.2%}"),
            ("int8", self.int8_accuracy, ""),
        ]
        head = f"{f'{self.clips} clips':<16} accuracy   int8 decides alike"
        return "\n".join(
            [head, *(f"{name:<16} {accuracy:8.2%}   {agrees}".rstrip() for name, accuracy, agrees in rows)]
        )


@dataclass(frozen=True)
class Quantized:
    """A quantised network in its three forms."""

    checkpoint: Checkpoint
    folded: nncf_quantize.Folded  # float, batch normalisation folded
    network: torch.nn.Module  # NNCF's
    graph: Graph  # integers
    enrolment: Graph | None = None  # of a gated network: its heads' logits, by the very same weights

    def compare(self, codes: np.ndarray, labels: np.ndarray) -> Comparison:
        """On int8 features [N, frames, coefficients] with labels int[N]."""
        spec = self.checkpoint.window.front_end
        real_valued, fake = (logits(network, codes, spec).argmax(1).numpy() for network in (self.folded, self.network))
        integer = scores(self.graph, codes).argmax(1)
        pairs = ((real_valued, labels), (fake, labels), (integer, labels), (integer, real_valued), (integer, fake))
        return Comparison(len(labels), *(float(np.mean(first == second)) for first, second in pairs))


def quantize(
    held: Checkpoint,
    task: Task,
    *,
    settings: nncf_quantize.Settings = nncf_quantize.DEFAULTS,
    schedule: Schedule | None = None,
    state: Path = Path("qat.pt"),
    resume: bool = False,
    seed: int = 0,
) -> Quantized:
    """Quantise a trained network, calibrated on `task`'s training clips and, given a `schedule`, fine-tuned on them.

    `state` is where fine-tuning keeps what `resume` needs. Raises InputError where the task's labels are not the
    network's.
    """
    held.check(task)
    spec = held.window.front_end
    front_end = Quantization((spec.scale,), (spec.zero_point,))
    source, answers = held.network(), len(held.exits) + 1
    folded = nncf_quantize.fold(Enrolment(source) if isinstance(source, GatedNetwork) else source)
    calibration = held.window.extract(_balanced(task.training, settings.calibration_clips, seed))
    network = nncf_quantize.quantize(folded, real(calibration, spec), front_end, settings)
    if schedule is not None:
        identity = f"{checkpoint.fingerprint(folded)} {task.fingerprint} {settings}"
        tuning = FineTuning(network, folded, spec, schedule, identity, seed, answers)
        if resume:
            tuning.restore(state)
        training = views(task, held.window, Augmentation(views=schedule.epochs), seed)
        tuning.run(training, features_of(task.validation, held.window), state)
        nncf_quantize.keep_multipliers_small(network, folded, front_end)  # ranges were trained, too
    metadata: dict[str, Any] = {"front_end": held.front_end, "seconds": held.seconds, "labels": list(held.labels)}
    metadata["decision"] = Decision().to_dict()
    codes = nncf_quantize.read(network, folded, front_end)
    shape = (1, 1, *calibration.shape[1:])
    traced = trace(folded)
    graph, names = export.to_graph(re.sub(r"\W", "_", held.model), traced, codes, shape, metadata, answers)
    if find(held.model).streaming:
        graph.metadata |= {"streaming": True, "decision": _decided_by_steps(graph).to_dict()}
    model = gates.model(graph, source, traced, names, answers) if isinstance(source, GatedNetwork) else graph
    if held.exits:
        stop(model, features_of(task.validation, held.window), task.validation.labels)
    enrolment = gates.enrolment(graph, source, model) if isinstance(source, GatedNetwork) else None
    return Quantized(held, folded, network, model, enrolment)


def _decided_by_steps(graph: Graph) -> Decision:
    """The decision, due where a step of `graph` ends."""
    stride, usual = flows_of(graph).stride, Decision()
    return replace(usual, stride_hops=-(-usual.stride_hops // stride) * stride)


def enrolment_of(model: Path) -> Path:
    """Where the enrolment of a gated model lies: beside ``model.tflite`` is ``model.enrol.tflite``."""
    if not model.name:
        raise InputError(f"{model}: not the name of a file")
    return model.with_suffix(".enrol.tflite")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", type=Path, metavar="RUN", help="the --out folder of `kws train`, or a checkpoint in it"
    )
    task_options.configure_again(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="TFLITE", help="the file to write")
    parser.add_argument(
        "--qat-epochs", type=int, default=0, metavar="N", help="epochs of fine-tuning after quantisation (default: 0)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted fine-tuning for --output")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="that of `kws train` finds its augmented clips in the cache"
    )
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")


def run(options: argparse.Namespace) -> int:
    if options.qat_epochs < 0 or (options.resume and not options.qat_epochs):
        raise InputError(f"--qat-epochs {options.qat_epochs}: 0 or more is accepted, 1 or more with --resume")
    held = checkpoint.load(checkpoint.of_run(options.checkpoint))
    task = task_options.again(options, held.labels, held.window.length)
    state = enrolment_of(options.output).with_name(f"{options.output.stem}.qat.pt")
    try:
        quantized = quantize(
            held,
            task,
            schedule=Schedule(options.qat_epochs) if options.qat_epochs else None,
            state=state,
            resume=options.resume,
            seed=options.seed,
        )
    except KeyboardInterrupt:
        if state.exists():
            print(f"interrupted; the epochs that are done are in {state}, --resume goes on from there", file=sys.stderr)
        raise
    files.write_whole(options.output, tflite.write(quantized.graph))
    if quantized.enrolment:
        files.write_whole(enrolment_of(options.output), tflite.write(quantized.enrolment))
    if options.qat_epochs:
        state.unlink()
    judges = task.testing or task.validation  # a corpus of two splits has no others
    comparison = quantized.compare(features_of(judges, held.window), judges.labels)
    print(json.dumps(asdict(comparison)) if options.json else f"{options.output}\n{comparison.text()}")
    return 0


def _balanced(training: Examples, count: int, seed: int) -> np.ndarray:
    """Audio of about `count` training clips, as many of each class as there are, or all of a small class."""
    rng = np.random.default_rng(seed)
    classes = np.unique(training.labels)
    rows = [rng.permutation(np.flatnonzero(training.labels == label))[: -(-count // len(classes))] for label in classes]
    return training.audio[np.sort(np.concatenate(rows))]
