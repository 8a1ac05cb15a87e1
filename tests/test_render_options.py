"""What is given for speed and for flash: --optimize and --weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from random_graphs import random_graph

from mcu_codegen import cli
from mcu_codegen.emit.cortex_m.instruction_sets import RENDERERS, WIDE
from mcu_codegen.emulate import toolchain
from mcu_codegen.emulate.machines import counting_machine
from mcu_codegen.errors import InputError
from mcu_codegen.formats import tflite
from mcu_codegen.prove.measure import measure
from mcu_codegen.targets import TARGETS

KWS_MODEL = Path(__file__).resolve().parents[2] / "shared/models/mlperf_tiny_kws_int8.tflite"


def test_the_keyword_spotter_fits_32_kib() -> None:
    """On Cortex-M4, compiled by gcc: the limits of speed, size and wide weights, and that each buys something."""
    if not KWS_MODEL.exists():
        pytest.skip("../shared/models is not here")
    target, graph, gcc = TARGETS["cortex-m4"], tflite.read(KWS_MODEL), toolchain.available()["gcc"]
    if isinstance(gcc, str):
        pytest.skip(gcc)
    try:
        counting_machine(target)
    except InputError as absent:
        pytest.skip(str(absent))
    speed = measure(graph, target, gcc, RENDERERS["dsp"]())
    size = measure(graph, target, gcc, RENDERERS["dsp"]("size"))
    wide = measure(graph, target, gcc, WIDE["dsp"]())
    assert size.flash <= 32 << 10 and speed.flash <= 40 << 10
    assert wide.instructions < speed.instructions < size.instructions < 1.2 * speed.instructions
    assert (speed.compiler.split()[-1], size.compiler.split()[-1]) == ("-O2", "-Os")
    assert max(each.ram for each in (speed, size, wide)) <= 10_240


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "cortex-m3"], "--weights int16: does not make --target cortex-m3 faster; accepted is --target"),
        (["--target", "cortex-m55"], "--target cortex-m4, cortex-m7, cortex-m33"),
        ([], "does not make portable C faster"),
    ],
)
def test_wide_weights_are_refused_where_they_do_not_pay(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = tmp_path / "model.tflite", tmp_path / "out"
    model.write_bytes(tflite.write(random_graph(5)))
    assert cli.main(["emit", str(model), "--weights", "int16", *arguments, "-o", str(out)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not out.exists()
