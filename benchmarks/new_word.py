"""How well a word is learnt from a few clips.

    python benchmarks/new_word.py --data WAVES [--model res1d-m] [--epochs 20] [--out build/new-word]

WAVES holds SpeechCommandsFull and ArabicSpeechCommands, as unpack.py writes them.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from kws.meta.splits import word_splits

from kws.data import task as task_options
from kws.data.corpus import CORE_WORDS, Corpus
from kws.data.mixed import mix
from kws.data.opening import open_corpus
from kws.data.task import Task
from kws.training import train
from kws.training.recipe import Augmentation, Recipe

ARABIC = "arabic "


def renamed(corpus: Corpus, prefix: str) -> Corpus:
    """The same clips, of words with a prefix: those of two languages are not the same words."""
    clips = tuple(replace(clip, word=prefix + clip.word) for clip in corpus.clips)

    def decode() -> list:
        return [corpus.audio(clip) for clip in corpus.clips]

    return Corpus(corpus.name, clips, (), f"{prefix}{corpus.fingerprint}", decode)


def base_task(waves: Path) -> Task:
    """25 words of Speech Commands, all but the ten core ones, and 20 Arabic ones; _unknown_ are five more of those."""
    english = open_corpus(waves / "SpeechCommandsFull")
    arabic = open_corpus(waves / "ArabicSpeechCommands")
    splits = {split: [ARABIC + word for word in words] for split, words in word_splits(arabic.words).items()}
    words = [word for word in english.words if word not in CORE_WORDS] + splits["training"][:20]
    unheard = [*CORE_WORDS, *splits["validation"], *splits["testing"]]
    return task_options.build(mix([english, renamed(arabic, ARABIC)]), words, unheard)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="res1d-m")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("build/new-word"))
    options = parser.parse_args()
    task = base_task(options.data)
    print(task.labels, len(task.training), len(task.validation))
    recipe = replace(Recipe(), epochs=options.epochs, augmentation=Augmentation(options.views))
    out = options.out / options.model
    train.train(task, options.model, "logmel40-4khz", recipe, 0, out, (out / train.LAST).exists())


if __name__ == "__main__":
    main()
