"""Pictures of a training run and of a confusion matrix, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def curves(history: Sequence[Mapping[str, float]]) -> bytes:
    """Loss and accuracy over epochs, from rows of metrics.csv."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    epochs = [row["epoch"] for row in history]
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for split in ("training", "validation"):
            axes.plot(epochs, [row[f"{split}_{quantity}"] for row in history], label=split)
        axes.set(xlabel="epoch", ylabel=quantity)
        axes.grid(alpha=0.3)
        axes.legend()
    return png(figure)


def confusion(matrix: np.ndarray, labels: Sequence[str]) -> bytes:
    """A confusion matrix int[true, predicted], coloured by recall, counts written in."""
    figure = Figure(figsize=(0.6 * len(labels) + 2, 0.6 * len(labels) + 1.5), layout="constrained")
    axes = figure.subplots()
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (true, predicted), number in np.ndenumerate(matrix):
        if number:
            colour = "white" if share[true, predicted] > 0.5 else "black"
            axes.text(predicted, true, str(number), ha="center", va="center", color=colour, fontsize=8)
    places = range(len(labels))
    axes.set_xticks(places, labels, rotation=60, ha="right")
    axes.set_yticks(places, labels)
    axes.set(xlabel="predicted", ylabel="true")
    return png(figure)


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
