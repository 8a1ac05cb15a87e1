"""The networks with exits that the table of exits judges, in integers and in real numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mcu_codegen.errors import InputError
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph
from mcu_codegen.users.blob import user_groups
from mcu_codegen.users.exits import exits_of
from mcu_codegen.users.learning import NO_LABEL, Learner, Utterances
from mcu_codegen.users.regression import Rates

from ..data.task import Examples, Task
from ..features import Window
from ..models.count import count
from ..models.exits import ExitNetwork
from ..quantization import exits as quantized
from ..quantization.quantize import enrolment_of
from ..training import checkpoint
from ..training.checkpoint import Checkpoint
from ..training.inference import exit_scores, features_of, logits, outputs, real, window_of
from . import fine_tuning, thresholds
from .exit_comparison import Subject, Yardstick
from .exit_training import EXITS
from .float_heads import FloatHead, codes_of
from .gated import GatedNetwork
from .gated_clips import GatedClips

ALL_TUNED, LAST_TUNED, SMALL = "all weights fine-tuned", "last layer fine-tuned", "a smaller network"
_BATCH = 256


@dataclass(frozen=True)
class Integers:
    """A model of `kws quantize`, and its enrolment where it has gates."""

    graph: Graph
    enrolment: Graph | None


def opened(path: Path) -> Integers | Checkpoint:
    """A .tflite of `kws quantize RUN/exits.pt`, or what `kws train --exits` left in the folder or file `path`.

    Raises InputError where it has no exits.
    """
    if path.suffix == ".tflite":
        graph = tflite.read(path)
        if not exits_of(graph):
            raise InputError(f"{path}: no exits; a model made from an {EXITS} of `kws train --exits` is accepted")
        return Integers(graph, tflite.read(enrolment_of(path)) if user_groups(graph) else None)
    held = checkpoint.load(path if path.suffix == ".pt" else path / EXITS)
    if not held.exits:
        raise InputError(f"{path}: no exits; an --out folder of `kws train --exits` is accepted")
    return held


def labels_of(model: Integers | Checkpoint) -> Sequence[str]:
    return model.labels if isinstance(model, Checkpoint) else model.graph.metadata.get("labels", [])


def heard_by(model: Integers | Checkpoint) -> Window:
    """What it is shown of a clip."""
    return model.window if isinstance(model, Checkpoint) else window_of(model.graph)


def subject(model: Integers | Checkpoint, task: Task, examples: Examples, small: Checkpoint | None = None) -> Subject:
    """In integers, with the gates of users where the model has gates; or in real numbers, with all gates open, beside
    yardsticks, one of them a `small` network of the same labels."""
    if isinstance(model, Checkpoint):
        return _real(model, task, examples, small)
    found = _integer(model.graph, task, examples)
    if model.enrolment is None:
        return found
    codes = features_of(examples, window_of(model.graph))[:, None, ..., None]
    return replace(found, gated=GatedClips(model.graph, model.enrolment, codes, found).under)


def _integer(graph: Graph, task: Task, examples: Examples) -> Subject:
    window = window_of(graph)
    codes = features_of(examples, window)[:, None, ..., None]
    starts = range(0, len(codes), _BATCH)
    parts = [Utterances.of(graph, codes[at : at + _BATCH], [NO_LABEL] * len(codes[at : at + _BATCH])) for at in starts]
    features = zip(*(part.features for part in parts), strict=True)
    clips = Utterances(
        tuple(np.concatenate(each) for each in features),
        np.concatenate([part.scores for part in parts]),
        np.full(len(codes), NO_LABEL),
        len(codes),
    )
    costs = graph.metadata["exits"]["costs"]
    validation = exit_scores(graph, features_of(task.validation, window))
    choose = cache(partial(thresholds.choose, validation, task.validation.labels, costs))
    factory = tuple(each.threshold for each in exits_of(graph))
    return Subject(clips, Learner.of(graph), factory, np.array(costs), choose)


def _real(held: Checkpoint, task: Task, examples: Examples, small: Checkpoint | None) -> Subject:
    network = held.network()
    if isinstance(network, GatedNetwork):
        network = network.network
    assert isinstance(network, ExitNetwork)
    spec, window = held.window.front_end, held.window.frames(examples.audio.shape[1])
    codes, labels = features_of(examples, held.window), task.validation.labels
    linear = [head[-1] for head in network.heads.values()]
    with _taken([*linear, network.backbone[-1]]) as seen:
        last = outputs(network, codes, spec)[-1]
    *features, pooled = (np.concatenate(each) for each in seen)
    clips = Utterances(tuple(features), codes_of(last.numpy()), np.full(len(last), NO_LABEL), len(last))
    answers = outputs(network, features_of(task.validation, held.window), spec)
    validation = np.stack([codes_of(each.numpy()) for each in answers])
    costs = network.costs(window, spec.coefficients)
    choose = cache(partial(thresholds.choose, validation, labels, costs))
    heads = tuple(_head(layer) for layer in linear)
    constants = quantized.constants([Rates((), ())] * len(heads), validation, labels, costs, quantized.DEFAULTS)
    macs = count(network.backbone, window, spec.coefficients).macs
    hearing, epochs = round(costs[-1] * macs), constants.epochs

    def learning(utterances: int) -> fine_tuning.Cost:
        # from all of them once, and from one half for each of two folds
        return fine_tuning.heads_cost([head.weights.shape for head in heads], hearing, utterances, 2 * epochs)

    return Subject(
        clips,
        Learner(heads, constants),
        choose(),
        np.array(costs),
        choose,
        learning,
        _yardsticks(network.backbone, codes, pooled, held, macs, epochs) | _small(small, held, codes, macs),
    )


def _yardsticks(
    network: nn.Sequential, codes: np.ndarray, pooled: np.ndarray, held: Checkpoint, macs: int, epochs: int
) -> dict[str, Yardstick]:
    spec = held.window.front_end
    need = fine_tuning.memory(network.requires_grad_(), real(codes[:1], spec))
    last = _head(network[-1])

    def all_tuned(rows: np.ndarray, labels: np.ndarray, query: np.ndarray) -> np.ndarray:
        own = fine_tuning.tuned(network, real(codes[rows], spec), torch.from_numpy(labels))
        return fine_tuning.scores(own, real(codes[query], spec))

    def last_tuned(rows: np.ndarray, labels: np.ndarray, query: np.ndarray) -> np.ndarray:
        targets = np.where(np.arange(len(last.bias)) == labels[:, np.newaxis], 127, -128)
        *_, own = last.fit(Rates((), ()), 1, pooled[rows], targets, epochs)
        return own.scores(pooled[query])

    return {
        ALL_TUNED: Yardstick(1.0, all_tuned, lambda utterances: fine_tuning.tuning_cost(macs, need, utterances)),
        LAST_TUNED: Yardstick(
            1.0, last_tuned, lambda utterances: fine_tuning.heads_cost([last.weights.shape], macs, utterances, epochs)
        ),
    }


def _small(small: Checkpoint | None, held: Checkpoint, codes: np.ndarray, macs: int) -> dict[str, Yardstick]:
    if small is None:
        return {}
    if (small.labels, small.window) != (held.labels, held.window):
        raise InputError(f"--small: {small.model} hears or answers otherwise than {held.model}; the same is accepted")
    network, spec = small.network(), held.window.front_end
    said = codes_of(logits(network, codes, spec).numpy())
    share = count(network, codes.shape[1], codes.shape[2]).macs / macs
    return {f"{SMALL}, {small.model}": Yardstick(share, lambda _rows, _labels, query: said[query])}


def _head(layer: nn.Module) -> FloatHead:
    weights, bias = (layer.get_parameter(name).detach().double().numpy() for name in ("weight", "bias"))
    return FloatHead(weights, bias, quantized.DEFAULTS.rate)


@contextmanager
def _taken(layers: Sequence[nn.Module]) -> Iterator[list[list[np.ndarray]]]:
    """What each of `layers` takes meanwhile, batch by batch."""
    seen: list[list[np.ndarray]] = [[] for _ in layers]
    hooks = [
        layer.register_forward_pre_hook(lambda _layer, given, kept=kept: kept.append(given[0].numpy()))
        for layer, kept in zip(layers, seen, strict=True)
    ]
    yield seen
    for hook in hooks:
        hook.remove()
