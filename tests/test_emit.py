"""Emitted C: what it computes, what compilers say of it, and how emission fails."""

from __future__ import annotations

import ctypes
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from random_graphs import random_graph, random_inputs

from mcu_codegen import cli
from mcu_codegen.emit.cortex_m.instruction_sets import RENDERERS
from mcu_codegen.emit.model import emit_model
from mcu_codegen.emit.plan import compile_plan
from mcu_codegen.emit.portable.renderer import OPTIMIZE
from mcu_codegen.emulate import host
from mcu_codegen.emulate.toolchain import WARNINGS
from mcu_codegen.errors import InputError
from mcu_codegen.formats import tflite
from mcu_codegen.graph import (
    Conv2D,
    DepthwiseConv2D,
    Elementwise,
    Entry,
    FullyConnected,
    Graph,
    Mean,
    NoOptions,
    Operator,
    Pool2D,
    Quantization,
    Softmax,
    Tensor,
)

ZIG = (sys.executable, "-m", "ziglang")
HOST_COMPILERS = {"cc": ("cc",), "clang": (*ZIG, "cc")}
COMPILERS = {
    "gcc": ("gcc",),
    "clang": (*ZIG, "cc", "-fno-sanitize=undefined"),
    "clang for Cortex-M0": (*ZIG, "cc", "-target", "thumb-freestanding-eabi", "-mcpu=cortex_m0"),
    "arm-none-eabi-gcc": ("arm-none-eabi-gcc", "-mthumb", "-mcpu=cortex-m3"),
}
KWS_MODEL = Path(__file__).parents[2] / "shared" / "models" / "mlperf_tiny_kws_int8.tflite"


def need(command: Sequence[str]) -> tuple[str, ...]:
    """`command`, or a skipped test where it is absent."""
    if "ziglang" in command:
        if importlib.util.find_spec("ziglang") is None:
            pytest.skip("the Python package ziglang is not installed")
    elif shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not on PATH")
    return tuple(command)


def selftests(names: Sequence[str]) -> list[str]:
    return [f"{name.upper()}_SELFTEST" for name in names]


def failures(sources: dict[str, str], names: Sequence[str], command: tuple[str, ...], sanitize: str) -> dict[str, int]:
    """What the self-tests of the models `names` in `sources` return, where it is not 0."""
    library = host.build_shared_library(
        sources, defines=selftests(names), sanitize=sanitize.split(","), command=need(command)
    )
    loaded = ctypes.CDLL(str(library))
    results = {name: int(loaded[f"{name}_selftest"]()) for name in names}
    return {name: result for name, result in results.items() if result}


