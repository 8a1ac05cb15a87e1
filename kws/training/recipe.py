"""What a network is shown in training: balanced classes, augmented views, and words that nobody says."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mcu_codegen.emit.frontend import emit_frontend

from ..data import augment, noise, rooms
from ..data.audio import cached, progress
from ..data.corpus import SILENCE, UNKNOWN
from ..data.task import Examples, Task
from ..features import Window, extract

_VERSION = 1  # of the way views are made; part of the cache's name
_CHUNK = 256  # clips that one thread augments at a time: what fits a core's cache is quickest


@dataclass(frozen=True)
class Augmentation:
    """What training examples are made of."""

    views: int = 60  # augmented copies of the training set; epochs take them in turn
    unknown: float = 2.0  # how often _unknown_ is drawn, times a word
    invented: float = 0.25  # of the unknown examples: synthetic unknown words
    speed: tuple[float, float] = (0.87, 1.15)
    snr_db: tuple[float, float] = (0.0, 30.0)
    noise_share: float = 0.75  # of the examples that get background noise
    shift_ms: float = 100.0  # of the word in its window, at most, either way
    room_share: float = 0.0  # of the examples that are heard in a room
    running: float = 0.0  # of the unknown examples: speech that goes on beyond the window

    def streamed(self) -> Augmentation:
        """As a board hears that listens all day: words anywhere in the window, in rooms, and speech without a pause."""
        return replace(self, shift_ms=200.0, room_share=0.4, running=0.5)

    def of_many_words(self) -> Augmentation:
        """Where what matters is that words are told apart, those of _unknown_ too: most of those examples are words as
        somebody said them, and half of all examples are."""
        return replace(self, unknown=40.0, invented=0.1, running=min(self.running, 0.2))


@dataclass(frozen=True)
class Recipe:
    """How to train. The defaults were chosen on validation clips of Speech Commands."""

    epochs: int = 60
    batch: int = 128
    learning_rate: float = 4e-3  # the highest, after warm-up; then a cosine down to zero
    warmup_epochs: int = 2
    weight_decay: float = 1e-2
    label_smoothing: float = 0.1
    time_masks: int = 2  # SpecAugment
    time_width: int = 7  # frames, at most
    every_word: float = 0.0  # weight of the loss of telling every word apart, those of _unknown_ too (every_word.py)
    averaging: float = 0.998  # per step, of the moving average of the weights that is kept in the end
    augmentation: Augmentation = Augmentation()

    def with_every_word(self) -> Recipe:
        """With the second head, and the examples that it wants."""
        return replace(self, every_word=1.0, augmentation=self.augmentation.of_many_words())


def ramp(done: float, warmup: float, total: float) -> float:
    """The learning rate as a share of the highest: a linear warm-up, then a cosine to zero at `total`."""
    if done < warmup:
        return (done + 0.01) / warmup
    return 0.5 * (1 + math.cos(math.pi * (done - warmup) / (total - warmup)))


@dataclass(frozen=True)
class Views:
    """`count` training sets of one size, each balanced and augmented on its own."""

    features: npt.NDArray[np.int8]  # [count * size, frames, coefficients]
    labels: npt.NDArray[np.int64]  # [count * size]
    size: int

    def epoch(self, number: int, seed: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int64]]:
        """The examples of epoch 0, 1, ...: all views are used once, then mixed anew."""
        rows = self.rows(number, seed)
        return self.features[rows], self.labels[rows]

    def rows(self, number: int, seed: int) -> npt.NDArray[np.int64]:
        """Which examples those of `epoch` are, int64[size]."""
        again, place = divmod(number, len(self.labels) // self.size)
        order = np.random.default_rng([seed, again]).permutation(len(self.labels))
        return order[place * self.size : (place + 1) * self.size]


def views(task: Task, window: Window, augmentation: Augmentation, seed: int) -> Views:
    """The views of `task`'s training clips, from the cache where they were made before."""
    size = len(task.training)
    front_end_c = sorted(emit_frontend(window.front_end).items())
    identity = [_VERSION, task.fingerprint, front_end_c, window.context, augmentation, seed]

    def write(folder: Path) -> None:
        count, at = size * augmentation.views, 0
        shape = (count, window.frames(window.length), window.front_end.coefficients)
        features = np.lib.format.open_memmap(folder / "features.npy", "w+", np.int8, shape)
        labels = np.empty(count, np.int64)
        for part, classes in _made(task, window, augmentation, count, seed):
            features[at : at + len(part)], labels[at : at + len(part)] = part, classes
            at += len(part)
        features.flush()
        np.save(folder / "labels.npy", labels)

    folder = cached("views", identity, write)
    return Views(np.load(folder / "features.npy", "r"), np.load(folder / "labels.npy"), size)


