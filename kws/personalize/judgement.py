"""One protocol of the personal table: every method on the same trials, averaged inside speakers, over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from mcu_codegen.report import Table

from .comparison import FULL, OWN, TOLD, Subject, compare
from .protocol import Summary, Trial, overlap, per_speaker


@dataclass
class Judgement:
    """One protocol: by method, accuracy of each speaker, averaged over draws and seeds, and the share of MACs kept."""

    title: str
    speakers: int
    accuracy: dict[str, np.ndarray]
    kept: dict[str, float]
    most: float  # MACs that the costliest user keeps
    overlap: tuple[float, float]  # Jaccard index of the gates opened: of one speaker, of two
    open: np.ndarray  # [speakers, gates]: how often each opened each, with the first seed
    seeds: list[dict[str, float]]  # accuracy by method

    @staticmethod
    def pooled(folds: Sequence[Judgement]) -> Judgement:
        """The same protocol on the speakers of several folds, each answered by a network that never heard them."""

        def mean(values: Sequence[float]) -> float:
            return float(np.average(values, weights=[fold.speakers for fold in folds]))

        first = folds[0]
        return Judgement(
            first.title,
            sum(fold.speakers for fold in folds),
            {name: np.concatenate([fold.accuracy[name] for fold in folds]) for name in first.accuracy},
            {name: mean([fold.kept[name] for fold in folds]) for name in first.kept},
            max(fold.most for fold in folds),
            (mean([fold.overlap[0] for fold in folds]), mean([fold.overlap[1] for fold in folds])),
            np.concatenate([fold.open for fold in folds]),
            [
                {name: mean([fold.seeds[seed][name] for fold in folds]) for name in first.accuracy}
                for seed in range(len(first.seeds))
            ],
        )

    def summaries(self) -> dict[str, Summary]:
        """Beside the own gates; where other words speak for _unknown_, beside the own gates under the same reading."""
        return {
            name: Summary.of(values, self.accuracy[OWN + TOLD if name.endswith(TOLD) else OWN])
            for name, values in self.accuracy.items()
        }

    def text(self) -> str:
        """For a terminal; the smallest effect that the intervals resolve is half the width of the first one."""
        rows = [
            (
                name,
                f"{self.kept[name]:.0%}" if name in self.kept else "",
                f"{each.mean:.2%}",
                f"{each.median:.2%}",
                f"{each.worst_tenth:.2%}",
                "" if name in (OWN, OWN + TOLD) else f"{each.harmed:.0%}",
                ""
                if name in (OWN, OWN + TOLD)
                else f"{100 * each.own_minus:+.2f} [{100 * each.low:+.2f}, {100 * each.high:+.2f}]",
            )
            for name, each in self.summaries().items()
        ]
        full = self.summaries()[FULL]
        return (
            f"{self.title}: {self.speakers} speakers, {len(self.seeds)} seeds;\nown gates keep {self.kept[OWN]:.1%}"
            f" of the MACs on average, {self.most:.1%} at most;\noverlap of the gates opened (Jaccard):"
            f" {self.overlap[0]:.3f} within a speaker, {self.overlap[1]:.3f} between two;\n"
            f"differences to the full network are resolved from {50 * (full.high - full.low):.1f} points on\n"
            + Table(("", "MACs", "mean", "median", "worst 10 %", "harmed", "own - this, points"), rows).text()
        )

    def summary(self) -> dict[str, object]:
        """The same for machines."""
        return {
            "title": self.title,
            "speakers": self.speakers,
            "most_kept": self.most,
            "overlap": {"within": self.overlap[0], "between": self.overlap[1]},
            "seeds": self.seeds,
            "methods": {name: asdict(each) | {"kept": self.kept.get(name)} for name, each in self.summaries().items()},
        }


def judge(
    title: str,
    subjects: Sequence[Subject],
    features: torch.Tensor,
    labels: np.ndarray,
    trials: Sequence[Trial],
    threshold: float = 0.0,
    others: bool = True,
) -> Judgement:
    """All methods on `trials`, for every seed's subject; without the `others` only prototypes and whole networks."""
    outcomes = [compare(each, features, labels, trials, seed, threshold, others) for seed, each in enumerate(subjects)]
    accuracy = {
        name: np.mean([per_speaker(trials, outcome.accuracy[name]) for outcome in outcomes], axis=0)
        for name in sorted(outcomes[0].accuracy, key=lambda name: (name != OWN, name != FULL))
    }
    return Judgement(
        title,
        len(accuracy[OWN]),
        accuracy,
        {name: float(np.mean([outcome.kept[name].mean() for outcome in outcomes])) for name in outcomes[0].kept},
        max(float(outcome.kept[OWN].max()) for outcome in outcomes),
        tuple(np.mean([overlap(trials, outcome.open) for outcome in outcomes], axis=0).tolist()),
        np.stack([per_speaker(trials, gate) for gate in outcomes[0].open.T], axis=1),
        [
            {name: float(per_speaker(trials, values).mean()) for name, values in outcome.accuracy.items()}
            for outcome in outcomes
        ],
    )
