"""A user's exits: the file, the blob, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exit_models import exit_model, wide_model
from gated_models import features

from mcu_codegen.errors import InputError
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.prove.learning_cases import random_learnt
from mcu_codegen.users.blob import Kind, Status, blob, blob_bytes, read_blob, user_groups
from mcu_codegen.users.exits import exits_of
from mcu_codegen.users.gates import all_open
from mcu_codegen.users.learning import NO_LABEL, Learner, Utterances
from mcu_codegen.users.learning_constants import constants_of
from mcu_codegen.users.learnt import with_exits
from mcu_codegen.users.user import User

LABELS = np.array([NO_LABEL, 0, 1, 2, 3, 4, 5, 2, 3, NO_LABEL])


@pytest.fixture(scope="module")
def model():
    return exit_model()


def test_the_file_holds_buffer_and_exits(model, tmp_path: Path) -> None:
    heard = features(model, 20)
    first = User.nobody(model, ["no"]).taught(model, heard[:10], LABELS)
    first.save(tmp_path / "anna.user")
    again = User.load(tmp_path / "anna.user", model)
    assert again.blob(model) == first.blob(model)
    second = again.taught(model, heard[10:], LABELS)
    both = Utterances.of(model, heard, np.tile(LABELS, 2))
    kept = Utterances.nothing(model).joined(both, 12)
    learnt = Learner.of(model).learn(kept, first.learnt.met)
    assert second.blob(model) == blob(model, [], ["no"], learnt)
    assert second.exits.buffer.heard == 20


def test_the_network_of_a_user(model) -> None:
    learnt = Learner.of(model).learn(Utterances.of(model, features(model, 10), LABELS))
    own, heard = with_exits(model, learnt), features(model, 5, 1)
    values, factory = NumpyExecutor(own).run([heard]), NumpyExecutor(model).run([heard])
    for number, (each, head) in enumerate(zip(exits_of(own), Learner.of(model).heads, strict=True)):
        assert each.threshold == learnt.applied()[number]
        head = dataclasses.replace(head, weights=learnt.weights[number], bias=learnt.biases[number])
        scores = head.scores(values[each.features].reshape(5, -1))
        assert np.array_equal(scores, values[each.scores].reshape(5, -1))
    assert np.array_equal(values[own.main.outputs[-1]], factory[model.main.outputs[-1]])


@pytest.mark.parametrize("gates", [False, True])
def test_a_blob_says_all(gates: bool) -> None:
    graph, rng = exit_model(gates=gates), np.random.default_rng(0)
    for words in (None, ["yes", "up"]):
        learnt = random_learnt(graph, rng)
        data = blob(graph, all_open(user_groups(graph)), words, learnt)
        status, content = read_blob(graph, data)
        assert status is Status.OK and content.learnt is not None and len(content.gates) == 3 * gates
        assert blob(graph, content.gates, words, content.learnt) == data
    assert len(data) == blob_bytes(graph)


def test_three_exits_of_64_features_fit_into_3_kilobytes() -> None:
    graph = wide_model()
    assert blob_bytes(graph) + 3 * 12 * (64 - 56) <= 3 * 1024


def _section(data: bytes, kind: Kind, change: Any) -> bytes:
    """`data` with what `change` makes of a section, None being nothing, and a CRC that fits."""
    content, at, found = data[:14], 14, []
    while at < len(data) - 4:
        length = int.from_bytes(data[at + 1 : at + 3], "little")
        section = data[at + 3 : at + 3 + length]
        if data[at] != kind or (section := change(section)) is not None:
            found.append(bytes([data[at]]) + len(section).to_bytes(2, "little") + section)
        at += 3 + length
    content = content[:5] + bytes([len(found)]) + content[6:] + b"".join(found)
    return content + zlib.crc32(content).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        *((kind, lambda section: None) for kind in (Kind.HEADS, Kind.THRESHOLDS, Kind.BYPASS)),
        *((kind, lambda section: section[:-1]) for kind in (Kind.HEADS, Kind.THRESHOLDS, Kind.BYPASS)),
        (Kind.HEADS, lambda section: b"\x80" + section[1:]),  # a weight of -128
        (Kind.HEADS, lambda section: section[:-1] + b"\x7f"),  # a bias beyond 2^22
        (Kind.THRESHOLDS, lambda section: b"\x81\0" + section[2:]),  # 129
        (Kind.THRESHOLDS, lambda section: b"\x7f\xff" + section[2:]),  # -129
        (Kind.BYPASS, lambda section: b"\4\2"),  # an exit that is not there
        (Kind.BYPASS, lambda section: b"\2\0"),  # one that did not meet the goal
        (Kind.BYPASS, lambda section: b"\3\3"),
    ],
)
def test_refused_sections(model, kind: Kind, change: Any) -> None:
    data = blob(model, [], None, random_learnt(model, np.random.default_rng(1)))
    assert read_blob(model, _section(data, kind, lambda section: section))[0] is Status.OK
    status, content = read_blob(model, _section(data, kind, change))
    assert status is Status.CORRUPT and content.learnt is None and all(content.words)


def test_exits_of_a_model_without(model) -> None:
    """Sections that the model cannot have; a model that can have no users."""
    data = blob(model, [], None, random_learnt(model, np.random.default_rng(1)))
    gated = exit_model(gates=True)
    plain = dataclasses.replace(gated, metadata={k: v for k, v in gated.metadata.items() if k != "exits"})
    assert read_blob(plain, data)[0] is Status.UNKNOWN_SECTION
    nothing = dataclasses.replace(plain, metadata={"labels": plain.metadata["labels"]})
    with pytest.raises(InputError, match="neither gates nor exits"):
        User.nobody(nothing)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heard": 9}, "a buffer of 10 after 9"),
        ({"labels": [6] * 10}, "label 6; 0 to 5"),
        ({"labels": [0.5] * 10}, "0.5 is no integer"),
        ({"labels": [0] * 9}, "damaged"),
        ({"scores": "00"}, "damaged"),
        ({"weights": ["zz", "00"]}, "damaged"),
        ({"thresholds": [0, 129]}, "threshold 129"),
        ({"biases": [[1 << 23] * 6] * 2}, "beyond 127 and 4194304"),
        ({"biases": [[1 << 40] * 6] * 2}, "damaged"),
        ({"met": [0, 1]}, "damaged"),
        ({"met": [False, False], "bypass": 1}, "bypass after exit 1"),
    ],
)
def test_damaged_files(model, tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "anna.user"
    User.nobody(model).taught(model, features(model, 10), LABELS).save(path)
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"exits": values["exits"] | change}))
    with pytest.raises(InputError, match=message) as caught:
        User.load(path, model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs: found 0; 1 to 255"),
        ({"margin": 0}, "margin: found 0"),
        ({"sure": 128}, "sure: found 128"),
        ({"capacity": 256}, "capacity: found 256"),
        ({"fewest": 13}, "fewest: found 13; 1 to 12"),
        ({"rates": [[[0] * 6, [0] * 6]]}, "rates: found .* a list of 2 is accepted"),
        ({"rates": [[[17] * 6, [0] * 6]] * 2}, "weight shift: found 17"),
        ({"prior": (1 << 20) + 1}, "prior: found 1048577; 0 to 1048576"),
        ({"points": []}, "points: found 0; 1 to 64"),
        ({"points": [[[0, 0], 801]]}, "loss of a point: found 801; -800 to 800"),
        ({"points": [[[0, 129], 0]]}, "threshold: found 129; -128 to 128"),
        ({"points": [[[0], 0]]}, "points: found .* a list of 2 is accepted"),
        ({"alone": [0]}, "alone: found .* a list of 2 is accepted"),
        ({"surprise": 1}, "an object of epochs, rates"),
    ],
)
def test_odd_constants(model, change: dict[str, object], message: str) -> None:
    exits = model.metadata["exits"]
    odd = model.metadata | {"exits": exits | {"learning": exits["learning"] | change}}
    with pytest.raises(InputError, match=message):
        constants_of(dataclasses.replace(model, metadata=odd))


def test_too_few_utterances(model) -> None:
    with pytest.raises(InputError, match="3 utterances; 4 to 12"):
        User.nobody(model).taught(model, features(model, 3), [0, 1, 2])
