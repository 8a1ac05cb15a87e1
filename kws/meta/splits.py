"""Which words and which speakers meta-training hears, which choose its settings, and which judge it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from mcu_codegen.errors import InputError

from ..data.corpus import SPLITS, Corpus

_LEAST = 15  # words: five to judge, five to choose by, five to learn from
_TRAINED = 25  # words, where a corpus has enough of them: of 40 ten are left to judge, of 35 five
_VALIDATING = 5  # words; and every so-manieth training speaker, where a corpus has two splits of speakers only
_ONE_IN = 6


def word_splits(words: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The words of each of `SPLITS`, sorted: by the CRC-32 of their spelling the first 25 to learn from (fewer, where
    fewer than five would be left to judge), the next five to choose settings by, the others to judge.

    The cards in `datasets/` print them. Raises InputError for fewer than 15 words.
    """
    if len(words) < _LEAST:
        raise InputError(
            f"{len(words)} words; {_LEAST} or more are needed, five of them to choose by and five to judge"
        )
    order = sorted(words, key=lambda word: (zlib.crc32(word.encode()), word))
    trained = min(_TRAINED, len(words) - 2 * _VALIDATING)
    parts = order[:trained], order[trained : trained + _VALIDATING], order[trained + _VALIDATING :]
    return {split: tuple(sorted(part)) for split, part in zip(SPLITS, parts, strict=True)}


def with_test_speakers(corpus: Corpus) -> Corpus:
    """`corpus`, or, where it has no testing clips, the same clips with its validation speakers for testing and every
    sixth of its training speakers, by name, for validation."""
    held = {clip.speaker: clip.split for clip in corpus.clips}
    if "testing" in held.values():
        return corpus
    training = sorted(speaker for speaker, split in held.items() if split == "training" and speaker)
    validating = set(training[_ONE_IN - 1 :: _ONE_IN])
    splits = {
        speaker: "testing" if split == "validation" else "validation" if speaker in validating else "training"
        for speaker, split in held.items()
    }
    return corpus.split_anew(splits)
