"""`mcu-codegen inspect`: what it shows, every reason for a refusal at once, and damaged files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fuzz_tflite import mutate_bytes, mutate_values
from original_files import chain_file, small_graph

from mcu_codegen import cli
from mcu_codegen.formats import flatbuffer, tflite
from mcu_codegen.formats.tflite_schema import BUILTIN_OPERATORS, IDENTIFIER, SCHEMA


def several_troubles() -> bytes:
    """An unknown kind, a float tensor, a wrong stride and a scale that a layer cannot have."""
    model = flatbuffer.read(tflite.write(small_graph()), SCHEMA, IDENTIFIER)
    operators = model["subgraphs"][0]["operators"]
    code = BUILTIN_OPERATORS.index("LSTM")
    model["operator_codes"].append({"deprecated_builtin_code": code, "builtin_code": code})
    operators[1]["opcode_index"] = len(model["operator_codes"]) - 1
    operators[4]["builtin_options"]["stride_h"] = 0
    tensors = {tensor["name"]: tensor for tensor in model["subgraphs"][0]["tensors"]}
    tensors["features"]["type"] = 0
    tensors["scores"]["quantization"]["scale"] = [0.5]
    return flatbuffer.write(model, SCHEMA, IDENTIFIER)


def test_all_reasons_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "troubled.tflite"
    path.write_bytes(several_troubles())
    assert cli.main(["inspect", str(path)]) == 2
    text = capsys.readouterr().out
    for reason in (
        "operator 0 (CONV_2D, tensor 'convolved'): tensor 'features' is float32: a hybrid model",
        "operator 1 (LSTM, tensor 'filtered'): not supported",
        "operator 4 (AVERAGE_POOL_2D, tensor 'pooled'): stride_h is 0",
        "tensor 'scores': softmax gives scale 1/256",
        "supported are ABS, ADD, ARG_MAX",
    ):
        assert reason in text
    assert cli.main(["inspect", str(path), "--json"]) == 2
    shown = json.loads(capsys.readouterr().out)
    assert not shown["accepted"] and len(shown["refusals"]) >= 4
    assert [operator["kind"] for operator in shown["subgraphs"][0]][:2] == ["CONV_2D", "LSTM"]
    assert cli.main(["emit", str(path), "--out", str(tmp_path / "c")]) == 2
    assert "more reasons: mcu-codegen inspect" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_an_accepted_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.tflite"
    path.write_bytes(tflite.write(small_graph()))
    assert cli.main(["inspect", str(path)]) == 0
    text = capsys.readouterr().out
    assert "accepted" in text and "int8 4x3x2x1 (4 scales)" in text and "mfcc10" in text and "enrol" in text
    assert cli.main(["inspect", str(path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["accepted"] and shown["metadata"]["front_end"] == "mfcc10"
    assert shown["entries"][0]["inputs"][0]["shape"] == [1, 6, 5, 1]


def test_a_git_lfs_pointer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "pointer.tflite"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 13\n")
    assert cli.main(["inspect", str(path)]) == 2
    assert "a Git LFS pointer" in capsys.readouterr().err


def test_damaged_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Accepted or refused, never a traceback."""
    rng = np.random.default_rng(5)
    originals = (tflite.write(small_graph()), chain_file(), several_troubles())
    path = tmp_path / "damaged.tflite"
    statuses = []
    for number in range(150):
        path.write_bytes((mutate_bytes, mutate_values)[number % 2](originals[number % 3], rng))
        statuses.append(cli.main(["inspect", str(path), *(["--json"] if number % 5 == 0 else [])]))
        capsys.readouterr()
    assert set(statuses) == {0, 2}
