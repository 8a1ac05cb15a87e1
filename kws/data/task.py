"""From a corpus to a classification task: a second of audio and a label each, built as in the 12-class benchmark."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mcu_codegen.errors import InputError

from . import noise
from .audio import RATE, Samples, cached, progress
from .corpus import CORE_WORDS, SILENCE, SPLITS, UNKNOWN, Clip, Corpus

LENGTH = RATE  # samples per example, unless --window says otherwise
_SECONDS = (0.5, 4.0)  # of an example, at least and at most
_VERSION = 1  # of the way examples are built; part of the cache's name


@dataclass(frozen=True)
class Examples:
    """One split. Row i of every field belongs together; rows with the same label are not sorted in any useful way."""

    audio: Samples  # int16[N, length] at 16 kHz, memory-mapped
    labels: npt.NDArray[np.int64]  # [N], index into Task.labels
    words: npt.NDArray[np.str_]  # [N], the word that was spoken; _silence_ for silence
    speakers: npt.NDArray[np.str_]  # [N], empty for silence

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Task:
    """What is trained and tested. Labels are ``_silence_``, ``_unknown_``, then the words.

    Validation and testing hold about as many unknown and silence examples as a word has on average; training holds
    every unknown clip there is (balance by sampling). Where the corpus marks an official test set for these words,
    testing is exactly those clips.
    """

    name: str
    labels: tuple[str, ...]
    fingerprint: str  # changes with any example
    training: Examples
    validation: Examples
    testing: Examples
    noises: tuple[Samples, ...]  # int16[n], the part of each noise recording that is for training

    @property
    def length(self) -> int:
        """Of an example, in samples."""
        return int(self.training.audio.shape[1])

    def split(self, name: str) -> Examples:
        """One of the three splits. Raises InputError where nobody says any of the words in it."""
        examples: Examples = getattr(self, name)
        if not np.any(examples.labels >= 2):
            raise InputError(f"{self.name}: no {name} clips of {', '.join(self.labels[2:])}; see the split column")
        return examples


def check_seconds(seconds: object) -> float:
    """The length of an example, as --window, a checkpoint and a model have it. Raises InputError where it is none."""
    low, high = _SECONDS
    if not isinstance(seconds, float) or not low <= seconds <= high or round(seconds * 10) != round(seconds * 10, 6):
        raise InputError(f"a window of {seconds} s: {low} to {high} s in steps of a tenth are accepted")
    return seconds


def fitted(samples: Samples, length: int = LENGTH) -> Samples:
    """int16[n] to int16[length]: the loudest part of a longer clip; a shorter one is centred between zeros."""
    surplus = len(samples) - length
    if surplus > 0:
        energy = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
        start = int(np.argmax(energy[length:] - energy[:-length]))
        return samples[start : start + length]
    return np.pad(samples, (-surplus // 2, -surplus - -surplus // 2))


def _balanced(clips: Sequence[Clip], count: int) -> list[Clip]:
    """`count` of `clips` (all where there are fewer), the same ones every time, spread evenly over the words."""
    by_word: dict[str, list[Clip]] = {}
    for clip in sorted(clips, key=lambda clip: (zlib.crc32(clip.key.encode()), clip.key)):
        by_word.setdefault(clip.word, []).append(clip)
    turns = {clip.key: turn for group in by_word.values() for turn, clip in enumerate(group)}
    return sorted(clips, key=lambda clip: (turns[clip.key], clip.word))[:count]


def _select(
    corpus: Corpus, words: tuple[str, ...], exclude: frozenset[str], split: str
) -> tuple[list[tuple[Clip, str]], int]:
    """The clips of a split with their labels, and how many silences are to be made beside those recorded."""
    clips = [clip for clip in corpus.clips if clip.split == split and clip.word not in exclude]
    if split == "testing" and set(words) <= {clip.official_test for clip in clips}:
        official = {SILENCE, UNKNOWN, *words}
        return [(clip, clip.official_test) for clip in clips if clip.official_test in official], 0
    spoken = [(clip, clip.word) for clip in clips if clip.word in words]
    unknown = [clip for clip in clips if clip.word not in (*words, SILENCE)]
    silent = [clip for clip in clips if clip.word == SILENCE]
    each = round(len(spoken) / len(words))
    if split != "training":
        unknown, silent = _balanced(unknown, each), silent[:each]
    chosen = spoken + [(clip, UNKNOWN) for clip in unknown] + [(clip, SILENCE) for clip in silent]
    return chosen, max(0, each - len(silent))


def part(recordings: Sequence[Samples], split: str) -> list[Samples]:
    """The part of every noise recording that belongs to `split`: the first 80 %, then 10 %, then 10 %, in time."""
    start, stop = {"training": (0, 8), "validation": (8, 9), "testing": (9, 10)}[split]
    return [recording[len(recording) * start // 10 : len(recording) * stop // 10] for recording in recordings]


def _noises(corpus: Corpus) -> Sequence[Samples]:
    return corpus.noises or noise.generated(np.random.default_rng(0))


def training_noises(corpus: Corpus) -> tuple[Samples, ...]:
    """`Task.noises` of a task from `corpus`."""
    return tuple(part(_noises(corpus), "training"))


def build(
    corpus: Corpus,
    words: Sequence[str] = CORE_WORDS,
    exclude: Sequence[str] = (),
    min_clips: int = 0,
    length: int = LENGTH,
) -> Task:
    """The task of telling `words` from each other, from other words and from silence; `exclude` is in no class, and an
    example has `length` samples.

    Raises InputError where the corpus lacks a word, or where a class has fewer than `min_clips` training clips.
    """
    words, excluded = tuple(words), frozenset(exclude)
    absent = [word for word in [*words, *exclude] if word not in corpus.words]
    if absent:
        raise InputError(f"{corpus.name}: no clips of {', '.join(absent)}; it has {', '.join(corpus.words)}")
    if not words or len(set(words)) < len(words) or excluded & set(words):
        raise InputError(f"--words {','.join(words)}: name each word once, and none that --exclude leaves out")
    labels = (SILENCE, UNKNOWN, *words)
    selected = {split: _select(corpus, words, excluded, split) for split in SPLITS}
    held = Counter(label for _, label in selected["training"][0])
    for label in (*words, UNKNOWN):
        if held[label] < min_clips:
            raise InputError(
                f"class '{label}' has {held[label]} training clips; at least {min_clips} are needed (--min-clips)"
            )

    noises = _noises(corpus)
    identity = [_VERSION, corpus.fingerprint, *labels, "exclude", *sorted(excluded)]
    identity += [length] if length != LENGTH else []

    def write(folder: Path) -> None:
        corpus.load()
        for number, (split, (chosen, silences)) in enumerate(selected.items()):
            shape = (len(chosen) + silences, length)
            array = np.lib.format.open_memmap(folder / f"{split}.npy", "w+", np.int16, shape)
            for row, (clip, _) in enumerate(progress(chosen, f"{corpus.name} {split}", len(chosen), "clip")):
                array[row] = fitted(corpus.audio(clip), length)
            array[len(chosen) :] = noise.silences(part(noises, split), silences, np.random.default_rng(number), length)
            array.flush()

    folder = cached("task", identity, write)

    def examples(split: str) -> Examples:
        chosen, silences = selected[split]
        classes = [label for _, label in chosen] + [SILENCE] * silences
        return Examples(
            np.load(folder / f"{split}.npy", "r"),
            np.array([labels.index(label) for label in classes], np.int64),
            np.array([clip.word for clip, _ in chosen] + [SILENCE] * silences, np.str_),
            np.array([clip.speaker for clip, _ in chosen] + [""] * silences, np.str_),
        )

    return Task(
        corpus.name,
        labels,
        folder.name.split("-")[-1],
        examples("training"),
        examples("validation"),
        examples("testing"),
        training_noises(corpus),
    )


def recordings(corpus: Corpus, split: str, length: int = LENGTH) -> Samples:
    """Every clip of a split, int16[N, length], in the order of the corpus; nobody asks what is said."""
    clips = [clip for clip in corpus.clips if clip.split == split]

    def write(folder: Path) -> None:
        corpus.load()
        array = np.lib.format.open_memmap(folder / "audio.npy", "w+", np.int16, (len(clips), length))
        for row, clip in enumerate(progress(clips, f"{corpus.name} {split}", len(clips), "clip")):
            array[row] = fitted(corpus.audio(clip), length)
        array.flush()

    return np.load(cached("recordings", [corpus.fingerprint, split, length], write) / "audio.npy", "r")
