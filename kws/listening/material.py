"""From what a user names to what long recordings are made of."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mcu_codegen.errors import InputError

from ..data import audio, noise, rooms, task
from ..data.corpus import SILENCE, Corpus
from ..data.folder import FORMATS
from .scenes import Source


def source(
    corpus: Corpus,
    words: Sequence[str],
    exclude: Sequence[str],
    split: str,
    background: Sequence[Path] = (),
    responses: Path | None = None,
) -> Source:
    """What recordings of `split`, validation or testing, are made of.

    Words are the corpus's clips of that split, those of its official test set where it marks one. Other sounds are the
    files in the folders `background`, else the corpus's clips of other words, less `exclude`. Rooms are the impulse
    responses in the folder `responses`, else generated ones. Of files without a split half are for validation and half
    for testing, by the CRC-32 of their names.
    """
    clips = [clip for clip in corpus.clips if clip.split == split and clip.word not in (SILENCE, *exclude)]
    spoken = [clip for clip in clips if clip.word in words]
    official = [clip for clip in spoken if clip.official_test == clip.word]
    heard = [(clip.word, corpus.audio(clip)) for clip in official or spoken]
    if not heard:
        raise InputError(f"{corpus.name}: no {split} clips of {', '.join(words)}")
    others = (
        _half(background, split) if background else [corpus.audio(clip) for clip in clips if clip.word not in words]
    )
    rng = np.random.default_rng(0)
    noises = task.part(corpus.noises or noise.generated(rng), split)
    heard_in = rooms.recorded(_half([responses], split)) if responses else rooms.generated(rng)
    return Source(heard, others, noises, heard_in)


def _half(folders: Sequence[Path], split: str) -> list[audio.Samples]:
    """The audio files below `folders` that belong to `split`. Raises InputError where there are none."""
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in FORMATS)
    chosen = [path for path in files if zlib.crc32(path.name.encode()) % 2 == (split == "testing")]
    if not chosen:
        raise InputError(
            f"{folders[0]}: {len(files)} audio files, none for {split}; folders with several {', '.join(FORMATS)} are"
            " accepted"
        )
    recordings = audio.decode(chosen, folders[0].name)
    return [recordings[index] for index in range(len(recordings))]
