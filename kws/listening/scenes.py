"""Long recordings made from clips: words at known times between speech without them, in rooms, with noise behind.

Which clips stand where is planned first, from a seed; a recording is rendered when it is asked for, so that hours of
them never lie in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from mcu_codegen.errors import InputError

from ..data import noise
from ..data.audio import RATE, Samples, extent
from ..data.rooms import Room, heard_in
from .recording import Recording, Spoken

T = TypeVar("T")

MINUTES = 5  # of one recording, about
_SPEECH = (3.0, 9.0)  # seconds of other speech between two words
_PAUSE = (0.5, 1.5)  # seconds without speech before and after a word
_LEVEL = (-35.0, -18.0)  # dB of full scale, RMS, of words and speech
_NOISE = (-65.0, -40.0)  # of the noise behind them
_FADE = RATE // 100  # samples
_QUIET = 0.2  # of the stretches between words are noise alone
_IN_A_ROOM = 0.5  # of the stretches and words


@dataclass(frozen=True)
class Source:
    """What recordings are made of: (word, clip) pairs of the words, sounds without them, noise, and rooms."""

    words: Sequence[tuple[str, Samples]]
    others: Sequence[Samples]
    noises: Sequence[Samples]
    rooms: Sequence[Room]


@dataclass(frozen=True)
class Piece:
    """Clips one after the other, from sample `start` on; `word` where it is one of the words."""

    start: int
    clips: tuple[Samples, ...]
    word: str = ""

    @property
    def length(self) -> int:
        return sum(len(clip) for clip in self.clips)


@dataclass(frozen=True)
class Scene:
    """The plan of one recording."""

    pieces: tuple[Piece, ...]
    length: int  # samples
    seed: tuple[int, ...]  # of levels, rooms and noise


def plan(source: Source, hours: float, seed: int) -> list[Scene]:
    """Scenes of about `hours` in all. Every clip is used once before one is used again.

    Raises InputError where there are no words or no other sounds.
    """
    if not source.words or not source.others:
        raise InputError(f"no {'other sounds' if source.words else 'words'} to make a recording of; see --background")
    rng = np.random.default_rng(seed)
    words, others = _endless(source.words, rng), _endless(source.others, rng)
    scenes: list[Scene] = []
    left = round(hours * 3600 * RATE)
    while left > 0:
        pieces: list[Piece] = []
        at, end = 0, min(left, MINUTES * 60 * RATE)
        while at < end:
            stretch, before, after = (round(rng.uniform(*span) * RATE) for span in (_SPEECH, _PAUSE, _PAUSE))
            if rng.random() >= _QUIET:
                pieces.append(Piece(at, _enough(others, stretch)))
                stretch = pieces[-1].length
            word, clip = next(words)
            pieces.append(Piece(at + stretch + before, (clip,), word))
            at += stretch + before + len(clip) + after
        at += 2 * RATE  # the last word is detected after it
        scenes.append(Scene(tuple(pieces), at, (seed, len(scenes))))
        left -= at
    return scenes


def _endless(items: Sequence[T], rng: np.random.Generator) -> Iterator[T]:
    """All of them in random order, again and again."""
    while True:
        for index in rng.permutation(len(items)):
            yield items[index]


def _enough(clips: Iterator[Samples], samples: int) -> tuple[Samples, ...]:
    """The next clips, until they are so many samples."""
    taken: list[Samples] = []
    while sum(len(clip) for clip in taken) < samples:
        taken.append(next(clips))
    return tuple(taken)


def render(source: Source, scene: Scene) -> Recording:
    """The recording that `scene` plans."""
    rng = np.random.default_rng(scene.seed)
    signal = noise.crops(source.noises, 1, scene.length, rng)[0]
    signal *= _gain(signal, rng.uniform(*_NOISE))
    spoken = []
    for piece in scene.pieces:
        part = np.concatenate([_faded(clip) for clip in piece.clips])
        part *= _gain(part, rng.uniform(*_LEVEL))
        if piece.word:
            first, last = extent(piece.clips[0])
            spoken.append(Spoken((piece.start + first) / RATE, (piece.start + last) / RATE, piece.word))
        if rng.random() < _IN_A_ROOM:
            part = heard_in(source.rooms[int(rng.integers(len(source.rooms)))], part)
        stretch = signal[piece.start : piece.start + len(part)]
        stretch += part[: len(stretch)]
    return Recording(np.clip(np.rint(signal), -32768, 32767).astype(np.int16), tuple(spoken))


def _gain(signal: npt.NDArray[np.float32], decibels: float) -> np.float32:
    """What brings the RMS of a signal to so many dB of full scale; silence stays silent."""
    return np.float32(32768 * 10 ** (decibels / 20) / (np.sqrt(np.mean(signal**2)) + 1e-3))


def _faded(clip: Samples) -> npt.NDArray[np.float32]:
    """Without a click at its ends."""
    part = clip.astype(np.float32)
    fade = np.linspace(0, 1, min(_FADE, len(part) // 2), dtype=np.float32)
    part[: len(fade)] *= fade
    part[len(part) - len(fade) :] *= fade[::-1]
    return part
