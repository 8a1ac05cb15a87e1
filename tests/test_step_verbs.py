"""Steps from the command line: emit, verify and measure, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from exit_models import exit_model
from gated_models import gated_model
from streaming_models import small_network
from teaching_models import some_teaching

from mcu_codegen import cli, targets
from mcu_codegen.emulate import toolchain
from mcu_codegen.emulate.machines import machines
from mcu_codegen.execute import tinygrad_executor
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Quantization
from mcu_codegen.listen.decision import Decision
from mcu_codegen.listen.frontend import PRESETS
from mcu_codegen.users.teaching import hear


def write(folder: Path, **metadata: object) -> str:
    path = folder / "model.tflite"
    path.write_bytes(tflite.write(small_network(**metadata)))
    return str(path)


@pytest.mark.parametrize(
    ("metadata", "arguments", "function"),
    [
        ({}, [], "kws_model_invoke(const int8_t *input, int8_t *output);"),
        ({}, ["--streaming"], "kws_model_step(const int8_t *input, int8_t *output);"),
        ({"streaming": True}, [], "kws_model_step(const int8_t *input, int8_t *output);"),
        ({"streaming": True}, ["--no-streaming"], "kws_model_invoke(const int8_t *input, int8_t *output);"),
        ({"streaming": False}, [], "kws_model_invoke(const int8_t *input, int8_t *output);"),
    ],
)
def test_emit(metadata, arguments, function, tmp_path, capsys):
    out = tmp_path / "c"
    assert cli.main(["emit", write(tmp_path, **metadata), *arguments, "-o", str(out)]) == 0
    header = (out / "kws_model.h").read_text()
    assert function in header
    assert ("#define KWS_MODEL_STEP_FRAMES 2" in header) == ("step" in function)
    assert all(word in (out / "kws_model.c").read_text() for word in arguments)
    capsys.readouterr()


def test_emit_of_more_rows(tmp_path, capsys):
    out = tmp_path / "c"
    assert cli.main(["emit", write(tmp_path), "--streaming", "--rows-per-step", "6", "-o", str(out)]) == 0
    header = (out / "kws_model.h").read_text()
    assert "#define KWS_MODEL_STEP_FRAMES 6" in header and "#define KWS_MODEL_INPUT_BYTES 60" in header
    assert "Hear the next 6 frames. The output is about the last 30" in header
    assert "--rows-per-step 6" in (out / "kws_model.c").read_text()
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows-per-step", "4"], "--rows-per-step 4: accepted with --streaming"),
        (["--streaming", "--rows-per-step", "5"], "--rows-per-step 5: multiples of 2 are accepted"),
        (["--streaming", "--switchable"], "--switchable: accepted without --streaming"),
    ],
)
def test_bad_options_are_refused_in_one_line(arguments, message, tmp_path, capsys):
    out = tmp_path / "c"
    assert cli.main(["emit", write(tmp_path), *arguments, "-o", str(out)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not out.exists()


def test_a_gated_model_is_whole_unless_a_step_is_asked_for(tmp_path, capsys):
    model, out = tmp_path / "model.tflite", tmp_path / "c"
    graph, _ = gated_model(frames=15, residual=True)
    graph.metadata["streaming"] = True
    model.write_bytes(tflite.write(graph))
    for arguments, function in (([], "invoke"), (["--switchable"], "invoke"), (["--streaming"], "step")):
        status = cli.main(["emit", str(model), *arguments, "-o", str(out)])
        assert status == 0, capsys.readouterr().err
        assert f"kws_model_{function}(" in (out / "kws_model.h").read_text()
    capsys.readouterr()


def test_a_loop_that_sleeps(tmp_path, capsys):
    about = {"labels": ["_silence_", "_unknown_", "yes", "no"], "decision": Decision().to_dict(), "front_end": "mfcc10"}
    graph, out = small_network(streaming=True, **about), tmp_path / "c"
    front_end = PRESETS["mfcc10"]
    graph.tensors[0].quantization = Quantization((front_end.scale,), (front_end.zero_point,))
    model = tmp_path / "model.tflite"
    model.write_bytes(tflite.write(graph))
    assert cli.main(["emit", str(model), "--name", "ears_model", "--skip-silence", "-o", str(out)]) == 0
    header = (out / "ears_activity.h").read_text()
    assert "#define EARS_ACTIVITY_HOLD_HOPS 30" in header and "#define EARS_ACTIVITY_FRAMES 20" in header
    assert "#define EARS_DECISION_RESTS" in (out / "ears_decision.h").read_text()
    assert "--skip-silence 3.0" in (out / "ears_activity.c").read_text()
    assert cli.main(["emit", str(model), "-o", str(tmp_path / "other")]) == 0
    assert "RESTS" not in (tmp_path / "other" / "kws_decision.h").read_text()
    assert not (tmp_path / "other" / "kws_activity.h").exists()
    assert cli.main(["emit", write(tmp_path), "--skip-silence", "-o", str(tmp_path / "none")]) == 2
    assert "--skip-silence: accepted for a model whose metadata name front end" in capsys.readouterr().err


def test_exits_do_not_stream(tmp_path, capsys):
    model = tmp_path / "model.tflite"
    graph = exit_model()
    graph.metadata["streaming"] = True
    model.write_bytes(tflite.write(graph))
    out = tmp_path / "c"
    assert cli.main(["emit", str(model), "--streaming", "-o", str(out)]) == 2
    assert "has early exits; what is behind a stop would miss rows of the stream" in capsys.readouterr().err
    assert cli.main(["emit", str(model), "-o", str(out)]) == 0  # the whole network, as ever
    assert "kws_model_invoke(" in (out / "kws_model.h").read_text()
    capsys.readouterr()


def test_verify(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tinygrad_executor, "unavailable", lambda: "left out of a quick test")
    model = write(tmp_path)
    frames = np.random.default_rng(0).integers(-128, 128, (101, 10), np.int8)
    np.save(tmp_path / "frames.npy", frames)
    arguments = ["--inputs", str(tmp_path / "frames.npy"), "--target", "cortex-m4", "--json"]
    assert cli.main(["verify", model, "--streaming", "--rows-per-step", "4", *arguments]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)["executors"]}
    assert found["numpy, whole windows"]["compared"] == 25 * 4
    litert = found["litert, by operator"]  # of the whole network, on four of the windows
    assert litert["absent"] or (litert["compared"] > 1000 and litert["differing"] == 0)
    assert any("host" in name and each["compared"] > 1000 for name, each in found.items())
    np.save(tmp_path / "frames.npy", frames[:, :9])
    assert cli.main(["verify", model, "--streaming", *arguments]) == 2
    assert "accepted is int8 (N, 10), a stream of 2 frames or more" in capsys.readouterr().err


def test_words_are_proven_beside_the_step(tmp_path, capsys, monkeypatch):
    """Whole windows teach a network that listens by steps."""
    monkeypatch.setattr(tinygrad_executor, "unavailable", lambda: "left out of a quick test")
    graph = small_network(streaming=True, labels=["_silence_", "_unknown_", "yes", "no"])
    codes, _ = hear(graph, np.random.default_rng(0).integers(-128, 128, (40, 1, 30, 10, 1), np.int8))
    graph.metadata["teaching"] = some_teaching(codes).metadata()
    (tmp_path / "model.tflite").write_bytes(tflite.write(graph))
    assert cli.main(["verify", str(tmp_path / "model.tflite"), "--target", "cortex-m4", "--json"]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)["executors"]}
    assert "numpy, whole windows" in found and found["host, teaching"]["compared"] > 500


def test_measure(tmp_path, capsys):
    target = targets.find("cortex-m4")
    if all(isinstance(each, str) or each.cannot_count() for each in machines(target).values()):
        pytest.skip("no emulator counts cortex-m4")
    if all(isinstance(each, str) for each in toolchain.available().values()):
        pytest.skip("no cross compiler")
    model = write(tmp_path, front_end="mfcc10")
    assert cli.main(["measure", model, "--streaming", "--json"]) == 0
    total = json.loads(capsys.readouterr().out)["total"]
    assert total["instructions_a_second"] == round(total["instructions"] * 16000 / (2 * 320))
    assert 0 < total["ram_state"] <= total["ram_arena"]
