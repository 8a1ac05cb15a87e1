"""Training: what it writes, what it refuses, and that an interrupted run ends where an uninterrupted one does."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from kws import evaluate, plots
from kws.data.task import LENGTH, Examples, Task
from kws.features import Window
from kws.training import checkpoint, train
from kws.training.recipe import Augmentation, Recipe, view_clips, views
from mcu_codegen.errors import InputError
from mcu_codegen.graph import Entry, Graph, Quantization, Tensor

LABELS = ("_silence_", "_unknown_", "high", "low")
QUICK = Recipe(epochs=3, batch=16, augmentation=Augmentation(views=2))


def tones(count: int, seed: int) -> Examples:
    """Clips that are easy to tell apart: silence, chirps (unknown), a high and a low tone."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(LABELS)
    seconds = np.arange(LENGTH) / 16000
    pitch = np.array([0, 900, 2500, 300])[labels, None] * rng.uniform(0.9, 1.1, (count, 1))
    sweep = np.where(labels == 1, 1500, 0)[:, None] * seconds
    signal = np.sin(2 * np.pi * (pitch + sweep) * seconds) * np.hanning(LENGTH) * 8000 * (labels > 0)[:, None]
    words = np.array(["_silence_", "chirp", "high", "low"])[labels]
    audio = np.rint(signal + rng.normal(0, 20, signal.shape)).astype(np.int16)
    return Examples(audio, labels.astype(np.int64), words, np.array(["s"] * count))


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("KWS_CACHE", str(tmp_path_factory.mktemp("cache")))
    noises = (np.random.default_rng(9).normal(0, 300, 3 * LENGTH).astype(np.int16),)
    yield Task("tones", LABELS, "tones-1", tones(96, 0), tones(32, 1), tones(32, 2), noises)
    patch.undo()


