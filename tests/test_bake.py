"""A baked network computes the codes that the specification computes with channels closed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gated_models import features, gated_model, random_gates

from mcu_codegen import cli, files
from mcu_codegen.emit.cortex_m.instruction_sets import RENDERERS
from mcu_codegen.emit.plan import compile_plan
from mcu_codegen.emulate.host_executor import HostExecutor
from mcu_codegen.errors import InputError
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph
from mcu_codegen.users import gates
from mcu_codegen.users.bake import bake, kept_channels, restore
from mcu_codegen.users.user import User


def same_codes(model: Graph, baked: Graph, opened: gates.Gates, values: dict[int, np.ndarray], source: np.ndarray):
    """Whether `values` of the baked network are those of the masked one, layer by layer."""
    expected = NumpyExecutor(model, gates.open_channels(model, opened)).run([source])
    kept = kept_channels(model, opened)
    for operator, own in zip(model.main.operators, baked.main.operators, strict=True):
        index = operator.outputs[0]
        assert np.array_equal(restore(model, kept, index, values[own.outputs[0]]), expected[index])


@pytest.mark.parametrize("seed", range(15))
def test_baked_codes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = (1, 2, 4)[seed % 3]
    residual, norms = 9 <= seed < 12, seed >= 12
    model, _ = gated_model(
        seed,
        size=size,
        frames=15 if residual else 7,
        zero_point=-128 if seed % 2 else -100,
        residual=residual,
        norms=norms,
    )
    opened = random_gates(rng, [group.count for group in gates.groups(model)])
    baked = bake(model, opened)
    source = features(model, 3, seed)
    same_codes(model, baked, opened, NumpyExecutor(baked).run([source]), source)
    assert "gates" not in baked.metadata
    assert sum(each.bytes for each in baked.tensors) < sum(each.bytes for each in model.tensors)


@pytest.mark.parametrize("instruction_set", ["armv6m", "dsp", "mve"])
def test_no_baked_network_needs_more_ram(instruction_set: str) -> None:
    """Rows of fewer channels may grow where those of all do not, and still find room."""
    for seed in range(10):
        model, _ = gated_model(seed, frames=20 + 29 * (seed % 2))
        opened = random_gates(np.random.default_rng(seed), [group.count for group in gates.groups(model)])
        whole, baked = (
            compile_plan(each, RENDERERS[instruction_set]()).memory.arena_bytes for each in (model, bake(model, opened))
        )
        assert baked <= whole, seed


def test_all_open_bakes_the_same_network() -> None:
    model, _ = gated_model()
    baked = bake(model, gates.all_open(gates.groups(model)))
    written = tflite.read_bytes(tflite.write(baked), "baked.tflite")
    assert [tensor.shape for tensor in written.tensors] == [tensor.shape for tensor in baked.tensors]
    assert sum(each.bytes for each in baked.tensors) == sum(each.bytes for each in model.tensors)


def test_emit_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, enrolment = gated_model()
    files.write_whole(tmp_path / "model.tflite", tflite.write(model))
    user = User.enrol(model, enrolment, features(model, 3), ["no"])
    user.save(tmp_path / "anna.user")
    assert tflite.read(tmp_path / "model.tflite").sha256 == model.sha256
    arguments = ["emit", str(tmp_path / "model.tflite"), "--user", str(tmp_path / "anna.user"), "-o"]
    assert cli.main([*arguments, str(tmp_path / "out")]) == 0
    weights = (tmp_path / "out" / "kws_model_weights.h").read_text()
    assert "--user" in weights and model.sha256 in weights
    assert "barred[KWS_DECISION_LABELS] = {0, 0, 1, 0, 1, 1}" in (tmp_path / "out" / "kws_decision.c").read_text()
    opened = user.gates(gates.groups(model))
    baked, source = bake(model, opened), features(model, 4, 1)
    same_codes(model, baked, opened, HostExecutor(baked).run([source]), source)
    other, _ = gated_model(1)
    files.write_whole(tmp_path / "model.tflite", tflite.write(other))
    assert cli.main([*arguments, str(tmp_path / "other")]) == 2
    assert "of model" in capsys.readouterr().err and not (tmp_path / "other").exists()


def test_what_cannot_be_cut() -> None:
    model, _ = gated_model()
    stem, depthwise = gates.groups(model)[0].tensors
    model.metadata["gates"][0]["tensors"] = [model.tensors[stem].name]
    opened = gates.all_open(gates.groups(model))
    opened[0][1] = False
    with pytest.raises(InputError, match=r"01_depthwise_conv_2d: .*those of its output"):
        bake(model, opened)
    model.metadata["gates"][0]["tensors"] = [model.tensors[depthwise].name]
    with pytest.raises(InputError, match=r"01_depthwise_conv_2d: .*than of its input"):
        bake(model, opened)
    model.metadata["gates"][0]["tensors"] = [model.tensors[model.main.outputs[0]].name]
    model.metadata["gates"][0]["size"] = 1
    with pytest.raises(InputError, match="softmax"):
        bake(model, [np.arange(6) < 3, *opened[1:]])
