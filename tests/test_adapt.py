"""`kws meta adapt`: a model that can be taught words, and words taught to it, or nothing at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from teaching_models import teachable_model
from test_cli import refused

import kws.cli
from kws.meta import adapt
from kws.personalize.enroll import recorded_features
from mcu_codegen.errors import InputError
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.formats import tflite
from mcu_codegen.users.new_words import LastLayer
from mcu_codegen.users.teaching import Teaching, hear
from mcu_codegen.users.user import User

SECOND = 49  # frames
WORDS = ("yes", "no", "up", "down", "bird", "tree")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A corpus of noise: the words of the models, and two others."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    lines = ["file,word,speaker,split"]
    for word in WORDS:
        for number in range(6):
            name = f"{word}{number}.wav"
            soundfile.write(root / name, rng.normal(0, 0.1, 16000), 16000)
            lines.append(f"{name},{word},s{number},{('training', 'validation', 'testing')[max(0, number - 3)]}")
    (root / "manifest.csv").write_text("\n".join(lines))
    return root


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[Path]:
    """Loud noise, in which the model below hears no silence."""
    root, rng = tmp_path_factory.mktemp("clips"), np.random.default_rng(1)
    paths = [root / f"{number}.wav" for number in range(6)]
    for path in paths:
        soundfile.write(path, rng.normal(0, 0.1, 16000), 16000)
    return paths


@pytest.fixture(scope="module")
def model(tmp_path_factory, clips) -> Path:
    """Of which none of the clips is silence."""
    path = tmp_path_factory.mktemp("model") / "model.tflite"
    for seed in range(20):
        graph = teachable_model(seed, frames=SECOND)
        if not hear(graph, recorded_features(clips, graph))[1].any():
            break
    path.write_bytes(tflite.write(graph))
    return path


def run(*arguments: object) -> int:
    return kws.cli.main(["meta", "adapt", *map(str, arguments)])


def test_what_words_are_learnt_by_comes_from_the_data(model, data, clips, tmp_path, capsys) -> None:
    plain = tflite.read(model)
    del plain.metadata["teaching"]
    (tmp_path / "plain.tflite").write_bytes(tflite.write(plain))
    assert run(tmp_path / "plain.tflite", "--data", data, "-o", tmp_path / "ready.tflite") == 0
    ready = tflite.read(tmp_path / "ready.tflite")
    assert f"as {len(WORDS) + 1} words of {data} vary" in capsys.readouterr().out  # and silence
    teaching = Teaching.of(ready)
    assert np.abs(teaching.inverse.astype(int)).max() >= 64 and teaching.centre.max() > 0
    plain_word = ["meta", "adapt", tmp_path / "plain.tflite", "--word", "a", clips[0], "-o", tmp_path / "x"]
    assert "plain.tflite: it lacks what words are learnt by" in refused(capsys, "kws", *plain_word)
    both = run(tmp_path / "plain.tflite", "--word", "fan", *clips[:5], "--data", data, "-o", tmp_path / "a.tflite")
    assert both == run(tmp_path / "ready.tflite", "--word", "fan", *clips[:5], "-o", tmp_path / "b.tflite") == 0
    assert (tmp_path / "a.tflite").read_bytes() == (tmp_path / "b.tflite").read_bytes()
    assert run(tmp_path / "plain.tflite", "--data", data, "--exclude", "bird", "-o", tmp_path / "less.tflite") == 0
    less = Teaching.of(tflite.read(tmp_path / "less.tflite"))
    assert less.metadata() != teaching.metadata()


def test_a_row_is_the_discriminant() -> None:
    """Of words with one covariance: the integers have the formula's direction and length."""
    graph, rng = teachable_model(), np.random.default_rng(0)
    mixing, size = rng.normal(0, 4, (16, 16)), 16

    def words(count: int, middle: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(middle + rng.normal(size=(count, size)) @ mixing), -128, 127).astype(np.int8)

    heard = [words(60, rng.normal(0, 20, size)) for _ in range(20)]
    teaching = adapt.discriminant(graph, heard)
    clips = words(10, rng.normal(0, 20, size))
    row = teaching.learn(clips)
    covariance = mixing.T @ mixing
    covariance += adapt.DEFAULTS.shrinkage * np.diag(covariance).mean() * np.eye(size)
    centre = np.mean([codes.mean(axis=0) for codes in heard], axis=0)
    wanted = np.linalg.solve(covariance, clips.mean(axis=0) - centre)
    cosine = row.weights @ wanted / np.linalg.norm(row.weights) / np.linalg.norm(wanted)
    assert cosine > 0.98  # the covariance is that of 1,200 clips, in int8
    last = LastLayer.of(graph)
    weights = graph.tensors[graph.main.operators[last.dense].inputs[1]].quantization
    logit = graph.tensors[last.features].scale * max(weights.scale)
    length = np.linalg.norm(row.weights) / (np.linalg.norm(wanted) * adapt.DEFAULTS.sureness / logit)
    assert 0.9 < length < 1.1
    with pytest.raises(InputError, match="model 'model': no word has two clips that differ"):
        adapt.discriminant(graph, [np.repeat(codes[:1], 5, axis=0) for codes in heard])


