"""Ways of making the exits of a network one person's, on the same trials. PersEPhonEE-style, reconstructed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mcu_codegen.users.exits import NEVER, stopped
from mcu_codegen.users.learning import NO_LABEL, Learner, Teachable, Utterances
from mcu_codegen.users.learnt import Learnt
from mcu_codegen.users.thresholds import bypass

from .fine_tuning import Cost
from .protocol import UNKNOWN, Trial

FULL, FACTORY = "full network", "factory exits"
LABELLED, UNLABELLED, MIXED = "own exits, labelled", "own exits, unlabelled", "own exits, half labelled"
BYPASS, ANOTHER, EQUAL = "own exits, labelled, bypass", "another user's exits", "factory exits, as many MACs"
OWN = (LABELLED, UNLABELLED, MIXED, BYPASS)
GATES, GATES_FACTORY = "own gates", "own gates, factory exits"
GATES_LABELLED, GATES_UNLABELLED = "own gates, own exits, labelled", "own gates, own exits, unlabelled"


@dataclass(frozen=True)
class Yardstick:
    """Another way to answer one person."""

    macs: float  # of an inference, as a share of the network without exits
    answer: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    """From rows of clips to learn from, their labels and rows of others: int8 scores [N, labels] of these."""
    learning: Callable[[int], Cost] | None = None  # what learning of so many utterances costs


@dataclass(frozen=True)
class Subject:
    """What a network with exits says of a fixed set of clips, which rows index, and how its exits learn."""

    clips: Utterances  # all of them
    learner: Learner  # of integers, or of real numbers
    thresholds: tuple[int, ...]  # the factory's
    costs: np.ndarray  # of stopping at each exit, as shares of the network without exits
    choose: Callable[[float], Sequence[int]]  # the factory's thresholds for another loss on validation clips
    learning: Callable[[int], Cost] | None = None  # what learning of so many utterances costs, where it is known
    yardsticks: Mapping[str, Yardstick] = field(default_factory=dict)
    macs: float = 1.0  # of the network without exits, as a share of everybody's
    gated: Callable[[Trial], Subject] | None = None
    """The network with the gates of a trial's user, over the same clips, of which it knows those of the trial."""

    def heard(self, rows: np.ndarray, labels: np.ndarray) -> Utterances:
        """A buffer of these clips with labels int[N], NO_LABEL where there is none."""
        return Utterances(tuple(each[rows] for each in self.clips.features), self.clips.scores[rows], labels, len(rows))

    def heads(self, learnt: Learnt) -> list[Teachable]:
        parts = zip(self.learner.heads, learnt.weights, learnt.biases, strict=True)
        return [replace(head, weights=weights, bias=bias) for head, weights, bias in parts]  # type: ignore[type-var]


@dataclass(frozen=True)
class Outcome:
    """What one way does in each trial, [trials]."""

    accuracy: np.ndarray
    macs: np.ndarray  # mean, as a share of the network without exits
    exit: np.ndarray  # mean; 0 is the first, the number of early exits where there are none
    training: Cost | None = None


def compare(subject: Subject, labels: np.ndarray, trials: Sequence[Trial]) -> dict[str, Outcome]:
    """All ways on all `trials`, whose rows index the subject's clips of `labels` int64[N]."""
    factory = subject.learner.heads

    def everybody(thresholds: Sequence[int]) -> Outcome:
        return _outcome([_judged(subject, factory, thresholds, trial) for trial in trials])

    def own(learnt: Sequence[Learnt]) -> Outcome:
        pairs = zip(learnt, trials, strict=True)
        return _outcome([_judged(subject, subject.heads(each), each.applied(), trial) for each, trial in pairs])

    def taught(share: float) -> list[Learnt]:
        """From the first `share` of each buffer with its labels, and the rest without."""
        return [
            subject.learner.learn(subject.heard(trial.enrol, _labels(labels[trial.enrol], share))) for trial in trials
        ]

    labelled = taught(1.0)
    again = [replace(learnt, bypass=bypass(learnt.met, learnt.met)) for learnt in labelled]  # a second estimate agrees
    found = {
        FULL: everybody([NEVER] * len(factory)),
        FACTORY: everybody(subject.thresholds),
        LABELLED: own(labelled),
        UNLABELLED: own(taught(0.0)),
        MIXED: own(taught(0.5)),
        BYPASS: own(again),
        ANOTHER: own([labelled[other] for other in _others(trials)]),
    }
    found[FULL] = replace(found[FULL], macs=np.full(len(trials), subject.macs))  # it needs no heads
    heard = round(np.mean([len(trial.enrol) for trial in trials]))
    if subject.learning:
        for name in OWN:
            found[name] = replace(found[name], training=subject.learning(heard))
    for name, yardstick in subject.yardsticks.items():
        answers = _outcome([_answered(subject, yardstick, labels, trial) for trial in trials])
        found[name] = replace(answers, training=yardstick.learning and yardstick.learning(heard))
    found[EQUAL] = _equal(everybody, subject.choose, float(found[LABELLED].macs.mean()))
    return found | (_gated(subject.gated, labels, trials) if subject.gated else {})