@pytest.fixture(scope="module")
def finished(task, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    return out, train.train(task, "ds-cnn-s", "mfcc10", QUICK, 0, out)


def test_a_run_leaves_its_files_and_learns(finished, task):
    out, best = finished
    names = {path.name for path in out.iterdir()}
    assert names == {"best.pt", "last.pt", "metrics.csv", "curves.png", "confusion.png"}
    assert len((out / "metrics.csv").read_text().splitlines()) == 1 + QUICK.epochs
    loaded = checkpoint.load(out / "best.pt")
    assert (loaded.model, loaded.labels, loaded.front_end) == ("ds-cnn-s", LABELS, "mfcc10")
    assert all(torch.equal(loaded.state_dict[name], value) for name, value in best.state_dict.items())
    losses = [float(line.split(",")[2]) for line in (out / "metrics.csv").read_text().splitlines()[1:]]
    assert losses[-1] < losses[0]


def test_an_interrupted_run_resumes_to_the_same_bits(finished, task, tmp_path, monkeypatch):
    whole, _ = finished
    epoch = train._Run.epoch

    def interrupted(self, number, *rest):
        if number == 1:
            raise KeyboardInterrupt
        return epoch(self, number, *rest)

    monkeypatch.setattr(train._Run, "epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train.train(task, "ds-cnn-s", "mfcc10", QUICK, 0, tmp_path)
    monkeypatch.undo()
    train.train(task, "ds-cnn-s", "mfcc10", QUICK, 0, tmp_path, resume=True)
    for part in ("network", "average", "best_weights"):
        one, other = (checkpoint.read_tensors(folder / "last.pt")[part] for folder in (whole, tmp_path))
        assert all(torch.equal(one[name], other[name]) for name in one), part


def test_resume_refuses_another_run(finished, task):
    out, _ = finished
    with pytest.raises(InputError, match="same seed"):
        train.train(task, "ds-cnn-s", "mfcc10", QUICK, 1, out, resume=True)
    with pytest.raises(InputError, match="same recipe"):
        train.train(task, "ds-cnn-s", "mfcc10", dataclasses.replace(QUICK, epochs=9), 0, out, resume=True)


def test_resume_without_a_run(task, tmp_path):
    with pytest.raises(InputError, match=r"last\.pt: cannot read"):
        train.train(task, "ds-cnn-s", "mfcc10", QUICK, 0, tmp_path, resume=True)


def test_teachers_pull_towards_the_mean_of_their_answers(finished, task, tmp_path):
    """Two alike teach what one does, and something else than labels do; a resumed run needs them too."""
    _, best = finished
    once = dataclasses.replace(QUICK, epochs=1)
    students = [
        train.train(task, "ds-cnn-s", "mfcc10", once, 1, tmp_path / str(len(teachers)), teachers=teachers)
        for teachers in ([], [best], [best, best])
    ]
    weights = [student.state_dict["0.weight"] for student in students]
    torch.testing.assert_close(weights[1], weights[2])
    assert not torch.allclose(weights[0], weights[1])
    with pytest.raises(InputError, match="same teachers"):
        train.train(task, "ds-cnn-s", "mfcc10", once, 1, tmp_path / "1", resume=True)
    with pytest.raises(InputError, match="--teacher: front end mfcc10, 0 frames of context, labels a"):
        train.train(task, "ds-cnn-s", "mfcc10", once, 1, tmp_path, teachers=[dataclasses.replace(best, labels=("a",))])


def two_unknown(task):
    """The task with two words in _unknown_, which differ as the labels' words do."""
    chirps = np.flatnonzero(task.training.labels == 1)[::2]
    audio, words = task.training.audio.copy(), task.training.words.astype("<U9")
    audio[chirps] = audio[chirps, ::-1]
    words[chirps] = "falling"
    training = dataclasses.replace(task.training, audio=audio, words=words)
    return dataclasses.replace(task, fingerprint="two of _unknown_", training=training)


def test_a_second_head_tells_words_of_unknown_apart_and_is_dropped(task, tmp_path):
    both, recipe = two_unknown(task), dataclasses.replace(QUICK, every_word=1.0)
    run = train._Run(both, "ds-cnn-s", "mfcc10", recipe, 0, ())
    made = views(both, run.window, recipe.augmentation, 0)
    said = view_clips(both, recipe.augmentation, 0)
    assert (made.labels[said < 0] < 2).all() and (said < 0).sum() > 10  # silence, and words that nobody said
    embedded = torch.zeros(len(said), run.head.in_features)
    torch.nn.init.zeros_(run.every_word.head.weight)
    with torch.no_grad():
        run.every_word.head.bias.copy_(torch.tensor([-20.0, -20.0, 20.0, -20.0, -20.0]))  # the third by name
        right = both.training.words[said] == "falling"
        losses = [run.every_word.loss(embedded[rows], np.flatnonzero(rows)) for rows in (right & (said >= 0), said < 0)]
    assert losses[0] < 5 and losses[1] == 0  # smoothed labels cost a tenth of 32
    plain, named = (
        train.train(both, "ds-cnn-s", "mfcc10", each, 0, tmp_path / str(each.every_word)) for each in (QUICK, recipe)
    )
    assert named.state_dict.keys() == plain.state_dict.keys()
    assert not torch.equal(named.state_dict["0.weight"], plain.state_dict["0.weight"])


def test_a_run_with_a_second_head_resumes_to_the_same_bits(task, tmp_path, monkeypatch):
    both, recipe = two_unknown(task), dataclasses.replace(QUICK, epochs=2, every_word=1.0)
    whole = train.train(both, "ds-cnn-s", "mfcc10", recipe, 0, tmp_path / "whole")
    monkeypatch.setattr(plots, "curves", _stop)
    with pytest.raises(KeyboardInterrupt):
        train.train(both, "ds-cnn-s", "mfcc10", recipe, 0, tmp_path / "parts")
    monkeypatch.undo()
    resumed = train.train(both, "ds-cnn-s", "mfcc10", recipe, 0, tmp_path / "parts", resume=True)
    assert all(torch.equal(resumed.state_dict[name], value) for name, value in whole.state_dict.items())


def _stop(history):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "augmentation", [QUICK.augmentation, QUICK.augmentation.streamed(), QUICK.augmentation.of_many_words()]
)
def test_views_are_balanced_and_repeatable(task, augmentation):
    made = views(task, Window("mfcc10"), augmentation, 0)
    again = views(dataclasses.replace(task, fingerprint="another cache entry"), Window("mfcc10"), augmentation, 0)
    assert np.array_equal(made.features, again.features) and np.array_equal(made.labels, again.labels)
    assert len(made.labels) == made.size * augmentation.views
    shares = np.bincount(made.labels) / len(made.labels)
    assert abs(shares[1] - augmentation.unknown / (3 + augmentation.unknown)) < 0.12
    first, second = (made.epoch(number, 0)[0] for number in (0, 1))
    together = np.concatenate([first, second]).reshape(len(made.labels), -1)
    assert sorted(map(bytes, together)) == sorted(map(bytes, made.features)), "every example once in a pass"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda held: held["state_dict"]["0.weight"].fill_(float("nan")), "0.weight holds NaN"),
        (lambda held: held.update(model="ds-cnn-m"), "another architecture: 0.weight is .64, 1, 10, 4."),
        (lambda held: held.update(model="perceptron"), "'perceptron' is unknown"),
        (lambda held: held.update(labels=["_silence_"]), "another architecture"),
        (lambda held: held.pop("front_end"), "not a whole checkpoint"),
        (lambda held: held.update(format=99), "format 1"),
    ],
)
def test_a_bad_checkpoint_is_refused(finished, tmp_path, damage, message):
    content = checkpoint.read_tensors(finished[0] / "best.pt")
    damage(content)
    path = tmp_path / "bad.pt"
    checkpoint.write_tensors(path, content)
    with pytest.raises(InputError, match=message) as error:
        checkpoint.load(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_truncated_or_foreign_checkpoint_is_refused(finished, tmp_path):
    whole = (finished[0] / "best.pt").read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2]):
        path = tmp_path / "bad.pt"
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a checkpoint"):
            checkpoint.load(path)


def test_result_by_hand():
    result = evaluate.Result.of(("a", "b", "c"), np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]))
    assert result.accuracy == 0.75
    assert result.recalls == {"a": 2 / 3, "b": 1.0}
    assert result.balanced == pytest.approx(5 / 6)
    assert "accuracy 75.00% of 4 clips" in result.text()


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "no labels and front end"),
        ({"labels": ["_silence_", "_unknown_"], "front_end": "mfcc10"}, "2 labels for 3 outputs"),
    ],
)
def test_labels_that_do_not_match_the_model_are_refused(metadata, message):
    scores = Tensor("scores", (1, 3), "int8", Quantization((1 / 256,), (-128,)))
    graph = Graph("model", [scores], [Entry("invoke", (0,), (0,), [])], metadata)
    with pytest.raises(InputError, match=message):
        evaluate.scored_labels(graph, Path("model.tflite"))
