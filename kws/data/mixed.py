"""Several corpora as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .audio import Samples
from .corpus import Corpus


def mix(corpora: Sequence[Corpus]) -> Corpus:
    """All clips of all of them, each in the split and, as far as it is marked, the official test set that it has.

    Speakers of one name in two corpora are two speakers.
    """
    clips = tuple(
        replace(clip, key=f"{number}/{clip.key}", speaker=f"{number}/{clip.speaker}" if clip.speaker else "")
        for number, corpus in enumerate(corpora)
        for clip in corpus.clips
    )

    def decode() -> list[Samples]:
        spoken = [corpus.audio(clip) for corpus in corpora for clip in corpus.clips]
        return spoken + [samples for corpus in corpora for samples in corpus.noises]

    return Corpus(
        " + ".join(corpus.name for corpus in corpora),
        clips,
        tuple(f"{number}-{name}" for number, corpus in enumerate(corpora) for name in corpus.noise_names),
        "\0".join(corpus.fingerprint for corpus in corpora),
        decode,
    )
