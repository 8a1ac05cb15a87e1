"""kws data: what a corpus holds, the task made of it, and the corpus as a folder of wavs; or any phrase, spoken."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections import Counter
from pathlib import Path

import soundfile

from mcu_codegen import files, report
from mcu_codegen.errors import InputError

from . import everyday, speech_commands, spoken, synthetic, task_options
from .audio import RATE, Samples, progress
from .corpus import NOISE_FOLDER, SPLITS, Clip, Corpus
from .folder import COLUMNS, MANIFEST, OFFICIAL
from .opening import open_corpora
from .task import Task, build

SAY = "say"  # in the place of a corpus: phrases follow


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `kws data`."""
    parser.add_argument(
        "data",
        metavar="SPEC",
        help=f"a folder with {MANIFEST}, a root of Speech Commands, '{synthetic.NAME}', '{everyday.NAME}', or '{SAY}'"
        " and then phrases",
    )
    parser.add_argument("phrases", nargs="*", metavar="PHRASE", help=f"with '{SAY}': what many voices are to say")
    parser.add_argument(
        "--voices", type=int, metavar="N", help=f"with '{SAY}': voices of training clips (default: {spoken.VOICES})"
    )
    task_options.configure_words(parser)
    task_options.configure_window(parser)
    parser.add_argument(
        "--make", type=Path, metavar="DIR", help="write the corpus into DIR as 16 kHz wavs and a manifest"
    )
    parser.add_argument("--download", action="store_true", help="first fetch Speech Commands v0.02 (2.3 GB) into SPEC")


def run(options: argparse.Namespace) -> int:
    """Print the tables; with --make, write the folder first."""
    if options.download:
        speech_commands.download(Path(options.data))
    corpus = _opened(options)
    corpus.load()
    if options.make:
        write_folder(corpus, options.make)
    print(corpus_table(corpus))
    words = options.words or options.phrases or task_options.default_words(corpus, options.exclude)
    print(task_table(build(corpus, words, options.exclude, length=task_options.window(options))))
    return 0


def _opened(options: argparse.Namespace) -> Corpus:
    """The corpus that the options name. Raises InputError where they do not go together."""
    if options.data == SAY:
        if not options.phrases:
            raise InputError(f"kws data {SAY}: no phrase; one or more are accepted, each in quotes")
        return spoken.open_spoken(options.phrases, task_options.window(options), options.voices or spoken.VOICES)
    for name in ("phrases", "voices"):
        if getattr(options, name):
            raise InputError(f"kws data {options.data}: {name} go with '{SAY}' alone")
    return open_corpora([options.data], options.words or (), task_options.window(options))


def corpus_table(corpus: Corpus) -> str:
    """Clips per word and split, speakers and seconds of each word, as text."""
    clips: dict[str, list[Clip]] = {word: [] for word in sorted({clip.word for clip in corpus.clips})}
    for clip in corpus.clips:
        clips[clip.word].append(clip)
    rows = []
    for word, held in [*clips.items(), ("all", list(corpus.clips))]:
        splits = Counter(clip.split for clip in held)
        speakers = {clip.speaker for clip in held} - {""}
        seconds = sum(len(corpus.audio(clip)) for clip in held) / RATE
        rows.append([word, *(splits[split] for split in SPLITS), len(speakers), round(seconds)])
    table = report.Table(["word", *SPLITS, "speakers", "seconds"], rows).text()
    noise = ", ".join(
        f"{name} {len(samples) / RATE:.0f} s" for name, samples in zip(corpus.noise_names, corpus.noises, strict=True)
    )
    return f"{corpus.name}\n{table}\nbackground noise: {noise or 'none; generated noise stands in'}"


def task_table(made: Task) -> str:
    """Examples per class and split, as text."""
    splits = [getattr(made, split) for split in SPLITS]
    rows = [
        [label, *(int((split.labels == number).sum()) for split in splits)] for number, label in enumerate(made.labels)
    ]
    table = report.Table(["class", *SPLITS], [*rows, ["all", *map(len, splits)]]).text()
    return f"\nas a task of {len(made.labels)} classes\n{table}"


def write_folder(corpus: Corpus, folder: Path) -> None:
    """The corpus as ``<word>/<clip>.wav``, ``_background_noise_/`` and, last, ``manifest.csv``; `open_corpus` reads it.

    Raises InputError where `folder` holds anything already, so that no clip of another corpus is left among them.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"--make {folder}: is there already; a new or empty folder is accepted")
    manifest = io.StringIO()
    writer = csv.writer(manifest, lineterminator="\n")
    writer.writerow([*COLUMNS, OFFICIAL] if (official := any(clip.official_test for clip in corpus.clips)) else COLUMNS)
    for clip in progress(corpus.clips, f"writing {folder}", len(corpus.clips), "clip"):
        name = Path(clip.key).with_suffix(".wav")
        _write_wav(folder / name, corpus.audio(clip))
        row = [name.as_posix(), clip.word, clip.speaker, clip.split]
        writer.writerow([*row, clip.official_test] if official else row)
    for title, samples in zip(corpus.noise_names, corpus.noises, strict=True):
        _write_wav(folder / NOISE_FOLDER / f"{title}.wav", samples)
    files.write_whole(folder / MANIFEST, manifest.getvalue())
    print(f"{folder}: {len(corpus.clips)} clips written", file=sys.stderr)


def _write_wav(path: Path, samples: Samples) -> None:
    content = io.BytesIO()
    soundfile.write(content, samples, RATE, format="WAV", subtype="PCM_16")
    files.write_whole(path, content.getvalue())
