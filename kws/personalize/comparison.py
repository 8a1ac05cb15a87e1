"""Every way of making a network one person's, on the same trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from . import choices
from .choices import Gates
from .gated import Costs, GatedNetwork
from .protocol import Trial

_BATCH = 512
OWN, FULL = "own gates", "full network"


@dataclass(frozen=True)
class Subject:
    """What one seed trained. All networks take the same features and know the same labels."""

    full: nn.Sequential  # by the ordinary recipe, whose weights the gates' training began with
    gated: GatedNetwork
    small: nn.Module | None  # of about equal MACs, trained from scratch by the ordinary recipe
    everybody: list[Tensor]  # mean gate logits of the training speakers, [1, gates] by group
    costs: Costs


@dataclass(frozen=True)
class Outcome:
    """Accuracy and the share of MACs kept in each trial, by method, and the gates that the users opened."""

    accuracy: dict[str, np.ndarray]
    kept: dict[str, np.ndarray]
    open: np.ndarray  # bool[trials, gates of all groups]


@torch.no_grad()
def compare(
    subject: Subject, features: Tensor, labels: np.ndarray, trials: Sequence[Trial], seed: int, threshold: float = 0.0
) -> Outcome:
    """All methods on all `trials`, whose rows index `features` [N, 1, frames, coefficients] and `labels` int64[N]."""
    gated, full = subject.gated.eval(), subject.full.eval()
    generator = torch.Generator().manual_seed(seed)
    said = _in_batches(lambda part: torch.cat(gated.enrol(part), 1), features)
    sizes = [group.channels // gated.size for group in gated.groups]
    by_group = said.split(sizes, 1)
    nothing: list[Tensor] = [torch.zeros(1, size) for size in sizes]
    words = any(not trial.allowed.all() for trial in trials)
    changes = [gated.without(torch.from_numpy(trial.allowed)[None]) if words else nothing for trial in trials]

    def heard(rows: np.ndarray) -> list[Tensor]:
        return [each[rows] for each in by_group]

    own = [
        choices.decided(heard(trial.enrol), change, threshold) for trial, change in zip(trials, changes, strict=True)
    ]
    others = _others(trials, generator)
    of_gated: dict[str, list[Gates]] = {OWN: own}
    of_gated["another speaker's"] = [
        choices.decided(heard(_same_words(trials[other], labels, trial)), change, threshold)
        for trial, change, other in zip(trials, changes, others, strict=True)
    ]
    if words:
        of_gated["another user's"] = [own[other] for other in others]
        of_gated["all speakers', own words"] = [
            choices.decided(subject.everybody, change, threshold) for change in changes
        ]
    of_gated["all speakers'"] = [choices.best(subject.everybody, each) for each in own]
    of_full: dict[str, list[Gates]] = {}
    # the full network, with gates that nobody trained
    untrained = GatedNetwork(full, gated.size, features.shape[3])
    for network, into, suffix in ((gated, of_gated, ""), (untrained, of_full, " of the full network")):
        into[f"random{suffix}"] = [choices.random(each, generator) for each in own]
        for name, static in (("L1", choices.magnitude(network)), ("BN gamma", choices.scale(network))):
            into[f"{name}{suffix}"] = [choices.best(static, each) for each in own]
        with torch.enable_grad():
            scores = [
                choices.taylor(network, features[trial.enrol], torch.from_numpy(labels[trial.enrol]))
                for trial in trials
            ]
        into[f"Taylor{suffix}"] = [choices.best(score, each) for score, each in zip(scores, own, strict=True)]

    whole = {FULL: _in_batches(full, features), "own weights, all open": _in_batches(gated, features)}
    if subject.small is not None:
        whole["small network from scratch"] = _in_batches(subject.small.eval(), features)
    accuracy = {
        name: np.array([_right(outputs[trial.query], trial) for trial in trials]) for name, outputs in whole.items()
    }
    if words:
        accuracy["full network, all words"] = np.array([_free(whole[FULL][trial.query], trial) for trial in trials])
    for network, methods in ((gated, of_gated), (untrained, of_full)):
        for name, gates in methods.items():
            accuracy[name] = _masked(network, features, trials, gates)
    pooled = _in_batches(full[:-1], features)
    for clips in (1, 2):
        accuracy[f"last layer tuned, {clips} a word"] = _tuned(full, pooled, labels, trials, clips)
    kept = {
        name: np.array([float(subject.costs.kept(each)) for each in gates])
        for methods in (of_gated, of_full)
        for name, gates in methods.items()
    }
    return Outcome(accuracy, kept, torch.stack([torch.cat(each, 1)[0] for each in own]).bool().numpy())


def _in_batches(network: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
    return torch.cat([network(features[start : start + _BATCH]) for start in range(0, len(features), _BATCH)])


def _right(outputs: Tensor, trial: Trial) -> float:
    """Accuracy of logits [Q, labels] among the labels that may be decided."""
    decided = outputs.masked_fill(~torch.from_numpy(trial.allowed), -torch.inf).argmax(1).numpy()
    return float(np.mean(decided == trial.truth))


def _free(outputs: Tensor, trial: Trial) -> float:
    """Accuracy where all labels compete, and a word that is not the user's counts as _unknown_ afterwards."""
    decided = outputs.argmax(1).numpy()
    return float(np.mean(np.where(trial.allowed[decided], decided, 1) == trial.truth))


