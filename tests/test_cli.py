"""Both tools as scripts see them: exit codes, one-line errors, what they need installed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from random_graphs import random_graph

import kws.cli
import mcu_codegen.cli
from kws import models
from kws.training import checkpoint
from kws.training.checkpoint import Checkpoint
from mcu_codegen.commands import tool
from mcu_codegen.formats import tflite

WORDS = ("yes", "no")
LABELS = ("_silence_", "_unknown_", *WORDS)


def refused(capsys: pytest.CaptureFixture[str], tool: str, *arguments: object) -> str:
    """The one line that `tool` prints when it refuses `arguments` with status 2."""
    main = {"kws": kws.cli.main, "mcu-codegen": mcu_codegen.cli.main}[tool]
    status = main([str(argument) for argument in arguments])
    lines = capsys.readouterr().err.strip().splitlines()
    assert status == 2, lines
    message = lines[-1]
    assert message.startswith(f"{tool}: ")
    assert "Traceback" not in message
    return message


def write_folder(folder: Path, words: tuple[str, ...] = WORDS, clips: int = 2) -> Path:
    """A corpus of noise: `clips` of each word in each split."""
    rng = np.random.default_rng(0)
    rows = ["file,word,speaker,split"]
    for split in ("training", "validation", "testing"):
        for word in words:
            for clip in range(clips):
                name = f"{word}_{split}_{clip}.wav"
                folder.mkdir(parents=True, exist_ok=True)
                soundfile.write(folder / name, rng.normal(0, 0.1, 16000), 16000)
                rows.append(f"{name},{word},{split},{split}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A checkpoint of an untrained network."""
    network = models.build("ds-cnn-s", len(LABELS))
    path = tmp_path / "best.pt"
    checkpoint.save(path, Checkpoint("ds-cnn-s", LABELS, "mfcc10", network.state_dict()))
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite.write(random_graph(1)))
    return path


