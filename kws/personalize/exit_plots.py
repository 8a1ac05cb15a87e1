"""Pictures of the table of exits, as PNG bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from ..plots import png


def over_macs(points: Mapping[str, tuple[float, float]], title: str) -> bytes:
    """Accuracy over mean MACs, a point a way: (share of MACs, accuracy)."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name, (macs, accuracy) in points.items():
        axes.plot(100 * macs, 100 * accuracy, "o", label=name)
    axes.set(xlabel="mean MACs, % of the network without exits", ylabel="accuracy, %, mean over speakers", title=title)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    return png(figure)


def depth(curves: Mapping[str, Sequence[tuple[int, float]]]) -> bytes:
    """The mean exit over the utterances in the buffer, a curve a way; 0 is the first exit."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        axes.plot(*zip(*points, strict=True), "o-", label=name)
    axes.set(xlabel="utterances in the buffer", ylabel="mean exit (0: the first)")
    axes.grid(alpha=0.3)
    axes.legend()
    return png(figure)
