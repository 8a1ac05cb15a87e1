"""Transfer: a student that learns new words from a teacher alone, and new data without forgetting."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from test_cli import refused

from kws import cli
from kws.compress.learning import Teacher
from kws.compress.transfer import Method, heard, transfer, with_words
from kws.data.opening import open_corpus
from kws.data.task import Task, build, recordings
from kws.evaluate import Result
from kws.training import checkpoint, train
from kws.training.checkpoint import Checkpoint
from kws.training.inference import features_of, logits, real
from kws.training.recipe import Augmentation, Recipe
from mcu_codegen.errors import InputError

PITCHES = {"low": 300, "high": 2500, "middle": 1000, "chirp": None}  # Hz
MODEL = "res1d-xs:12,12"


def write_tones(folder: Path, words: tuple[str, ...], clips: int, seed: int, level: float = 0.3) -> Path:
    """A corpus whose words are tones."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(16000) / 16000
    folder.mkdir()
    rows = ["file,word,speaker,split"]
    for split in ("training", "validation", "testing"):
        for word in words:
            for clip in range(clips if split == "training" else 12):
                pitch = PITCHES[word] or 700 + 2000 * seconds
                signal = np.sin(2 * np.pi * pitch * rng.uniform(0.9, 1.1) * seconds) * np.hanning(16000) * level
                name = f"{split}_{word}_{clip}.wav"
                soundfile.write(folder / name, signal + rng.normal(0, 1e-3, 16000), 16000)
                rows.append(f"{name},{word},speaker,{split}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder of every word, what a teacher learnt from it, and a student that never met "middle"."""
    patch = pytest.MonkeyPatch()
    patch.setenv("KWS_CACHE", str(tmp_path_factory.mktemp("cache")))
    folder = write_tones(tmp_path_factory.mktemp("data") / "all", tuple(PITCHES), 40, 0)
    corpus = open_corpus(folder)
    recipe = Recipe(epochs=12, batch=16, augmentation=Augmentation(views=4))
    held = []
    for words, exclude in ((["low", "high", "middle"], []), (["low", "high"], ["middle"])):
        out = tmp_path_factory.mktemp("run")
        train.train(build(corpus, words, exclude), MODEL, "logmel40-20ms", recipe, 0, out)
        held.append(out)
    yield folder, *held
    patch.undo()


def accuracy(held: Checkpoint, task: Task, word: str) -> float:
    predicted = logits(held.network(), features_of(task.testing, held.window), held.window.front_end).argmax(1).numpy()
    return Result.of(task.labels, task.testing.labels, predicted).recalls[word]


def learnt(world, data: Path, out: Path) -> Checkpoint:
    folder, teacher, student = world
    arguments = ["transfer", student, "--teacher", teacher, "--data", data, "--words", "middle", "--old", folder]
    assert cli.main([str(each) for each in [*arguments, "--epochs", "3", "--sure", "0.6", "--out", out]]) == 0
    return checkpoint.load(out / "best.pt")


@pytest.mark.slow
def test_new_words_are_learnt_though_every_label_is_wrong(world, tmp_path, capsys):
    """Shuffled labels give the same weights: only the teacher says what is what."""
    folder, *_ = world
    unlabelled = write_tones(tmp_path / "new", ("middle", "low"), 60, 1)
    found = learnt(world, unlabelled, tmp_path / "out")
    manifest = (unlabelled / "manifest.csv").read_text().splitlines()
    rows = [line.split(",") for line in manifest[1:]]
    words = np.random.default_rng(0).permutation([row[1] for row in rows])
    shuffled = [",".join([row[0], word, *row[2:]]) for row, word in zip(rows, words, strict=True)]
    assert shuffled != manifest[1:]
    (unlabelled / "manifest.csv").write_text("\n".join([manifest[0], *shuffled]) + "\n")
    again = learnt(world, unlabelled, tmp_path / "again")
    assert all(torch.equal(again.state_dict[name], value) for name, value in found.state_dict.items())
    assert found.labels[-1] == "middle" and "middle 60" in capsys.readouterr().out
    task = build(open_corpus(folder), ["low", "high", "middle"])
    assert accuracy(found, task, "middle") > 0.8
    assert min(accuracy(found, task, word) for word in ("low", "high")) > 0.8


def test_new_rows_say_nothing_yet(world):
    _, _, student = world
    before = checkpoint.load(student / "best.pt")
    after = with_words(before, ["middle", "other"])
    features = torch.randn(3, 1, 73, 40)
    said = after.network()(features)
    torch.testing.assert_close(said[:, :-2], before.network()(features))
    assert said.shape == (3, 6)


def test_words_that_a_student_lacks_are_unknown_to_it(world):
    _, teacher, student = (*world[:1], *(checkpoint.load(each / "best.pt") for each in world[1:]))
    features = torch.randn(5, 1, 73, 40)
    whole = teacher.network()(features).softmax(1)
    asked = Teacher(teacher, student)(features).softmax(1)
    torch.testing.assert_close(asked[:, 1], whole[:, 1] + whole[:, 4])
    torch.testing.assert_close(asked[:, [0, 2, 3]], whole[:, [0, 2, 3]])


@pytest.mark.slow
def test_new_data_of_the_same_words(world, tmp_path):
    folder, teacher, student = (world[0], *(checkpoint.load(each / "best.pt") for each in world[1:]))
    new = build(open_corpus(write_tones(tmp_path / "quiet", ("low", "high", "chirp"), 30, 2, 0.01)), student.labels[2:])
    old = build(open_corpus(folder), student.labels[2:], ["middle"])
    method = Method(epochs=1)
    found = transfer(student, teacher, new, old, method, 0)
    assert found.labels == student.labels and found.model == student.model
    again = transfer(student, teacher, new, old, method, 0)
    assert all(torch.equal(again.state_dict[name], value) for name, value in found.state_dict.items())
    without = transfer(student, teacher, new, None, method, 0)
    assert not all(torch.equal(without.state_dict[name], value) for name, value in found.state_dict.items())
    assert accuracy(found, new, "low") > 0.8 and accuracy(found, old, "low") > 0.8


def test_teachers_that_cannot_teach_are_refused(world, tmp_path, capsys):
    folder, teacher, student = world
    common = ["kws", "transfer", student, "--data", folder, "--out", tmp_path / "out"]
    message = refused(capsys, *common, "--teacher", teacher, "--words", "seven")
    assert "--teacher: knows nothing of seven" in message
    message = refused(capsys, *common, "--teacher", teacher, "--words", "low")
    assert "--words low: the student knows that already" in message
    held = checkpoint.load(teacher / "best.pt")
    checkpoint.save(tmp_path / "other.pt", dataclasses.replace(held, front_end="logmel40-4khz"))
    message = refused(capsys, *common, "--teacher", tmp_path / "other.pt")
    assert "--teacher: front end logmel40-4khz" in message
    silent = write_tones(tmp_path / "silent", ("low",), 3, 0)
    text = (silent / "manifest.csv").read_text()
    arguments = ["kws", "transfer", student, "--data", silent, "--teacher", teacher, "--words", "middle"]
    assert "the teacher is sure of none of middle" in refused(capsys, *arguments, "--out", tmp_path / "out")
    (silent / "manifest.csv").write_text(text.replace(",training", ",testing"))
    assert "no training clips" in refused(capsys, *arguments, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_sureness_selects(world):
    folder, teacher, student = (world[0], *(checkpoint.load(each / "best.pt") for each in world[1:]))
    wide = with_words(student, ["middle"])
    corpus = open_corpus(folder)
    codes = wide.window.extract(recordings(corpus, "training"))
    sureness = Teacher(teacher, wide)(real(codes, wide.window.front_end)).softmax(1).max(1).values.numpy()
    chosen = heard(corpus, wide, teacher, ["middle"], float(np.quantile(sureness, 0.25))).training
    assert len(chosen) == (sureness >= np.quantile(sureness, 0.25)).sum() < len(codes) == 160
    with pytest.raises(InputError, match="sure of none of middle"):
        heard(corpus, wide, teacher, ["middle"], 0.999999)
