"""Few-shot tasks as a view of a corpus: a few words of anybody, or a few words of one speaker, to learn and to ask.

A task (an episode, where `data.task.Task` is meant by the other word) has `ways` words, `shots` clips of each to learn
from and a few others of each to be asked about.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mcu_codegen.errors import InputError

from ..data import task as corpus_tasks
from ..data.audio import cache_folder
from ..data.corpus import Corpus
from ..features import Window, cached
from ..training.recipe import Augmentation, Views, view_clips, views
from .splits import with_test_speakers, word_splits

KINDS = ("words", "speakers")


@dataclass(frozen=True)
class Shape:
    """`kind`: whose clips a task takes, anybody's (words) or one person's (speakers)."""

    ways: int = 5
    shots: int = 5
    kind: str = "words"
    queries: int = 5  # clips a word to ask about, fewer where there are no more

    def __post_init__(self) -> None:
        if self.ways < 2 or self.shots < 1 or self.queries < 1:
            raise InputError(f"--ways {self.ways} --shots {self.shots}: 2 words or more of 1 clip or more are accepted")

    def text(self) -> str:
        return f"{self.ways}-way {self.shots}-shot{', one speaker' if self.kind == 'speakers' else ''}"


@dataclass(frozen=True)
class Episode:
    """Features int8[N, frames, coefficients] and labels int64[N], places in `words`; no clip is in both halves."""

    words: tuple[str, ...]
    support: npt.NDArray[np.int8]
    support_labels: npt.NDArray[np.int64]
    query: npt.NDArray[np.int8]
    query_labels: npt.NDArray[np.int64]


class Pool:
    """Clips of some words by some speakers, each with one example of its features or several augmented ones."""

    def __init__(
        self,
        name: str,
        words: npt.NDArray[np.str_],
        speakers: npt.NDArray[np.str_],
        features: npt.NDArray[np.int8],
        clips: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """`words` and `speakers` of each clip; `features` [examples, frames, coefficients] and the clip of each,
        -1 where nobody said it (None: example i is of clip i)."""
        self.name, self.words, self.speakers, self.features = name, words, speakers, features
        clips = np.arange(len(words)) if clips is None else clips
        order = np.argsort(clips, kind="stable")
        bounds = np.searchsorted(clips[order], np.arange(len(words) + 1))
        self._examples = [order[start:stop] for start, stop in itertools.pairwise(bounds)]
        heard = np.array([len(examples) > 0 for examples in self._examples])
        self._of_word = {str(word): np.flatnonzero(heard & (words == word)) for word in np.unique(words)}
        self._of_speaker = {
            str(name): {
                word: rows
                for word, all_rows in self._of_word.items()
                if len(rows := all_rows[speakers[all_rows] == name])
            }
            for name in np.unique(speakers[speakers != ""])
        }

    def check(self, shape: Shape) -> None:
        """Raises InputError where it has no task of that shape."""
        if not self._sources(shape):
            who = "speaker with " if shape.kind == "speakers" else ""
            raise InputError(
                f"{self.name}: no {who}{shape.ways} words of {shape.shots + 1} clips or more, which a task of"
                f" --ways {shape.ways} --shots {shape.shots} needs"
            )

    def draw(self, shape: Shape, rng: np.random.Generator) -> Episode:
        """A task; words, clips and examples by chance."""
        sources = self._sources(shape)
        source = sources[rng.integers(len(sources))]
        words = [str(word) for word in rng.permutation(list(source))[: shape.ways]]
        halves: tuple[list[list[int]], list[list[int]]] = ([], [])  # rows of each word, to learn from and to ask about
        for word in words:
            clips = rng.permutation(source[word])[: shape.shots + shape.queries]
            rows = [int(rng.choice(self._examples[clip])) for clip in clips]
            halves[0].append(rows[: shape.shots])
            halves[1].append(rows[shape.shots :])

        def codes(half: list[list[int]]) -> npt.NDArray[np.int8]:
            return np.asarray(self.features[list(itertools.chain(*half))])

        def labels(half: list[list[int]]) -> npt.NDArray[np.int64]:
            return np.repeat(np.arange(len(half)), list(map(len, half)))

        support, query = halves
        return Episode(tuple(words), codes(support), labels(support), codes(query), labels(query))

    def draws(self, shape: Shape, count: int, seed: int) -> Iterator[Episode]:
        """`count` tasks, the same ones for a seed, whoever is asked."""
        for number in range(count):
            yield self.draw(shape, np.random.default_rng([seed, number]))

    def _sources(self, shape: Shape) -> list[dict[str, np.ndarray]]:
        """The clips by word, of all or of each speaker, of whoever has enough of enough words."""
        found = self._of_speaker.values() if shape.kind == "speakers" else [self._of_word]
        enough = [{word: rows for word, rows in each.items() if len(rows) > shape.shots} for each in found]
        return [each for each in enough if len(each) >= shape.ways]


class Material:
    """What a corpus gives: three pools that differ in words and in speakers (`splits`), and an ordinary task of the
    words to learn from, whose speakers are those of the pools."""

    def __init__(self, corpus: Corpus, window: Window, augmentation: Augmentation, seed: int) -> None:
        """Raises InputError where the words are too few."""
        self.window, self.augmentation, self.seed = window, augmentation, seed
        self.words = word_splits(corpus.words)
        self.corpus = with_test_speakers(corpus)
        others = (*self.words["validation"], *self.words["testing"])
        self.task = corpus_tasks.build(self.corpus, self.words["training"], others, length=window.length)

    @cached_property
    def views(self) -> Views:
        """Augmented examples of the ordinary task."""
        return views(self.task, self.window, self.augmentation, self.seed)

    @cached_property
    def training(self) -> Pool:
        """Of the same examples."""
        held, clips = self.task.training, view_clips(self.task, self.augmentation, self.seed)
        return Pool(f"{self.task.name}, training", held.words, held.speakers, self.views.features, clips)

    @cached_property
    def validation(self) -> Pool:
        return self._unaltered("validation")

    @cached_property
    def testing(self) -> Pool:
        return self._unaltered("testing")

    def _unaltered(self, split: str) -> Pool:
        clips = [clip for clip in self.corpus.clips if clip.split == split]
        audio = corpus_tasks.recordings(self.corpus, split, self.window.length)
        features = cached(audio, self.window, cache_folder() / "features")
        chosen = np.array([place for place, clip in enumerate(clips) if clip.word in self.words[split]], np.int64)
        words, speakers = (
            np.array([getattr(clips[at], name) for at in chosen], np.str_) for name in ("word", "speaker")
        )
        return Pool(f"{self.task.name}, {split}", words, speakers, features[chosen])


def configure(parser: argparse.ArgumentParser) -> None:
    """The options that say what a task is."""
    parser.add_argument(
        "--tasks", choices=KINDS, default=Shape.kind, help="of anybody, or a speaker each (default: %(default)s)"
    )
    parser.add_argument(
        "--ways", type=int, default=Shape.ways, metavar="N", help="words of a task (default: %(default)s)"
    )
    parser.add_argument(
        "--shots", type=int, default=Shape.shots, metavar="K", help="clips a word to learn from (default: %(default)s)"
    )


def shape_of(options: argparse.Namespace) -> Shape:
    return Shape(options.ways, options.shots, options.tasks)
