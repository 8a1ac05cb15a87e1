"""Pictures of what a listener gets wrong, as PNG bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from ..plots import png
from .settings import Point


def det(curves: Mapping[str, Sequence[Point]], marked: Point, title: str) -> bytes:
    """Detection error trade-off: misses over false accepts an hour, a curve a smoothing, one setting marked.

    An axis of false accepts is logarithmic and has no zero: settings without any stand at half of one in all the time.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    least = 0.5 / marked.score.hours
    for name, points in curves.items():
        places = [(max(point.score.fa_per_hour, least), 100 * point.score.miss_rate) for point in points]
        axes.plot(*zip(*places, strict=True), label=name)
    place = max(marked.score.fa_per_hour, least), 100 * marked.score.miss_rate
    axes.plot(*place, "ko", label=f"threshold {marked.decision.threshold}")
    axes.set(xscale="log", ylim=(0, 100), xlabel="false accepts an hour", ylabel="words missed, %", title=title)
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    return png(figure)