def view_clips(task: Task, augmentation: Augmentation, seed: int) -> npt.NDArray[np.int64]:
    """The training clip that each example of `views` was made from, int64[count * size]; -1 for invented words and
    silence, which nobody said."""
    count = len(task.training) * augmentation.views
    chances, silence = _chances(task, augmentation), task.labels.index(SILENCE)
    parts = [_drawn(task, augmentation, chances, count, seed, number)[1:] for number in _chunks(count)]
    rows, invented, running = (np.concatenate(each) for each in zip(*parts, strict=True))
    return np.where(invented | running | (task.training.labels[rows] == silence), -1, rows)


def _chunks(count: int) -> range:
    return range(-(-count // _CHUNK))


def _drawn(
    task: Task, augmentation: Augmentation, chances: np.ndarray, count: int, seed: int, number: int
) -> tuple[np.random.Generator, np.ndarray, np.ndarray, np.ndarray]:
    """What chunk `number` of `count` examples is made of: rows of the training clips, and which of them an invented
    word, or speech that goes on, replaces. Each chunk has a random stream of its own, returned to go on with, so
    threads change nothing."""
    rng = np.random.default_rng([seed, number])
    rows = np.sort(rng.choice(len(chances), min(_CHUNK, count - number * _CHUNK), p=chances))
    unknown = task.training.labels[rows] == task.labels.index(UNKNOWN)
    kind = rng.random(len(rows))
    invented = kind < augmentation.invented
    running = ~invented & (kind < augmentation.invented + augmentation.running)
    return rng, rows, unknown & invented, unknown & running


def _made(
    task: Task, window: Window, augmentation: Augmentation, count: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(features, labels) in chunks."""
    chances = _chances(task, augmentation)
    alter = augment.Waveform(
        task.noises,
        augmentation.shift_ms,
        augmentation.speed,
        snr_db=augmentation.snr_db,
        noise_share=augmentation.noise_share,
        rooms=rooms.generated(np.random.default_rng(seed)) if augmentation.room_share else (),
        room_share=augmentation.room_share,
    )
    silence, unknown = task.labels.index(SILENCE), task.labels.index(UNKNOWN)
    clips = task.training.audio
    known = np.flatnonzero(task.training.labels > unknown)
    others = np.flatnonzero(task.training.labels == unknown)
    backwards = 0.25 if len(task.labels) > 3 else 1.0  # of the invented words; one word cannot be joined to another

    def drawn(rows: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
        return np.sort(rng.choice(rows, number))  # in the order of the file

    def chunk(number: int) -> tuple[np.ndarray, np.ndarray]:
        rng, rows, invented, running = _drawn(task, augmentation, chances, count, seed, number)
        audio, labels = clips[rows], task.training.labels[rows]
        if invented.any():
            sources = drawn(known, 4 * _CHUNK, rng)
            audio[invented] = augment.synthetic_unknown(
                clips[sources], task.training.words[sources], int(invented.sum()), rng, backwards
            )
        audio = window.surrounded(audio)  # background sounds before and after the word, too
        if running.any():
            sources = drawn(others, augment.TOGETHER * int(running.sum()), rng)
            audio[running] = augment.running_speech(clips[sources], audio.shape[1], rng)
        audio = alter(audio, rng)
        silent = labels == silence
        audio[silent] = noise.silences(task.noises, int(silent.sum()), rng, audio.shape[1])
        return extract(audio, window.preset), labels

    numbers = _chunks(count)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from progress(pool.map(chunk, numbers), "augmented features", len(numbers), "chunk")


def _chances(task: Task, augmentation: Augmentation) -> npt.NDArray[np.float64]:
    """How often each training clip is drawn: classes evenly, words of _unknown_ by the square root of their clips."""
    training: Examples = task.training
    chances = np.empty(len(training))
    for number, label in enumerate(task.labels):
        rows = np.flatnonzero(training.labels == number)
        _, which, held = np.unique(training.words[rows], return_inverse=True, return_counts=True)
        weight = held[which] ** -0.5
        chances[rows] = weight / weight.sum() * (augmentation.unknown if label == UNKNOWN else 1.0)
    return chances / chances.sum()
