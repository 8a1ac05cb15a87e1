"""New words: what a few clips teach, the network that has them, the user's file and blob, and what is refused."""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exit_models import exit_model
from gated_models import features, random_gates
from hypothesis import given, settings
from hypothesis import strategies as st
from teaching_models import clips_of_a_word, teachable_model

from mcu_codegen.errors import InputError
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Quantization
from mcu_codegen.users.bake import bake
from mcu_codegen.users.blob import Kind, Status, blob, blob_bytes, read_blob
from mcu_codegen.users.gates import groups, open_channels
from mcu_codegen.users.new_words import LastLayer, Row, with_words
from mcu_codegen.users.teaching import Teaching, head_of_new_word, hear
from mcu_codegen.users.user import User


@pytest.fixture(scope="module")
def model():
    return teachable_model()


def test_by_hand(model) -> None:
    """Two clips, in fractions: the row is the discriminant, rounded, and its bias lies half-way, and the offset on."""
    teaching, clips = Teaching.of(model), clips_of_a_word(model, 2)
    row, zero = teaching.learn(clips), teaching.zero_point
    mean = [math.floor(Fraction(16 * (int(a) + int(b) + 256), 2) + Fraction(1, 2)) for a, b in clips.T]
    entries = iter(teaching.inverse.tolist())
    lower = [[next(entries) for _ in range(row_ + 1)] for row_ in range(teaching.features)]
    weights = []
    for i in range(teaching.features):
        line = [lower[max(i, j)][min(i, j)] for j in range(teaching.features)]
        exact = sum(a * (m - int(c)) for a, m, c in zip(line, mean, teaching.centre, strict=True))
        weights.append(min(max(math.floor(Fraction(exact, 1 << teaching.shift) + Fraction(1, 2)), -127), 127))
    assert row.weights.tolist() == weights and len(set(weights)) > 8
    between = [Fraction(m + int(c), 32) - 128 - zero for m, c in zip(mean, teaching.centre, strict=True)]
    exact_bias = teaching.offset - sum(w * b for w, b in zip(weights, between, strict=True))
    assert abs(row.bias - exact_bias) <= Fraction(1, 2)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_word_is_told_from_what_it_is_not(seed: int) -> None:
    """Of unheard clips, and of those by which other words are known."""
    model = teachable_model(2)
    teaching, clips = Teaching.of(model), clips_of_a_word(model, 9, seed)
    own = LastLayerOf(model, teaching.learn(clips[:5]))
    others, _ = hear(model, features(model, 100, 1002))
    assert np.all(own.best(clips) == 6) and np.mean(own.best(others) == 6) < 0.1


class LastLayerOf:
    """The last layer of a model with one more word, on features."""

    def __init__(self, model: Any, row: Row) -> None:
        head = head_of_new_word(model)
        weights, bias = np.vstack([head.weights[:-1], row.weights]), np.append(head.bias[:-1], row.bias)
        self.head = replace(head, weights=weights.astype(np.int8), bias=bias.astype(np.int32))

    def best(self, codes: np.ndarray) -> np.ndarray:
        return self.head.scores(codes).argmax(axis=1)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_other_words_answer_as_before_where_no_new_one_wins(seed: int, count: int) -> None:
    """And the adapted network is an ordinary int8 file."""
    model, rng = teachable_model(seed % 5), np.random.default_rng(seed)
    rows = [
        Row(rng.integers(-127, 128, Teaching.of(model).features).astype(np.int8), int(rng.integers(-9999, 9999)))
        for _ in range(count)
    ]
    adapted = tflite.read_bytes(tflite.write(with_words(model, rows, [f"new{i}" for i in range(count)])), "adapted")
    assert adapted.metadata["labels"] == [*model.metadata["labels"], *(f"new{i}" for i in range(count))]
    heard = features(model, 40, seed)
    sides = [(LastLayer.of(graph), NumpyExecutor(graph).run([heard])) for graph in (model, adapted)]
    logits, after = (values[last.logits].reshape(40, -1) for last, values in sides)
    assert np.array_equal(after[:, :6], logits)
    before, best = (values[last.scores].reshape(40, -1).argmax(axis=1) for last, values in sides)
    old = after[:, 6:].max(axis=1) <= logits.max(axis=1)
    assert np.all((best == before) | ~old)


