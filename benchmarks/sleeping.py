"""How long a loop that skips silence is awake, and what it does not hear of words, over the margin above the noise.

    python benchmarks/sleeping.py [--data SPEC] [--background FOLDER ...] [--rooms FOLDER] [--hours H]
                                  [--front-end NAME]

Two kinds of recordings made of the test clips: those of `kws evaluate --stream`, in which somebody speaks most of the
time, and a room with a word every 30 to 90 seconds and noise between them. No network is needed for it. What is cut is
any frame from the start to the end of a word.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kws.data.audio import RATE
from kws.data.corpus import CORE_WORDS
from kws.data.opening import open_corpora
from kws.features import extract
from kws.listening import material, scenes
from kws.listening.recording import Recording
from mcu_codegen.listen.activity import Activity
from mcu_codegen.listen.frontend import PRESETS, FrontEnd
from mcu_codegen.report import Table

WINDOW = 73  # frames, of res1d and of ds-cnn-s-streaming
STRIDE = 10  # hops


def quiet_room(source: scenes.Source, hours: float, seed: int) -> list[scenes.Scene]:
    """A word now and then, and noise."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(max(1, round(hours * 60 / scenes.MINUTES))):
        pieces, at = [], 0
        while True:
            at += round(rng.uniform(30, 90) * RATE)
            word, clip = source.words[int(rng.integers(len(source.words)))]
            if at + len(clip) > scenes.MINUTES * 60 * RATE:
                break
            pieces.append(scenes.Piece(at, (clip,), word))
            at += len(clip)
        found.append(scenes.Scene(tuple(pieces), scenes.MINUTES * 60 * RATE, (seed, number)))
    return found


def row(recordings: Sequence[Recording], front_end: FrontEnd, decibels: float) -> tuple[object, ...]:
    activity = Activity.of(front_end, WINDOW, STRIDE, decibels)
    ran = due = cut = lost = words = 0
    for recording in recordings:
        hops = len(recording.audio) // front_end.hop
        features = extract(recording.audio[np.newaxis, : hops * front_end.hop], front_end.name)[0]
        frames = [front_end.frames(hop * front_end.hop) for hop in range(STRIDE, hops + 1, STRIDE)]
        heard, awake = activity.watch(features, frames)
        ran, due = ran + int(awake.sum()), due + len(awake)
        for word in recording.words:
            first, last = (int(second * RATE / front_end.hop) for second in (word.start, word.end))
            kept = heard[max(0, first - 1) : last]
            words, cut, lost = words + 1, cut + int(not kept.all()), lost + int(not kept.any())
    return front_end.name, f"{decibels:g}", f"{ran / due:.1%}", words, cut, lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append")
    parser.add_argument("--background", type=Path, nargs="+", default=[])
    parser.add_argument("--rooms", type=Path)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--front-end", action="append")
    options = parser.parse_args()
    corpus = open_corpora(options.data or ["synthetic"], CORE_WORDS, RATE)
    corpus.load()
    source = material.source(corpus, CORE_WORDS, (), "testing", options.background, options.rooms)
    for name, plan in (("speech", scenes.plan), ("a quiet room", quiet_room)):
        recordings = [scenes.render(source, scene) for scene in plan(source, options.hours, seed=0)]
        rows = [
            row(recordings, PRESETS[preset], decibels)
            for preset in options.front_end or ["logmel40-20ms", "mfcc10"]
            for decibels in (1.5, 2, 3, 4, 6)
        ]
        header = ("front end", "margin, dB", "inferences that run", "words", "cut", "not heard")
        print(f"{name}, {options.hours:g} h\n{Table(header, rows).text()}\n", flush=True)


if __name__ == "__main__":
    main()
