"""The whole personal table: trains what it needs, then judges every method on speakers never heard in training.

    python benchmarks/personal.py [--corpus speech_commands] [--seeds 0,1,2] [--teacher RUN...] [--out build/accuracy]
    python benchmarks/personal.py --model res1d-s --small res1d-s:36,36 --gate-size 1 --gate-steps 5000
    python benchmarks/personal.py --corpus arabic [--out build/accuracy]

Speech Commands: the speakers of the testing split with three clips of each word or more, over seeds, in float and in
int8. Arabic: 4 folds, each of which tests 6 of the 24 speakers, chooses by 3 and trains on 15; one seed, in float and
in int8. Networks lie in OUT as benchmarks/accuracy.py trains them, and are not trained again. Interrupted, it goes on
where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
from kws.training.recipe import Augmentation, Recipe

ARABIC = DATA.parent / "arabic_speech_commands"
ARABIC_WORDS = ("yes", "no", "up", "down", "left", "right", "start", "stop")
# a fifth of the clips of Speech Commands, and fifteen voices: more training would learn those
ARABIC_RECIPE = replace(Recipe(), epochs=40, augmentation=replace(Recipe.augmentation, views=20))
ARABIC_STEPS = 1500
FOLDS = 4


@dataclass(frozen=True)
class Campaign:
    """What is trained for a table, and where it lies."""

    model: str
    small: str  # a network from scratch, of about as many MACs as a user keeps
    front_end: str
    gates: GateRecipe
    recipe: Recipe
    teachers: Sequence[Checkpoint]
    out: Path

    def networks(self, task: Task, seed: int, mark: str) -> tuple[Path, Path]:
        """The folders of a network with gates and of the small one, trained where they are missing."""
        folder = self.out / f"{self.model}-gates{self.gates.size}-{mark}"
        small = self.out / f"{self.small}-{mark}"
        held = trained(task, self.model, self.front_end, seed, self.out / f"{self.model}-{mark}", self.recipe)
        trained(task, self.small, self.front_end, seed, small, self.recipe)
        if not (folder / GATED).exists():
            checkpoint.save(folder / checkpoint.BEST, held)
            train_gates(held, task, self.gates, seed, folder, True, self.recipe.augmentation, self.teachers)
        return folder, small


def speech_commands(campaign: Campaign, data: str, seeds: list[int]) -> None:
    corpus = open_corpus(data)
    task = build(corpus, task_options.default_words(corpus, EXCLUDED), EXCLUDED)
    pairs = [campaign.networks(task, seed, str(seed)) for seed in seeds]
    gated, small = [str(folder) for folder, _ in pairs], [str(folder) for _, folder in pairs]
    for numbers in ([], ["--int8"]):
        print(f"\n== {'int8' if numbers else 'float'}\n", flush=True)
        results = str(campaign.out / f"personal{campaign.gates.size}{'-int8' if numbers else ''}")
        common = ["--personal", "--data", data, "--exclude", ",".join(EXCLUDED), "--out", results]
        cli.main(["evaluate", *gated, *common, "--small", *small, *numbers])


def arabic_folds() -> Iterator[tuple[str, Task]]:
    """Folds of which each tests 6 speakers, chooses by 3 and trains on 15, and their names."""
    corpus = open_corpus(ARABIC)
    names = sorted({clip.speaker for clip in corpus.clips})
    for fold in range(FOLDS):
        tested, chosen = names[fold::FOLDS], names[(fold + 1) % FOLDS :: FOLDS][:3]
        splits = dict.fromkeys(names, "training") | dict.fromkeys(chosen, "validation")
        yield f"arabic-{fold}", build(corpus.split_anew(splits | dict.fromkeys(tested, "testing")), ARABIC_WORDS)


def arabic(campaign: Campaign) -> None:
    for integer in (False, True):
        folds = []
        for name, task in arabic_folds():
            folder, small = campaign.networks(task, 0, name)
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
    parser.add_argument("--data", default=str(DATA), help="of Speech Commands")
    parser.add_argument("--model", default="ds-cnn-s")
    parser.add_argument("--small", default="ds-cnn-xs", metavar="NAME", help="to compare; has the model's window")
    parser.add_argument("--front-end", metavar="NAME")
    parser.add_argument("--views", type=int, default=Augmentation.views, help="augmented copies of the training set")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--teacher", type=Path, nargs="+", default=[], metavar="RUN", help="of the gates' training")
    parser.add_argument("--gate-size", type=int, default=GateRecipe.size)
    parser.add_argument("--gate-steps", type=int, default=GateRecipe.steps)
    parser.add_argument("--out", type=Path, default=Path("build/accuracy"))
    options = parser.parse_args()
    front_end = options.front_end or models.find(options.model).front_end
    teachers = [checkpoint.load(checkpoint.of_run(each)) for each in options.teacher]
    gates = GateRecipe(size=options.gate_size, steps=options.gate_steps)
    recipe = replace(Recipe(), augmentation=Augmentation(options.views))
    campaign = Campaign(options.model, options.small, front_end, gates, recipe, teachers, options.out)
    if options.corpus == "arabic":
        gates = replace(gates, steps=ARABIC_STEPS)
        arabic(replace(campaign, gates=gates, recipe=ARABIC_RECIPE))
    else:
        speech_commands(campaign, options.data, list(map(int, options.seeds.split(","))))


if __name__ == "__main__":
    main()
