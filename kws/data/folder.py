"""Any folder of audio with a ``manifest.csv``: file,word,speaker,split and, optionally, official_test."""

from __future__ import annotations

import csv
import hashlib
import sys
from pathlib import Path

from mcu_codegen.errors import InputError

from . import audio
from .corpus import NOISE_FOLDER, SPLITS, Clip, Corpus

MANIFEST = "manifest.csv"
COLUMNS = ("file", "word", "speaker", "split")
OFFICIAL = "official_test"
FORMATS = (".wav", ".flac", ".ogg", ".opus")


def read_manifest(root: Path) -> tuple[Clip, ...]:
    """The rows of ROOT/manifest.csv, in order. Raises InputError naming the line."""
    path = root / MANIFEST
    clips, files = [], set()
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise InputError(f"{path}: no column {', '.join(missing)}; needed: {','.join(COLUMNS)}")
            for row in reader:
                where = f"{path} line {reader.line_num}"
                name, word, speaker, split = ((row[column] or "").strip() for column in COLUMNS)
                if not name or not word:
                    raise InputError(f"{where}: no {'file' if not name else 'word'}")
                if split not in SPLITS:
                    raise InputError(f"{where}: split is '{split}'; accepted: {', '.join(SPLITS)}")
                if name in files:
                    raise InputError(f"{where}: '{name}' is listed twice")
                files.add(name)
                clips.append(Clip(name, word, speaker, split, (row.get(OFFICIAL) or "").strip()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV in UTF-8 ({error})") from None
    if not clips:
        raise InputError(f"{path}: lists no clips")
    return tuple(clips)


def noise_files(root: Path) -> list[Path]:
    """The audio files of ROOT/_background_noise_, sorted; none where there is no such folder."""
    return sorted(path for path in (root / NOISE_FOLDER).glob("*") if path.suffix.lower() in FORMATS)


def files_corpus(root: Path, clips: tuple[Clip, ...]) -> Corpus:
    """A corpus whose clip keys are file names relative to `root`."""
    noises = noise_files(root)
    paths = [root / clip.key for clip in clips] + noises
    fingerprint = hashlib.sha256()
    for clip in clips:
        fingerprint.update(repr(clip).encode())
    for identity in audio.identify(paths):
        fingerprint.update(identity.encode())
    return Corpus(
        root.name,
        clips,
        tuple(path.stem for path in noises),
        fingerprint.hexdigest(),
        lambda: audio.decode(paths, root.name),
    )


def open_folder(root: Path) -> Corpus:
    """The corpus in `root`. Says so on standard error where a speaker is in more than one split."""
    clips = read_manifest(root)
    splits: dict[str, set[str]] = {}
    for clip in clips:
        splits.setdefault(clip.speaker, set()).add(clip.split)
    shared = sorted(speaker for speaker, found in splits.items() if speaker and len(found) > 1)
    if shared:
        print(
            f"{root}: {len(shared)} speakers are in more than one split (first: {shared[0]}): "
            "accuracy is then not that on unheard voices",
            file=sys.stderr,
        )
    return files_corpus(root.resolve(), clips)
