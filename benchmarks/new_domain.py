"""New data, same words: a student goes on learning where its clips are of another kind, and what it then forgets.

    python benchmarks/new_domain.py [--folds 1] [--epochs 40] [--data ARABIC] [--out build/new-domain]

Arabic Speech Commands, 40 words and 24 speakers, in the folds of benchmarks/transfer.py. The student learnt from nine
speakers close to the microphone. The new domain is six other speakers far away in a room: an echo that dies away in
0.5 to 0.8 s and noise 3 to 12 dB below the voice, neither of which training had. The teacher learnt from both. Accuracy
on six speakers that nobody heard, close and far; float.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
from accuracy import trained
from transfer import FRONT_END, STUDENT, TEACHER, folds_of, run

from kws.compress.learning import Lesson
from kws.compress.transfer import Method, transfer
from kws.data import noise, rooms
from kws.data.audio import RATE
from kws.data.corpus import Corpus
from kws.data.task import Examples, Task, build
from kws.training.checkpoint import Checkpoint
from kws.training.inference import features_of, logits
from kws.training.recipe import Augmentation, Recipe

ROOMS = 6
PLAIN = Lesson(labels=1.0, answers=0.0, attention=0.0)  # fine-tuning, without a teacher


def echoing(seconds: float, rng: np.random.Generator) -> rooms.Room:
    """A room in whose far end the direct sound is 3 dB below what comes from the walls."""
    times = np.arange(round(seconds * RATE)) / RATE
    tail = rng.standard_normal(len(times)) * 10 ** (-3 * times / seconds)
    response = tail / np.sqrt(np.sum(tail**2))
    response[0] = 10 ** (-3 / 20)
    return (response / np.sqrt(np.sum(response**2))).astype(np.float32)


def far(examples: Examples, seed: int) -> Examples:
    """The same clips as they sound far away in one of the rooms."""
    known = [echoing(each, np.random.default_rng(number)) for number, each in enumerate(np.linspace(0.5, 0.8, ROOMS))]
    rng = np.random.default_rng([7, seed])
    noises = noise.generated(rng)
    audio = np.empty_like(examples.audio)
    for place, clip in enumerate(examples.audio):
        heard = rooms.heard_in(known[rng.integers(ROOMS)], clip.astype(np.float32))[: len(clip)]
        loudness = np.sqrt(np.mean(heard**2)) * 10 ** (-rng.uniform(3, 12) / 20)
        heard = heard + loudness * noise.normalised(noise.crops(noises, 1, len(clip), rng)[0])
        audio[place] = np.clip(np.rint(heard), -32768, 32767)
    return dataclasses.replace(examples, audio=audio)


def far_task(task: Task) -> Task:
    """`task`, all of it far away."""
    training, validation = far(task.training, 0), far(task.validation, 1)
    return dataclasses.replace(
        task, training=training, validation=validation, fingerprint=f"{task.fingerprint} far away"
    )


def together(first: Task, second: Task) -> Task:
    """`first` with the training and validation clips of `second`, too."""

    def joined(first: Examples, second: Examples) -> Examples:
        names = [field.name for field in dataclasses.fields(Examples)]
        return Examples(*(np.concatenate([getattr(first, name), getattr(second, name)]) for name in names))

    training, validation = joined(first.training, second.training), joined(first.validation, second.validation)
    fingerprint = f"{first.fingerprint} and {second.fingerprint}"
    return dataclasses.replace(first, training=training, validation=validation, fingerprint=fingerprint)


def right(held: Checkpoint, examples: Examples) -> float:
    codes = features_of(examples, held.window)
    said = logits(held.network(), codes, held.window.front_end).argmax(1).numpy()
    spoken = examples.labels >= 2
    return 100 * float((said == examples.labels)[spoken].mean())


def judged(corpus: Corpus, fold: int, epochs: int, out: Path) -> dict[str, list[float]]:
    """The new domain, the old one and seconds by row."""
    near, elsewhere = folds_of(corpus, fold)
    old, new = build(near, corpus.words), far_task(build(elsewhere, corpus.words))
    recipe = dataclasses.replace(Recipe(), epochs=epochs, augmentation=Augmentation(views=10))
    teacher = trained(together(old, new), TEACHER, FRONT_END, 0, out / f"{TEACHER}-both-{fold}", recipe)
    student = trained(old, STUDENT, FRONT_END, 0, out / f"{STUDENT}-near-{fold}", recipe)
    judges = (far(old.testing, 2), old.testing)
    before = {"student before": student, "teacher": teacher}
    found = {name: [*(right(held, each) for each in judges), 0.0] for name, held in before.items()}
    for name, memory, lesson in (
        ("fine-tuning, no teacher", None, PLAIN),
        ("transfer, no exemplars", None, Lesson()),
        ("transfer, 5 exemplars a class", old, Lesson()),
    ):
        started = time.monotonic()
        result = transfer(student, teacher, new, memory, Method(lesson=lesson), 0)
        found[name] = [*(right(result, each) for each in judges), time.monotonic() - started]
        print(name, found[name], flush=True)
    return found


if __name__ == "__main__":
    run(__doc__, judged, ("", "new domain, %", "old domain, %", "seconds"), "build/new-domain")
