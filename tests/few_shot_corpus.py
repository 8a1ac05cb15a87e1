"""A corpus that is made at once: words are pairs of tones, speakers shift them."""

from __future__ import annotations

import numpy as np

from kws.data.corpus import Clip, Corpus

SPEAKERS = {"training": ("anna", "bert", "carl"), "validation": ("dora", "emil"), "testing": ("fred", "gina")}
WORDS = tuple(f"word{number:02}" for number in range(15))
_SECONDS = np.arange(16000) / 16000


def corpus(words: tuple[str, ...] = WORDS, takes: int = 4, splits: dict[str, tuple[str, ...]] = SPEAKERS) -> Corpus:
    clips = tuple(
        Clip(f"{speaker}/{word}/{take}", word, speaker, split)
        for split, speakers in splits.items()
        for speaker in speakers
        for word in words
        for take in range(takes)
    )

    def decode() -> list[np.ndarray]:
        rng = np.random.default_rng(0)
        return [
            _spoken(words.index(clip.word), sorted(sum(splits.values(), ())).index(clip.speaker), rng) for clip in clips
        ]

    return Corpus("pairs of tones", clips, (), f"pairs of tones {words} {takes} {splits}", decode)


def _spoken(word: int, speaker: int, rng: np.random.Generator) -> np.ndarray:
    first, second = 300 * 1.35 ** (word % 5), 700 * 1.5 ** (word // 5)
    pitches = np.array([first, second]) * (1 + 0.02 * speaker) * rng.uniform(0.98, 1.02)
    early = _SECONDS < 0.5
    signal = np.where(early, np.sin(2 * np.pi * pitches[0] * _SECONDS), np.sin(2 * np.pi * pitches[1] * _SECONDS))
    return np.rint(6000 * signal * np.hanning(16000) + rng.normal(0, 30, 16000)).astype(np.int16)
