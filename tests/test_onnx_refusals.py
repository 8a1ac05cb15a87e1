"""What of an ONNX file is refused, by node and reason; damaged files; the verbs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_cases import CASES, IMAGE, all_cases
from onnx_models import OnnxFile, one
from original_files import small_graph

from mcu_codegen import cli
from mcu_codegen.errors import InputError
from mcu_codegen.formats import opening, tflite

SMALL = one(IMAGE, lambda file, x: file.node("Conv", x, file.weights(8, 6, 3, 3), pads=[1, 1, 1, 1]))


def reasons(model: bytes) -> list[str]:
    return [str(each) for each in opening.examine(model, "model.onnx").refusals]


def _asymmetric(file: OnnxFile, x: str) -> str:
    codes, scale = file.constant(np.ones((8, 6, 1, 1)), "int8"), file.constant(0.1, "float32")
    return file.node("Conv", x, file.node("DequantizeLinear", codes, scale, file.constant(7, "int8")))


def _scale_that_changes(file: OnnxFile, x: str) -> str:
    largest = file.node("ReduceMax", x, keepdims=0)
    return file.node("QuantizeLinear", x, largest, file.constant(0, "int8"))


def _float_weights(file: OnnxFile, x: str) -> str:
    return file.node("Conv", x, file.constant(np.ones((8, 6, 1, 1)), "float32"))


def _not_quantized_between(file: OnnxFile, x: str) -> str:
    return file.node("Conv", file.node("Sigmoid", x), file.weights(8, 6, 1, 1))


def _twice(file: OnnxFile, x: str) -> str:
    value = file.node("Conv", x, file.weights(6, 6, 1, 1))
    return file.node("Add", file.quantized(value, 0.05), file.quantized(value, 0.07))


def _float_factors(file: OnnxFile, x: str) -> str:
    return file.node("Mul", x, file.constant(np.ones((6, 1, 1)), "float32"))


def _two_that_change(file: OnnxFile, x: str) -> str:
    return file.node("MatMul", x, file.node("Transpose", x, perm=[0, 1, 3, 2]))


def _padded_behind_a_clamp(file: OnnxFile, x: str) -> str:
    value = file.node("Conv", x, file.weights(6, 6, 1, 1))
    clamped = file.node("Clip", value, file.constant(1, "float32"), file.constant(5, "float32"))
    return file.node("Pad", clamped, file.constant([0, 0, 1, 0, 0, 0, 1, 0], "int64"))


def _resized_before_a_clamp(file: OnnxFile, x: str) -> str:
    value = file.node("Conv", x, file.weights(6, 6, 1, 1))
    scales = file.constant((1, 1, 2, 2), "float32")
    return file.node("Relu", file.node("Resize", value, "", scales, mode="linear"))


REFUSED: dict[str, tuple[Callable[[OnnxFile, str], str], str]] = {
    "asymmetric weights": (_asymmetric, "node 'conv_3' (Conv): weights 'dequantizelinear2_0' are asymmetric"),
    "scale": (
        _scale_that_changes,
        "node 'quantizelinear_3' (QuantizeLinear): scale 'reducemax2_0' or zero",
    ),
    "float weights": (_float_weights, "node 'conv_2' (Conv): weights 'c2' are float"),
    "float between": (
        _not_quantized_between,
        "node 'conv_4' (Conv): reads 'sigmoid2_0', a function of codes",
    ),
    "quantised twice": (_twice, "node 'quantizelinear_6' (QuantizeLinear): its input is quantised elsewhere"),
    "float factors": (_float_factors, "node 'mul_2' (Mul): reads 'c2', a float32 constant of shape (6, 1, 1)"),
    "two matrices": (_two_that_change, "node 'matmul_3' (MatMul): weights 'transpose2_0' are not constant int8"),
    "normalisation": (
        lambda file, x: file.node("BatchNormalization", x, *(file.constant([1.0] * 6, "float32") for _ in range(4))),
        "node 'batchnormalization_2' (BatchNormalization): not supported; fold it into the layer before it",
    ),
    "other form": (
        lambda file, x: file.node("QLinearConv", x),
        "node 'qlinearconv_2' (QLinearConv): of another form than QDQ",
    ),
    "unknown": (lambda file, x: file.node("Einsum", x), "node 'einsum_2' (Einsum): not supported"),
    "padding": (
        lambda file, x: file.node("Pad", x, file.constant([0, 0, 1, 0, 0, 0, 1, 0], "int64"), mode="reflect"),
        "node 'pad_2' (Pad): mode reflect",
    ),
    "zeros behind a clamp": (_padded_behind_a_clamp, "node 'pad_5' (Pad): pads with 0 what was clamped to 1..5"),
    "interpolation": (_resized_before_a_clamp, "node 'resize_4' (Resize): reads 'conv3_0', the float output"),
    "accumulator": (
        lambda file, x: file.node("Conv", x, file.weights(8, 6, 1, 1), file.constant([1e9] * 8, "float32")),
        "node 'conv_3' (Conv): its bias reaches",
    ),
    "shape": (
        lambda file, x: file.node("Conv", x, file.weights(8, 5, 1, 1)),
        "node 'conv_3' (Conv): weights (8, 5, 1, 1) in 1 groups do not fit input (1, 6, 9, 8)",
    ),
}


@pytest.mark.parametrize("build, reason", REFUSED.values(), ids=list(REFUSED))
def test_refused_by_node(build: Callable[[OnnxFile, str], str], reason: str) -> None:
    found = reasons(one(IMAGE, build))
    assert len(found) == 1 and found[0].startswith(reason), found


def test_float_at_the_end() -> None:
    file = OnnxFile()
    value = file.node("Softmax", file.quantized(file.input(1, 8)))
    assert reasons(file.file(value)) == [
        f"output '{value}': is float; codes are accepted, or codes behind DequantizeLinear"
    ]


def test_shapes_that_are_not_fixed() -> None:
    file = OnnxFile()
    file.quantized(file.input("batch", 6, "rows", 8))
    assert "input 'in0': axis 2 is rows; a fixed size is accepted" in reasons(file.file("in0"))[0]


def test_float_models_and_other_troubles() -> None:
    """No value of a float model is codes: its first layer says so. External data cannot be read, which is said."""
    file = OnnxFile()
    file.node("Conv", file.input(*IMAGE), file.constant(np.ones((8, 6, 1, 1)), "float32"))
    assert "node 'conv_0' (Conv): reads 'in0', the float output" in reasons(file.file("conv0_0"))[0]
    model = onnx.load_from_string(SMALL)
    outside = model.graph.initializer[-1]
    outside.ClearField("raw_data")
    outside.data_location = onnx.TensorProto.EXTERNAL
    assert f"constant '{outside.name}': its data lie in another file" in reasons(model.SerializeToString())[0]
    model = onnx.load_from_string(SMALL)
    model.opset_import[0].version = 9
    with pytest.raises(InputError, match=r"model.onnx: operator sets \[9\]; one of 10 to"):
        opening.examine(model.SerializeToString(), "model.onnx")


def test_content_says_what_a_file_is() -> None:
    """Not its name, unless the content says nothing."""
    assert opening.examine(SMALL, "model.bin").graph.main.operators
    assert opening.examine(tflite.write(small_graph()), "model.onnx").graph.main.operators
    for name, what in (("model.onnx", "neither ONNX nor"), ("model.tflite", "model.tflite: ")):
        with pytest.raises(InputError, match=what):
            opening.examine(b"\xff" * 40, name)


def test_all_reasons_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What depends on a refused node is not refused, too."""
    file = OnnxFile()
    x = file.quantized(file.input(*IMAGE))
    broken = file.quantized(_float_weights(file, x))
    file.node("Einsum", x)
    path = tmp_path / "troubled.onnx"
    path.write_bytes(file.file(file.quantized(file.node("Relu", broken)), _float_factors(file, x)))
    assert cli.main(["inspect", str(path)]) == 2
    text = capsys.readouterr().out
    assert "refused, for 3 reasons" in text and "supported are Abs, Add, AveragePool" in text
    assert cli.main(["inspect", str(path), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["subgraphs"][0][2]["kind"] == "Conv"
    assert cli.main(["emit", str(path), "-o", str(tmp_path / "c")]) == 2
    assert "(2 more reasons: mcu-codegen inspect)" in capsys.readouterr().err and not (tmp_path / "c").exists()


def test_verbs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.onnx"
    path.write_bytes(SMALL)
    assert cli.main(["inspect", str(path)]) == 0
    assert "8x6x3x3 (8 scales)" in capsys.readouterr().out
    assert cli.main(["emit", str(path), "--target", "cortex-m4", "-o", str(tmp_path / "c")]) == 0
    assert "1 x 6 x 9 x 8" in (tmp_path / "c" / "kws_model.h").read_text()


def test_without_the_package(tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    path.write_bytes(SMALL)
    program = "import sys; sys.modules['onnx'] = None; from mcu_codegen.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", program, "inspect", str(path)], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "small.onnx: ONNX is read with the package onnx (pip install 'kws-mcu[onnx]')" in done.stderr


def test_long_rows_of_nodes() -> None:
    """Functions of one value are computed as they come; nodes that wait for a scale in too long a row are refused."""
    file = OnnxFile()
    value = waiting = file.quantized(file.input(1, 8))
    for _ in range(100):
        value = file.node("Mul", value, value)
    assert not reasons(file.file(file.quantized(value)))
    waiting = file.node("Gemm", waiting, file.weights(8, 8), transB=1)
    for _ in range(1500):
        waiting = file.node("Transpose", waiting, perm=[1, 0])
    usual, found = sys.getrecursionlimit(), file.file(file.quantized(waiting))
    sys.setrecursionlimit(1000)  # Python's own, which other packages raise
    try:
        assert "is behind too many nodes" in reasons(found)[0]
    finally:
        sys.setrecursionlimit(usual)


def test_damaged_files() -> None:
    """Accepted or refused, never a traceback: single bits, and fields that say something else."""
    rng = np.random.default_rng(3)
    accepted = 0
    for number in range(200):
        data = bytearray(SMALL)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] ^= 1 << rng.integers(0, 8)
        accepted += _examined(bytes(data[: rng.integers(1, len(data))] if number % 7 == 0 else data))
    for _ in range(100):
        accepted += _examined(_changed(rng))
    assert 0 < accepted < 300


def _examined(data: bytes) -> bool:
    try:
        return not opening.examine(data, "model.onnx").refusals
    except InputError as error:
        assert "\n" not in str(error)
        return False


def _changed(rng: np.random.Generator) -> bytes:
    """A whole file of which some numbers, types and names are others."""
    model = onnx.load_from_string(all_cases("uint8", *rng.choice(list(CASES), 5)))
    graph = model.graph
    for _ in range(2):
        constant, node = (each[rng.integers(len(each))] for each in (graph.initializer, graph.node))
        match rng.integers(5):
            case 0:
                constant.dims[:] = rng.integers(-1, 9, rng.integers(0, 5)).tolist()
            case 1:
                constant.data_type = int(rng.integers(0, 20))
            case 2:
                node.op_type = graph.node[rng.integers(len(graph.node))].op_type
            case 3:
                node.input[0] = graph.node[rng.integers(len(graph.node))].output[0]
            case 4:
                for attribute in node.attribute:
                    attribute.i = int(rng.integers(-9, 9))
                    attribute.ints[:] = rng.integers(-3, 70000, rng.integers(0, 7)).tolist()
    return model.SerializeToString()
