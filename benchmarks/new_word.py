"""How well a word is learnt from a few clips: ten words beside everything else, and single words in hours of speech.

    python benchmarks/new_word.py --data WAVES [--out build/new-word]

WAVES holds SpeechCommandsFull, ArabicSpeechCommands and more_audio, as unpack.py writes them. What is finished is in
OUT and is not done again. The network knows 25 words of Speech Commands, all but the ten core ones, and 20 Arabic ones,
and in training tells everyday words apart, too; no word that is taught here is among them, nor in its _unknown_.
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kws.data import audio, everyday
from kws.data.corpus import CORE_WORDS, SILENCE, UNKNOWN, Clip, Corpus
from kws.data.folder import read_manifest
from kws.data.mixed import mix
from kws.data.noise import generated
from kws.data.opening import open_corpus
from kws.data.task import Task, build, fitted
from kws.features import extract
from kws.listening.hearing import Heard
from kws.listening.recording import Recording, Spoken
from kws.listening.settings import Trial
from kws.meta.adapt import teachable
from kws.meta.splits import word_splits
from kws.quantization.quantize import quantize
from kws.training import train
from kws.training.inference import window_of
from kws.training.recipe import Augmentation, Recipe
from mcu_codegen import files
from mcu_codegen.emit.model import emit_model
from mcu_codegen.emit.teaching import with_last_layer
from mcu_codegen.emulate.host import build_shared_library
from mcu_codegen.emulate.toolchain import choose
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph
from mcu_codegen.listen.decision import Decision
from mcu_codegen.listen.frontend import PRESETS
from mcu_codegen.prove.teaching import instructions
from mcu_codegen.report import Table
from mcu_codegen.targets import find
from mcu_codegen.users.new_words import Row, head_with
from mcu_codegen.users.teaching import Teaching, hear

ARABIC = "arabic "
SHOTS, MANY, DRAWS = (5, 10), 50, 3
FALSE_ALARMS = 0.01
CUSTOM = ("archie", "dracarys", "goodnight", "hadouken", "joke")
OTHER_SPEECH = ("wake_words", "community_wake")
STRIDE_HOPS = 10


def renamed(corpus: Corpus, prefix: str) -> Corpus:
    """The same clips, of words with a prefix: those of two languages are not the same words."""
    clips = tuple(replace(clip, word=prefix + clip.word) for clip in corpus.clips)

    def decode() -> list[np.ndarray]:
        return [corpus.audio(clip) for clip in corpus.clips]

    return Corpus(corpus.name, clips, (), f"{prefix}{corpus.fingerprint}", decode)


def base_task(waves: Path, *others: Corpus) -> Task:
    """What the network knows; _unknown_ are five Arabic words more, and those of `others`."""
    english = open_corpus(waves / "SpeechCommandsFull")
    arabic = open_corpus(waves / "ArabicSpeechCommands")
    splits = {split: [ARABIC + word for word in words] for split, words in word_splits(arabic.words).items()}
    words = [word for word in english.words if word not in CORE_WORDS] + splits["training"][:20]
    unheard = [*CORE_WORDS, *splits["validation"], *splits["testing"]]
    return build(mix([english, renamed(arabic, ARABIC), *others]), words, unheard)


def base(waves: Path, model: str, recipe: Recipe, out: Path) -> Graph:
    """The network, trained with everyday words beside, as integers, ready to be taught; how words vary is measured on
    the recordings alone."""
    path = out / f"{model}.tflite"
    if not path.exists():
        run = out / model
        task = base_task(waves, open_corpus(everyday.NAME))
        held = train.train(task, model, "logmel40-4khz", recipe, 0, run, (run / train.LAST).exists())
        files.write_whole(path, tflite.write(teachable(quantize(held, task).graph, base_task(waves))))
    return tflite.read(path)


_WINDOWS = """\
#include "kws_model.h"

void hear(const int8_t *frames, const int32_t *starts, int32_t count, int8_t *features);

