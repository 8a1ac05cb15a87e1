"""`kws enroll`: recordings become a user's file, or nothing does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from exit_models import exit_model
from gated_models import gated_model
from test_cli import refused

import kws.cli
from kws.personalize.enroll import recorded_features
from mcu_codegen.formats import tflite
from mcu_codegen.users.learning import NO_LABEL, Learner
from mcu_codegen.users.user import User

SECOND = 49  # frames
WORDS = ("yes", "no", "up")
EACH = 4  # 12 clips are as many as the buffer of `exit_model` holds
LABELS = [label for label in (2, 3, 4) for _ in range(EACH)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[Path]:
    """Noise, in a folder a word."""
    root, rng = tmp_path_factory.mktemp("clips"), np.random.default_rng(0)
    paths = [root / word / f"{number}.wav" for word in WORDS for number in range(EACH)]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, rng.normal(0, 0.1, 16000), 16000)
    return paths


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.tflite"
    path.write_bytes(tflite.write(exit_model(frames=SECOND)))
    return path


def enrol(model: Path, user: Path, *arguments: object) -> int:
    return kws.cli.main(["enroll", "--model", str(model), "--user", str(user), *map(str, arguments)])


def taught(path: Path, clips: list[Path], labels: list[int]) -> User:
    """A user of the model in the file at `path` who was never anything else."""
    graph = tflite.read(path)
    return User.nobody(graph).taught(graph, recorded_features(clips, graph), labels)


@pytest.mark.parametrize(
    ("option", "labels"),
    [
        ([], [NO_LABEL] * 12),
        (["--labels", "folders"], LABELS),
        (["--labels", ",".join(["yes"] * 4 + ["?"] * 4 + ["_unknown_"] * 4)], [2] * 4 + [NO_LABEL] * 4 + [1] * 4),
    ],
)
def test_exits_learn_from_labelled_and_unlabelled_clips(model, clips, tmp_path, capsys, option, labels):
    assert enrol(model, tmp_path / "anna", *option, "--words", "yes,no", *clips) == 0
    graph, printed = tflite.read(model), capsys.readouterr().out
    user = User.load(tmp_path / "anna.user", graph)
    own = taught(model, clips, labels)
    assert user.words == ("yes", "no") and user.exits.buffer.labels.tolist() == labels
    assert user.exits.to_dict() == own.exits.to_dict()
    assert f"exits learnt from the last 12, {sum(label >= 0 for label in labels)} with a label" in printed
    assert printed.count("(factory: ") == 2


def test_utterances_are_added_to_those_that_were_heard(model, clips, tmp_path, capsys):
    few, more = clips[:6], clips[6:]
    assert enrol(model, tmp_path / "anna", *few) == 0
    assert enrol(model, tmp_path / "anna", "--add", "--labels", "folders", *more, *more) == 0
    graph = tflite.read(model)
    first = taught(model, few, [NO_LABEL] * 6)
    own = first.taught(graph, recorded_features(more + more, graph), LABELS[6:] * 2)
    assert User.load(tmp_path / "anna.user", graph).exits.to_dict() == own.exits.to_dict()
    assert "18 utterances; exits learnt from the last 12, 12 with a label" in capsys.readouterr().out


def test_gates_and_exits_of_one_network(clips, tmp_path, capsys):
    """Exits hear the network with the gates that the very same clips have chosen."""
    _, enrolment = gated_model(frames=SECOND, exits=True)
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite.write(exit_model(gates=True, frames=SECOND)))
    graph = tflite.read(path)
    enrolment.metadata["model"] = graph.sha256[:16]
    (tmp_path / "model.enrol.tflite").write_bytes(tflite.write(enrolment))
    assert enrol(path, tmp_path / "anna", "--labels", "folders", *clips) == 0
    heard = recorded_features(clips, graph)
    own = User.enrol(graph, tflite.read(tmp_path / "model.enrol.tflite"), heard).taught(graph, heard, LABELS)
    assert User.load(tmp_path / "anna.user", graph).blob(graph) == own.blob(graph)
    printed = capsys.readouterr().out
    assert "channels  " in printed and "(factory: " in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--labels", "yes,no", "CLIPS"], "--labels: 2 for 12 clips"),
        (
            ["--labels", "yes,no,maybe,up", "FOUR"],
            "--labels: 'maybe' of .*; accepted are _silence_, _unknown_, yes, no",
        ),
        (["--labels", "yes,,no,up", "FOUR"], "--labels: 3 for 4 clips"),
        (["--words", "yes,maybe", "CLIPS"], "maybe"),
        (["ONE"], r"1 utterances; 4 to 12 are accepted"),
        (["--add", "ONE"], r"anna\.user: cannot be read"),
    ],
)
def test_what_cannot_be_learnt_from(model, clips, tmp_path, capsys, arguments, message):
    named = {"CLIPS": clips, "FOUR": clips[:4], "ONE": clips[:1]}
    given = [each for argument in arguments for each in named.get(argument, [argument])]
    found = refused(capsys, "kws", "enroll", "--model", model, "--user", tmp_path / "anna", *given)
    assert re.search(message, found)
    assert not list(tmp_path.iterdir())


def test_folders_that_are_no_labels(model, tmp_path, capsys):
    clip = tmp_path / "maybe" / "1.wav"
    clip.parent.mkdir()
    soundfile.write(clip, np.zeros(16000), 16000)
    found = refused(capsys, "kws", "enroll", "--model", model, "--user", tmp_path / "a", "--labels", "folders", clip)
    assert "'maybe' of " in found


def test_a_network_without_exits_takes_no_labels(clips, tmp_path, capsys):
    graph, _ = gated_model(frames=SECOND)
    (tmp_path / "model.tflite").write_bytes(tflite.write(graph))
    common = ["kws", "enroll", "--model", tmp_path / "model.tflite", "--user", tmp_path / "anna"]
    assert "has no early exits" in refused(capsys, *common, "--labels", "folders", *clips)


@pytest.mark.parametrize("damage", ["foreign", "truncated", "label"])
def test_a_file_that_is_not_this_models_stays_as_it_was(model, clips, tmp_path, capsys, damage):
    path = tmp_path / "anna.user"
    if damage == "foreign":
        other, enrolment = gated_model(frames=SECOND)
        User.enrol(other, enrolment, recorded_features(clips[:3], other)).save(path)
    else:
        taught(model, clips, LABELS).save(path)
        text = path.read_text()
        values = json.loads(text)
        values["exits"]["labels"][0] = 99
        path.write_text(text[:-20] if damage == "truncated" else json.dumps(values))
    before = path.read_bytes()
    found = refused(capsys, "kws", "enroll", "--model", model, "--user", path, "--add", *clips)
    assert "anna.user: " in found
    assert path.read_bytes() == before


def test_interruption_while_learning_leaves_the_old_user_whole(model, clips, tmp_path, monkeypatch, capsys):
    assert enrol(model, tmp_path / "anna", "--labels", "folders", *clips) == 0
    before = (tmp_path / "anna.user").read_bytes()
    learn = Learner.steps

    def interrupted(self, *arguments):
        yield next(learn(self, *arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(Learner, "steps", interrupted)
    assert enrol(model, tmp_path / "anna", "--add", "--labels", "folders", *clips[:3]) == 130
    assert "kws: interrupted" in capsys.readouterr().err
    assert (tmp_path / "anna.user").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["anna.user"]
