"""The options that say which task a verb is about: the same names, and the same meaning, in every verb."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mcu_codegen.errors import InputError

from .audio import RATE
from .corpus import CORE_WORDS, Corpus
from .everyday import NAME as EVERYDAY
from .opening import open_corpora
from .synthetic import NAME as SYNTHETIC
from .task import LENGTH, Task, build, check_seconds

MIN_CLIPS = 50


def default_words(corpus: Corpus, exclude: Sequence[str]) -> list[str]:
    """The core words that the corpus has, less `exclude`. Raises InputError where there are none."""
    words = [word for word in CORE_WORDS if word in corpus.words and word not in exclude]
    if not words:
        raise InputError(
            f"{corpus.name}: none of the core words is in it; choose --words among {', '.join(corpus.words)}"
        )
    return words


def word_list(text: str) -> list[str]:
    """``yes,no`` to its words."""
    return [word.strip() for word in text.split(",") if word.strip()]


def configure_words(parser: argparse.ArgumentParser) -> None:
    """The options that say which words a task is made of."""
    parser.add_argument(
        "--words",
        type=word_list,
        metavar="A,B",
        help=f"words to tell apart (default: those of {','.join(CORE_WORDS)} that are there, less --exclude)",
    )
    _configure_excluded(parser)


def configure_window(parser: argparse.ArgumentParser) -> None:
    """Add --window."""
    parser.add_argument(
        "--window",
        type=float,
        default=LENGTH / RATE,
        metavar="S",
        help="seconds of a clip: as long as the longest word (default: %(default)s)",
    )


def window(options: argparse.Namespace) -> int:
    """--window in samples. Raises InputError where it is none."""
    return round(check_seconds(options.window) * RATE)


def _configure_excluded(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--exclude", type=word_list, default=[], metavar="A,B", help="words left out altogether, also of _unknown_"
    )


def _configure_data(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "--data",
        action="append",
        required=default is None,
        metavar="SPEC",
        help=f"a folder with manifest.csv, a root of Speech Commands, '{SYNTHETIC}', which speaks any --words, or"
        f" '{EVERYDAY}', six hundred words to mix in; several are mixed{f' (default: {default})' if default else ''}",
    )


def configure_again(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add --data, required unless there is a default, and --exclude, for a verb whose network knows its words."""
    _configure_data(parser, default)
    _configure_excluded(parser)


def corpus_again(options: argparse.Namespace, words: Sequence[str], length: int) -> Corpus:
    """The corpus that the options of `configure_again` describe, for a network of `words` and such a window."""
    return open_corpora(options.data or [SYNTHETIC], words, length)


def again(options: argparse.Namespace, labels: Sequence[str], length: int) -> Task:
    """The task that the options of `configure_again` describe, for a network of `labels` and such a window."""
    return build(corpus_again(options, labels[2:], length), labels[2:], options.exclude, length=length)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add --data, --words, --exclude, --min-clips and --window: the same names in every verb that needs a task."""
    _configure_data(parser, SYNTHETIC)
    configure_words(parser)
    configure_window(parser)
    parser.add_argument(
        "--min-clips",
        type=int,
        default=MIN_CLIPS,
        metavar="N",
        help="training clips a class must have (default: %(default)s)",
    )


def from_options(options: argparse.Namespace) -> Task:
    """The task that the options of `configure` describe. Raises InputError where it cannot be trained or validated."""
    length = window(options)
    corpus = open_corpora(options.data or [SYNTHETIC], options.words or (), length)
    words = options.words or default_words(corpus, options.exclude)
    made = build(corpus, words, options.exclude, options.min_clips, length)
    for split in ("training", "validation"):
        made.split(split)
    return made
