"""A long recording and the words in it; read from an audio file with a label track beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mcu_codegen.errors import InputError

from ..data import audio
from ..data.audio import RATE, Samples

TRACK = ".txt"  # of the label track beside an audio file


@dataclass(frozen=True)
class Spoken:
    """A word, and from when to when it is spoken, in seconds from the start of the recording."""

    start: float
    end: float
    word: str


@dataclass(frozen=True)
class Recording:
    """int16[n] at 16 kHz, and the words in it, in the order of their starts. Nothing else in it is such a word."""

    audio: Samples
    words: tuple[Spoken, ...]


def read(path: Path, words: Sequence[str]) -> Recording:
    """The recording in `path` with the label track ``NAME.txt`` beside ``NAME.wav``; labels outside `words` are other
    speech. Raises InputError where one of both is missing, damaged, or does not fit the other.
    """
    samples, _ = audio.read(path)
    track = _track(path.with_suffix(TRACK), len(samples) / RATE)
    return Recording(samples, tuple(each for each in track if each.word in words))


def _track(path: Path, seconds: float) -> list[Spoken]:
    """A label track as Audacity exports it: start, end and label in a line, separated by tabs, in seconds."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot read the label track ({getattr(error, 'strerror', None) or 'not UTF-8'}); lines of start,"
            " end and word, separated by tabs, are accepted, and an empty file where no word is spoken"
        ) from None
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("\\"):  # Audacity writes a label's range of frequencies so
            continue
        where, fields = f"{path} line {number}", [field.strip() for field in line.split("\t")]
        try:
            start, end, word = float(fields[0]), float(fields[1]), fields[2]
        except (ValueError, IndexError):
            raise InputError(f"{where}: found {line!r}; start, end and word, separated by tabs, are accepted") from None
        if not (math.isfinite(end) and 0 <= start <= end <= seconds) or not word:
            raise InputError(
                f"{where}: '{word}' from {start:g} to {end:g} s; the recording has {seconds:g} s, and a word starts in"
                " it before it ends"
            )
        found.append(Spoken(start, end, word))
    return sorted(found, key=lambda each: each.start)