def _others(trials: Sequence[Trial], generator: torch.Generator) -> list[int]:
    """For each trial, that of another speaker; with other words where there are any."""
    owners = np.array([trial.speaker for trial in trials])
    allowed = np.array([trial.allowed for trial in trials])
    picks = []
    for trial in trials:
        strangers = owners != trial.speaker
        different = strangers & (allowed != trial.allowed).any(1)
        found = np.flatnonzero(different if different.any() else strangers)
        picks.append(int(found[torch.randint(len(found), (1,), generator=generator)]))
    return picks


def _same_words(other: Trial, labels: np.ndarray, trial: Trial) -> np.ndarray:
    """As many clips of the other speaker as the user enrolled with, of the user's words where he said any."""
    rows = np.concatenate([other.enrol, other.query])
    alike = rows[trial.allowed[labels[rows]]] if not trial.allowed.all() else other.enrol
    return (alike if len(alike) else other.enrol)[: len(trial.enrol)]


def _masked(network: GatedNetwork, features: Tensor, trials: Sequence[Trial], gates: list[Gates]) -> np.ndarray:
    """Accuracy in each trial with its gates; the queries of all trials run together."""
    rows = np.concatenate([trial.query for trial in trials])
    owner = np.repeat(np.arange(len(trials)), [len(trial.query) for trial in trials])
    stacked = [torch.cat(each) for each in zip(*gates, strict=True)]
    parts = []
    for start in range(0, len(rows), _BATCH):
        here = slice(start, start + _BATCH)
        parts.append(network(features[rows[here]], [each[owner[here]] for each in stacked]))
    outputs = torch.cat(parts).split([len(trial.query) for trial in trials])
    return np.array([_right(each, trial) for each, trial in zip(outputs, trials, strict=True)])


def _tuned(full: nn.Sequential, pooled: Tensor, labels: np.ndarray, trials: Sequence[Trial], clips: int) -> np.ndarray:
    """The full network with its last layer fine-tuned on the first `clips` enrolled clips of each word."""
    results = []
    for trial in trials:
        known = labels[trial.enrol]
        rows = np.concatenate([trial.enrol[known == word][:clips] for word in np.unique(known)])
        with torch.enable_grad():
            head = choices.tuned_head(full, pooled[rows], torch.from_numpy(labels[rows]))
        results.append(_right(head(pooled[trial.query]), trial))
    return np.array(results)
