"""The reviewer's tool sees a changed line of C, and nothing where nothing changed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
import replay
from random_graphs import random_graph

from mcu_codegen.formats import tflite


@pytest.fixture
def command(tmp_path):
    """A folder with one model and the command that makes C of it."""
    (tmp_path / "model.tflite").write_bytes(tflite.write(random_graph(0)))
    arguments = ["emit", "model.tflite", "--target", "cortex-m4", "-o", "out/m4"]
    (tmp_path / "commands.json").write_text(json.dumps([arguments]))
    return tmp_path


def test_a_changed_line_is_shown(command, tmp_path) -> None:
    code = tmp_path / "code"
    for package in ("mcu_codegen", "firmware_stubs"):
        shutil.copytree(replay.ROOT / package, code / package)
    before = replay.emitted(replay.ROOT, command)
    assert before.keys() == {f"m4/kws_model{end}" for end in (".h", ".c", "_weights.h", "_selftest.c")}
    assert replay.emitted(code, command) == before
    header = code / "mcu_codegen" / "emit" / "interface.py"
    header.write_text(header.read_text().replace("Run the network once.", "Run it once."))
    changed = replay.changed_lines(before["m4/kws_model.h"], replay.emitted(code, command)["m4/kws_model.h"])
    assert changed == ["-/* Run the network once.", "+/* Run it once."]


def test_a_refusal_is_an_output(tmp_path) -> None:
    (tmp_path / "commands.json").write_text(json.dumps([["emit", "missing.tflite", "-o", "out/missing"]]))
    (lines,) = replay.emitted(replay.ROOT, tmp_path).values()
    assert lines[0] == "status 2" and "missing.tflite" in lines[1]


def test_the_command_line() -> None:
    run = subprocess.run(
        [sys.executable, "tests/replay.py", "nowhere"], cwd=replay.ROOT, capture_output=True, text=True
    )
    assert run.returncode == 2 and "'nowhere': not a revision" in run.stderr
