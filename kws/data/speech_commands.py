"""Google Speech Commands v0.02, as torchaudio downloads and lays it out, split by the official hash of the speaker."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mcu_codegen.errors import InputError

from .corpus import NOISE_FOLDER, Clip, Corpus
from .folder import files_corpus

LAYOUT = "SpeechCommands/speech_commands_v0.02"
LISTS = {"validation": "validation_list.txt", "testing": "testing_list.txt"}
_BUCKETS = 2**27 - 1  # MAX_NUM_WAVS_PER_CLASS in the data set's README


def speaker_of(file: str) -> str:
    """``yes/bb05582b_nohash_3.wav`` was spoken by ``bb05582b``."""
    return Path(file).stem.split("_nohash_")[0]


def split_of(speaker: str) -> str:
    """The split that the data set's README gives a speaker: 10 % validation, 10 % testing, by SHA-1 of its id.

    Clips outside the two list files (those of v0.01) fall beside the other clips of their speaker.
    """
    percentage = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % (_BUCKETS + 1) * (100.0 / _BUCKETS)
    return "validation" if percentage < 10 else "testing" if percentage < 20 else "training"


def find(root: Path) -> Path | None:
    """The folder of words in or under `root`, or None."""
    candidates = (root, root / Path(LAYOUT).name, root / LAYOUT)
    return next((folder for folder in candidates if all((folder / name).is_file() for name in LISTS.values())), None)


def read_lists(folder: Path) -> dict[str, str]:
    """File name to split, as the two official lists have it."""
    return {
        line: split for split, name in LISTS.items() for line in (folder / name).read_text().split("\n") if line.strip()
    }


def open_speech_commands(folder: Path) -> Corpus:
    """Every ``<word>/*.wav`` in `folder`. A clip is split by its speaker's hash, never by the lists alone.

    Raises InputError where a listed clip's speaker hashes to another split: then the files are not those of v0.02.
    """
    files = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*.wav"))
    clips = tuple(
        Clip(file, file.split("/")[0], speaker_of(file), split_of(speaker_of(file)))
        for file in files
        if not file.startswith(NOISE_FOLDER)
    )
    if not clips:
        raise InputError(f"{folder}: no <word>/*.wav")
    listed = read_lists(folder)
    for clip in clips:
        if listed.get(clip.key, clip.split) != clip.split:
            raise InputError(
                f"{folder / clip.key}: in the {listed[clip.key]} list, but its speaker hashes to {clip.split}"
            )
    return files_corpus(folder.resolve(), clips)


def download(root: Path) -> None:
    """Fetch v0.02 (2.3 GB) into ROOT/SpeechCommands with torchaudio, which checks its SHA-256."""
    from ..torchaudio_import import torchaudio

    try:
        root.mkdir(parents=True, exist_ok=True)
        torchaudio.datasets.SPEECHCOMMANDS(root, url="speech_commands_v0.02", download=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: the checksum differs
        raise InputError(f"{root}: download of Speech Commands v0.02 failed ({error})") from None