/* What the last layer reads of `count` windows of one recording. */
void hear(const int8_t *frames, const int32_t *starts, int32_t count, int8_t *features)
{
    int8_t scores[KWS_MODEL_OUTPUT_0_BYTES], logits[KWS_MODEL_OUTPUT_2_BYTES];

    for (int32_t window = 0; window < count; window++) {
        kws_model_invoke(frames + starts[window], scores, features, logits);
        features += KWS_MODEL_OUTPUT_1_BYTES;
    }
}
"""


@dataclass(frozen=True)
class Listened:
    """What the last layer read in a recording, every `STRIDE_HOPS` hops: any word that is taught answers from it."""

    codes: np.ndarray  # int8 [inferences, features]
    hops: int
    words: tuple[Spoken, ...]

    def heard(self, graph: Graph, row: Row) -> Heard:
        scores = head_with(graph, [row]).scores(self.codes)
        after = np.arange(STRIDE_HOPS, self.hops + 1, STRIDE_HOPS)
        return Heard(scores, after, self.hops, _hop(graph) / audio.RATE, self.words)


class Ear:
    """The front end and the network as C, over long recordings."""

    def __init__(self, graph: Graph) -> None:
        model = emit_model(with_last_layer(graph))
        del model["kws_model_selftest.c"]
        self.graph, self._hear = graph, ctypes.CDLL(str(build_shared_library({**model, "hear.c": _WINDOWS}))).hear
        self._hear.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p]

    def codes(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """int8 [N, features] of recorded clips."""
        window = window_of(self.graph)
        frames = window.extract(np.stack([fitted(clip, window.length) for clip in clips]))
        return self._codes(frames, np.arange(len(clips)) * frames[0].size)

    def _codes(self, frames: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Of the windows of int8 `frames` that begin at these bytes."""
        found, starts = (
            np.empty((len(starts), Teaching.of(self.graph).features), np.int8),
            starts.astype(np.int32),
        )
        self._hear(frames.ctypes.data, starts.ctypes.data, len(starts), found.ctypes.data)
        return found

    def listen(self, recording: Recording) -> Listened:
        graph, front_end = self.graph, PRESETS[self.graph.metadata["front_end"]]
        hops = len(recording.audio) // front_end.hop
        features = extract(recording.audio[None, : hops * front_end.hop], front_end.name)[0]
        context = graph.tensors[graph.main.inputs[0]].bytes // front_end.coefficients
        history = np.concatenate([np.tile(front_end.floor_codes, (context, 1)), features])
        due = range(STRIDE_HOPS, hops + 1, STRIDE_HOPS)
        starts = np.array([front_end.frames(hop * front_end.hop) for hop in due]) * front_end.coefficients
        return Listened(self._codes(history, starts), hops, recording.words)


def _hop(graph: Graph) -> int:
    return PRESETS[graph.metadata["front_end"]].hop


def ten_words(ear: Ear, waves: Path, shots: int) -> list[float]:
    """By draw: the share of test clips of the ten core words that are told from each other and from everything else, at
    a threshold at which 1 % of the official test's unknown words and silence are taken for one of them."""
    root = waves / "SpeechCommandsFull"
    clips = read_manifest(root)

    def codes_of(chosen: Sequence[Clip]) -> np.ndarray:
        return ear.codes([audio.read(root / clip.key)[0] for clip in chosen])

    test = [clip for clip in clips if clip.official_test in (*CORE_WORDS, UNKNOWN, SILENCE)]
    said, codes = np.array([clip.official_test for clip in test]), codes_of(test)
    teaching, labels, found = Teaching.of(ear.graph), len(ear.graph.metadata["labels"]), []
    for draw in range(DRAWS):
        rng, rows = np.random.default_rng([draw, shots]), []
        for word in CORE_WORDS:
            own = [clip for clip in clips if clip.word == word and clip.split == "training"]
            rows.append(teaching.learn(codes_of([own[each] for each in rng.choice(len(own), shots, replace=False)])))
        scores = head_with(ear.graph, rows).scores(codes)[:, labels:].astype(int)
        others = ~np.isin(said, CORE_WORDS)
        alarms = np.sort(scores[others].max(axis=1))[::-1]
        threshold = alarms[int(FALSE_ALARMS * len(alarms))] + 1
        right = (np.array(CORE_WORDS)[scores.argmax(axis=1)] == said) & (scores.max(axis=1) >= threshold)
        found.append(float(np.mean(right[~others])))
    return found


def other_speech(waves: Path) -> list[Recording]:
    """More than an hour without the words, one recording a folder."""
    with (waves / "more_audio" / "manifest.csv").open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["corpus"] in OTHER_SPEECH and row["word"] != "noise"]
    words = sorted({(row["corpus"], row["word"]) for row in rows})
    return [
        Recording(
            np.concatenate(
                [
                    audio.read(waves / "more_audio" / row["file"])[0]
                    for row in rows
                    if (row["corpus"], row["word"]) == each
                ]
            ),
            (),
        )
        for each in words
    ]