def test_a_new_word_has_false_accepts_of_its_own(model) -> None:
    """The decision was chosen for a rate of the other words."""
    rated = replace(model, metadata=model.metadata | {"target_fa": 0.5})
    row = Row(np.zeros(Teaching.of(model).features, np.int8), 0)
    assert "target_fa" not in with_words(rated, [row], ["new"]).metadata
    assert with_words(rated, [], []).metadata["target_fa"] == 0.5


def test_one_scale_for_all_weights(model) -> None:
    """As other people's files have it: the new row has it, too."""
    last, tensors = LastLayer.of(model), list(model.tensors)
    weights, bias = model.main.operators[last.dense].inputs[1:3]
    scale = max(tensors[weights].quantization.scale)
    tensors[weights] = replace(tensors[weights], quantization=Quantization((scale,), (0,)))
    product = float(np.float32(scale * tensors[last.features].scale))
    tensors[bias] = replace(tensors[bias], quantization=Quantization((product,), (0,)))
    whole, clips = replace(model, tensors=tensors), clips_of_a_word(model, 5)
    adapted = with_words(whole, [Teaching.of(whole).learn(clips)], ["new"])
    again = tflite.read_bytes(tflite.write(adapted), "adapted")
    assert again.tensors[again.main.operators[LastLayer.of(again).dense].inputs[1]].quantization.per_tensor


def test_the_file_holds_clips_and_rows(model, tmp_path: Path) -> None:
    first, second = clips_of_a_word(model, 3), clips_of_a_word(model, 5, 1)
    anna = User.nobody(model, ["no"]).with_word(model, "lights", first)
    anna.save(tmp_path / "anna.user")
    anna = User.load(tmp_path / "anna.user", model).with_word(model, "fan", second)
    anna.save(tmp_path / "anna.user")
    again = User.load(tmp_path / "anna.user", model)
    assert [each.name for each in again.new_words] == ["lights", "fan"] and again.words == ("no",)
    assert np.array_equal(again.new_words[1].clips, second)
    status, content = read_blob(model, again.blob(model))
    assert status is Status.OK and content.words == [True, True, False, True, False, False]
    for row, clips in zip(content.new_words, (first, second), strict=True):  # neither knows of the other
        wanted = Teaching.of(model).learn(clips)
        assert np.array_equal(row.weights, wanted.weights) and row.bias == wanted.bias
    assert len(again.blob(model)) < blob_bytes(model)


def test_gates_and_words() -> None:
    """What teaches is what the open channels hear; and the network can be cut to both."""
    model = teachable_model(gates=True)
    gates = random_gates(np.random.default_rng(1), [group.count for group in groups(model)])
    heard = features(model, 9)
    clips, _ = hear(model, heard, gates)
    assert not np.array_equal(clips, hear(model, heard)[0])
    adapted = with_words(model, [Teaching.of(model).learn(clips[:5])], ["lights"])
    baked = bake(adapted, gates)
    values = NumpyExecutor(adapted, open_channels(adapted, gates)).run([heard])
    found = NumpyExecutor(baked).run([heard])
    assert np.array_equal(found[baked.main.outputs[0]], values[adapted.main.outputs[0]])


def test_silence_is_named(model) -> None:
    heard = features(model, 60)
    best = NumpyExecutor(model).run([heard])[model.main.outputs[0]].reshape(60, -1).argmax(axis=1)
    assert len(np.unique(best)) > 3 and np.any(best == 0)
    assert np.array_equal(hear(model, heard)[1], best == 0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shift": 31}, "shift: found 31; 0 to 30 is accepted"),
        ({"offset": 1 << 23}, "offset: found 8388608"),
        ({"fewest": 6}, "fewest: found 6; up to 5"),
        ({"centre": "00xy"}, "centre: damaged"),
        ({"centre": "000"}, "centre: damaged"),
        ({"centre": 5}, "centre: damaged"),
        ({"centre": "0011" * 15}, "centre: found 15 numbers; 16 are accepted"),
        ({"centre": "ffff" * 16}, "centre: found -1 to -1; 0 to 4080 are accepted"),
        ({"inverse": "00" * 137}, "inverse: found 137 numbers; 136 are accepted"),
        ({"more": 1}, "found .*more; an object of fewest, most"),
    ],
)
def test_odd_constants_are_refused(model, changed: dict[str, Any], message: str) -> None:
    odd = replace(model, metadata=model.metadata | {"teaching": model.metadata["teaching"] | changed})
    with pytest.raises(InputError, match=f"^model 'model': teaching: .*{message}"):
        Teaching.of(odd)