def test_a_model_with_the_word(model, clips, tmp_path, capsys) -> None:
    assert run(model, "--word", "lights", *clips[:4], "-o", tmp_path / "own.tflite") == 0
    assert "'lights' learnt from 4 clips" in capsys.readouterr().out
    graph, own = tflite.read(model), tflite.read(tmp_path / "own.tflite")
    row = Teaching.of(graph).learn(hear(graph, recorded_features(clips[:4], graph))[0])
    dense = own.main.operators[LastLayer.of(own).dense]
    assert np.array_equal(own.tensors[dense.inputs[1]].data[-1], row.weights)
    assert own.metadata["labels"][-1] == "lights"
    assert run(tmp_path / "own.tflite", "--word", "fan", *clips[:4], "-o", tmp_path / "two.tflite") == 0
    assert tflite.read(tmp_path / "two.tflite").metadata["labels"][-2:] == ["lights", "fan"]


def test_a_user_with_words(model, clips, tmp_path, capsys) -> None:
    anna = tmp_path / "anna.user"
    assert run(model, "--word", "lights", *clips[:3], "--user", tmp_path / "anna") == 0
    assert run(model, "--word", "fan", *clips[3:], "--user", anna) == 0
    assert "'lights' from 3 clips, 'fan' from 3 clips; 61 bytes for the board" in capsys.readouterr().out
    user = User.load(anna, tflite.read(model))
    assert [each.name for each in user.new_words] == ["lights", "fan"]
    before = anna.read_bytes()
    message = refused(capsys, "kws", "meta", "adapt", model, "--user", anna, "--word", "fan", *clips[3:])
    assert "word 'fan': the model has it already" in message
    assert anna.read_bytes() == before


def test_an_interruption_leaves_the_user_whole(model, clips, tmp_path, monkeypatch) -> None:
    assert run(model, "--word", "lights", *clips[:3], "--user", tmp_path / "anna") == 0
    before = (tmp_path / "anna.user").read_bytes()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(adapt, "hear", interrupted)
    assert run(model, "--word", "fan", *clips[:3], "--user", tmp_path / "anna") == 130
    assert (tmp_path / "anna.user").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_refusals(model, data, clips, tmp_path, capsys) -> None:
    out, user = ["-o", tmp_path / "out.tflite"], ["--user", tmp_path / "anna"]
    other = tmp_path / "other.tflite"
    other.write_bytes(tflite.write(teachable_model(21, frames=SECOND)))
    assert run(model, "--word", "lights", *clips[:3], *user) == 0
    for arguments, message in (
        ([model, "--word", "a", *clips[:1], *out], "1 clips of a word; 2 to 5 teach it"),
        ([model, "--word", "a", *out], "--word a: no recordings of it"),
        ([model, "--word", "yes", *clips[:3], *out], "word 'yes': the model has it already"),
        ([model, "--word", "a", *clips[:3]], "one of both is accepted"),
        ([model, "--word", "a", *clips[:3], *out, *user], "one of both is accepted"),
        ([model, "--word", "a", *clips[:3], *user, "--data", data], "--data: accepted without --user"),
        ([other, "--word", "a", *clips[:3], *user], "anna.user: it is of model"),
        ([model, *user, *out], "--user: accepted with --word"),
        ([model, *out], "without --word, --data and --output are needed"),
        ([model, "--word", "a", tmp_path / "none.wav", *out], "none.wav"),
    ):
        assert message in refused(capsys, "kws", "meta", "adapt", *arguments)
    assert not (tmp_path / "out.tflite").exists()


def test_a_clip_of_silence_is_named(clips, tmp_path, capsys) -> None:
    graph = teachable_model(frames=SECOND)
    heard = [recorded_features([clip], graph) for clip in clips]
    labels = ["_unknown_", "yes", "no", "up", "down"]
    said = graph.main.outputs[0]
    best = [int(NumpyExecutor(graph).run([each])[said].argmax()) for each in heard]
    labels.insert(best[2], "_silence_")
    graph.metadata["labels"] = labels
    (tmp_path / "model.tflite").write_bytes(tflite.write(graph))
    first = best.index(best[2])
    arguments = [tmp_path / "model.tflite", "--word", "a", *clips[:5], "-o", tmp_path / "out.tflite"]
    assert f"{clips[first]}: silence to the network" in refused(capsys, "kws", "meta", "adapt", *arguments)