def test_a_missing_folder(tmp_path, capsys):
    assert "nowhere" in refused(capsys, "kws", "train", "--data", tmp_path / "nowhere", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_empty_folder(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert "empty" in refused(capsys, "kws", "train", "--data", tmp_path / "empty", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("spoil", ["truncated", "zero length"])
def test_a_spoilt_clip_is_named(spoil, tmp_path, capsys):
    folder = write_folder(tmp_path / "corpus")
    clip = folder / "no_training_1.wav"
    if spoil == "truncated":
        clip.write_bytes(clip.read_bytes()[:9000])
    else:
        soundfile.write(clip, np.zeros(0), 16000)
    message = refused(
        capsys, "kws", "train", "--data", folder, "--words", "yes,no", "--min-clips", 0, "--out", tmp_path / "run"
    )
    assert "no_training_1.wav" in message
    assert not (tmp_path / "run").exists()


def test_a_word_that_the_corpus_lacks(tmp_path, capsys):
    folder = write_folder(tmp_path / "corpus")
    assert "marvin" in refused(capsys, "kws", "train", "--data", folder, "--words", "yes,marvin")


def test_a_class_that_is_too_small(tmp_path, capsys):
    folder = write_folder(tmp_path / "corpus")
    message = refused(capsys, "kws", "train", "--data", folder, "--words", "yes,no", "--out", tmp_path / "run")
    assert "50" in message


def test_nan_in_a_checkpoint(trained, tmp_path, capsys):
    held = checkpoint.load(trained)
    next(value for value in held.state_dict.values() if value.is_floating_point()).view(-1)[0] = float("nan")
    checkpoint.save(trained, held)
    message = refused(capsys, "kws", "quantize", trained, "--data", tmp_path, "-o", tmp_path / "out.tflite")
    assert "NaN" in message
    assert not (tmp_path / "out.tflite").exists()


def test_a_checkpoint_of_another_architecture(trained, tmp_path, capsys):
    held = checkpoint.load(trained)
    checkpoint.save(trained, Checkpoint("ds-cnn-m", LABELS, "mfcc10", held.state_dict))
    message = refused(capsys, "kws", "evaluate", trained, "--data", tmp_path)
    assert "ds-cnn-m" in message


def test_labels_that_do_not_match_the_model(tmp_path, capsys):
    graph = random_graph(1)
    graph.metadata = {"front_end": "mfcc10", "labels": list(LABELS), "decision": {}}
    path = tmp_path / "labels.tflite"
    path.write_bytes(tflite.write(graph))
    refused(capsys, "mcu-codegen", "emit", path, "-o", tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_truncated_model(model, tmp_path, capsys):
    model.write_bytes(model.read_bytes()[:-100])
    assert "model.tflite" in refused(capsys, "mcu-codegen", "emit", model, "-o", tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_float_model(tmp_path, capsys):
    graph = random_graph(1)
    for tensor in graph.tensors:
        if tensor.dtype == "int8" and tensor.data is None:
            tensor.dtype, tensor.quantization = "float32", None
    path = tmp_path / "float.tflite"
    path.write_bytes(tflite.write(graph))
    assert "float32" in refused(capsys, "mcu-codegen", "emit", path, "-o", tmp_path / "c")


def test_a_folder_that_cannot_be_written(model, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    refused(capsys, "mcu-codegen", "emit", model, "-o", tmp_path / "file" / "c")
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("tool", ["kws", "mcu-codegen"])
def test_help_and_unknown_verbs(tool, capsys):
    main = {"kws": kws.cli.main, "mcu-codegen": mcu_codegen.cli.main}[tool]
    for arguments, status in ((["--help"], 0), (["fly"], 2), ([], 2)):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == status
    capsys.readouterr()


def test_emission_needs_nothing_but_numpy_and_flatbuffers(model, tmp_path):
    """With every extra blocked, and kws too, the C comes out all the same; also of a checkout that is not installed,
    which has no metadata, by `python -m mcu_codegen.cli`."""
    blocked = ["torch", "torchaudio", "nncf", "tinygrad", "ai_edge_litert", "unicorn", "ziglang", "soundfile", "kws"]
    blocked += ["onnx", "onnxruntime", "google.protobuf", "importlib.metadata"]
    program = (
        f"import runpy, sys; sys.modules.update(dict.fromkeys({blocked!r}))\n"
        "runpy.run_module('mcu_codegen.cli', run_name='__main__', alter_sys=True)\n"
    )
    arguments = ["emit", str(model), "--target", "cortex-m4", "-o", str(tmp_path / "c")]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "c").iterdir()} == {
        f"kws_model{suffix}" for suffix in (".h", ".c", "_weights.h", "_selftest.c")
    }


@pytest.mark.slow
def test_an_interrupt_in_the_middle_of_training(tmp_path):
    """A real SIGINT to the real command: status 130, no traceback, whole files only, and --resume finishes."""
    folder, out = write_folder(tmp_path / "corpus", ("yes", "no", "later"), 12), tmp_path / "run"
    # a shell that starts the suite in the background has it ignore SIGINT, and so its children
    script = "import signal, sys, kws.cli; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{script}; sys.exit(kws.cli.main())", "train", "--data", str(folder)]
    command += ["--words", "yes,no", "--min-clips", "1", "--epochs", "30", "--out", str(out)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 600  # a busy machine is no failure
    while not (out / "metrics.csv").exists() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=600)
    assert running.returncode == 130, errors
    assert "Traceback" not in errors
    assert errors.strip().splitlines()[-1] == "kws: interrupted"
    left = {path.name for path in out.iterdir()}
    assert left <= {"best.pt", "last.pt", "metrics.csv", "curves.png", "confusion.png"}
    done = len(checkpoint.read_tensors(out / "last.pt")["history"])
    assert 0 < done < 30
    checkpoint.load(out / "best.pt")
    again = subprocess.run([*command, "--resume"], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert len((out / "metrics.csv").read_text().splitlines()) == 1 + 30


def test_an_interrupt_inside_a_destructor_is_not_lost():
    """Python cannot raise there; what it would only print comes again where it can be raised."""

    class Busy:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), tool.interrupts_arrive():
            Busy()
            time.sleep(60)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gates", "--keep-macs", "1.5"], r"--keep-macs 1\.5: a share of 1 or less, above 0, is accepted"),
        (["--gates", "--gate-size", "0"], "--gate-size, --gate-steps and --exit-epochs are 1 or more"),
        (["--gates", "--gate-size", "5"], "--gate-size 5: group0 has 56 channels"),
        (["--start", "run"], "--start: goes with --gates or --exits"),
        (
            ["--model", "res1d-xs", "--front-end", "mfcc10"],
            "10 coefficients a frame; network res1d-xs takes 40",
        ),
        (["--gates", "--start", "run", "--epochs", "3"], "--epochs: goes without --start"),
        (["--gates", "--start", "run", "--front-end", "mfcc10"], "--front-end: goes without --start"),
        (["--gates", "--start", "missing"], "missing: cannot read"),
        (["--teacher", "missing.pt"], r"missing\.pt: cannot read"),
    ],
)
def test_options_of_training_that_make_no_sense(arguments, message, tmp_path, capsys):
    folder = write_folder(tmp_path / "corpus", ("yes", "no", "later"), 2)
    common = ["--data", folder, "--words", "yes,no", "--min-clips", "1", "--out", tmp_path / "run"]
    assert re.search(message, refused(capsys, "kws", "train", *common, *arguments))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--int8"], "--int8: goes with --personal"),
        (["--out", "out"], "--out: goes with --personal"),
        (["--personal", "--picture", "a.png"], "--picture: goes without --personal"),
        (["--personal", "--draws", "1"], "--draws 1: 2 or more is accepted"),
        (["--personal"], r"run/gated\.pt: cannot read"),
    ],
)
def test_options_of_evaluation_that_make_no_sense(arguments, message, capsys):
    assert re.search(message, refused(capsys, "kws", "evaluate", "run", "--data", "nowhere", *arguments))


def test_enrolling_with_a_model_without_gates_and_exits(model, tmp_path, capsys):
    folder = write_folder(tmp_path / "corpus")
    clip = next(folder.glob("*.wav"))
    found = refused(capsys, "kws", "enroll", "--model", model, "--user", tmp_path / "anna", clip)
    assert "its metadata list neither gates nor exits" in found
    assert not (tmp_path / "anna.user").exists()
    assert "--user '': a name is needed" in refused(capsys, "kws", "enroll", "--model", model, "--user", "", clip)
    assert ".: cannot be read" in refused(capsys, "kws", "enroll", "--model", ".", "--user", "anna", clip)


def test_a_reader_that_leaves_early(model):
    """As under `| head`: no traceback, and the status that a shell gives to a broken pipe."""
    command = [sys.executable, "-c", "import sys, mcu_codegen.cli; sys.exit(mcu_codegen.cli.main())", "measure"]
    running = subprocess.Popen(
        [*command, str(model), "--json", "--target", "cortex-m0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    running.stdout.close()
    errors = running.stderr.read().decode()
    assert running.wait() == 141, errors
    assert "Traceback" not in errors and "BrokenPipe" not in errors


def test_every_package_is_installed():
    """An editable install finds folders that the distribution would leave out."""
    root = Path(__file__).parents[1]
    listed = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        str(init.parent.relative_to(root)).replace("/", ".")
        for tool in ("kws", "mcu_codegen")
        for init in (root / tool).rglob("__init__.py")
    }
    assert {*found, "firmware_stubs"} == set(listed)
