"""What training for a stream is worth where a board listens: words missed over false accepts an hour, three ways.

    python benchmarks/listening.py --data WAVES [--model res1d-s] [--epochs 15] [--views 5] [--split testing]

WAVES holds SpeechCommandsFull, ArabicSpeechCommands and more_audio, as unpack.py writes them. The ten-class task is
learnt from clips, from the same clips as a stream has them (`kws train --streaming`), and with the Arabic words in
_unknown_ too. Each network then hears hours made of words, real speech without them, noise and recorded rooms, those
of `--split`. What is finished is in OUT and is not done again, what was interrupted goes on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

from accuracy import EXCLUDED, trained

from kws.data.corpus import CORE_WORDS
from kws.data.opening import open_corpora, open_corpus
from kws.data.task import build
from kws.listening import material, scenes
from kws.listening.hearing import Listener
from kws.listening.settings import Trial
from kws.quantization.quantize import quantize
from kws.training.recipe import Augmentation, Recipe
from mcu_codegen import files
from mcu_codegen.formats import tflite
from mcu_codegen.listen.pipeline import Pipeline
from mcu_codegen.report import Table

CORPORA = ("SpeechCommandsFull", "ArabicSpeechCommands")
BACKGROUND = ("wake_words", "spoken_orders", "community_wake", "custom_commands", "environment", "ambient")
WORDS = tuple(word for word in CORE_WORDS if word not in EXCLUDED)
WAYS = {"clips": (False, 1), "streamed": (True, 1), "streamed, more unknown words": (True, 2)}
LEVELS = (0.5, 1, 2, 5, 10, 20, 50)  # false accepts an hour


def network(way: str, waves: Path, model: str, recipe: Recipe, folder: Path) -> Path:
    """The int8 model of one way to train."""
    path = folder / "model.tflite"
    if not path.exists():
        streamed, corpora = WAYS[way]
        task = build(open_corpora([waves / name for name in CORPORA[:corpora]]), WORDS, EXCLUDED)
        augmentation = recipe.augmentation.streamed() if streamed else recipe.augmentation
        held = trained(task, model, "logmel40-4khz", 0, folder, replace(recipe, augmentation=augmentation))
        files.write_whole(path, tflite.write(quantize(held, task).graph))
    return path


def row(path: Path, waves: Path, split: str, hours: float) -> list[str]:
    """Misses at every level, at the default smoothing and stride; what the default threshold gives."""
    pipeline, more = Pipeline.of(tflite.read(path)), waves / "more_audio"
    background = [more / name for name in BACKGROUND]
    source = material.source(open_corpus(waves / CORPORA[0]), WORDS, EXCLUDED, split, background, more / "rir")
    made = [partial(scenes.render, source, scene) for scene in scenes.plan(source, hours, seed=0)]
    trial = Trial(list(Listener(pipeline).hear_all(made)), pipeline.labels, pipeline.words)
    curve, usual = trial.curve(pipeline.decision), trial.point(pipeline.decision).score
    fitting = [[point.score.miss_rate for point in curve if point.score.fa_per_hour <= level] for level in LEVELS]
    found = [f"{min(rates):.1%}" if rates else "-" for rates in fitting]
    return [*found, f"{usual.miss_rate:.1%} at {usual.fa_per_hour:.0f}/h, {usual.confusion_rate:.1%} confused"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="res1d-s")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--views", type=int, default=5)
    parser.add_argument("--split", choices=["validation", "testing"], default="validation")
    parser.add_argument("--hours", type=float, default=2.5)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY")
    parser.add_argument("--out", type=Path, default=Path("build/listening"))
    options = parser.parse_args()
    recipe = replace(Recipe(), epochs=options.epochs, augmentation=Augmentation(options.views))
    rows = []
    for number, way in enumerate(WAYS):
        if way in options.ways:
            path = network(way, options.data, options.model, recipe, options.out / f"{options.model}-{number}")
            rows.append([way, *row(path, options.data, options.split, options.hours)])
    print(Table(["trained on", *(f"missed at {level}/h" for level in LEVELS), "usual settings"], rows).text())


if __name__ == "__main__":
    main()
