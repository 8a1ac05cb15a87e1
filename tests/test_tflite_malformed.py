"""Malformed .tflite files: refused by name, never a traceback, a hang or much memory."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzz_tflite import examine
from original_files import small_graph

from mcu_codegen.errors import InputError
from mcu_codegen.formats import flatbuffer, tflite
from mcu_codegen.formats.tflite_schema import BUILTIN_OPERATORS, IDENTIFIER, SCHEMA

SMALL = tflite.write(small_graph())
ONE_ENTRY = tflite.write(replace(small_graph(), entries=small_graph().entries[:1]))


def test_every_truncation_is_refused() -> None:
    for length in range(len(ONE_ENTRY)):
        assert not examine(ONE_ENTRY[:length]), length


@pytest.mark.slow
def test_bit_flips() -> None:
    """Two thousand single bits; `examine` raises on anything but acceptance or a one-line refusal."""
    accepted = 0
    for bit in range(0, 8 * len(ONE_ENTRY), 11):
        flipped = bytearray(ONE_ENTRY)
        flipped[bit // 8] ^= 1 << bit % 8
        accepted += examine(bytes(flipped))
    assert 0 < accepted < len(ONE_ENTRY) * 8 // 11


def test_random_bytes() -> None:
    rng = np.random.default_rng(0)
    for length in rng.integers(0, 4000, 200):
        assert not examine(rng.bytes(length))
        assert not examine(SMALL[:8] + rng.bytes(length))


def fuzz(*options: str) -> None:
    """Run the campaign in a process of its own, which limits its memory and its time per file."""
    script = Path(__file__).with_name("fuzz_tflite.py")
    done = subprocess.run([sys.executable, str(script), *options], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


def test_fuzz_briefly(tmp_path: Path) -> None:
    fuzz("--seed", "11", "--count", "400", "--keep", str(tmp_path))


@pytest.mark.slow
def test_fuzz(tmp_path: Path) -> None:
    fuzz("--seed", "12", "--count", "2000", "--keep", str(tmp_path))


def refusal(change: Callable[[dict[str, Any]], object]) -> str:
    """The error for the small model after `change` of its decoded tables."""
    model = flatbuffer.read(SMALL, SCHEMA, IDENTIFIER)
    change(model)
    with pytest.raises(InputError) as error:
        tflite.read_bytes(flatbuffer.write(model, SCHEMA, IDENTIFIER), "bad.tflite")
    message = str(error.value)
    assert message.startswith("bad.tflite: ") and "\n" not in message
    return message


def tensor(model: dict[str, Any], name: str) -> dict[str, Any]:
    return next(t for subgraph in model["subgraphs"] for t in subgraph["tensors"] if t["name"] == name)


def place(model: dict[str, Any], name: str) -> int:
    return [t["name"] for t in model["subgraphs"][0]["tensors"]].index(name)


def operator(model: dict[str, Any], position: int) -> dict[str, Any]:
    return model["subgraphs"][0]["operators"][position]


def set_quantization(model: dict[str, Any], name: str, **values: Any) -> None:
    tensor(model, name)["quantization"] |= values


def add_metadata(model: dict[str, Any], content: bytes) -> None:
    model["metadata"] = [{"name": tflite.METADATA, "buffer": len(model["buffers"])}]
    model["buffers"].append({"data": np.frombuffer(content, np.uint8)})


def make_cycle(model: dict[str, Any]) -> None:
    operator(model, 0)["inputs"] = [place(model, "filtered"), *operator(model, 0)["inputs"][1:]]


def use_kind(model: dict[str, Any], kind: str, **more: Any) -> None:
    code = BUILTIN_OPERATORS.index(kind)
    model["operator_codes"][0] = {"deprecated_builtin_code": min(code, 127), "builtin_code": code, **more}


REFUSALS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "version": (lambda m: m.update(version=2), "schema version 2"),
    "no subgraph": (lambda m: m.update(subgraphs=[]), "no subgraph"),
    "no operators": (lambda m: m["subgraphs"][0].update(operators=[]), "operators are missing"),
    "no outputs": (lambda m: m["subgraphs"][1].update(outputs=[]), "subgraph 1: inputs, outputs or operators"),
    "unsupported": (lambda m: use_kind(m, "LSTM"), "operator 0 (LSTM, tensor 'convolved'): not supported"),
    "new code": (lambda m: use_kind(m, "DILATE"), "operator 0 (DILATE, tensor 'convolved'): not supported"),
    "custom": (lambda m: use_kind(m, "CUSTOM", custom_code="My\nOp"), r"(CUSTOM 'My\nOp', tensor 'convolved')"),
    "unknown code": (lambda m: m["operator_codes"][0].update(builtin_code=9999), "builtin operator 9999"),
    "many inputs": (lambda m: m["subgraphs"][0].update(inputs=[0] * 5000), "inputs: 5000 tensors; up to 4096"),
    "long name": (lambda m: tensor(m, "features").update(name="x" * 70000), "a string of 70000 bytes"),
    "opcode index": (lambda m: operator(m, 2).update(opcode_index=77), "operator 2: code 77 is wanted"),
    "tensor index": (lambda m: operator(m, 1).update(inputs=[1, 4000]), "inputs: tensor 4000 is wanted"),
    "output index": (lambda m: operator(m, 1).update(outputs=[-1]), "outputs [-1]; 1 to 1 accepted"),
    "input left out": (lambda m: operator(m, 0).update(inputs=[0, -1, 3]), "inputs [0, -1, 3]; 2 to 3"),
    "too few inputs": (lambda m: operator(m, 2).update(inputs=[0]), "inputs [0]; 2 to 2 are accepted"),
    "graph input index": (lambda m: m["subgraphs"][0].update(inputs=[-7]), "inputs: tensor -7 is wanted"),
    "constant input": (
        lambda m: m["subgraphs"][0].update(inputs=[place(m, "bias")]),
        "an input is left out, listed twice, constant",
    ),
    "unwritten output": (lambda m: m["subgraphs"][0].update(outputs=[place(m, "bias")]), "output 'bias': no operator"),
    "cycle": (make_cycle, "operator 0 (CONV_2D) reads tensor 'filtered', which nothing wrote before"),
    "missing weights": (
        lambda m: tensor(m, "filters").update(buffer=0),
        "reads tensor 'filters', which nothing wrote before",
    ),
    "written twice": (
        lambda m: operator(m, 1).update(outputs=operator(m, 0)["outputs"]),
        "operator 1 (DEPTHWISE_CONV_2D) writes tensor 'convolved', which has its value already",
    ),
    "constant written": (
        lambda m: operator(m, 0).update(outputs=[place(m, "bias")]),
        "writes tensor 'bias', which has its value already",
    ),
    "buffer index": (lambda m: tensor(m, "bias").update(buffer=10**6), "tensor 'bias': buffer 1000000 is wanted"),
    "buffer size": (lambda m: tensor(m, "bias").update(shape=[5]), "tensor 'bias': 16 bytes of data"),
    "absurd shape": (
        lambda m: tensor(m, "convolved").update(shape=[2**31 - 1] * 8),
        "tensor 'convolved': shape (2147483647,",
    ),
    "absurd rank": (lambda m: tensor(m, "convolved").update(shape=[1] * 1000), "tensor 'convolved': shape [1, 1,"),
    "unknown size": (lambda m: tensor(m, "features").update(shape=[-1, 6, 5, 1]), "shape [-1, 6, 5, 1]"),
    "size zero": (lambda m: tensor(m, "features").update(shape=[1, 0, 5, 1]), "shape [1, 0, 5, 1]"),
    "type": (lambda m: tensor(m, "features").update(type=17), "tensor 'features': type code 17"),
    "float": (
        lambda m: tensor(m, "features").update(type=0),
        "operator 0 (CONV_2D, tensor 'convolved'): tensor 'features' is float32: a hybrid model",
    ),
    "sparse": (lambda m: tensor(m, "filters").update(sparsity={}), "tensor 'filters': sparse: order [] of 0 axes"),
    "external": (lambda m: m["buffers"][2].update(size=100, offset=10**6), "outside the flatbuffer and the file"),
    "nan scale": (lambda m: set_quantization(m, "features", scale=[np.nan]), "tensor 'features': a scale is negative"),
    "infinite scale": (lambda m: set_quantization(m, "bias", scale=[np.inf] * 4), "tensor 'bias': a scale is negative"),
    "scale count": (lambda m: set_quantization(m, "filters", scale=[1.0] * 3), "tensor 'filters': 3 scales"),
    "axis": (lambda m: set_quantization(m, "planes", quantized_dimension=9), "tensor 'planes': 4 scales along axis 9"),
    "zero point": (lambda m: set_quantization(m, "features", zero_point=[300]), "outside int8"),
    "blockwise": (lambda m: set_quantization(m, "filters", details_type=2), "custom or blockwise"),
    "padding": (lambda m: operator(m, 0)["builtin_options"].update(padding=7), "padding is 7; 0..1 is accepted"),
    "stride": (lambda m: operator(m, 0)["builtin_options"].update(stride_h=0), "stride_h is 0"),
    "absurd dilation": (
        lambda m: operator(m, 0)["builtin_options"].update(dilation_w_factor=2**31 - 1),
        "dilation_w_factor is 2147483647",
    ),
    "nan beta": (lambda m: operator(m, 7)["builtin_options"].update(beta=np.nan), "beta is nan"),
    "shuffled weights": (lambda m: operator(m, 6)["builtin_options"].update(weights_format=1), "weights_format is 1"),
    "options of another operator": (
        lambda m: operator(m, 7).update(builtin_options_type=1, builtin_options={}),
        "operator 7 (SOFTMAX, tensor 'scores'): options of type 1",
    ),
    "metadata buffer": (lambda m: m["metadata"][-1].update(buffer=999), "buffer 999 is wanted"),
    "metadata not JSON": (lambda m: add_metadata(m, b"{"), "metadata mcu_codegen: not JSON"),
    "metadata nested": (lambda m: add_metadata(m, b"[" * 100_000), "metadata mcu_codegen: not JSON"),
    "metadata not text": (lambda m: add_metadata(m, b"\xff\xfe"), "metadata mcu_codegen: not JSON"),
    "metadata infinity": (lambda m: add_metadata(m, b'{"decision": {"a": 1e999}}'), "metadata mcu_codegen: not JSON"),
    "metadata surrogate": (lambda m: add_metadata(m, b'{"labels": ["\\ud800"]}'), "metadata mcu_codegen: not JSON"),
    "metadata NaN": (lambda m: add_metadata(m, b'{"decision": {"a": NaN}}'), "metadata mcu_codegen: not JSON"),
    "metadata list": (lambda m: add_metadata(m, b"[]"), "metadata mcu_codegen: list; an object"),
    "metadata labels": (lambda m: add_metadata(m, b'{"labels": "yes"}'), "labels is str; list is accepted"),
    "metadata label": (lambda m: add_metadata(m, b'{"labels": [1]}'), "a label is not a string"),
    "metadata front end": (lambda m: add_metadata(m, b'{"front_end": 5}'), "front_end is int; str is accepted"),
    "metadata rate": (lambda m: add_metadata(m, b'{"target_fa": "0.5"}'), "target_fa is str; float is accepted"),
    "metadata decision": (lambda m: add_metadata(m, b'{"decision": []}'), "decision is list; dict is accepted"),
    "metadata size": (lambda m: add_metadata(m, b" " * (2 << 20)), "larger than 1048576 bytes"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusal_names_the_place(case: str) -> None:
    change, expected = REFUSALS[case]
    assert expected in refusal(change)


@pytest.mark.parametrize(
    "count, name, expected", [(40_000, 1000, "overlap too often"), (200_000, 0, "more than 65536 tables")]
)
def test_shared_parts_cannot_inflate_a_file(count: int, name: int, expected: str) -> None:
    """Offsets that all lead to one subgraph, whose name has `name` bytes: little to store, much to decode."""
    root = struct.pack("<I4sHHHHHxxiI", 20, IDENTIFIER, 10, 8, 0, 0, 4, 12, 4)  # vtable at 8, table at 20
    vector, subgraph = len(root), len(root) + 4 + 4 * count + 16
    offsets = subgraph - (vector + 4 + 4 * np.arange(count))
    vtable = struct.pack("<7Hxx", 14, 8, 0, 0, 0, 0, 4)
    shared = vtable + struct.pack("<iII", len(vtable), 4, name) + b"x" * name
    blob = root + struct.pack("<I", count) + offsets.astype("<u4").tobytes() + shared
    with pytest.raises(InputError, match=expected):
        flatbuffer.read(blob, SCHEMA, IDENTIFIER)
    once = root + struct.pack("<II", 1, 20) + shared
    assert flatbuffer.read(once, SCHEMA, IDENTIFIER)["subgraphs"][0]["name"] == "x" * name


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\0" * 100, b"\0\0\0\0TFL3", b"PK\3\4" + bytes(200)])
def test_other_files(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.tflite"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"other\.tflite"):
        tflite.read(path)


def test_unreadable_paths(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.tflite", tmp_path / "n\0ul"):
        with pytest.raises(InputError, match="cannot be read"):
            tflite.read(path)


def test_too_large_a_file(tmp_path: Path) -> None:
    path = tmp_path / "large.tflite"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="larger than 32 MiB"):
        tflite.read(path)
