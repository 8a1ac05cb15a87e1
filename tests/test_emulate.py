"""Cores: their compilers, their emulators, exact counts, and what is said when a tool is absent."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from random_graphs import random_graph

from mcu_codegen import cli, targets
from mcu_codegen.emit.cortex_m.instruction_sets import RENDERERS
from mcu_codegen.emit.decision import emit_decision
from mcu_codegen.emit.frontend import emit_frontend
from mcu_codegen.emit.model import emit_model
from mcu_codegen.emit.plan import compile_plan
from mcu_codegen.emulate import build, host, machine, machines, qemu_machine, toolchain
from mcu_codegen.emulate.machine import MachineError
from mcu_codegen.errors import BuildError, InputError
from mcu_codegen.formats import tflite
from mcu_codegen.graph import (
    Conv2D,
    DepthwiseConv2D,
    Entry,
    FullyConnected,
    Graph,
    Operator,
    Quantization,
    Softmax,
    Tensor,
)
from mcu_codegen.listen.frontend import PRESETS
from mcu_codegen.prove.measure import measure

CORES = pytest.mark.parametrize("target", targets.TARGETS.values(), ids=lambda target: target.name)

PROGRAM = r"""
#include "semihosting.h"
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int main(void);

static volatile int32_t divisor = 7;
static int32_t initialised[3] = {1, -2, 3};
static int8_t zeroed[5000];

int main(void)
{
    char letters[] = "abcdef";
    int32_t number, in = semihosting_open("in.bin", SEMIHOSTING_READ), out;
    int64_t sum = zeroed[4999];

    if (semihosting_open("missing.bin", SEMIHOSTING_READ) >= 0) {
        return 9;
    }
    out = semihosting_open("out.bin", SEMIHOSTING_WRITE);
    while (semihosting_read(in, &number, sizeof number) == 0) {
        sum += (int64_t)number * initialised[1] / divisor; /* helpers of the compiler on small cores */
        if (semihosting_write(out, &sum, sizeof sum) != 0) {
            return 8;
        }
    }
    memmove(letters + 1, letters, 4);
    memset(letters + 5, 'z', 1);
    semihosting_text(letters);
    semihosting_close(in);
    semihosting_close(out);
    return 0;
}
"""

COUNTED = r"""
void counted(void);
int main(void);

/* 1 + 10 subtractions + 10 branches, 3 in the second segment, a return */
__attribute__((naked)) void counted(void)
{
    __asm__ volatile("movs r0, #10\n"
                     "1: subs r0, #1\n"
                     "bne 1b\n"
                     ".globl middle\n"
                     "middle: cmp r0, #1\n"
                     BODY
                     "bx lr");
}

