"""The verbs of `kws meta`, one after the other on a folder; and what they refuse."""

import json

import few_shot_corpus
import pytest
from test_cli import refused

import kws.cli
from kws.data.command import write_folder
from kws.training import checkpoint


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    for module in ("train", "pruning"):
        monkeypatch.setattr(f"kws.meta.{module}.VALIDATED", 3)
    write_folder(few_shot_corpus.corpus(takes=3), tmp_path / "waves")
    return tmp_path / "waves"


@pytest.mark.slow
def test_train_prune_quantize_and_evaluate(folder, tmp_path, capsys):
    data = ["--data", str(folder), "--views", "1"]
    shape = ["--ways", "3", "--shots", "1"]
    run, pruned, model = (tmp_path / name for name in ("run", "pruned", "model.tflite"))

    def kws_meta(*arguments):
        assert kws.cli.main(["meta", *map(str, arguments)]) == 0
        return capsys.readouterr().out

    options = ["--model", "res1d-xs:8,8", "--epochs", "1", "--steps", "2", "--tasks-per-step", "1"]
    assert str(run / "best.pt") in kws_meta("train", *data, *shape, *options, "--learner", "anil", "--out", run)
    taken_up = kws_meta("train", *data, *shape, *options, "--learner", "anil", "--out", run, "--resume")
    assert "best epoch 1" in taken_up  # nothing is trained twice
    rounds = ["--rounds", "0.5", "--steps", "1", "--tasks-per-step", "1", "--hessian-tasks", "2"]
    assert "50% removed" in kws_meta("prune", run, *data, *shape, *rounds, "--out", pruned)
    assert kws.cli.main(["quantize", str(pruned), *data[:2], *_left_out(run, folder), "-o", str(model)]) == 0
    assert model.exists()
    told = json.loads(
        kws_meta("evaluate", run, pruned, *data, *shape, "--count", "4", "--int8", "1", "--json").splitlines()[-1]
    )
    assert [row["run"] for row in told["runs"]] == [str(run), str(pruned)] and told["tasks"] == 4
    assert told["runs"][0]["difference"] == [0.0, 0.0, 0.0]
    assert all(low <= mean <= high for row in told["runs"] for mean, low, high in [row["accuracy"]])
    speakers = kws_meta("evaluate", run, *data, *shape, "--tasks", "speakers", "--count", "4")
    assert "3-way 1-shot, one speaker, 4 tasks" in speakers
    message = refused(capsys, "kws", "meta", "evaluate", run, *data, "--shots", "9", "--count", "4")
    assert "no 5 words of 10 clips or more" in message


def _left_out(run, folder):
    """For an ordinary task of the words that were learnt: the others in no class."""
    held = checkpoint.load(run / "best.pt")
    return ["--exclude", ",".join(word for word in few_shot_corpus.WORDS if word not in held.labels)]


def test_evaluate_refuses(capsys, tmp_path):
    assert "2 or more tasks" in refused(capsys, "kws", "meta", "evaluate", tmp_path / "a.pt", "--count", "1")
    assert "a.pt: cannot read" in refused(capsys, "kws", "meta", "evaluate", tmp_path / "a.pt")


def test_a_verb_without_its_own_verb_is_explained(capsys):
    with pytest.raises(SystemExit) as stopped:
        kws.cli.main(["meta"])
    assert stopped.value.code == 2 and "VERB" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        kws.cli.main(["meta", "prune", "--help"])
    assert "--criterion NAME" in capsys.readouterr().out
