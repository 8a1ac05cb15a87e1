"""Gates and users: the rule, the file, the blob, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from gated_models import LABELS, features, gated_model, random_gates

from mcu_codegen.errors import InputError
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.listen.decision import Decision, Detector, allowed
from mcu_codegen.users import gates
from mcu_codegen.users.blob import Status, blob, blob_bytes, read_blob
from mcu_codegen.users.user import User


@pytest.fixture(scope="module")
def pair():
    return gated_model()


@pytest.fixture(scope="module")
def anna(pair):
    model, enrolment = pair
    return User.enrol(model, enrolment, features(model, 5), ["yes", "up"])


def test_a_gate_opens_above_the_zero_point() -> None:
    opened = gates.decide([np.array([13, 12, 14]), np.array([-9, -7, -7])], [4, -2], 3)
    assert opened[0].tolist() == [True, False, True]
    assert opened[1].tolist() == [False, True, False]  # none is above -6: the first of the greatest


def test_enrolment_sums_logits(pair, anna) -> None:
    model, enrolment = pair
    values = NumpyExecutor(enrolment).run([features(model, 5)])
    for sums, index in zip(anna.sums, enrolment.main.outputs, strict=True):
        assert values[index].astype(int).sum(axis=(0, 1)).tolist() == list(sums)
    opened = anna.gates(gates.groups(model))
    assert [len(gate) for gate in opened] == [4, 4, 4]
    assert 0 < sum(gate.sum() for gate in opened) < 12  # the test network decides something


def test_words_that_she_does_without_change_the_logits(pair, anna) -> None:
    """Once an utterance and missing label: "no" and "down" here, by hand."""
    model, enrolment = pair
    missing = [LABELS.index("no"), LABELS.index("down")]
    for steps, table in zip(anna.steps, enrolment.metadata["absent"], strict=True):
        assert list(steps) == np.array(table)[missing].sum(axis=0).tolist()
    listed, everything = gates.groups(model), User.enrol(model, enrolment, features(model, 5))
    assert everything.sums == anna.sums and not np.any(everything.steps)
    for gate, sums, steps, zero_point in zip(anna.gates(listed), anna.sums, anna.steps, anna.zero_points, strict=True):
        above = np.array(sums) + 5 * np.array(steps) > 5 * zero_point
        assert not above.any() or (gate == above).all()
    assert np.concatenate(anna.gates(listed)).tolist() != np.concatenate(everything.gates(listed)).tolist()


@pytest.mark.parametrize("listed", [5, [[[0]]], [[[0.5] * 4] * 6] * 3, [[[128] * 4] * 6] * 3])
def test_odd_steps_are_refused(pair, listed) -> None:
    model, enrolment = pair
    odd = dataclasses.replace(enrolment, metadata=enrolment.metadata | {"absent": listed})
    with pytest.raises(InputError, match="absent: accepted are int8 steps of shapes"):
        User.enrol(model, odd, features(model, 1), ["yes"])


def test_more_utterances_later(pair, anna, tmp_path: Path) -> None:
    model, enrolment = pair
    everything = features(model, 5)
    first = User.enrol(model, enrolment, everything[:2], ["yes", "up"])
    first.save(tmp_path / "anna.user")
    assert User.load(tmp_path / "anna.user", model).heard(enrolment, everything[2:]) == anna


def test_a_closed_channel_holds_its_zero_point(pair) -> None:
    model, _ = pair
    opened = gates.open_channels(model, random_gates(np.random.default_rng(1), [4, 4, 4]))
    executor = NumpyExecutor(model, opened)
    source = features(model, 3)
    values, full = executor.run([source]), NumpyExecutor(model).run([source])
    first = gates.groups(model)[0].tensors[0]
    for index, kept in opened.items():
        assert np.all(values[index][..., ~kept] == model.tensors[index].zero_point)
    assert np.array_equal(values[first][..., opened[first]], full[first][..., opened[first]])
    assert not np.array_equal(values[model.main.outputs[0]], full[model.main.outputs[0]])


def test_all_gates_open_is_the_full_network(pair) -> None:
    model, _ = pair
    opened = gates.open_channels(model, gates.all_open(gates.groups(model)))
    source = features(model, 3)
    values, full = NumpyExecutor(model, opened).run([source]), NumpyExecutor(model).run([source])
    assert all(np.array_equal(values[index], full[index]) for index in full)


def test_blob(pair, anna) -> None:
    model, _ = pair
    data = anna.blob(model)
    assert data[:6] == b"KWSU\x02\x02" and data[6:14].hex() == model.sha256[:16]
    assert len(data) == blob_bytes(model) <= 64
    status, content = read_blob(model, data)
    assert status is Status.OK and content.learnt is None
    assert all(map(np.array_equal, content.gates, anna.gates(gates.groups(model))))
    assert content.words == [label in ("_silence_", "_unknown_", "yes", "up") for label in LABELS]


def _sealed(content: bytes) -> bytes:
    return content + zlib.crc32(content).to_bytes(4, "little")


def odd_blobs(data: bytes) -> list[tuple[Status, bytes]]:
    """Blobs that are refused, made from a good one with gates (2 bytes) and words (1 byte)."""
    head, gate_section, word_section = data[:14], data[14:19], data[19:23]
    two = head[:5] + b"\2"
    cases = [(Status.CORRUPT, data[:length]) for length in range(len(data))]
    cases += [(Status.CORRUPT, data + b"\0")]
    cases += [
        (Status.CORRUPT, data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])
        for at in range(len(data))
        for flip in (1, 255)
    ]
    cases += [
        (Status.OUTDATED, _sealed(data[:4] + b"\1" + data[5:-4])),
        (Status.FOREIGN, _sealed(data[:6] + bytes(8) + data[14:-4])),
        (Status.UNKNOWN_SECTION, _sealed(head[:5] + b"\3" + data[6:-4] + b"\3\0\0")),
        (Status.UNKNOWN_SECTION, _sealed(two + data[6:14] + gate_section + b"\x07" + word_section[1:])),
        (Status.CORRUPT, _sealed(two + data[6:14] + word_section + gate_section)),  # not in order
        (Status.CORRUPT, _sealed(two + data[6:14] + gate_section + gate_section)),
        (Status.CORRUPT, _sealed(head[:5] + b"\3" + data[6:-4])),  # a section short
        (Status.CORRUPT, _sealed(head[:5] + b"\1" + data[6:-4])),  # a section too many
        (Status.CORRUPT, _sealed(two + data[6:14] + gate_section + b"\2\2\0" + word_section[3:])),
        (Status.CORRUPT, _sealed(two + data[6:14] + b"\1\1\0" + gate_section[3:4] + word_section)),
        (Status.CORRUPT, _sealed(two + data[6:14] + b"\1\2\0\xff\xff" + word_section)),  # padding of ones
        (Status.CORRUPT, _sealed(two + data[6:14] + b"\1\2\0\xf0\x0f" + word_section)),  # a group without open gates
        (Status.CORRUPT, _sealed(two + data[6:14] + gate_section + b"\2\1\0\xff")),
        (Status.CORRUPT, _sealed(two + data[6:14] + gate_section + b"\2\1\0\x15")),  # without _unknown_
    ]
    return cases


def test_refused_blobs(pair, anna) -> None:
    model, _ = pair
    for expected, data in odd_blobs(anna.blob(model)):
        status, content = read_blob(model, data)
        assert (status, data) == (expected, data)
        assert all(gate.all() for gate in content.gates) and all(content.words)


def test_a_blob_without_words(pair) -> None:
    model, _ = pair
    opened = random_gates(np.random.default_rng(2), [4, 4, 4])
    status, content = read_blob(model, blob(model, opened))
    assert status is Status.OK and all(content.words) and all(map(np.array_equal, content.gates, opened))


def test_only_the_words_of_a_user_are_decided() -> None:
    scores = np.array([0, 0, 100, 90, 10, 0], np.int8)
    plain = Detector(Decision(1, 1, 128, 1), LABELS)
    narrow = Detector(Decision(1, 1, 128, 1), LABELS, ["no", "up"])
    for detector, expected in ((plain, "yes"), (narrow, "no")):
        assert detector.hop()
        found = detector.step(scores)
        assert found is not None and LABELS[found.label] == expected
    assert narrow.hop() and narrow.step(np.array([127, 0, 100, 90, 10, 0], np.int8)) is None


@pytest.mark.parametrize("words", [[], ["maybe"], ["_unknown_"]])
def test_odd_words(words: list[str]) -> None:
    with pytest.raises(InputError, match="accepted are yes, no, up, down"):
        allowed(LABELS, words)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "00" * 32}, "of model"),
        ({"format": 1}, "format 1"),
        ({"utterances": -1}, "utterances is -1"),
        ({"utterances": True}, "utterances is True"),
        ({"sums": [[0, 0, 0, 0]]}, "sums"),
        ({"sums": [[0, 0, 0, 641]] * 3}, "sums"),
        ({"sums": [[0, 0, 0, 0.5]] * 3}, "sums"),
        ({"zero_points": [0, 0]}, "zero_points"),
        ({"words": "yes"}, "words"),
        ({"words": ["maybe"]}, "'maybe'"),
        ({"surprise": 1}, "format 3"),
    ],
)
def test_odd_files(pair, anna, tmp_path: Path, change: dict[str, object], message: str) -> None:
    model, _ = pair
    path = tmp_path / "anna.user"
    anna.save(path)
    assert User.load(path, model) == anna
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message) as caught:
        User.load(path, model)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"null", b"[" * 100000])
def test_damaged_files(pair, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "anna.user").write_bytes(content)
    with pytest.raises(InputError, match=r"anna\.user"):
        User.load(tmp_path / "anna.user", pair[0])


def test_a_foreign_enrolment_network(pair) -> None:
    model, _ = pair
    _, other = gated_model(1)
    with pytest.raises(InputError, match="it enrols for model"):
        User.enrol(model, other, features(model, 1))


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        (None, "no gates"),
        ([{"name": "a"}], "an object of name"),
        ([{"name": "a", "tensors": ["nothing"], "size": 4}], "of 0 operators"),
        ([{"name": "a", "tensors": ["tensor_8"], "size": 5}], "multiple of 5"),
        ([{"name": "a", "tensors": ["tensor_8"], "size": 0}], "size of 1"),
        ([{"name": "a", "tensors": [7], "size": 1}], "of 0 operators"),
        ([{"name": "a", "tensors": ["tensor_8", "tensor_8"], "size": 4}], "twice"),
    ],
)
def test_odd_groups(listed: object, message: str) -> None:
    model, _ = gated_model()
    name = model.tensors[gates.groups(model)[0].tensors[0]].name
    model.metadata["gates"] = json.loads(json.dumps(listed).replace("tensor_8", name))
    with pytest.raises(InputError, match=message):
        gates.groups(model)
