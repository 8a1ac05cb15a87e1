"""Users and enrolment in C: the bytes of Python's, and the same refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from gated_models import features, gated_model, random_gates
from test_user import odd_blobs

from mcu_codegen import cli, files
from mcu_codegen.emulate import host
from mcu_codegen.emulate.host_executor import HostExecutor
from mcu_codegen.emulate.machines import machines
from mcu_codegen.emulate.toolchain import choose
from mcu_codegen.emulate.user_executor import CoreUserExecutor, HostUserExecutor
from mcu_codegen.errors import InputError
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.formats import tflite
from mcu_codegen.prove import personal
from mcu_codegen.targets import TARGETS, find
from mcu_codegen.users.blob import blob
from mcu_codegen.users.gates import Gates, all_open, groups, join
from mcu_codegen.users.user import User


def _some_gates(pair) -> Gates:
    return random_gates(np.random.default_rng(5), [group.count for group in groups(pair[0])])


def _same(executor: HostUserExecutor | CoreUserExecutor, pair, utterances: int) -> None:
    """The answers to utterances, and to good and odd blobs, are Python's."""
    model, enrolment = pair
    heard = features(model, utterances, seed=utterances)
    user = User.enrol(model, enrolment, heard, ["yes", "up"])
    gates = user.gates(groups(model))
    before = blob(model, all_open(groups(model)), user.words)
    blobs = [user.blob(model), blob(model, gates), *(data for _, data in odd_blobs(user.blob(model)))]
    found = executor.run(heard, before, blobs)
    assert found.blob == user.blob(model)
    assert found.loaded == personal.loaded(model, blobs, heard[-1])


@pytest.fixture(scope="module")
def pair():
    return gated_model(frames=7)


def test_on_this_host(pair) -> None:
    executor = HostUserExecutor(*pair, _some_gates(pair), sanitize=["undefined"])
    for utterances in (1, 2, 7):
        _same(executor, pair, utterances)


def test_bytes_filled_to_the_last_bit() -> None:
    pair = gated_model(3, frames=7, size=2)  # 24 gates
    _same(HostUserExecutor(*pair, _some_gates(pair)), pair, 3)


def test_a_group_that_closes_opens_one_gate(pair) -> None:
    model, enrolment = pair
    for index in enrolment.main.outputs:  # no logit is above
        quantization = enrolment.tensors[index].quantization
        enrolment.tensors[index].quantization = type(quantization)(quantization.scale, (127,))
    user = User.enrol(model, enrolment, features(model, 3))
    assert [gate.sum() for gate in user.gates(groups(model))] == [1, 1, 1]
    try:
        _same(HostUserExecutor(*pair, _some_gates(pair)), pair, 3)
    finally:
        gated = gated_model(frames=7)[1]
        for index in enrolment.main.outputs:
            enrolment.tensors[index].quantization = gated.tensors[index].quantization


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "cortex-m4" else pytest.mark.slow) for name in TARGETS]
)
def test_on_cores(pair, name: str) -> None:
    target, toolchain = find(name), choose()
    present = [machine for machine in machines(target).values() if not isinstance(machine, str)]
    if not present:
        pytest.skip(f"no emulator of {name}")
    _same(CoreUserExecutor(*pair, _some_gates(pair), target, present[0], toolchain), pair, 2)


@pytest.mark.slow
def test_commands(pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, enrolment = pair
    for name, graph in (("model", model), ("enrol", enrolment)):
        files.write_whole(tmp_path / f"{name}.tflite", tflite.write(graph))
    User.enrol(model, enrolment, features(model, 3), ["no"]).save(tmp_path / "anna.user")
    paths = {name: str(tmp_path / name) for name in ("model.tflite", "enrol.tflite", "anna.user")}
    out = tmp_path / "out"
    assert cli.main(["emit", paths["model.tflite"], "--enrol", paths["enrol.tflite"], "-o", str(out)]) == 0
    sources = {path.name: path.read_text() for path in out.iterdir()}
    assert "void kws_model_enrol(" in sources["kws_model.h"] and "--enrol" in sources["kws_model_user.c"]
    host.build_shared_library(sources, defines=["KWS_MODEL_SELFTEST"])
    verify = ["verify", paths["model.tflite"], "--user", paths["anna.user"], "--target", "cortex-m0", "--json"]
    capsys.readouterr()
    assert cli.main([*verify, "--enrol", paths["enrol.tflite"], "--samples", "2"]) == 0
    rows = json.loads(capsys.readouterr().out)["executors"]
    assert [row["differing"] for row in rows] == [0] * len(rows)
    names = " ".join(row["name"] for row in rows)
    assert "numpy, baked" in names and "cortex-m0" in names and "host, enrolment" in names
    assert "host cc, switchable" in names or "host clang (ziglang), switchable" in names
    assert cli.main(["verify", paths["model.tflite"], "--enrol", paths["enrol.tflite"]]) == 2
    enrol = ["emit", paths["model.tflite"], "--user", paths["anna.user"], "--enrol", paths["enrol.tflite"], "-o"]
    assert cli.main([*enrol, str(tmp_path / "refused")]) == 2
    assert cli.main([*enrol, str(out), "--switchable"]) == 0
    sources = {path.name: path.read_text() for path in out.iterdir()}
    assert "void kws_model_set_gates(" in sources["kws_model_user.h"] and "--switchable" in sources["kws_model.c"]
    assert "{0, 0, 1, 0, 1, 1}" in sources["kws_decision.c"]
    host.build_shared_library(sources, defines=["KWS_MODEL_SELFTEST"])


def test_a_model_without_labels(pair) -> None:
    model, enrolment = gated_model(frames=7)
    del model.metadata["labels"]
    with pytest.raises(InputError, match="labels"):
        HostUserExecutor(model, enrolment, _some_gates(pair))


def test_enrolment_beside_an_ordinary_network(pair) -> None:
    model, enrolment = pair
    joined, heard = join(model, enrolment), features(model, 3)
    found, expected = HostExecutor(joined).run([heard], "enrol"), NumpyExecutor(enrolment).run([heard])
    for own, index in zip(joined.entries[1].outputs, enrolment.main.outputs, strict=True):
        assert np.array_equal(found[own], expected[index])
