"""A user of a gated model: the file on the host, and the blob for the board that follows from it.

The file `anna.user` holds what enrolment measured, so that more utterances can be added later. The blob holds what
the board needs, in some dozens of bytes:

    "KWSU", version (1), number of sections (1), first 8 bytes of the model's SHA-256,
    sections: type (1), length (1), that many bytes,
    CRC-32 of everything before it (4, little endian).

Type 1 are the gates of all groups in order, type 2 the labels that may be decided; bit i % 8 of byte i // 8 belongs to
item i, and is set where the item is open or allowed; bits beyond the last item are 0. Sections have rising types; that
of a user of all words has no type 2. A board that refuses a blob runs the full network.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from .. import files
from ..errors import InputError
from ..execute.numpy_executor import NumpyExecutor
from ..graph import Graph
from ..listen.decision import allowed, keywords
from .gates import MAX_UTTERANCES, Gates, Group, absent_steps, all_open, check_gates, check_pair, decide, groups

FORMAT = 1  # of the file
MAGIC, VERSION, GATES, WORDS = b"KWSU", 1, 1, 2  # of the blob; the last two are types of sections
_HEADER, _CRC = 14, 4  # bytes


class Status(IntEnum):
    """What becomes of a blob. Anything but OK: the full network runs."""

    OK = 0
    CORRUPT = 1
    OUTDATED = 2  # another version of the blob
    FOREIGN = 3  # of another model
    UNKNOWN_SECTION = 4


@dataclass(frozen=True)
class User:
    """What enrolment measured for one user of one model."""

    model: str  # SHA-256 of model.tflite, in hexadecimal
    utterances: int  # K
    sums: tuple[tuple[int, ...], ...]  # of the logits of K utterances, by group and gate
    zero_points: tuple[int, ...]  # of the logits, by group
    steps: tuple[tuple[int, ...], ...]  # by group and gate: what the words that she does without change, an utterance
    words: tuple[str, ...] | None = None  # the keywords that this user uses; None: all

    @staticmethod
    def enrol(model: Graph, enrolment: Graph, features: np.ndarray, words: Sequence[str] | None = None) -> User:
        """From the int8 features (K, *input shape) of K utterances, by the two graphs of a gated model.

        Raises InputError where they do not belong together.
        """
        check_pair(model, enrolment)
        absent = ~np.array(allowed(labels_of(model), words), bool)
        steps = tuple(tuple(table[absent].sum(axis=0, dtype=np.int64).tolist()) for table in absent_steps(enrolment))
        zero_points = tuple(enrolment.tensors[index].zero_point for index in enrolment.main.outputs)
        sums = tuple((0,) * group.count for group in groups(model))
        nobody = User(model.sha256, 0, sums, zero_points, steps, None if words is None else tuple(words))
        return nobody.heard(enrolment, features)

    def heard(self, enrolment: Graph, features: np.ndarray) -> User:
        """This user after more utterances: int8 features (K, *input shape). Raises InputError."""
        count = self.utterances + len(features)
        if not len(features) or count > MAX_UTTERANCES:
            raise InputError(f"enrolment: {count} utterances; 1 to {MAX_UTTERANCES} are accepted")
        if enrolment.metadata.get("model") != self.model[:16]:
            raise InputError(f"model '{enrolment.name}': it does not enrol for model {self.model[:16]}, the user's")
        values = NumpyExecutor(enrolment).run([features])
        logits = [values[index].reshape(len(features), -1) for index in enrolment.main.outputs]
        return replace(
            self,
            utterances=count,
            sums=tuple(
                tuple((np.array(before, np.int64) + more.sum(axis=0, dtype=np.int64)).tolist())
                for before, more in zip(self.sums, logits, strict=True)
            ),
        )

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        files.write_whole(path, json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n")

    @staticmethod
    def load(path: Path | str, model: Graph) -> User:
        """The user in the file at `path`. Raises InputError where it is damaged, or of another model."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
        try:
            return _user(json.loads(text), model)
        except (ValueError, RecursionError):
            raise InputError(f"{path}: not JSON; the file of a user is accepted") from None
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def gates(self, groups: Sequence[Group]) -> Gates:
        """By group of the model, which gates are open."""
        if [group.count for group in groups] != [len(sums) for sums in self.sums]:
            raise InputError(
                f"user: {[len(sums) for sums in self.sums]} gates; {[group.count for group in groups]} are accepted"
            )
        totals = [
            np.array(sums, np.int64) + self.utterances * np.array(steps, np.int64)
            for sums, steps in zip(self.sums, self.steps, strict=True)
        ]
        return decide(totals, self.zero_points, self.utterances)

    def blob(self, model: Graph) -> bytes:
        """For the board."""
        return blob(model, self.gates(groups(model)), self.words)


def blob(model: Graph, gates: Gates, words: Sequence[str] | None = None) -> bytes:
    """The bytes for the board. Raises InputError where `gates` or `words` are not the model's, or are too many."""
    check_gates(groups(model), gates)
    sections = {GATES: pack(np.concatenate(gates))}
    labels = labels_of(model)
    may = allowed(labels, words)
    if not all(may):
        sections[WORDS] = pack(np.array(may))
    content = MAGIC + bytes([VERSION, len(sections)]) + bytes.fromhex(model.sha256)[:8]
    for kind, section in sections.items():
        if len(section) > 255:
            raise InputError(f"gates: {8 * len(section)} do not fit into a blob; 2,040 are accepted")
        content += bytes([kind, len(section)]) + section
    return content + zlib.crc32(content).to_bytes(_CRC, "little")


