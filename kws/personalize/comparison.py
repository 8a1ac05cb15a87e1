"""Every way of making a network one person's, on the same trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from . import choices
from .choices import Gates
from .gated import Costs, GatedNetwork
from .protocol import UNKNOWN, Trial, merged
from .runners import Runner

OWN, FULL = "own gates", "full network"
TOLD = ", others as unknown"  # the words that the user does without speak for _unknown_ instead of falling silent


@dataclass(frozen=True)
class Subject:
    """What one seed trained, over one set of clips; everything knows the same labels."""

    gated: GatedNetwork
    full: GatedNetwork  # by the ordinary recipe, where the gates' training began; its own gates are untrained
    answers: Runner  # of `gated`
    full_answers: Runner  # of `full`
    small: Tensor | None  # logits [N, labels] of a network of about equal MACs, trained from scratch
    everybody: list[Tensor]  # mean gate logits of the training speakers, [1, gates] by group
    costs: Costs


@dataclass(frozen=True)
class Outcome:
    """Accuracy and the share of MACs kept in each trial, by method, and the gates that the users opened."""

    accuracy: dict[str, np.ndarray]
    kept: dict[str, np.ndarray]
    open: np.ndarray  # bool[trials, gates of all groups]


def compare(
    subject: Subject,
    features: Tensor,
    labels: np.ndarray,
    trials: Sequence[Trial],
    seed: int,
    threshold: float = 0.0,
    others: bool = True,
) -> Outcome:
    """All methods, or without `others` prototypes and whole networks only, on all `trials`. Their rows index the
    subject's clips, `labels` int64[N], and `features` [N, 1, frames, coefficients], which Taylor pruning needs."""
    generator = torch.Generator().manual_seed(seed)
    by_group = subject.answers.said()
    allowed = torch.from_numpy(np.stack([trial.allowed for trial in trials]))
    words = not bool(allowed.all())
    changes = [[table[None] for table in tables] for tables in zip(*_without(subject.gated, allowed), strict=True)]

    def heard(rows: np.ndarray) -> list[Tensor]:
        return [each[rows] for each in by_group]

    own = [
        choices.decided(heard(trial.enrol), change, threshold) for trial, change in zip(trials, changes, strict=True)
    ]
    strangers = _others(trials, generator)
    of_gated: dict[str, list[Gates]] = {OWN: own}
    of_gated["another speaker's"] = [
        choices.decided(heard(_same_words(trials[other], labels, trial)), change, threshold)
        for trial, change, other in zip(trials, changes, strangers, strict=True)
    ]
    if words:
        of_gated["another user's"] = [own[other] for other in strangers]
        of_gated["all speakers', own words"] = [
            choices.decided(subject.everybody, change, threshold) for change in changes
        ]
    of_gated["all speakers'"] = [choices.best(subject.everybody, each) for each in own]
    of_full: dict[str, list[Gates]] = {}
    if others:
        for network, into, suffix in ((subject.gated, of_gated, ""), (subject.full, of_full, " of the full network")):
            for name, gates in _pruned(network, features, labels, trials, own, generator).items():
                into[name + suffix] = gates

    queries = [trial.query for trial in trials]
    told: dict[str, list[Tensor]] = {}  # logits of every trial's queries, by method
    pooled, full = subject.full_answers.whole()
    whole = {FULL: full, "own weights, all open": subject.answers.whole()[1]}
    if subject.small is not None:
        whole["small network from scratch"] = subject.small
    for name, outputs in whole.items():
        told[name] = [outputs[query] for query in queries]
    for answers, methods in ((subject.answers, of_gated), (subject.full_answers, of_full)):
        for name, gates in methods.items():
            told[name] = answers.outputs(queries, gates)
    if others:
        for clips in (1, 2):
            told[f"last layer tuned, {clips} a word"] = _tuned(subject.full, pooled, labels, trials, clips)
    accuracy = {name: _right(outputs, trials) for name, outputs in told.items()}
    if words:
        for name in (FULL, OWN, "another user's", "all speakers'", "own weights, all open"):
            accuracy[name + TOLD] = _right(told[name], trials, told=True)
    kept = {
        name: np.array([float(subject.costs.kept(each)) for each in gates])
        for methods in (of_gated, of_full)
        for name, gates in methods.items()
    }
    return Outcome(accuracy, kept, torch.stack([torch.cat(each, 1)[0] for each in own]).bool().numpy())


def _pruned(
    network: GatedNetwork,
    features: Tensor,
    labels: np.ndarray,
    trials: Sequence[Trial],
    own: Sequence[Gates],
    generator: torch.Generator,
) -> dict[str, list[Gates]]:
    """Ways to prune without training, each with as many gates per group as `own`."""
    static = {"L1": choices.magnitude(network)}
    if all(group.norms for group in network.groups):
        static["BN gamma"] = choices.scale(network)
    scores = [choices.taylor(network, features[trial.enrol], torch.from_numpy(labels[trial.enrol])) for trial in trials]
    return {
        "random": [choices.random(each, generator) for each in own],
        **{name: [choices.best(score, each) for each in own] for name, score in static.items()},
        "Taylor": [choices.best(score, each) for score, each in zip(scores, own, strict=True)],
    }


@torch.no_grad()
def _without(gated: GatedNetwork, allowed: Tensor) -> list[Tensor]:
    return gated.without(allowed)


def _right(outputs: Sequence[Tensor], trials: Sequence[Trial], told: bool = False) -> np.ndarray:
    """Accuracy of logits [Q, labels] in each trial among the labels that its user may decide; where `told`, others
    speak for _unknown_."""
    shares = []
    for logits, trial in zip(outputs, trials, strict=True):
        allowed = torch.from_numpy(trial.allowed)[None]
        logits = merged(logits, allowed) if told else logits
        decided = logits.masked_fill(~allowed, -torch.inf).argmax(1).numpy()
        shares.append(float(np.mean(decided == trial.truth)))
    return np.array(shares)


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
    alike = rows[trial.allowed[labels[rows]] & (labels[rows] > UNKNOWN)] if not trial.allowed.all() else other.enrol
    return (alike if len(alike) else other.enrol)[: len(trial.enrol)]


def _tuned(full: GatedNetwork, pooled: Tensor, labels: np.ndarray, trials: Sequence[Trial], clips: int) -> list[Tensor]:
    """Logits of the full network with its last layer fine-tuned on the first `clips` enrolled clips of each word."""
    network = full.network
    assert isinstance(network, nn.Sequential)
    results = []
    for trial in trials:
        known = labels[trial.enrol]
        rows = np.concatenate([trial.enrol[known == word][:clips] for word in np.unique(known)])
        head = choices.tuned_head(network, pooled[rows], torch.from_numpy(labels[rows]))
        results.append(head(pooled[trial.query]).detach())
    return results