def spoken_in_noise(word: str, clip: np.ndarray, seed: int) -> Recording:
    """The clip after two seconds of noise that goes on under it and after it, a tenth as loud."""
    rng, noise = np.random.default_rng(seed), np.concatenate(generated(np.random.default_rng(1))).astype(np.float64)
    begin, end = 2 * audio.RATE, 2 * audio.RATE + len(clip)
    start = rng.integers(len(noise) - end - audio.RATE)
    sound = noise[start : start + end + audio.RATE]
    sound *= 0.1 * np.std(clip) / max(np.std(sound), 1e-9)
    sound[begin:end] += clip
    samples = np.clip(np.rint(sound), -32768, 32767).astype(np.int16)
    return Recording(samples, (Spoken(begin / audio.RATE, end / audio.RATE, word),))


def in_hours_of_speech(ear: Ear, waves: Path) -> str:
    """Misses over false accepts an hour of each custom word, by clips that taught it; means of draws."""
    graph, rows, teaching = ear.graph, [], replace(Teaching.of(ear.graph), most=MANY)
    others = [ear.listen(recording) for recording in other_speech(waves)]
    labels = graph.metadata["labels"]
    for word in CUSTOM:
        paths = sorted((waves / "more_audio" / "custom_commands" / word).iterdir())
        clips = [audio.read(path)[0] for path in paths]
        codes = ear.codes(clips)
        said = [ear.listen(spoken_in_noise(word, clip, number)) for number, clip in enumerate(clips)]
        for shots in (*SHOTS, *([MANY] if len(clips) > 2 * MANY else [])):
            found = []
            for draw in range(DRAWS):
                order = np.random.default_rng([draw, 1]).permutation(len(clips))
                row = teaching.learn(codes[order[:shots]])
                heard = [each.heard(graph, row) for each in (*(said[clip] for clip in order[shots:]), *others)]
                trial = Trial(heard, [*labels, word], [word])
                usual, curve = trial.point(Decision()).score, trial.curve(Decision())
                at = [
                    min(point.score.miss_rate for point in curve if point.score.fa_per_hour <= level)
                    for level in (1.0, 5.0)
                ]
                found.append([usual.miss_rate, usual.fa_per_hour, *at])
            means = np.mean(found, axis=0)
            rows.append([word, shots, f"{means[0]:.1%}", f"{means[1]:.1f}", *(f"{each:.1%}" for each in means[2:])])
    columns = ["word", "clips", "missed", "false accepts/h", "missed at 1/h", "at 5/h"]
    return Table(columns, rows).text() + f"\n{trial.truth.hours:.2f} hours of other speech"


def cost(graph: Graph) -> str:
    """Of teaching one word by five clips, on Cortex-M4 and on this machine."""
    shape = graph.tensors[graph.main.inputs[0]].shape
    clips = np.random.default_rng(0).integers(-128, 128, (5, *shape)).astype(np.int8)
    target, compiler = find("cortex-m4"), choose()
    counts = [
        instructions(graph, clips, target, compiler, f"kws_model_{each}") for each in ("user_learn_word", "invoke")
    ]
    started = time.process_time()
    Teaching.of(graph).learn(hear(graph, clips)[0])
    seconds = time.process_time() - started
    return (
        f"learning {counts[0]:,} instructions on {target.name}, {counts[0] / counts[1]:.1f} inferences;"
        f" five clips heard and learnt in {seconds:.2f} s of CPU here"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="res1d-m")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--views", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("build/new-word"))
    options = parser.parse_args()
    recipe = replace(Recipe(), epochs=options.epochs, augmentation=Augmentation(options.views).streamed())
    graph = base(options.data, options.model, recipe.with_every_word(), options.out)
    print(cost(graph), flush=True)
    ear = Ear(graph)
    for shots in SHOTS:
        found = ten_words(ear, options.data, shots)
        print(
            f"ten words, {shots} clips each, {FALSE_ALARMS:.0%} false alarms: {np.mean(found):.1%} right, {DRAWS} draws"
            f" from {min(found):.1%} to {max(found):.1%}",
            flush=True,
        )
    print(in_hours_of_speech(ear, options.data))


if __name__ == "__main__":
    main()
