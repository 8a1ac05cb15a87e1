"""Everyday English words said by many synthetic voices, so that a network hears more words than it has labels.

``python -m kws.data.everyday FOLDER`` makes it, in a process of its own as `synthetic` does.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from . import espeak, synthetic
from .corpus import Clip, Corpus
from .spoken import VOICES, speakers
from .vocabulary import WORDS

NAME = "everyday"
_VERSION = "1"  # of the recipe: part of the cache's name
_TAKES = {"training": 24, "validation": 2, "testing": 2}  # voices that say each word, drawn anew for each


def recipe() -> tuple[Clip, ...]:
    """Every clip there is, in the order in which they are spoken: a voice after the other."""
    clips, rng = [], np.random.default_rng(1)
    for split, takes in _TAKES.items():
        voices = speakers(split, VOICES)
        said: dict[str, list[str]] = {voice: [] for voice in voices}
        for word in WORDS:
            for voice in rng.choice(voices, takes, replace=False):
                said[str(voice)].append(word)
        clips += [Clip(f"{word}/{voice}.wav", word, voice, split) for voice, words in said.items() for word in words]
    return tuple(clips)


def open_everyday() -> Corpus:
    """The corpus; made when its audio is first asked for. Raises InputError where eSpeak NG is not installed."""
    clips = recipe()
    return synthetic.opened(NAME, clips, [_VERSION, *map(repr, clips), *espeak.identity()], [__name__])


if __name__ == "__main__":
    synthetic.make(Path(sys.argv[1]), [(clip, clip.word) for clip in recipe()])
