"""The rounds of a compression: what each came to, as rows, as a line to read, and as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from matplotlib.figure import Figure

from ..plots import png
from .costs import SAID, Costs


@dataclass(frozen=True)
class Round:
    number: int  # 0: the network that it began with
    model: str  # its name tells its widths
    step: float  # the share of the channels that was to go; 0: the last lesson
    accuracy: float  # balanced, on validation clips, of the float network
    kept: bool  # False: rolled back
    costs: Costs

    def text(self) -> str:
        back = "" if self.kept else "; rolled back"
        title = f"round {self.number}" if self.step else "last"
        return f"{title}: {self.model}, {self.accuracy:.2%}, {self.costs.text()}{back}"


def to_json(rounds: Sequence[Round]) -> str:
    return json.dumps([asdict(each) for each in rounds], indent=2) + "\n"


def from_json(text: str) -> list[Round]:
    return [Round(**row | {"costs": Costs(**row["costs"])}) for row in json.loads(text)]


def picture(rounds: Sequence[Round], bounds: Mapping[str, int]) -> bytes:
    """Accuracy over each cost, as PNG; a hollow point was rolled back, a dashed line is a bound."""
    figure = Figure(figsize=(3.2 * len(SAID), 3.6), layout="constrained")
    kept = [each for each in rounds if each.kept]
    lost = [each for each in rounds if not each.kept]
    for axes, name in zip(figure.subplots(1, len(SAID), sharey=True), SAID, strict=True):
        for some, style in ((kept, "o-"), (lost, "o")):
            points = [getattr(each.costs, name) for each in some]
            face = "C0" if some is kept else "none"
            axes.plot(points, [100 * each.accuracy for each in some], style, color="C0", markerfacecolor=face)
        if name in bounds:
            axes.axvline(bounds[name], color="0.5", linestyle="--")
        axes.set(xlabel=SAID[name], xscale="log")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("validation accuracy, %")
    return png(figure)