int main(void)
{
    counted();
    counted();
    return 0;
}
"""


def run_machine(target: targets.Target, name: str) -> machine.Machine:
    found = machines.machines(target)[name]
    if isinstance(found, str):
        pytest.skip(found)
    return found


def present(target: targets.Target) -> list[machine.Machine]:
    """All emulators of `target`."""
    found = machines.machines(target)
    if all(isinstance(each, str) for each in found.values()):
        pytest.skip(str(found))
    return [each for each in found.values() if not isinstance(each, str)]


def compiler(name: str | None = None) -> toolchain.Toolchain:
    try:
        return toolchain.choose(name)
    except InputError as error:
        pytest.skip(str(error))


def program(folder: Path, text: str, target: targets.Target, compiler_name: str | None = None) -> build.Elf:
    return build.build(
        folder,
        {"main.c": text, **build.stubs(*build.RUNTIME)},
        target,
        compiler(compiler_name),
        defines=(BODY[target.name],),
    )


# on cores with IT blocks, an instruction whose condition fails is executed all the same
BODY = {
    name: 'BODY="nop\\nnop\\n"' if name == "cortex-m0" else 'BODY="it eq\\nmoveq r0, #5\\n"' for name in targets.TARGETS
}


@CORES
def test_a_program_runs_with_files_text_and_initialised_memory(target, tmp_path):
    emulators = present(target)
    elf = program(tmp_path, PROGRAM, target)
    numbers = np.array([5, -(2**31), 2**31 - 1, 0, 12345], np.int32)
    (tmp_path / "in.bin").write_bytes(numbers.tobytes())
    products = numbers.astype(object) * -2
    expected = np.cumsum([abs(int(p)) // 7 * (1 if p > 0 else -1) for p in products])
    for emulator in emulators:
        (tmp_path / "out.bin").unlink(missing_ok=True)
        assert emulator.run(elf, tmp_path) == "aabcdz"
        assert np.frombuffer((tmp_path / "out.bin").read_bytes(), np.int64).tolist() == expected.tolist()


@pytest.mark.parametrize("target", ["cortex-m0", "cortex-m33"])
def test_gcc_builds_the_same_program(target, tmp_path):
    compiler("gcc")
    emulator = run_machine(targets.find(target), "unicorn")
    elf = program(tmp_path, PROGRAM, targets.find(target), "gcc")
    (tmp_path / "in.bin").write_bytes(np.array([70], np.int32).tobytes())
    emulator.run(elf, tmp_path)
    assert np.frombuffer((tmp_path / "out.bin").read_bytes(), np.int64).tolist() == [-20]


@CORES
def test_counts_are_exact(target, tmp_path):
    emulators = [each for each in present(target) if not each.cannot_count()]
    if not emulators:
        pytest.skip(present(target)[0].cannot_count())
    elf = program(tmp_path, COUNTED, target)
    middle = elf.symbols["middle"]
    for emulator in emulators:
        # the second mark is at the first one's place: between them there is nothing
        counts = emulator.count(elf, tmp_path, "counted", [[middle], [0xFFFFFFF0, middle]])
        assert len(counts) == 2  # calls
        for count in counts:
            assert count.instructions == (21, 0, 4)
            if count.cycles is not None:
                # movs, ten subs, nine branches taken and one not; cmp, two more, the return
                assert count.cycles == (1 + 10 + 9 * 3 + 1, 0, 3 + 3)


@pytest.mark.parametrize("name", ["unicorn", "qemu"])
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return 5;", "exit status 5"),
        ('__asm__ volatile("udf #1"); return 0;', "exception|exit status 99|Invalid instruction"),
        ("return *(volatile int *)0xA0000000u;", "exit status 99|READ|exception"),
    ],
)
def test_a_program_that_fails_is_an_error(name, body, reason, tmp_path):
    emulator = run_machine(targets.find("cortex-m3"), name)
    elf = program(tmp_path, f"int main(void);\nint main(void) {{ {body} }}\n", targets.find("cortex-m3"))
    with pytest.raises(MachineError, match=reason):
        emulator.run(elf, tmp_path)


def test_a_warning_is_an_error(tmp_path):
    with pytest.raises(BuildError, match="conversion"):
        program(
            tmp_path,
            "int main(void);\nint main(void) { long long x = 1; int y = x; return y; }",
            targets.find("cortex-m3"),
        )


def test_absent_tools_are_named(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    reasons = machines.machines(targets.find("cortex-m4"))
    assert reasons == {
        "unicorn": "the package unicorn is not installed (extra 'emulate')",
        "qemu": "qemu-system-arm is not on PATH",
    }
    assert machines.machines(targets.find("cortex-m55"))["unicorn"] == "Unicorn has no cortex-m55"
    assert "QEMU has no cortex-m0" in machines.machines(targets.find("cortex-m0"))["qemu"]
    with pytest.raises(InputError, match=r"qemu-system-arm is not on PATH; unicorn: the package unicorn"):
        machines.counting_machine(targets.find("cortex-m4"))
    toolchain.available.cache_clear()
    try:
        with pytest.raises(InputError, match=r"ziglang is not installed; gcc: arm-none-eabi-gcc is not on PATH"):
            toolchain.choose()
    finally:
        toolchain.available.cache_clear()


def test_counting_without_a_plugin_falls_back_to_unicorn(monkeypatch):
    emulator = run_machine(targets.find("cortex-m4"), "unicorn")
    monkeypatch.setattr(qemu_machine, "_plugin", lambda: "no plugin")
    assert machines.counting_machine(targets.find("cortex-m4")).name == emulator.name
    run_machine(targets.find("cortex-m55"), "qemu")
    with pytest.raises(InputError, match="cortex-m55: nothing here counts its instructions; qemu: no plugin"):
        machines.counting_machine(targets.find("cortex-m55"))


def small_graph() -> Graph:
    """A convolution, a depthwise one, a fully connected layer and a softmax."""
    rng = np.random.default_rng(1)
    scale = Quantization((0.05,), (3,))

    def weights(name: str, shape: tuple[int, ...], channels: int, axis: int) -> Tensor:
        return Tensor(
            name,
            shape,
            "int8",
            Quantization((0.02,) * channels, (0,) * channels, axis),
            rng.integers(-127, 128, shape).astype(np.int8),
        )

    tensors = [
        Tensor("input", (1, 8, 6, 1), "int8", scale),
        weights("w0", (8, 3, 3, 1), 8, 0),
        Tensor("a0", (1, 8, 6, 8), "int8", scale),
        weights("w1", (1, 3, 3, 8), 8, 3),
        Tensor("a1", (1, 8, 6, 8), "int8", scale),
        weights("w2", (4, 384), 4, 0),
        Tensor("a2", (1, 4), "int8", Quantization((0.5,), (0,))),
        Tensor("scores", (1, 4), "int8", Quantization((1 / 256,), (-128,))),
    ]
    operators = [
        Operator("CONV_2D", (0, 1, -1), (2,), Conv2D(activation="RELU")),
        Operator("DEPTHWISE_CONV_2D", (2, 3, -1), (4,), DepthwiseConv2D(depth_multiplier=1)),
        Operator("FULLY_CONNECTED", (4, 5, -1), (6,), FullyConnected()),
        Operator("SOFTMAX", (6,), (7,), Softmax()),
    ]
    return Graph("small", tensors, [Entry("invoke", (0,), (7,), operators)])


def test_measure_adds_up(tmp_path):
    graph = small_graph()
    emulators = machines.machines(targets.find("cortex-m4"))
    if all(isinstance(each, str) or each.cannot_count() for each in emulators.values()):
        pytest.skip(str(emulators))
    found = measure(graph, targets.find("cortex-m4"), compiler())
    assert [layer.name for layer in found.layers] == [name for name, _ in graph.layers()]
    assert [layer.macs for layer in found.layers] == [8 * 6 * 8 * 9, 8 * 6 * 8 * 9, 4 * 384, 0]
    layers = sum(layer.instructions for layer in found.layers)
    assert 0.97 * found.instructions < layers < 1.03 * found.instructions
    assert min(layer.instructions for layer in found.layers) > 50
    assert found.ram == compile_plan(graph).memory.arena_bytes + 48 + 4 or found.ram > 48 + 4
    assert found.flash_weights >= 8 * 9 + 8 * 9 + 4 * 384
    assert 500 < found.flash_code < 20000
    assert 16 <= found.stack < 1024
    if found.emulator == "qemu":
        assert found.cycles_estimate is not None
        assert found.instructions < found.cycles_estimate < 3 * found.instructions


def test_measure_counts_several_samples():
    target = targets.find("cortex-m4")
    if all(isinstance(each, str) or each.cannot_count() for each in machines.machines(target).values()):
        pytest.skip("nothing counts")
    found = measure(small_graph(), target, compiler(), samples=3)
    assert found.samples is not None and found.samples.samples == 3
    assert found.samples.least <= found.samples.mean <= found.samples.most
    assert found.samples.least <= found.instructions <= found.samples.most


def test_both_emulators_measure_the_same(monkeypatch):
    target = targets.find("cortex-m33")
    run_machine(target, "unicorn")
    if reason := run_machine(target, "qemu").cannot_count():
        pytest.skip(reason)
    by_qemu = measure(small_graph(), target, compiler())
    monkeypatch.setattr(qemu_machine, "_plugin", lambda: "no plugin")
    by_unicorn = measure(small_graph(), target, compiler())
    assert (by_qemu.emulator, by_unicorn.emulator) == ("qemu", "unicorn")
    assert by_qemu.layers == by_unicorn.layers
    assert (by_qemu.instructions, by_qemu.stack) == (by_unicorn.instructions, by_unicorn.stack)


def test_measure_draws_the_arena(tmp_path, capsys):
    run_machine(targets.find("cortex-m0"), "unicorn")
    graph, model, picture = small_graph(), tmp_path / "small.tflite", tmp_path / "arena.svg"
    model.write_bytes(tflite.write(graph))
    assert cli.main(["measure", str(model), "--target", "cortex-m0", "--picture", str(picture)]) == 0
    drawn = ElementTree.parse(picture).getroot()
    blocks = compile_plan(tflite.read(model), RENDERERS["armv6m"]()).memory.blocks
    titles = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == [f"{block.name}: {block.bytes:,} bytes at {block.offset:,}" for block in blocks]
    assert titles
    capsys.readouterr()


def test_measure_prints_json(tmp_path, capsys):
    run_machine(targets.find("cortex-m0"), "unicorn")
    model = tmp_path / "small.tflite"
    model.write_bytes(tflite.write(small_graph()))
    assert cli.main(["measure", str(model), "--target", "cortex-m0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"model", "target", "compiler", "total", "layers"} <= found.keys()
    assert found["total"]["instructions"] > 0 and found["total"]["ram"] > 0 and found["total"]["flash"] > 0
    assert len(found["layers"]) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["measure", "--target", "cortex-m1"], "--target cortex-m1: unknown core; accepted are cortex-m0, cortex-m3"),
        (["measure", "--compiler", "icc"], "--compiler icc: unknown; accepted are clang, gcc"),
        (["verify", "--target", "cortex-m4", "--target", "z80"], "--target z80: unknown core"),
        (["verify", "--compiler", "icc"], "--compiler icc: unknown"),
    ],
)
def test_bad_options_are_refused_in_one_line(arguments, message, tmp_path, capsys):
    model = tmp_path / "small.tflite"
    model.write_bytes(tflite.write(small_graph()))
    assert cli.main([arguments[0], str(model), *arguments[1:]]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def generic_program() -> dict[str, str]:
    from test_stream import small_pipeline

    pipeline = small_pipeline()
    return {
        **emit_frontend(PRESETS["mfcc10"]),
        **emit_model(pipeline.graph),
        **emit_decision(pipeline.decision, pipeline.labels),
        **build.stubs(*(f"generic/{name}" for name in ("board.h", "board.c", "main.c", "stream.c", "stream.h"))),
    }


def test_the_generic_board_compiles_and_proves_itself(tmp_path):
    target = targets.find("cortex-m3")
    sources = {**generic_program(), **build.stubs(*build.RUNTIME)}
    elf = build.build(tmp_path, sources, target, compiler(), defines=("KWS_MODEL_SELFTEST",))
    assert run_machine(target, "unicorn").run(elf, tmp_path) == ""  # its board_text is for the engineer to fill in


def test_the_generic_board_compiles_for_this_host():
    """Warnings are errors."""
    host.build_shared_library(generic_program(), defines=("KWS_MODEL_SELFTEST",))


def test_marks_survive_copies(tmp_path):
    """Every layer of a random graph has at least one mark, at either level of optimisation."""
    from mcu_codegen.emulate import core_harness, observers

    graph = random_graph(3)
    network = emit_model(graph)
    del network["kws_model_selftest.c"]
    sources = {**network, **core_harness.sources(graph), **observers.MARK, **build.stubs(*build.RUNTIME)}
    for name in toolchain.NAMES:
        if isinstance(toolchain.available()[name], str):
            continue
        elf = build.build(tmp_path, sources, targets.find("cortex-m4"), toolchain.choose(name), include=["observe.h"])
        layers = sum(len(entry.operators) for entry in graph.entries)
        assert all(observers.marks(elf, range(layers)))
