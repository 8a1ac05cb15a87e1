"""The whole personal table: trains what it needs, then judges every method on speakers never heard in training.

    python benchmarks/personal.py [--corpus speech_commands] [--seeds 0,1,2] [--teacher RUN...] [--out build/accuracy]
    python benchmarks/personal.py --corpus arabic [--out build/accuracy]

Speech Commands: the speakers of the testing split with three clips of each word or more, over seeds, in float and in
int8. Arabic: 4 folds, each of which tests 6 of the 24 speakers, chooses by 3 and trains on 15; one seed, in float and
in int8. Networks lie in OUT as benchmarks/accuracy.py trains them, and are not trained again. Interrupted, it goes on
where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from accuracy import DATA, EXCLUDED, trained

from kws import cli, models
from kws.data import task_options
from kws.data.opening import open_corpus
from kws.data.task import Task, build
from kws.personalize import evaluate
from kws.personalize.gate_training import GATED, GateRecipe, train_gates
from kws.personalize.judgement import Judgement
from kws.personalize.protocol import Speakers
from kws.training import checkpoint
from kws.training.checkpoint import Checkpoint
from kws.training.inference import features_of, real
from kws.training.recipe import Recipe

ARABIC = DATA.parent / "arabic_speech_commands"
ARABIC_WORDS = ("yes", "no", "up", "down", "left", "right", "start", "stop")
# a fifth of the clips of Speech Commands, and fifteen voices: more training would learn those
ARABIC_RECIPE = replace(Recipe(), epochs=40, augmentation=replace(Recipe.augmentation, views=20))
ARABIC_STEPS = 1500
DEFAULTS = Recipe()
FOLDS = 4
SMALL = "ds-cnn-xs"  # from scratch, of about as many MACs


def networks(
    task: Task,
    model: str,
    gates: GateRecipe,
    seed: int,
    out: Path,
    mark: str,
    recipe: Recipe = DEFAULTS,
    teachers: Sequence[Checkpoint] = (),
) -> tuple[Path, Path]:
    """The folders of a network with gates and of the small one, trained where they are missing."""
    folder, small = out / f"{model}-gates{gates.size}-{mark}", out / f"{SMALL}-{mark}"
    held = trained(task, model, models.find(model).front_end, seed, out / f"{model}-{mark}", recipe)
    trained(task, SMALL, models.find(SMALL).front_end, seed, small, recipe)
    if not (folder / GATED).exists():
        checkpoint.save(folder / checkpoint.BEST, held)
        train_gates(held, task, gates, seed, folder, True, recipe.augmentation, teachers)
    return folder, small


def speech_commands(model: str, size: int, seeds: list[int], teachers: Sequence[Checkpoint], out: Path) -> None:
    corpus = open_corpus(DATA)
    task = build(corpus, task_options.default_words(corpus, EXCLUDED), EXCLUDED)
    gates = GateRecipe(size=size)
    pairs = [networks(task, model, gates, seed, out, str(seed), teachers=teachers) for seed in seeds]
    gated, small = [str(folder) for folder, _ in pairs], [str(folder) for _, folder in pairs]
    for numbers in ([], ["--int8"]):
        print(f"\n== {'int8' if numbers else 'float'}\n", flush=True)
        results = str(out / f"personal{size}{'-int8' if numbers else ''}")
        common = ["--personal", "--data", str(DATA), "--exclude", ",".join(EXCLUDED), "--out", results]
        cli.main(["evaluate", *gated, *common, "--small", *small, *numbers])


def arabic_folds() -> Iterator[tuple[str, Task]]:
    """Folds of which each tests 6 speakers, chooses by 3 and trains on 15, and their names."""
    corpus = open_corpus(ARABIC)
    names = sorted({clip.speaker for clip in corpus.clips})
    for fold in range(FOLDS):
        tested, chosen = names[fold::FOLDS], names[(fold + 1) % FOLDS :: FOLDS][:3]
        splits = dict.fromkeys(names, "training") | dict.fromkeys(chosen, "validation")
        yield f"arabic-{fold}", build(corpus.split_anew(splits | dict.fromkeys(tested, "testing")), ARABIC_WORDS)


def arabic(model: str, size: int, out: Path) -> None:
    for integer in (False, True):
        folds = []
        for name, task in arabic_folds():
            gates = GateRecipe(size=size, steps=ARABIC_STEPS)
            folder, small = networks(task, model, gates, 0, out, name, ARABIC_RECIPE)
            one, window = evaluate.subject(folder, small, task, task.testing, integer)
            features = real(features_of(task.testing, window), window.front_end)
            speakers = Speakers(task.testing, task.labels, each=3)
            protocol = evaluate.QUICK if integer else {}
            folds.append(evaluate.evaluate([one], features, task, task.testing, speakers, 10, **protocol))
        print(f"\n== {'int8' if integer else 'float'}\n", flush=True)
        print("\n\n".join(Judgement.pooled([fold[name] for fold in folds]).text() for name in folds[0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default="speech_commands", choices=("speech_commands", "arabic"))
    parser.add_argument("--model", default="ds-cnn-s")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--teacher", type=Path, nargs="+", default=[], metavar="RUN", help="of the gates' training")
    parser.add_argument("--gate-size", type=int, default=GateRecipe.size)
    parser.add_argument("--out", type=Path, default=Path("build/accuracy"))
    options = parser.parse_args()
    if options.corpus == "arabic":
        arabic(options.model, options.gate_size, options.out)
    else:
        seeds = list(map(int, options.seeds.split(",")))
        teachers = [checkpoint.load(checkpoint.of_run(each)) for each in options.teacher]
        speech_commands(options.model, options.gate_size, seeds, teachers, options.out)


if __name__ == "__main__":
    main()
