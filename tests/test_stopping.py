"""C that stops at early exits: on this host and on every core, with gates baked and switchable, with other heads."""

from __future__ import annotations

import ctypes
import json
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from exit_models import wide_model
from gated_models import features, gated_model, random_gates
from hypothesis import given, settings
from hypothesis import strategies as st
from test_emit import COMPILERS, HOST_COMPILERS, ZIG, failures, need
from test_stream import babble

from mcu_codegen import cli
from mcu_codegen.emit.model import ARENAS, emit_model
from mcu_codegen.emit.selftest import SELFTESTS
from mcu_codegen.emulate import host
from mcu_codegen.emulate.core_executor import CoreExecutor
from mcu_codegen.emulate.host_executor import HostExecutor
from mcu_codegen.emulate.toolchain import WARNINGS, choose
from mcu_codegen.errors import InputError
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Entry, Graph
from mcu_codegen.listen.pipeline import Pipeline
from mcu_codegen.prove import parity, personal, pipelines
from mcu_codegen.prove.measure import measure
from mcu_codegen.targets import TARGETS, find
from mcu_codegen.users.bake import bake
from mcu_codegen.users.exits import answers, exits_of
from mcu_codegen.users.gates import groups
from mcu_codegen.users.user import User

SAMPLES = 12
CORES = [  # one for each instruction set
    "cortex-m4",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("cortex-m0", "cortex-m3", "cortex-m55")),
]


def chain() -> Graph:
    return gated_model(3, exits=True)[0]


def residual() -> Graph:
    return gated_model(4, exits=True, residual=True, frames=17, blocks=3)[0]


@cache
def host_executor(make) -> HostExecutor:
    return HostExecutor(make(), sanitize=["undefined"])


def on_core(name: str, make_executor) -> parity.Executor:
    """The executor in the first emulator of a core that is here."""
    found = parity.on_cores([find(name)], None, make_executor)
    present = [each for each in found if not isinstance(each, parity.Absent)]
    if not present:
        pytest.skip(str(found))
    return present[0]


@pytest.mark.parametrize("make", [chain, residual])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_thresholds_on_this_host(make, seed: int) -> None:
    graph = make()
    inputs = features(graph, SAMPLES, seed)
    shape = (len(exits_of(graph)), SAMPLES)
    thresholds = np.random.default_rng(seed).integers(-128, 129, shape).astype(np.int16)
    expected = answers(graph, NumpyExecutor(graph).run([inputs]), thresholds)
    assert all(map(np.array_equal, expected, host_executor(make).stop([inputs], thresholds)))


@pytest.mark.parametrize("make", [chain, residual])
@pytest.mark.parametrize("name", TARGETS)
def test_every_core(name: str, make) -> None:
    """All layers, and every exit at the edge of its threshold."""
    graph = make()
    executor = on_core(name, lambda *core: CoreExecutor(graph, *core))
    report = parity.compare(graph, [executor], {"invoke": [features(graph, 3)]})
    assert report.passed, report.table().text()
    layers = sum(graph.tensors[operator.outputs[0]].bytes for operator in graph.main.operators)
    runs = 3 * (len(exits_of(graph)) + 1)
    assert report.comparisons[0].compared == 3 * layers + runs * (8 + 6)  # an exit taken is an int64


def test_heads_may_read_the_input() -> None:
    """The self-test, too, where an exit's head is the first layer."""
    graph = wide_model()
    operators = [
        replace(each, inputs=tuple(0 if index == 1 else index for index in each.inputs))
        for each in graph.main.operators[1:]
    ]
    graph = replace(graph, entries=[Entry("invoke", (0,), graph.main.outputs, operators)])
    assert failures(emit_model(graph, "model"), ["model"], HOST_COMPILERS["cc"], "undefined") == {}


def test_a_wrong_stop_fails_the_report() -> None:
    graph = chain()
    executor = HostExecutor(graph)
    honest = executor.stop
    executor.stop = lambda inputs, thresholds: honest(inputs, thresholds - np.int16(1))  # type: ignore[method-assign]
    report = parity.compare(graph, [executor], {"invoke": [features(graph, 3)]})
    assert not report.passed and report.comparisons[0].first.layer == "exit taken"