def _gated(under: Callable[[Trial], Subject], labels: np.ndarray, trials: Sequence[Trial]) -> dict[str, Outcome]:
    """What gates do alone, and with exits of either kind, which then learn from what the gates leave."""
    results: dict[str, list[tuple[float, float, float]]] = {}
    for trial in trials:
        own = under(trial)
        factory = own.learner.heads
        accuracy, _, last = _judged(own, factory, [NEVER] * len(factory), trial)
        judged = {GATES: (accuracy, own.macs, last), GATES_FACTORY: _judged(own, factory, own.thresholds, trial)}
        for name, share in ((GATES_LABELLED, 1.0), (GATES_UNLABELLED, 0.0)):
            learnt = own.learner.learn(own.heard(trial.enrol, _labels(labels[trial.enrol], share)))
            judged[name] = _judged(own, own.heads(learnt), learnt.applied(), trial)
        for name, result in judged.items():
            results.setdefault(name, []).append(result)
    return {name: _outcome(each) for name, each in results.items()}


def decided(scores: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Labels int[N] of int8 scores [N, labels]; those that are not `allowed` speak for _unknown_."""
    shares = scores.astype(np.int64) + 128
    shares[:, UNKNOWN] += shares[:, ~allowed].sum(1)
    shares[:, ~allowed] = -1
    return shares.argmax(1)


def _judged(
    subject: Subject, heads: Sequence[Teachable], thresholds: Sequence[int], trial: Trial
) -> tuple[float, float, float]:
    """Accuracy, mean share of MACs and mean exit."""
    clips = subject.clips
    early = [head.scores(each[trial.query]) for head, each in zip(heads, clips.features, strict=True)]
    scores = np.stack([*early, clips.scores[trial.query]])
    exits = stopped(scores[:-1], thresholds)
    chosen = decided(scores[exits, np.arange(len(exits))], trial.allowed)
    return float(np.mean(chosen == trial.truth)), float(subject.costs[exits].mean()), float(exits.mean())


def _answered(subject: Subject, yardstick: Yardstick, labels: np.ndarray, trial: Trial) -> tuple[float, float, float]:
    scores = yardstick.answer(trial.enrol, labels[trial.enrol], trial.query)
    right = decided(scores, trial.allowed) == trial.truth
    return float(right.mean()), yardstick.macs, len(subject.costs) - 1.0


def _outcome(results: Sequence[tuple[float, float, float]]) -> Outcome:
    accuracy, macs, exit = np.array(results).T
    return Outcome(accuracy, macs, exit)


def _labels(labels: np.ndarray, share: float) -> np.ndarray:
    return np.where(np.arange(len(labels)) < round(share * len(labels)), labels, NO_LABEL)


def _others(trials: Sequence[Trial]) -> list[int]:
    """For each trial the next one of another speaker, with the same words where there is one."""
    picks = []
    for number, trial in enumerate(trials):
        rest = [*range(number + 1, len(trials)), *range(number)]
        strangers = [each for each in rest if trials[each].speaker != trial.speaker]
        alike = [each for each in strangers if np.array_equal(trials[each].allowed, trial.allowed)]
        picks.append((alike or strangers)[0])
    return picks


def _equal(
    everybody: Callable[[Sequence[int]], Outcome], choose: Callable[[float], Sequence[int]], macs: float
) -> Outcome:
    """The factory's exits where they cost `macs` on average, between two thresholds, of which a share of clips each."""
    steps = [everybody(choose(loss)) for loss in (0.0, 0.001, 0.002, 0.004, 0.006, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1)]
    steps.sort(key=lambda each: -each.macs.mean())
    dear = next((each for each in reversed(steps) if each.macs.mean() >= macs), steps[0])
    cheap = next((each for each in steps if each.macs.mean() < macs), steps[-1])
    span = dear.macs.mean() - cheap.macs.mean()
    share = 1.0 if span <= 0 else float(np.clip((macs - cheap.macs.mean()) / span, 0, 1))

    def between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return share * first + (1 - share) * second

    return Outcome(
        between(dear.accuracy, cheap.accuracy), between(dear.macs, cheap.macs), between(dear.exit, cheap.exit)
    )
