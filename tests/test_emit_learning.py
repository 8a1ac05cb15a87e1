"""Learning in C: the bytes of Python's after every epoch, and the same refusals."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path

import exit_heads
import numpy as np
import pytest
from exit_models import exit_model, wide_model
from gated_models import features, random_gates
from hypothesis import given, settings
from hypothesis import strategies as st

from mcu_codegen import cli, files
from mcu_codegen.emulate import host
from mcu_codegen.emulate.learning_executor import CoreLearningExecutor, HostLearningExecutor, sources_of
from mcu_codegen.emulate.machines import machines
from mcu_codegen.emulate.toolchain import choose
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph
from mcu_codegen.prove import learning
from mcu_codegen.prove.dialogue import compared
from mcu_codegen.prove.learning import instructions
from mcu_codegen.prove.learning_cases import random_given
from mcu_codegen.prove.parity import Comparison
from mcu_codegen.targets import TARGETS, find
from mcu_codegen.users.blob import blob_bytes
from mcu_codegen.users.gates import Gates, groups
from mcu_codegen.users.learning import Utterances
from mcu_codegen.users.regression import Rates
from mcu_codegen.users.user import User


def _same(
    executor: HostLearningExecutor | CoreLearningExecutor, graph: Graph, seed: int, gates: Gates | None = None
) -> None:
    asked = random_given(graph, features(graph, 17, seed), seed)
    wanted = learning.expected(graph, asked, gates)
    found = executor.run(asked.pack(), 2 * sum(len(data) for _, data in wanted))
    done = compared(Comparison(executor.name), wanted, found)
    assert not done.trouble and done.first is None and done.compared == len(found), str(done)


@pytest.mark.parametrize("gates", [False, True])
def test_on_this_host(gates: bool) -> None:
    graph = exit_model(gates=gates)
    executor = HostLearningExecutor(graph, sanitize=["undefined"])
    for seed in range(3):
        _same(executor, graph, seed)


def test_switchable_networks_learn_from_what_their_open_channels_hear() -> None:
    graph, toolchain, target = exit_model(gates=True), choose(), find("cortex-m4")
    gates = random_gates(np.random.default_rng(5), [group.count for group in groups(graph)])
    assert not all(each.all() for each in gates)
    _same(HostLearningExecutor(graph, gates, sanitize=["undefined"]), graph, 0, gates)
    machine = next((each for each in machines(target).values() if not isinstance(each, str)), None)
    if machine is None:
        pytest.skip(f"no emulator of {target.name}")
    _same(CoreLearningExecutor(graph, target, machine, toolchain, gates), graph, 0, gates)


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 16), st.integers(0, 20))
def test_any_rate(seed: int, weights: int, biases: int) -> None:
    """The greatest ones saturate."""
    graph = exit_model(1, rates=(Rates((weights,) * 6, (biases,) * 6),) * 2, capacity=7, epochs=1)
    _same(HostLearningExecutor(graph, sanitize=["undefined"]), graph, seed)


@pytest.mark.parametrize(
    "name", ["cortex-m4", *(pytest.param(name, marks=pytest.mark.slow) for name in TARGETS if name != "cortex-m4")]
)
def test_on_cores(name: str) -> None:
    target, toolchain = find(name), choose()
    present = [machine for machine in machines(target).values() if not isinstance(machine, str)]
    if not present:
        pytest.skip(f"no emulator of {name}")
    graph = exit_model(2)
    _same(CoreLearningExecutor(graph, target, present[0], toolchain), graph, 0)


_INFERENCE = 635_578  # instructions of res1d-s on a Cortex-M4
_SIZES = """
#include "kws_model_learning.h"
uint32_t size(void);
uint32_t size(void)
{
    return sizeof(kws_model_buffer) + sizeof(kws_model_learner) + 2u * sizeof(kws_model_user);
}
"""


def test_the_cost_of_one_personalisation() -> None:
    """30 utterances, 3 exits of 56 features, 12 labels: below ten inferences and 12 KB, two users included."""
    graph, target = wide_model(), find("cortex-m4")
    _, last = exit_heads.population(0)
    codes, labels, _, _ = exit_heads.speaker(1)
    buffer = Utterances((codes,) * 3, last(labels, 1), labels, 30)
    assert instructions(graph, buffer, target, choose()) < 10 * _INFERENCE
    sources = sources_of(graph, "portable") | {"size.c": _SIZES}
    assert ctypes.CDLL(str(host.build_shared_library(sources))).size() <= 12 * 1024
    assert blob_bytes(graph) <= 3 * 1024 * 56 // 64  # 64 features fit into 3 KB, too


@pytest.mark.slow
def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.tflite"
    files.write_whole(path, tflite.write(exit_model()))
    model = tflite.read(path)
    assert cli.main(["emit", str(path), "--learn", "-o", str(tmp_path / "out"), "--arena", "caller"]) == 0
    sources = {each.name: each.read_text() for each in (tmp_path / "out").iterdir()}
    assert (
        "--learn" in sources["kws_model_learning.c"]
        and "void *memory, kws_model_buffer" in sources["kws_model_learning.h"]
    )
    host.build_shared_library(sources)
    capsys.readouterr()
    verify = ["verify", str(path), "--target", "cortex-m4", "--samples", "2", "--json"]
    assert cli.main(verify) == 0
    rows = json.loads(capsys.readouterr().out)["executors"]
    assert any(row["name"] == "host, learning" for row in rows) and not any(row["differing"] for row in rows)
    user = User.nobody(model, ["no"]).taught(model, features(model, 12), np.arange(12) % 6 - 1)
    user.save(tmp_path / "anna.user")
    assert cli.main([*verify, "--user", str(tmp_path / "anna.user")]) == 0
    emit = ["emit", str(path), "--user", str(tmp_path / "anna.user"), "-o", str(tmp_path / "own")]
    assert cli.main([*emit, "--learn"]) == 2
    assert cli.main(emit) == 0
    thresholds = ", ".join(map(str, user.exits.learnt.applied()))
    assert f"KWS_MODEL_EXIT_THRESHOLDS {{ {thresholds} }}" in (tmp_path / "own" / "kws_model.h").read_text()