@pytest.mark.parametrize(("make", "compiler"), [(chain, "clang"), (residual, "cc")])
def test_selftest(make, compiler: str) -> None:
    """For golden inputs that leave at each exit; it fails where it stops elsewhere."""
    graph = make()
    inputs = features(graph, SAMPLES)
    taken, _ = answers(graph, NumpyExecutor(graph).run([inputs]))
    assert len(set(taken)) == len(exits_of(graph)) + 1
    sources, names = {}, []
    for number in sorted(set(taken)):
        golden = {"invoke": [inputs[list(taken).index(number)]]}
        names.append(f"exit_{number}")
        kinds = {"arena": ARENAS[number % 2], "selftest": SELFTESTS[number // 2 % 2]}
        sources |= emit_model(graph, names[-1], golden=golden, **kinds)
    assert failures(sources, names, HOST_COMPILERS[compiler], "undefined") == {}
    first = {file: text for file, text in sources.items() if file.startswith(names[0])}
    first["exit_0.c"] = first["exit_0.c"].replace(".threshold)) {", ".threshold + 300)) {")
    found = failures(first, names[:1], HOST_COMPILERS[compiler], "undefined")
    assert found == {"exit_0": len(graph.main.operators) + 1}


@pytest.mark.parametrize("compiler", COMPILERS)
def test_no_warnings(tmp_path: Path, compiler: str) -> None:
    command = need(COMPILERS[compiler])
    for arena, define in zip(ARENAS, ("KWS_MODEL_SELFTEST", "UNUSED"), strict=True):
        sources = emit_model(chain(), arena=arena)
        for file, text in sources.items():
            (tmp_path / file).write_text(text)
        build = [*command, "-std=c99", "-O2", "-ffreestanding", "-Wpedantic", *WARNINGS, f"-D{define}", "-c"]
        build += [file for file in sources if file.endswith(".c")]
        done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0 and done.stderr == "", done.stderr


@pytest.mark.parametrize("compiler", [("g++",), (*ZIG, "c++")], ids=["g++", "clang++"])
def test_usable_from_cpp(tmp_path: Path, compiler: tuple[str, ...]) -> None:
    for file, text in emit_model(chain()).items():
        (tmp_path / file).write_text(text)
    (tmp_path / "main.cpp").write_text(
        '#include "kws_model.h"\n'
        "static const int16_t thresholds[KWS_MODEL_EXITS] = KWS_MODEL_EXIT_THRESHOLDS;\n"
        "static const int32_t sizes[KWS_MODEL_EXITS] = KWS_MODEL_EXIT_FEATURES;\n"
        "static int8_t input[KWS_MODEL_INPUT_BYTES], output[KWS_MODEL_OUTPUT_BYTES];\n"
        "static int8_t features[KWS_MODEL_EXIT_FEATURE_BYTES];\n"
        "int main() {\n"
        "    kws_model_set_thresholds(thresholds);\n"
        "    kws_model_set_head(0, 0, 0);\n"
        "    return kws_model_invoke(input, output) > KWS_MODEL_EXITS ||\n"
        "           kws_model_invoke_all(input, features, output) != KWS_MODEL_EXITS || sizes[0] != 16;\n"
        "}\n"
    )
    cc = [*ZIG, "cc"] if "ziglang" in need(compiler) else ["gcc"]
    subprocess.run([*cc, "-std=c99", "-c", "kws_model.c", "-o", "model.o"], cwd=tmp_path, check=True)
    subprocess.run(
        [*compiler, "-Wall", "-Wextra", "-Werror", "-c", "main.cpp", "-o", "main.o"], cwd=tmp_path, check=True
    )
    subprocess.run([*cc, "main.o", "model.o", "-o", "main"], cwd=tmp_path, check=True)
    subprocess.run([tmp_path / "main"], check=True)


def pointer(values: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(values.ctypes.data)


@pytest.fixture
def library() -> ctypes.CDLL:
    """The C of `chain`, as after a reset, that counts the layers that were observed."""
    sources = emit_model(chain())
    del sources["kws_model_selftest.c"]
    counting = "extern int32_t layers_run;\n#define KWS_MODEL_OBSERVE(layer, data, bytes) (void)(layers_run = layer)\n"
    sources["kws_model.c"] = f"#include <stdint.h>\n{counting}{sources['kws_model.c']}\nint32_t layers_run;\n"
    found = ctypes.CDLL(str(host.build_shared_library(sources)))
    found.kws_model_reset()
    return found


def test_layers_behind_a_stop_do_not_run(library: ctypes.CDLL) -> None:
    graph = chain()
    source, output = features(graph, 1), np.empty(6, np.int8)
    last = ctypes.c_int32.in_dll(library, "layers_run")
    for number, each in enumerate(exits_of(graph)):
        thresholds = np.full(2, 128, np.int16)
        thresholds[number] = -128
        library.kws_model_set_thresholds(pointer(thresholds))
        assert library.kws_model_invoke(pointer(source), pointer(output)) == number
        assert last.value == each.head + 1
    kept = np.empty(96, np.int8)
    assert library.kws_model_invoke_all(pointer(source), pointer(kept), pointer(output)) == 2
    assert last.value == len(graph.main.operators) - 1
    values = NumpyExecutor(graph).run([source])
    assert np.array_equal(kept, np.concatenate([values[each.features].ravel() for each in exits_of(graph)]))
    assert np.array_equal(output, values[graph.main.outputs[-1]].ravel())


def test_other_heads_and_the_factory_again(library: ctypes.CDLL) -> None:
    graph, changed, rng = chain(), chain(), np.random.default_rng(8)
    heads = []
    for each in exits_of(graph):
        weights, bias = (changed.tensors[index] for index in changed.main.operators[each.head].inputs[1:])
        weights.data = rng.integers(-128, 128, weights.shape).astype(np.int8)
        bias.data = rng.integers(-20000, 20000, bias.shape).astype(np.int32)
        heads.append((weights.data, bias.data))
    inputs = features(graph, SAMPLES, 5)

    def same(expected: Graph) -> bool:
        exits, scores = answers(expected, NumpyExecutor(expected).run([inputs]))
        output = np.empty(6, np.int8)
        for sample, chosen, row in zip(inputs, exits, scores, strict=True):
            if library.kws_model_invoke(pointer(sample), pointer(output)) != chosen or not np.array_equal(output, row):
                return False
        return True

    assert same(graph) and not same(changed)
    for number, (weights, bias) in enumerate(heads):
        library.kws_model_set_head(number, pointer(weights), pointer(bias))
    assert same(changed)
    library.kws_model_set_thresholds(pointer(np.array([128, -128], np.int16)))
    assert not same(changed)
    library.kws_model_set_thresholds(None)
    assert same(changed)
    for number in range(len(heads)):
        library.kws_model_set_head(number, None, None)
    assert same(graph)
    library.kws_model_set_head(1, pointer(heads[1][0]), None)
    library.kws_model_set_thresholds(pointer(np.array([128, -128], np.int16)))
    library.kws_model_reset()
    assert same(graph)


@pytest.mark.parametrize("is_residual", [False, True])
def test_heads_lose_closed_channels(is_residual: bool) -> None:
    model, _ = gated_model(6, exits=True, residual=is_residual, frames=17)
    opened = random_gates(np.random.default_rng(6), [group.count for group in groups(model)])
    baked = bake(model, opened)
    for own, full in zip(exits_of(baked), exits_of(model), strict=True):
        assert baked.tensors[own.features].bytes < model.tensors[full.features].bytes
        assert own.threshold == full.threshold


@pytest.mark.slow
@pytest.mark.parametrize("is_residual", [False, True])
@pytest.mark.parametrize("name", CORES)
def test_users_of_gates(name: str, is_residual: bool) -> None:
    """One user's network in every way to ship it, and enrolled on the core."""
    model, enrolment = gated_model(7, exits=True, residual=is_residual, frames=13)
    user = User.enrol(model, enrolment, features(model, 3), ["yes"])
    report = personal.compare(model, enrolment, user, features(model, 3), personal.Cores([find(name)]))
    assert report.passed, report.table().text()
    assert sum(not each.absent for each in report.comparisons) > 5


@pytest.mark.parametrize("name", CORES)
def test_a_stream_stops(name: str) -> None:
    """Self-test, then audio to decisions by the scores at the exits; the self-test of the core runs first."""
    pipeline = Pipeline.of(chain())
    programs = [each for each in pipelines.programs(pipeline, [find(name)]) if not isinstance(each, parity.Absent)]
    if not programs:
        pytest.skip(f"no emulator of {name}")
    report = pipelines.compare(pipeline, programs[:1], babble(2.0))
    assert report.passed, report.table().text()


@pytest.mark.parametrize("name", CORES)
def test_measure(name: str) -> None:
    graph = chain()
    clips = features(graph, SAMPLES)
    try:
        found = measure(graph, find(name), choose(), clips=clips)
    except InputError as error:
        pytest.skip(str(error))
    counts = [each.instructions for each in (*found.exits, found)]
    assert counts == sorted(counts) and len(counts) == 3
    layers = [layer.instructions for layer in found.layers]
    for each, cost in zip(exits_of(graph), found.exits, strict=True):
        assert 0.95 * cost.instructions < sum(layers[: each.head + 2]) < 1.05 * cost.instructions
        assert cost.macs == sum(layer.macs for layer in found.layers[: each.head + 1])
    taken, _ = answers(graph, NumpyExecutor(graph).run([clips]))
    assert found.clips is not None and found.clips.exits == np.bincount(taken).tolist()
    mean = np.mean([counts[exit_taken] for exit_taken in taken])  # softmax and clamps depend a little on the data
    assert 0.99 * mean < found.clips.instructions < 1.01 * mean
    assert found.clips.macs == np.mean([[*(each.macs for each in found.exits), found.macs][at] for at in taken])


@pytest.mark.slow
def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = chain()
    model, plain, clips = (tmp_path / name for name in ("model.tflite", "plain.tflite", "clips.npy"))
    model.write_bytes(tflite.write(graph))
    plain.write_bytes(tflite.write(gated_model(3)[0]))
    np.save(clips, features(graph, 2))
    assert tflite.read(model).metadata["exits"] == graph.metadata["exits"]
    assert cli.main(["emit", str(model), "-o", str(tmp_path / "out")]) == 0
    assert "#define KWS_MODEL_EXITS 2" in (tmp_path / "out" / "kws_model.h").read_text()
    assert cli.main(["verify", str(model), "--target", "cortex-m0", "--inputs", str(clips)]) == 0
    capsys.readouterr()
    assert cli.main(["measure", str(model), "--target", "cortex-m0", "--clips", str(clips), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["exits"]) == 2 and sum(found["clips"]["exits"]) == found["clips"]["clips"] == 2
    assert cli.main(["measure", str(model), "--target", "cortex-m0", "--clips", str(clips)]) == 0
    assert "mean" in capsys.readouterr().out
    for arguments, message in (
        (["measure", str(plain), "--target", "cortex-m0", "--clips", str(clips)], "it has no early exits"),
        (["measure", str(model), "--clips", str(model)], f"--clips {model}: not a readable .npy file"),
    ):
        assert cli.main(arguments) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    graph.metadata["exits"]["thresholds"][1] = 129
    model.write_bytes(tflite.write(graph))
    for verb in (["emit", str(model), "-o", str(tmp_path / "bad")], ["verify", str(model)], ["measure", str(model)]):
        assert cli.main(verb) == 2
        error = capsys.readouterr().err
        assert "threshold 129; accepted are integers from -128 to 128" in error and error.count("\n") == 1
    assert not (tmp_path / "bad").exists()