def random_models(seeds: range) -> dict[str, str]:
    """The C of random graphs g<seed>, in all variants of arena and self-test."""
    sources: dict[str, str] = {}
    for seed in seeds:
        graph = random_graph(seed)
        golden = {
            entry.name: [data[0] for data in random_inputs(graph, seed, 1, entry.name)] for entry in graph.entries
        }
        arena, selftest = ("static", "caller")[seed % 2], ("golden", "full")[seed // 2 % 2]
        sources |= emit_model(graph, f"g{seed}", arena=arena, selftest=selftest, golden=golden)
    return sources


def tensor(name: str, *shape: int, scale: float = 0.5, zero_point: int = 3) -> Tensor:
    return Tensor(name, shape, "int8", Quantization((float(np.float32(scale)),), (zero_point,)))


def weights(name: str, *shape: int) -> Tensor:
    data = np.random.default_rng(sum(shape)).integers(-127, 128, shape).astype(np.int8)
    return Tensor(name, shape, "int8", Quantization((0.0078125,), (0,)), data)


def every_operator() -> Graph:
    """Operators of several kinds; a persistent tensor; two entries that share constants."""
    scores = Quantization((1 / 256,), (-128,))
    tensors = [
        tensor("input", 1, 9, 6, 2),
        weights("convolution", 6, 3, 3, 2),
        tensor("image", 1, 5, 6, 6, scale=1.0, zero_point=-128),
        weights("depthwise", 1, 3, 3, 6),
        tensor("deep", 1, 5, 6, 6, scale=1.0, zero_point=-4),
        Tensor("state", (1, 5, 6, 6), "int8", Quantization((1.0,), (-4,)), np.full((1, 5, 6, 6), -4, np.int8), True),
        tensor("pooled", 1, 3, 3, 6, scale=1.0, zero_point=-4),
        Tensor("axes", (2,), "int32", None, np.array([1, 2], np.int32)),
        tensor("mean", 1, 6, scale=0.25),
        weights("matrix", 5, 6),
        tensor("scores", 1, 5),
        Tensor("softmax", (1, 5), "int8", scores),
        tensor("flat", 1, 180, scale=1.0, zero_point=-4),
        tensor("other", 1, 9, 6, 2),
        tensor("enrolled", 1, 5, 6, 6, scale=1.0, zero_point=-128),
    ]
    first = Operator("CONV_2D", (0, 1), (2,), Conv2D("SAME", (2, 1)))
    invoke = [
        first,
        Operator("DEPTHWISE_CONV_2D", (2, 3), (4,), DepthwiseConv2D("SAME", depth_multiplier=1)),
        Operator("ADD", (5, 4), (5,), Elementwise()),
        Operator("AVERAGE_POOL_2D", (5,), (6,), Pool2D("SAME", (2, 2), (3, 3))),
        Operator("MEAN", (6, 7), (8,), Mean()),
        Operator("FULLY_CONNECTED", (8, 9), (10,), FullyConnected()),
        Operator("SOFTMAX", (10,), (11,), Softmax()),
        Operator("RESHAPE", (5,), (12,), NoOptions()),
    ]
    enrol = [Operator("CONV_2D", (13, 1), (14,), first.options)]
    return Graph("every", tensors, [Entry("invoke", (0,), (11, 12), invoke), Entry("enrol", (13,), (14, 5), enrol)])


def chain(source: Tensor, operator: str, options: object, output: Tensor, *constants: Tensor) -> Graph:
    """A graph of one operator."""
    inputs = (0, *range(2, 2 + len(constants)))
    return Graph(
        "chain",
        [source, output, *constants],
        [Entry("invoke", (0,), (1,), [Operator(operator, inputs, (1,), options)])],
    )


@pytest.mark.parametrize("compiler", HOST_COMPILERS)
def test_random_graphs(compiler: str) -> None:
    """All layers as NumPy has them, without undefined behaviour and without warnings."""
    seeds = {"cc": range(1000, 1006), "clang": range(1006, 1010)}[compiler]
    names = [f"g{seed}" for seed in seeds]
    assert failures(random_models(seeds), names, HOST_COMPILERS[compiler], "undefined") == {}


@pytest.mark.slow
def test_many_random_graphs() -> None:
    seeds = range(2000, 2050)
    assert failures(random_models(seeds), [f"g{seed}" for seed in seeds], host.compiler(), "undefined") == {}


@pytest.mark.slow
def test_random_graphs_under_address_sanitizer(tmp_path: Path) -> None:
    command = need(("gcc",))
    names = [f"g{seed}" for seed in range(3000, 3020)]
    sources = random_models(range(3000, 3020))
    calls = " + ".join(f"({name}_selftest() != 0)" for name in names)
    includes = "".join(f'#include "{name}.h"\n' for name in names)
    sources["main.c"] = f"{includes}int main(void)\n{{\n    return {calls};\n}}\n"
    for file, text in sources.items():
        (tmp_path / file).write_text(text)
    build = [
        *(*command, "-std=c99", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
        *(f"-D{define}" for define in selftests(names)),
        *("-o", "main", *(file for file in sources if file.endswith(".c"))),
    ]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True)
    if "-lasan" in done.stderr:
        pytest.skip("gcc has no address sanitiser here")
    assert done.returncode == 0, done.stderr
    done = subprocess.run([tmp_path / "main"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_softmax_over_long_rows() -> None:
    """Equal inputs give the largest sums; a row of 512 is the first whose sum can shift a share out altogether."""
    sources, names = {}, []
    for size in (1, 511, 512, 4095):
        output = Tensor("output", (3, size), "int8", Quantization((1 / 256,), (-128,)))
        graph = chain(tensor("input", 3, size, scale=0.02), "SOFTMAX", Softmax(), output)
        data = np.stack([np.full(size, 7), np.arange(size) % 256 - 128, np.r_[[127], np.full(size - 1, -128)]])
        names.append(f"row_{size}")
        sources |= emit_model(graph, names[-1], golden={"invoke": [data.astype(np.int8)]})
    assert failures(sources, names, host.compiler(), "undefined") == {}


def test_mean_over_any_axes() -> None:
    shape = (2, 3, 4, 5)
    sources, names = {}, []
    for axes in ((0,), (3,), (0, 2), (1, 3), (0, 1, 2, 3), (-1, 0)):
        kept = tuple(size for axis, size in enumerate(shape) if axis not in {axis % 4 for axis in axes})
        axes_tensor = Tensor("axes", (len(axes),), "int32", None, np.array(axes, np.int32))
        graph = chain(tensor("input", *shape), "MEAN", Mean(), tensor("output", *kept, scale=0.4), axes_tensor)
        names.append("mean_" + "_".join(str(axis % 4) for axis in axes))
        sources |= emit_model(graph, names[-1])
    assert failures(sources, names, host.compiler(), "undefined") == {}


def test_every_operator_with_state() -> None:
    """The persistent tensor is carried from call to call until the reset."""
    graph = every_operator()
    library = ctypes.CDLL(str(host.build_shared_library(emit_model(graph))))
    data = np.full(108, 60, np.int8)
    scores, state = np.empty(5, np.int8), np.empty(180, np.int8)
    seen = []
    for call in range(3):
        if call in (0, 2):
            library.kws_model_reset()
        library.kws_model_invoke(*(ctypes.c_void_p(values.ctypes.data) for values in (data, scores, state)))
        seen.append(state.tolist())
    assert seen[0] != seen[1]
    assert seen[0] == seen[2]
    assert failures(emit_model(graph), ["kws_model"], host.compiler(), "undefined") == {}


@pytest.mark.parametrize("kind", ["golden", "full"])
def test_selftest_names_the_layer(kind: str) -> None:
    """One changed weight in the second layer makes the self-test return 2; nothing observed, one more than layers."""
    graph = every_operator()
    sources = emit_model(graph, selftest=kind)
    broken = dict(sources)
    broken["kws_model_weights.h"] = re.sub(
        r"(01_depthwise_conv_2d_bias\[6\] KWS_MODEL_CONST_ATTR = \{\n    )(-?\d+)",
        lambda found: f"{found[1]}{int(found[2]) + 100000}",
        sources["kws_model_weights.h"],
    )
    assert broken != sources
    assert failures(broken, ["kws_model"], host.compiler(), "undefined") == {"kws_model": 2}
    if kind == "full":
        return
    blind = dict(sources)
    blind["kws_model.c"] = "#undef KWS_MODEL_SELFTEST\n" + sources["kws_model.c"]
    assert failures(blind, ["kws_model"], host.compiler(), "undefined") == {"kws_model": 10}


@pytest.mark.parametrize("compiler", COMPILERS)
def test_no_warnings(tmp_path: Path, compiler: str) -> None:
    """Either arena, with and without the self-test."""
    command = need(COMPILERS[compiler])
    for arena, define in (("static", "KWS_MODEL_SELFTEST"), ("caller", "UNUSED")):
        sources = emit_model(every_operator(), arena=arena)
        for file, text in sources.items():
            (tmp_path / file).write_text(text)
        done = subprocess.run(
            [*command, "-std=c99", "-O2", "-ffreestanding", "-Wpedantic", *WARNINGS, f"-D{define}", "-c"]
            + [file for file in sources if file.endswith(".c")],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0 and done.stderr == "", done.stderr


@pytest.mark.parametrize(
    "compiler", [("g++",), pytest.param((*ZIG, "c++"), marks=pytest.mark.slow)], ids=["g++", "clang++"]
)
def test_usable_from_cpp(tmp_path: Path, compiler: tuple[str, ...]) -> None:
    graph = every_operator()
    graph.metadata["labels"] = ["_silence_", 'quo"te', "naïve", "??/", "go"]
    for file, text in emit_model(graph).items():
        (tmp_path / file).write_text(text)
    (tmp_path / "main.cpp").write_text(
        '#include "kws_model.h"\n'
        "static const char *const labels[KWS_MODEL_LABEL_COUNT] = KWS_MODEL_LABELS;\n"
        "static int8_t input[KWS_MODEL_INPUT_BYTES], output[KWS_MODEL_OUTPUT_0_BYTES];\n"
        "static int8_t state[KWS_MODEL_OUTPUT_1_BYTES];\n"
        "int main() { kws_model_reset(); kws_model_invoke(input, output, state); return labels[0][0] != '_'; }\n"
    )
    cc = [*ZIG, "cc"] if "ziglang" in need(compiler) else ["gcc"]
    subprocess.run([*cc, "-std=c99", "-c", "kws_model.c", "-o", "model.o"], cwd=tmp_path, check=True)
    warnings = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run([*compiler, *warnings, "-c", "main.cpp", "-o", "main.o"], cwd=tmp_path, check=True)
    # linked as C: the program needs no C++ library, which zig would build first
    subprocess.run([*cc, "main.o", "model.o", "-o", "main"], cwd=tmp_path, check=True)
    subprocess.run([tmp_path / "main"], check=True)


THUMB2 = ("__ARM_ARCH_PROFILE=77", "__ARM_ARCH_ISA_THUMB=2")
CORE_DEFINES = {
    "portable": (),
    "armv6m": ("__ARM_ARCH_PROFILE=77", "__ARM_ARCH_ISA_THUMB=1"),
    "armv7m": THUMB2,
    "dsp": (*THUMB2, "__ARM_FEATURE_DSP=1"),
    "mve": (*THUMB2, "__ARM_FEATURE_DSP=1", "__ARM_FEATURE_MVE=3"),
}
"""By instruction set, what a compiler for it defines, and a check that knows no cores does not."""


@pytest.mark.parametrize("optimize", OPTIMIZE)
@pytest.mark.parametrize("instruction_set", RENDERERS)
def test_cppcheck_is_silent(tmp_path: Path, instruction_set: str, optimize: str) -> None:
    need(("cppcheck",))
    for file, text in emit_model(every_operator(), renderer=RENDERERS[instruction_set](optimize)).items():
        (tmp_path / file).write_text(text)
    checks = ["--std=c99", "--enable=warning,style,performance,portability"]
    defines = [f"-D{define}" for define in ("KWS_MODEL_SELFTEST", *CORE_DEFINES[instruction_set])]
    done = subprocess.run(
        ["cppcheck", *checks, *defines, "-q", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout + done.stderr == ""


def test_text() -> None:
    """Banner, no library, one static object, constants once, the same text every time."""
    graph = every_operator()
    graph.sha256 = "ab" * 32
    sources = emit_model(graph, command="mcu-codegen emit x*/y")
    assert sources == emit_model(every_operator_again(graph), command="mcu-codegen emit x*/y")
    for file, text in sources.items():
        assert text.startswith("/*\n * ") and f"SHA-256: {'ab' * 32}" in text and "x* /y" in text, file
        assert set(re.findall(r"#include <(.*)>", text)) <= {"stdint.h"}, file
        assert not re.search(r"\b(malloc|free|float|double|printf)\b", re.sub(r"/\*.*?\*/", "", text, flags=re.S)), file
    assert '#define KWS_MODEL_SHA256 "' + "ab" * 32 in sources["kws_model.h"]
    objects = re.findall(r"^static (?!void|inline|int32_t kws)\w.*", sources["kws_model.c"], re.M)
    assert [line.split()[2].split("[")[0] for line in objects] == ["kws_model_arena"]
    assert sources["kws_model_weights.h"].count("int8_t kws_model_00_conv_2d_weights[") == 1
    assert "kws_model_enrol_00_conv_2d_weights" not in sources["kws_model_weights.h"]


def every_operator_again(graph: Graph) -> Graph:
    again = every_operator()
    again.sha256 = graph.sha256
    return again


def test_caller_owns_the_arena() -> None:
    sources = emit_model(every_operator(), arena="caller")
    assert "void kws_model_invoke(void *memory, const int8_t *input, int8_t *output_0" in sources["kws_model.h"]
    assert not re.search(r"^static (?!void|inline|int32_t kws)", sources["kws_model.c"], re.M)


def test_header_states_what_the_plan_says() -> None:
    graph = every_operator()
    graph.tensors[0].quantization = Quantization((float(np.float32(1e-5) / 3),), (7,))
    graph.tensors[13].quantization = graph.tensors[0].quantization
    header = emit_model(graph)["kws_model.h"]
    macros = dict(re.findall(r"#define (\w+) \(?([^()\n]+)\)?", header))
    plan = compile_plan(graph)
    assert int(macros["KWS_MODEL_ARENA_BYTES"]) == plan.memory.arena_bytes
    assert np.float32(macros["KWS_MODEL_INPUT_SCALE"].rstrip("f")) == np.float32(graph.tensors[0].scale)
    assert macros["KWS_MODEL_INPUT_ZERO_POINT"] == "7"
    assert macros["KWS_MODEL_OUTPUT_0_ZERO_POINT"] == "-128"
    assert macros["KWS_MODEL_ENROL_INPUT_BYTES"] == "108"
    assert [layer.kernel.macs for layer in plan.layers[:2]] == [5 * 6 * 6 * 18, 5 * 6 * 6 * 9]


def test_refusals() -> None:
    graph = every_operator()
    with pytest.raises(InputError, match=r"'9lives'.*C identifier"):
        emit_model(graph, "9lives")
    graph.metadata["labels"] = ["yes", "no"]
    with pytest.raises(InputError, match="2 for output 'softmax' of 5"):
        emit_model(graph)
    graph = every_operator()
    graph.entries[1].name = "reset"
    with pytest.raises(InputError, match="entries"):
        emit_model(graph)
    graph = every_operator()
    graph.tensors[0].dtype = "float32"
    with pytest.raises(InputError, match="'input' is float32; int8"):
        emit_model(graph)
    graph = every_operator()
    with pytest.raises(InputError, match=r"golden input of entry 'invoke'.*\(1, 9, 6, 2\)"):
        emit_model(graph, golden={"invoke": [np.zeros(3, np.int8)]})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite.write(random_graph(5)))
    return path


def test_verb(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "folder"
    assert cli.main(["emit", str(model), "--name", "ear", "--target", "cortex-m0", "-o", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["ear.c", "ear.h", "ear_selftest.c", "ear_weights.h"]
    assert "ear_weights.h" in capsys.readouterr().out
    assert (
        f"mcu-codegen emit {model} --target cortex-m0 --optimize speed --weights sparse --name ear"
        in (out / "ear.c").read_text()
    )


def test_verb_writes_front_end_and_decision(tmp_path: Path) -> None:
    if not KWS_MODEL.exists():
        pytest.skip("../shared/models is not here")
    from mcu_codegen.listen import frontend
    from mcu_codegen.listen.decision import Decision

    graph, preset = tflite.read(KWS_MODEL), frontend.PRESETS["mfcc10"]
    labels = ["_silence_", "_unknown_", *(f"word {number}" for number in range(10))]
    graph.tensors[graph.main.inputs[0]].quantization = Quantization(
        (float(np.float32(preset.scale)),), (preset.zero_point,)
    )
    graph.metadata = {"front_end": "mfcc10", "labels": labels, "decision": Decision().to_dict()}
    (tmp_path / "model.tflite").write_bytes(tflite.write(graph))
    assert cli.main(["emit", str(tmp_path / "model.tflite"), "-o", str(tmp_path / "c")]) == 0
    names = {path.name for path in (tmp_path / "c").iterdir()}
    assert {"kws_model.c", "kws_frontend.c", "kws_frontend_tables.h", "kws_decision.c"} <= names
    graph.metadata["labels"] = labels[:-1]
    (tmp_path / "model.tflite").write_bytes(tflite.write(graph))
    assert cli.main(["emit", str(tmp_path / "model.tflite"), "-o", str(tmp_path / "none")]) == 2
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("fault", ["truncated", "text", "missing", "target", "name", "folder"])
def test_verb_refuses(fault: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, more = tmp_path / "out", []
    if fault == "truncated":
        model.write_bytes(model.read_bytes()[:-200])
    elif fault == "text":
        model.write_text("not a model")
    elif fault == "missing":
        model.unlink()
    elif fault == "target":
        more = ["--target", "cortex-m9"]
    elif fault == "name":
        more = ["--name", "my model"]
    elif fault == "folder":
        out.write_text("a file")
    assert cli.main(["emit", str(model), "-o", str(out), *more]) == 2
    error = capsys.readouterr().err
    assert error.startswith("mcu-codegen: ") and error.count("\n") == 1
    assert out.read_text() == "a file" if fault == "folder" else not out.exists()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, OSError])
def test_nothing_half_written(
    kind: type[BaseException], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted, or out of space, while the third file is written: the folder is as it was."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "kws_model.c").write_text("the old one")
    whole, written = Path.write_bytes, []

    def interrupted(path: Path, data: bytes) -> int:
        written.append(path)
        if len(written) == 3:
            whole(path, data[: len(data) // 2])
            raise kind
        return whole(path, data)

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    assert cli.main(["emit", str(model), "-o", str(out)]) == (130 if kind is KeyboardInterrupt else 2)
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [("kws_model.c", "the old one")]
