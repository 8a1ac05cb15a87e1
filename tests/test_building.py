"""Every core's C at the sizes where ranges of instructions end: it builds without a warning, and gives NumPy's bytes;
and what does not build is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from edge_layers import GRAPHS
from test_emulate import small_graph
from test_kernels import agree

from mcu_codegen import cli
from mcu_codegen.emit.cortex_m.instruction_sets import RENDERERS
from mcu_codegen.emit.model import emit_model
from mcu_codegen.emit.portable.renderer import OPTIMIZE
from mcu_codegen.emulate import host, toolchain
from mcu_codegen.emulate.build import build
from mcu_codegen.errors import BuildError
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph
from mcu_codegen.targets import TARGETS

QUICK = ("cortex-m0", "cortex-m3", "cortex-m4")


def builds(graph: Graph, core: str, compiler: str, optimize: str, folder: Path) -> None:
    chosen = toolchain.available()[compiler]
    if isinstance(chosen, str):
        pytest.skip(chosen)
    sources = emit_model(graph, renderer=RENDERERS[TARGETS[core].instruction_set](optimize))
    del sources["kws_model_selftest.c"]
    build(folder, sources, TARGETS[core], chosen, keep=["kws_model_invoke"], optimize=optimize)


@pytest.mark.parametrize("core", QUICK)
def test_widths_build(core: str, tmp_path: Path) -> None:
    for what in ("inputs", "channels of pointwise layers"):
        builds(GRAPHS[what](), core, "gcc", "size", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("compiler", toolchain.NAMES)
@pytest.mark.parametrize("core", TARGETS)
@pytest.mark.parametrize("what", GRAPHS)
def test_all_sizes_build(what: str, core: str, compiler: str, tmp_path: Path) -> None:
    for optimize in OPTIMIZE:
        builds(GRAPHS[what](), core, compiler, optimize, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m3", "cortex-m4", "cortex-m55"])
@pytest.mark.parametrize("what", GRAPHS)
def test_all_sizes_equal_numpy(what: str, core: str) -> None:
    agree(GRAPHS[what](), 1, core, "gcc", RENDERERS[TARGETS[core].instruction_set]())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "small.tflite"
    path.write_bytes(tflite.write(small_graph()))
    return path


@pytest.mark.parametrize("verb", ["verify", "measure"])
def test_what_does_not_build_is_one_line(
    verb: str, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchain, "WARNINGS", (*toolchain.WARNINGS, "-include", "absent.h"))
    assert cli.main([verb, str(model), "--target", "cortex-m4"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("mcu-codegen: "), said
    assert "for cortex-m4 refuses: " in said and "absent.h" in said


def test_complaints_of_assemblers_and_linkers() -> None:
    assembler = "/tmp/a.s: Assembler messages:\n/tmp/a.s:9: Error: invalid immediate: 257\n/tmp/a.s:10: Error: another"
    error = BuildError("gcc for cortex-m0", assembler)
    assert str(error) == "gcc for cortex-m0 refuses: /tmp/a.s:9: Error: invalid immediate: 257"
    assert error.__notes__ == [assembler]
    linker = "ld: a.elf section `.rodata' will not fit in region `ROM'\ncollect2: error: ld returned 1 exit status"
    assert str(BuildError("gcc", linker)) == "gcc refuses: ld: a.elf section `.rodata' will not fit in region `ROM'"
    assert str(BuildError("gcc", "")) == "gcc refuses: no message"


def test_a_host_that_refuses() -> None:
    with pytest.raises(BuildError, match=r"refuses: .*error"):
        host.build_shared_library({"a.c": "int a = nothing;\n"})
