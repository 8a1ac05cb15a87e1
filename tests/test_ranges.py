"""What kernels may write: the tables of instructions against both assemblers, and what becomes of lines outside."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from random_layers import Layers

from mcu_codegen.emit.cortex_m.armv6m_assembly import Armv6mAssembly
from mcu_codegen.emit.cortex_m.assembly import Assembly
from mcu_codegen.emit.cortex_m.blocks import BlockRenderer
from mcu_codegen.emit.cortex_m.instruction_sets import RENDERERS
from mcu_codegen.emit.cortex_m.mve_assembly import MveAssembly
from mcu_codegen.emit.cortex_m.ranges import encodable
from mcu_codegen.emit.cortex_m.thumb2_assembly import Thumb2Assembly, add_to
from mcu_codegen.emit.kernel import Unencodable
from mcu_codegen.emit.model import emit_model
from mcu_codegen.emit.plan import compile_plan
from mcu_codegen.emulate import toolchain
from mcu_codegen.errors import InputError
from mcu_codegen.targets import TARGETS

TABLES: dict[str, type[Assembly]] = {
    "cortex-m0": Armv6mAssembly,
    "cortex-m4": Thumb2Assembly,
    "cortex-m55": MveAssembly,
}
PREDICATED = (
    "vldrbt.u8",
    "vldrbt.u16",
    "vstrbt.8",
    "vstrbt.16",
    "vslit.32",
)  # stand behind vpst, which has no operands
FARTHEST = 1 << 20  # a branch that is assembled


def compiler(name: str) -> toolchain.Toolchain:
    chosen = toolchain.available()[name]
    if isinstance(chosen, str):
        pytest.skip(chosen)
    return chosen


def written(form: str) -> list[list[str]]:
    """Lines in `form` at both ends of its ranges; behind a branch, or before it, as many bytes as it reaches."""
    name, _, operands = form.partition(" ")
    registers = iter(("r2", "r4", "r3", "r5"))
    first = ""

    def register(found: re.Match[str]) -> str:
        nonlocal first
        kind = found[0]
        chosen = first if kind == "=" else next(registers)
        if kind == "Q":
            chosen = f"q{chosen[1]}"
        first = first or chosen
        return chosen

    operands = re.sub(r"\b[LRQ]\b(?![^{]*\})|=", register, operands)
    operands = operands.replace("{L", "{r6-r7").replace("{R", "{r6-r9").replace("#const", "#0..16711680")
    ends = re.search(r"([#@])(-?\d+)\.\.(-?\d+)[/\d]*", operands)
    if ends is None:
        return [[f"{name} {operands}".strip()]]
    lines = []
    for end in map(int, ends.groups()[1:]):
        start, rest = operands[: ends.start()], re.sub(r"#(-?\d+)\.\.[-\d/]+", r"#\1", operands[ends.end() :])
        if ends[1] == "#":
            lines.append([f"{name} {start}#{end}{rest}"])
        elif end < 0 and -end <= FARTHEST:
            lines.append(["1:", f".space {-end - 4}", f"{name} {start}1b"])
        elif 0 < end <= FARTHEST:
            lines.append([f"{name} {start}1f", f".space {end}", "1:"])  # two bytes short where a branch has two
    return lines


@pytest.mark.parametrize("chosen", toolchain.NAMES)
@pytest.mark.parametrize("core", TABLES)
def test_the_ends_of_ranges_assemble(core: str, chosen: str, tmp_path: Path) -> None:
    lines = [".syntax unified"]
    for name, forms in TABLES[core].ranges.forms.items():
        for form in forms:
            for each in written(form.text) if form.operands.pattern else []:
                lines += [*(["vpst"] if name in PREDICATED else []), *each]
    text = "\n".join(f'"{line}\\n"' for line in lines)
    (tmp_path / "lines.c").write_text(f"__attribute__((naked)) void lines(void) {{ __asm__ volatile({text}); }}\n")
    target = TARGETS[core]
    flags = target.clang if chosen == "clang" else target.gcc
    command = [*compiler(chosen).command, *flags, "-c", "lines.c", "-o", "lines.o"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert not done.returncode, done.stderr


@pytest.mark.parametrize("core", TABLES)
@pytest.mark.parametrize("line", ["1:", "push {r4-r7, lr}", "bx lr", "ldr r0, [r1, #124]"])
def test_lines_within_ranges_stay(core: str, line: str) -> None:
    assert TABLES[core].ranges.fitted([line]) == [line]


@pytest.mark.parametrize(
    ("core", "line"),
    [
        ("cortex-m0", "movs r6, #256"),
        ("cortex-m0", "adds r7, #256"),
        ("cortex-m0", "ldr r4, [r0, #128]"),
        ("cortex-m0", "ldr r4, [r0, #6]"),
        ("cortex-m0", "ldr r8, [r0, #4]"),
        ("cortex-m0", "muls r4, r5, r6"),
        ("cortex-m0", "push {r4-r8, lr}"),
        ("cortex-m0", "stm r1!, {r4, r3}"),
        ("cortex-m0", "smlad r4, r2, r3, r4"),
        ("cortex-m4", "sub r0, r0, #4112"),
        ("cortex-m4", "mov r2, #65536"),
        ("cortex-m4", "ldrd r8, r9, [r0, #1024]"),
        ("cortex-m4", "ldrsb r3, [r0], #256"),
        ("cortex-m4", "strb r4, [r2, #4096]"),
        ("cortex-m4", "vldrb.u8 q0, [r0], #16"),
        ("cortex-m55", "movw r0, #65536"),
        ("cortex-m55", "vldrb.u8 q0, [r0], #128"),
        ("cortex-m55", "vldrw.u32 q0, [r0, #512]"),
    ],
)
def test_lines_outside_are_refused(core: str, line: str) -> None:
    with pytest.raises(Unencodable, match=re.escape(f"'{line}' is no instruction of Cortex-M")):
        TABLES[core].ranges.fitted(["1:", line, "bne 1b"])


def test_far_branches_go_around() -> None:
    body = ["adds r0, #1"] * 126
    fitted = Armv6mAssembly.ranges.fitted
    assert fitted(["1:", *body, "bne 1b"]) == ["1:", *body, "bne 1b"]
    assert fitted(["1:", *body, "adds r0, #1", "bne 1b"])[-3:] == ["beq 99f", "b 1b", "99:"]
    assert fitted(["beq 1f", *body, *body, "1:"])[:3] == ["bne 99f", "b 1f", "99:"]
    with pytest.raises(Unencodable, match=r"'b 1b' is farther than b @-2048\.\.2046 of Cortex-M0"):
        fitted(["1:", *body * 9, "bne 1b"])
    with pytest.raises(Unencodable, match="'le lr, 1b' is farther"):
        MveAssembly.ranges.fitted(["1:", *["vmov q0, q1"] * 1023, "le lr, 1b"])


def test_a_branch_that_is_split_makes_others_far() -> None:
    """The outer loop just reaches before the inner one is split."""
    inner = ["2:", *["adds r0, #1"] * 127, "bne 2b"]
    assert Armv6mAssembly.ranges.fitted(["1:", *inner[:-1], "beq 1b", "bne 2b"])[-6:] == [
        *("bne 99f", "b 1b", "99:"),
        *("beq 99f", "b 2b", "99:"),
    ]


def test_modified_immediates() -> None:
    """By the definition: a byte, repeated in one of three ways, or with its highest bit set and rotated by 8 to 31."""
    values = {byte * times for byte in range(256) for times in (1, 0x00010001, 0x01000100, 0x01010101)}
    for byte in range(128, 256):
        for rotation in range(8, 32):
            values.add((byte >> rotation | byte << 32 - rotation) & 0xFFFFFFFF)
    near = {max(value + step, 0) for value in values for step in (-1, 0, 1)}
    assert {value for value in near if encodable(value)} == values


@pytest.mark.parametrize("value", [0, 1, -4095, 4096, 4097, -65521, 190_500, 1_048_575, -16_777_217, 2**31 - 1])
def test_additions_of_any_constant(value: int) -> None:
    lines = Thumb2Assembly.ranges.fitted(add_to("r7", value, "r5"))
    parts = [int(line.split("#")[1]) * (1 if line.startswith("add") else -1) for line in lines]
    assert sum(parts) == value and len(lines) <= 4
    assert all(", r7, #" in line for line in lines[1:]) and all(", r5, #" in line for line in lines[:1])


def test_a_refused_line_names_its_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = Layers(0)
    layers.convolution(layers.input(1, 2, 2, 8), 4, (1, 1), (1, 1))
    monkeypatch.setattr("mcu_codegen.emit.cortex_m.armv6m.constant", lambda register, _: [f"movs {register}, #256"])
    with pytest.raises(InputError, match=r"^00_conv_2d: 'movs r6, #256' is no instruction of Cortex-M0, which have: "):
        compile_plan(layers.graph(), RENDERERS["armv6m"]())


@pytest.mark.parametrize("name", toolchain.NAMES)
@pytest.mark.parametrize("made_for", ["cortex-m0", "cortex-m3", "cortex-m4", "cortex-m55"])
def test_kernels_refuse_another_core(made_for: str, name: str, tmp_path: Path) -> None:
    layers = Layers(0)
    layers.convolution(layers.input(1, 2, 2, 8), 4, (1, 1), (1, 1))
    renderer = RENDERERS[TARGETS[made_for].instruction_set]()
    assert isinstance(renderer, BlockRenderer)
    for file, text in emit_model(layers.graph(), renderer=renderer).items():
        (tmp_path / file).write_text(text)
    chosen = compiler(name)
    for target in TARGETS.values():
        own = target.clang if name == "clang" else target.gcc
        command = [*chosen.command, *own, "-c", "kws_model.c", "-o", "model.o"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        if target.instruction_set == renderer.instruction_set:
            assert not done.returncode, done.stderr
        else:
            said = [line for line in done.stderr.splitlines() if "error:" in line]
            here, there = (each.removeprefix("cortex-m") for each in (made_for, target.name))
            assert done.returncode and len(said) == 1, done.stderr
            assert re.search(rf"compiled for .*M{there}\b", said[0])
            assert re.search(rf"kernels for .*M{here}\b.*, compiled for", said[0])