def test_models_without_such_an_end_are_refused() -> None:
    exits = exit_model()
    with pytest.raises(InputError, match="model 'model': it has early exits"):
        Teaching.of(replace(exits, metadata=exits.metadata | {"teaching": {}}))
    model = teachable_model()
    last = LastLayer.of(model)
    operators = model.main.operators[: last.softmax]
    logits = replace(model, entries=[replace(model.main, outputs=(last.logits,), operators=operators)])
    with pytest.raises(InputError, match=r"model 'model': .* is written by FULLY_CONNECTED; SOFTMAX is accepted"):
        Teaching.of(logits)


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("lights", 1, "1 clips of a word; 2 to 5 teach it"),
        ("lights", 6, "6 clips"),
        ("yes", 3, "word 'yes': the model has it already"),
        ("fan", 3, "word 'fan': the model has it already"),
        ("", 3, "accepted are 2 to 127 names"),
    ],
)
def test_odd_words_are_refused(model, name: str, count: int, message: str) -> None:
    anna = User.nobody(model).with_word(model, "fan", clips_of_a_word(model, 3))
    with pytest.raises(InputError, match=message):
        anna.with_word(model, name, clips_of_a_word(model, count))


def test_no_more_words_than_the_board_has_room_for(model) -> None:
    anna = User.nobody(model)
    for name in ("a", "b", "c"):
        anna = anna.with_word(model, name, clips_of_a_word(model, 2))
    assert len(anna.blob(model)) == blob_bytes(model) - 3 - 1  # it uses all words: no section of those
    with pytest.raises(InputError, match="word 'd': 3 words are taught already"):
        anna.with_word(model, "d", clips_of_a_word(model, 2))
    with pytest.raises(InputError, match="4 new words; up to 3 can be taught"):
        blob(model, [], None, None, [Row.blank(16)] * 4)


@pytest.mark.parametrize(
    "change",
    [
        {"name": 5},
        {"clips": ["00"]},
        {"clips": []},
        {"weights": "80" * 16},  # -128
        {"bias": 1 << 23},
        {"bias": 0.5},
        {"name": "yes"},
    ],
)
def test_damaged_files_are_refused(model, tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "anna.user"
    User.nobody(model).with_word(model, "lights", clips_of_a_word(model, 3)).save(path)
    values = json.loads(path.read_text())
    values["new_words"][0] |= change
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=f"^{path}: "):
        User.load(path, model)


def test_damaged_blobs_are_refused(model) -> None:
    good = User.nobody(model).with_word(model, "lights", clips_of_a_word(model, 3)).blob(model)
    row = good[17:-4]
    assert good[14] == Kind.NEW_WORDS and len(row) == 20

    def status(section: bytes) -> Status:
        content = good[:15] + len(section).to_bytes(2, "little") + section
        found, said = read_blob(model, content + zlib.crc32(content).to_bytes(4, "little"))
        assert bool(said.new_words) == (found is Status.OK)
        return found

    assert status(row) is Status.OK and status(row * 3) is Status.OK
    assert all(status(odd) is Status.CORRUPT for odd in (b"", row[:-1], row * 4, b"\x80" + row[1:], row[:-1] + b"\x7f"))


def test_saturation(model) -> None:
    """The least shift ends at the greatest codes; the greatest, at none."""
    greedy, clips = teachable_model(shift=0, offset=1 << 22), clips_of_a_word(model, 3)
    row = Teaching.of(greedy).learn(clips)
    assert set(np.abs(row.weights.astype(int))) == {127} and abs(row.bias) <= 1 << 22
    shy = Teaching.of(teachable_model(shift=30, offset=5)).learn(clips)
    assert not shy.weights.any() and shy.bias == 5