def blob_bytes(model: Graph) -> int:
    """The size of the largest blob of `model`, that of a user with words."""
    return len(blob(model, all_open(groups(model)))) + 2 + -(-len(labels_of(model)) // 8)


def read_blob(model: Graph, data: bytes) -> tuple[Status, Gates, list[bool]]:
    """As the board does: (status, gates, labels that may be decided); all of them where the blob is refused."""
    listed, labels = groups(model), labels_of(model)
    gates, words = np.ones(sum(group.count for group in listed), bool), np.ones(len(labels), bool)
    splits = np.cumsum([group.count for group in listed])[:-1]

    def read() -> Status:
        """Fills `gates` and `words`, as far as all is well."""
        end = len(data) - _CRC
        if end < _HEADER or data[:4] != MAGIC or zlib.crc32(data[:end]) != int.from_bytes(data[end:], "little"):
            return Status.CORRUPT
        if data[4] != VERSION:
            return Status.OUTDATED
        if data[6:_HEADER] != bytes.fromhex(model.sha256)[:8]:
            return Status.FOREIGN
        at, last = _HEADER, 0
        for _ in range(data[5]):
            if end - at < 2 or end - at - 2 < data[at + 1] or data[at] <= last:
                return Status.CORRUPT
            last, section = data[at], data[at + 2 : at + 2 + data[at + 1]]
            at += 2 + len(section)
            if last == GATES:
                good = _unpack(section, gates) and all(gate.any() for gate in np.split(gates, splits))
            elif last == WORDS:
                good = _unpack(section, words) and all(words[~np.array(keywords(labels))])
            else:
                return Status.UNKNOWN_SECTION
            if not good:
                return Status.CORRUPT
        return Status.OK if at == end else Status.CORRUPT

    status = read()
    if status is not Status.OK:
        gates[:] = words[:] = True
    return status, np.split(gates, splits), words.tolist()


def labels_of(model: Graph) -> list[str]:
    """Raises InputError where the metadata name none."""
    labels = list(model.metadata.get("labels", []))
    keywords(labels)
    return labels


def pack(bits: np.ndarray) -> bytes:
    """bool[n] as bytes, the first item in the lowest bit, filled up with zeros."""
    return np.packbits(bits, bitorder="little").tobytes()


def _unpack(data: bytes, items: np.ndarray) -> bool:
    """Fills `items` (bool) from `data`. False where the length is another, or a bit behind the last item is set."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little").astype(bool)
    if len(bits) != -(-len(items) // 8) * 8 or bits[len(items) :].any():
        return False
    items[:] = bits[: len(items)]
    return True


def _user(values: Any, model: Graph) -> User:
    """The user that `save` described. Raises InputError."""
    names = {"format"} | {field.name for field in fields(User)}
    if not isinstance(values, dict) or values.get("format") != FORMAT or set(values) != names:
        found = f"format {values.get('format')!r}" if isinstance(values, dict) else type(values).__name__
        raise InputError(f"found {found}; the file of a user in format {FORMAT} is accepted")
    if values["model"] != model.sha256:
        raise InputError(f"it is of model {values['model']!r}; accepted is {model.sha256!r}, '{model.name}'")
    count = values["utterances"]
    if type(count) is not int or not 1 <= count <= MAX_UTTERANCES:
        raise InputError(f"utterances is {count!r}; 1 to {MAX_UTTERANCES} is accepted")
    counts = [group.count for group in groups(model)]
    sums = values["sums"]
    if (
        not isinstance(sums, list)
        or not all(isinstance(each, list) for each in sums)
        or [len(each) for each in sums] != counts
        or not all(type(each) is int and -128 * count <= each <= 127 * count for row in sums for each in row)
    ):
        raise InputError(f"sums: accepted are {counts} integers, each a sum of {count} int8 codes")
    points = values["zero_points"]
    if (
        not isinstance(points, list)
        or len(points) != len(counts)
        or not all(type(each) is int and -128 <= each <= 127 for each in points)
    ):
        raise InputError(f"zero_points: found {points!r}; accepted are {len(counts)} int8 codes")
    steps = values["steps"]
    most = 127 * len(model.metadata.get("labels", []))
    if (
        not isinstance(steps, list)
        or not all(isinstance(each, list) for each in steps)
        or [len(each) for each in steps] != counts
        or not all(type(each) is int and abs(each) <= most for row in steps for each in row)
    ):
        raise InputError(f"steps: accepted are {counts} integers, each a sum of int8 steps")
    words = values["words"]
    if words is not None:
        if not isinstance(words, list):
            raise InputError(f"words: found {words!r}; a list of labels, or null, is accepted")
        allowed(labels_of(model), words)
    return User(
        model.sha256,
        count,
        tuple(map(tuple, sums)),
        tuple(points),
        tuple(map(tuple, steps)),
        None if words is None else tuple(words),
    )
