"""Teaching words in C: the bytes of Python's, and the same refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from gated_models import features, random_gates
from hypothesis import given, settings
from hypothesis import strategies as st
from teaching_models import teachable_model

from mcu_codegen import cli, files
from mcu_codegen.emulate import host
from mcu_codegen.emulate.dialogue import CoreDialogue, HostDialogue
from mcu_codegen.emulate.machines import machines
from mcu_codegen.emulate.teaching_executor import CoreTeachingExecutor, HostTeachingExecutor
from mcu_codegen.emulate.toolchain import choose
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph
from mcu_codegen.prove import teaching
from mcu_codegen.prove.comparison import Comparison
from mcu_codegen.prove.dialogue import compared
from mcu_codegen.targets import TARGETS, find
from mcu_codegen.users.gates import Gates, groups
from mcu_codegen.users.teaching import hear
from mcu_codegen.users.user import User


def _same(executor: HostDialogue | CoreDialogue, graph: Graph, seed: int, gates: Gates | None = None) -> None:
    asked = teaching.random_given(graph, features(graph, 30, seed), seed)
    wanted = teaching.expected(graph, asked, gates)
    assert sum("learnt" in name for name, _ in wanted) >= 3
    found = executor.run(asked.pack(), 2 * sum(len(data) for _, data in wanted))
    done = compared(Comparison(executor.name), wanted, found)
    assert not done.trouble and done.first is None and done.compared == len(found), str(done)


def test_on_this_host() -> None:
    graph = teachable_model(2)
    executor = HostTeachingExecutor(graph, sanitize=["undefined"])
    for seed in range(3):
        _same(executor, graph, seed)


def test_switchable_networks_learn_from_what_their_open_channels_hear() -> None:
    graph = teachable_model(gates=True)
    gates = random_gates(np.random.default_rng(5), [group.count for group in groups(graph)])
    assert not all(each.all() for each in gates)
    _same(HostTeachingExecutor(graph, gates, sanitize=["undefined"]), graph, 0, gates)


@pytest.mark.slow
@settings(max_examples=4, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.integers(-(1 << 22), 1 << 22))
def test_any_constants(seed: int, shift: int, offset: int) -> None:
    """Whatever the covariance; small shifts saturate, and nothing leaves int32."""
    rng = np.random.default_rng(seed)
    rows, centre = rng.integers(-128, 128, 136).astype(np.int8), rng.integers(0, 4081, 16).astype(np.int16)
    graph = teachable_model(1, shift=shift, offset=offset, inverse=rows, centre=centre)
    _same(HostTeachingExecutor(graph, sanitize=["undefined"]), graph, seed)


@pytest.mark.parametrize(
    "name", ["cortex-m4", *(pytest.param(name, marks=pytest.mark.slow) for name in TARGETS if name != "cortex-m4")]
)
def test_on_cores(name: str) -> None:
    target, toolchain = find(name), choose()
    present = [machine for machine in machines(target).values() if not isinstance(machine, str)]
    if not present:
        pytest.skip(f"no emulator of {name}")
    graph = teachable_model(2)
    _same(CoreTeachingExecutor(graph, target, present[0], toolchain), graph, 0)


@pytest.mark.slow
def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "model.tflite", tmp_path / "out"
    files.write_whole(path, tflite.write(teachable_model()))
    model = tflite.read(path)
    assert cli.main(["emit", str(path), "--learn-word", "-o", str(out), "--arena", "caller"]) == 0
    sources = {each.name: each.read_text() for each in out.iterdir()}
    assert "--learn-word" in sources["kws_model_teaching.c"]
    assert "user_learn_word(" in sources["kws_model_teaching.h"]
    assert "void *memory, const kws_model_user *user" in sources["kws_model_teaching.h"]
    assert "#define KWS_DECISION_LABELS 9 " in sources["kws_decision.h"]  # three to come
    assert "barred[KWS_DECISION_LABELS] = {0, 0, 0, 0, 0, 0, 1, 1, 1};" in sources["kws_decision.c"]
    host.build_shared_library(sources)
    capsys.readouterr()
    verify = ["verify", str(path), "--target", "cortex-m4", "--samples", "2", "--json"]
    assert cli.main(verify) == 0
    rows = json.loads(capsys.readouterr().out)["executors"]
    assert any(row["name"] == "host, teaching" for row in rows) and not any(row["differing"] for row in rows)
    clips, _ = hear(model, features(model, 3))
    User.nobody(model, ["no"]).with_word(model, "lights", clips).save(tmp_path / "anna.user")
    own = ["--user", str(tmp_path / "anna.user")]
    assert cli.main([*verify, *own]) == 0
    emit = ["emit", str(path), *own, "-o", str(tmp_path / "own")]
    assert cli.main([*emit, "--learn-word"]) == 2
    assert "--learn-word: accepted without --user" in capsys.readouterr().err
    assert cli.main(emit) == 0
    assert '"down", "lights" }' in (tmp_path / "own" / "kws_model.h").read_text()
    decision = (tmp_path / "own" / "kws_decision.c").read_text()
    assert "barred[KWS_DECISION_LABELS] = {0, 0, 1, 0, 1, 1, 0};" in decision


def test_a_model_that_cannot_be_taught_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, path = teachable_model(), tmp_path / "model.tflite"
    del model.metadata["teaching"]
    files.write_whole(path, tflite.write(model))
    assert cli.main(["emit", str(path), "--learn-word", "-o", str(tmp_path / "out")]) == 2
    assert "model" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert cli.main(["emit", str(path), "--learn-word", "--streaming", "-o", str(tmp_path / "out")]) == 2
    assert "--learn-word: accepted without --streaming" in capsys.readouterr().err
