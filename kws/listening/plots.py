"""Pictures of what a listener gets wrong, as PNG bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from mcu_codegen.listen.decision import Decision, keywords

from ..plots import png
from .hearing import Heard
from .scoring import LATE
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


def over_time(
    heard: Heard, labels: Sequence[str], decision: Decision, detections: Sequence[tuple[float, str]]
) -> bytes:
    """What was said in a recording, and how sure the network was of each word, averaged as the decision does.

    `detections` are (seconds, label); one that is right is a triangle, any other a cross. A word has one colour, where
    it is spoken, as a score and where it is detected.
    """
    words = [label for label, keyword in zip(labels, keywords(labels), strict=True) if keyword]
    colours = {word: f"C{number % 10}" for number, word in enumerate(words)}
    padded = np.pad(heard.scores.astype(float) + 128, ((decision.smoothing - 1, 0), (0, 0)))
    means = np.lib.stride_tricks.sliding_window_view(padded, decision.smoothing, axis=0).mean(-1)
    figure = Figure(figsize=(14, 4.5), layout="constrained")
    axes = figure.subplots()
    for label, scores in zip(labels, means.T, strict=True):
        if label in colours:
            axes.plot(heard.after * heard.hop_seconds, scores, color=colours[label], linewidth=1)
    for spoken in heard.words:
        axes.axvspan(spoken.start, spoken.end, color=colours[spoken.word], alpha=0.3)
        axes.text((spoken.start + spoken.end) / 2, 292, spoken.word, ha="center", color=colours[spoken.word])
    for second, label in detections:
        right = any(word.word == label and word.start <= second <= word.end + LATE for word in heard.words)
        axes.plot(second, 266, "v" if right else "X", color=colours[label])
        axes.text(second, 274, label, ha="center", fontsize=8, color=colours[label])
    axes.axhline(decision.threshold, color="black", linestyle=":", linewidth=1, label="threshold")
    axes.set(xlim=(0, heard.hops * heard.hop_seconds), ylim=(0, 310), xlabel="s", ylabel="score of a word, of 256")
    axes.set_yticks([0, 64, 128, 192, 256])
    axes.legend(loc="upper left")
    return png(figure)
