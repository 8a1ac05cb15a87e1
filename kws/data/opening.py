"""From what a user names to a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mcu_codegen.errors import InputError

from . import everyday, folder, mixed, speech_commands, spoken, synthetic
from .audio import RATE
from .corpus import Corpus


def open_corpora(specs: Sequence[str | Path], words: Sequence[str] = (), length: int = RATE) -> Corpus:
    """The corpus that `specs` name, several of them mixed; `words` and `length` as in `open_corpus`."""
    corpora = [open_corpus(spec, words, length) for spec in specs]
    return corpora[0] if len(corpora) == 1 else mixed.mix(corpora)


def open_corpus(spec: str | Path, words: Sequence[str] = (), length: int = RATE) -> Corpus:
    """The corpus that `spec` names.

    ``synthetic``: spoken by eSpeak NG, made on first use; where `words` are others than those that it always has, they
    are spoken, with what sounds like them, in clips of `length` samples. ``everyday``: some six hundred English words,
    spoken likewise, in clips of a second. Otherwise a folder: one with a ``manifest.csv``, or Speech Commands v0.02 as
    torchaudio lays it out (the folder itself or the root above it).
    """
    if str(spec) == synthetic.NAME:
        others = set(words) - set(synthetic.WORDS)
        return spoken.open_spoken(words, length) if others else synthetic.open_synthetic()
    if str(spec) == everyday.NAME:
        return everyday.open_everyday()
    root = Path(spec)
    if not root.is_dir():
        raise InputError(f"{root}: no such data folder; a folder, '{synthetic.NAME}' or '{everyday.NAME}' is accepted")
    if (root / folder.MANIFEST).is_file():
        return folder.open_folder(root)
    inner = speech_commands.find(root)
    if inner:
        return speech_commands.open_speech_commands(inner)
    raise InputError(
        f"{root}: {'empty data folder' if not any(root.iterdir()) else 'no corpus'}; accepted: a folder with "
        f"{folder.MANIFEST} (file,word,speaker,split) or with {speech_commands.LAYOUT}"
    )
