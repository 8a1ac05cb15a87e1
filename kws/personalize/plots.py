"""Pictures of the personal tables, as PNG bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from ..plots import png


def over_macs(curves: Mapping[str, Sequence[tuple[float, float]]], full: float) -> bytes:
    """Accuracy over the share of MACs kept, a curve per method; `full` is the full network's accuracy."""
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots()
    axes.set_prop_cycle(color=[colormaps["tab20"](number) for number in range(20)])
    for name, points in curves.items():
        kept, accuracy = zip(*sorted(points), strict=True)
        axes.plot(kept, accuracy, "o-", label=name, markersize=3)
    axes.axhline(full, color="black", linestyle="--", linewidth=1, label="full network")
    axes.set(xlabel="share of MACs kept", ylabel="accuracy, mean over speakers")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    return png(figure)


def gains(gains: Mapping[str, np.ndarray]) -> bytes:
    """The own gates' accuracy less the full network's, a bar per speaker, sorted, by protocol."""
    figure = Figure(figsize=(4 * len(gains), 4), layout="constrained")
    for axes, (title, values) in zip(
        np.atleast_1d(figure.subplots(1, len(gains), sharey=True)), gains.items(), strict=True
    ):
        axes.bar(range(len(values)), 100 * np.sort(values))
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set(title=title, xlabel="speaker", ylabel="own gates - full network, points")
    return png(figure)


def channels(kept: np.ndarray, bounds: Sequence[int], names: Sequence[str]) -> bytes:
    """How often each speaker keeps each gate, [speakers, gates] of shares; `bounds` end the groups."""
    figure = Figure(figsize=(10, 0.22 * len(kept) + 1.2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(kept, aspect="auto", cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    for bound in bounds[:-1]:
        axes.axvline(bound - 0.5, color="black", linewidth=0.8)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set(xlabel="gate, group by group", ylabel="speaker")
    return png(figure)
