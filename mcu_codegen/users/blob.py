"""The blob by which a board knows a user, in some dozens of bytes, or up to three kilobytes with exits:

    "KWSU", version (1), number of sections (1), first 8 bytes of the model's SHA-256,
    sections: type (1), length (2), that many bytes,
    CRC-32 of everything before it (4).

Numbers are little endian. Sections have rising types, and are about what the model has:

1. GATES, of all groups in order; bit i % 8 of byte i // 8 belongs to gate i, and is set where it is open; bits behind
   the last one are 0. Without it, all are open.
2. WORDS, the labels that may be decided, likewise. A user of all words has none.
3. HEADS of the early exits, one after the other: weights, int8 [labels][features], then biases, int32 [labels].
4. THRESHOLDS of the early exits as estimated, int16.
5. BYPASS: which exits met its goal in the last estimate (1; bit i is exit i), and the exit after which nothing is run
   (1; the number of early exits where all is). A user whose exits have learnt has these three, any other none.
6. NEW_WORDS that she has taught, one after the other: weights, int8 [features], then the bias, int32. Without it, none.

A board that refuses a blob runs the full network with the factory's exits.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from ..errors import InputError
from ..graph import Graph
from ..listen.decision import allowed, keywords
from .exits import ALWAYS, NEVER, exits_of
from .gates import Gates, Group, all_open, check_gates, groups
from .learning_constants import heads_of
from .learnt import Learnt, check_learnt, fits
from .new_words import Row
from .teaching import Teaching, can_be_taught, check_rows

MAGIC, VERSION = b"KWSU", 2
_HEADER, _SECTION, _CRC = 14, 3, 4  # bytes


class Kind(IntEnum):
    """Types of sections."""

    GATES = 1
    WORDS = 2
    HEADS = 3
    THRESHOLDS = 4
    BYPASS = 5
    NEW_WORDS = 6


class Status(IntEnum):
    """What becomes of a blob. Anything but OK: the full network runs."""

    OK = 0
    CORRUPT = 1
    OUTDATED = 2  # another version of the blob
    FOREIGN = 3  # of another model
    UNKNOWN_SECTION = 4


@dataclass(frozen=True, eq=False)
class Content:
    """What a blob says."""

    gates: Gates  # by group; nothing where the model has none
    words: list[bool]  # by label, whether it may be decided
    learnt: Learnt | None  # None: the factory's exits
    new_words: Sequence[Row] = ()


def blob(
    model: Graph,
    gates: Gates,
    words: Sequence[str] | None = None,
    learnt: Learnt | None = None,
    new_words: Sequence[Row] = (),
) -> bytes:
    """The bytes for the board; `gates` are empty where the model has none, `words` are None for all.

    Raises InputError where something does not fit the model.
    """
    listed, labels = user_groups(model), labels_of(model)
    check_gates(listed, gates)
    may = allowed(labels, words)
    sections: dict[Kind, bytes] = {}
    if listed:
        sections[Kind.GATES] = pack(np.concatenate(gates))
    if not all(may):
        sections[Kind.WORDS] = pack(np.array(may))
    if learnt is not None:
        check_learnt(model, learnt)
        pairs = zip(learnt.weights, learnt.biases, strict=True)
        sections[Kind.HEADS] = b"".join(weights.tobytes() + bias.astype("<i4").tobytes() for weights, bias in pairs)
        sections[Kind.THRESHOLDS] = np.array(learnt.thresholds, "<i2").tobytes()
        sections[Kind.BYPASS] = pack(np.array(learnt.met)) + bytes([learnt.bypass])
    if new_words:
        check_rows(model, new_words)
        parts = (row.weights.tobytes() + row.bias.to_bytes(4, "little", signed=True) for row in new_words)
        sections[Kind.NEW_WORDS] = b"".join(parts)
    content = MAGIC + bytes([VERSION, len(sections)]) + bytes.fromhex(model.sha256)[:8]
    for kind, section in sections.items():
        if len(section) > 0xFFFF:
            raise InputError(f"user: {len(section)} bytes of {kind.name.lower()}; up to 65535 fit into a blob")
        content += bytes([kind]) + len(section).to_bytes(2, "little") + section
    return content + zlib.crc32(content).to_bytes(_CRC, "little")


def blob_bytes(model: Graph) -> int:
    """The size of the largest blob of `model`, that of a user with words, exits and new words."""
    parts = [-(-len(labels_of(model)) // 8)]
    if listed := user_groups(model):
        parts.append(-(-sum(group.count for group in listed) // 8))
    if exits := len(exits_of(model)):
        parts += [sum(head.weights.size + 4 * head.bias.size for head in heads_of(model)), 2 * exits, 2]
    if can_be_taught(model):
        teaching = Teaching.of(model)
        parts.append(teaching.words * (teaching.features + 4))
    return _HEADER + sum(_SECTION + part for part in parts) + _CRC


def read_blob(model: Graph, data: bytes) -> tuple[Status, Content]:
    """As the board does. Where the blob is refused, the content is that of the full network."""
    reader = _Reader(model)
    status = reader.read(data)
    return status, reader.content() if status is Status.OK else _Reader(model).content()


def user_groups(model: Graph) -> tuple[Group, ...]:
    """Its gate groups, or nothing. Raises InputError where nothing in it can be one person's."""
    if "gates" not in model.metadata and not exits_of(model) and not can_be_taught(model):
        raise InputError(
            f"model '{model.name}': its metadata list neither gates nor exits nor how words are taught, one of which a"
            " user's network needs"
        )
    return groups(model) if "gates" in model.metadata else ()


def labels_of(model: Graph) -> list[str]:
    """Raises InputError where the metadata name none."""
    labels = list(model.metadata.get("labels", []))
    keywords(labels)
    return labels


def pack(bits: np.ndarray) -> bytes:
    """bool[n] as bytes, the first item in the lowest bit, filled up with zeros."""
    return np.packbits(bits, bitorder="little").tobytes()


class _Reader:
    """Takes one section after the other."""

    def __init__(self, model: Graph) -> None:
        self.model, self.groups = model, user_groups(model)
        self.gates, self.words = all_open(self.groups), np.ones(len(labels_of(model)), bool)
        self.heads: list[tuple[np.ndarray, np.ndarray]] = []
        self.thresholds: list[int] = []
        self.met: list[bool] = []
        self.bypass = 0
        self.new_words: list[Row] = []
        self.takes = {Kind.WORDS: self.take_words}
        if self.groups:
            self.takes[Kind.GATES] = self.take_gates
        if exits_of(model):
            exits = {Kind.HEADS: self.take_heads, Kind.THRESHOLDS: self.take_thresholds, Kind.BYPASS: self.take_bypass}
            self.takes |= exits
        if can_be_taught(model):
            self.takes[Kind.NEW_WORDS] = self.take_new_words

    def content(self) -> Content:
        learnt = None
        if self.heads:
            weights, biases = zip(*self.heads, strict=True)
            learnt = Learnt(weights, biases, tuple(self.thresholds), tuple(self.met), self.bypass)
        return Content(self.gates, self.words.tolist(), learnt, self.new_words)

    def read(self, data: bytes) -> Status:
        end = len(data) - _CRC
        if end < _HEADER or data[:4] != MAGIC or zlib.crc32(data[:end]) != int.from_bytes(data[end:], "little"):
            return Status.CORRUPT
        if data[4] != VERSION:
            return Status.OUTDATED
        if data[6:_HEADER] != bytes.fromhex(self.model.sha256)[:8]:
            return Status.FOREIGN
        at, last = _HEADER, 0
        for _ in range(data[5]):
            if end - at < _SECTION or data[at] <= last:
                return Status.CORRUPT
            last, length = data[at], int.from_bytes(data[at + 1 : at + _SECTION], "little")
            at += _SECTION
            if end - at < length:
                return Status.CORRUPT
            if last not in self.takes:
                return Status.UNKNOWN_SECTION
            if not self.takes[Kind(last)](data[at : at + length]):
                return Status.CORRUPT
            at += length
        alike = len({bool(self.heads), bool(self.thresholds), bool(self.met)}) == 1
        return Status.OK if at == end and alike else Status.CORRUPT

    def take_gates(self, section: bytes) -> bool:
        counts = [group.count for group in self.groups]
        if (gates := _unpack(section, sum(counts))) is None:
            return False
        self.gates = np.split(gates, np.cumsum(counts)[:-1])
        return all(gate.any() for gate in self.gates)

    def take_words(self, section: bytes) -> bool:
        if (words := _unpack(section, len(self.words))) is None:
            return False
        self.words = words
        return bool(words[~np.array(keywords(labels_of(self.model)))].all())

    def take_heads(self, section: bytes) -> bool:
        heads, at = heads_of(self.model), 0
        if len(section) != sum(head.weights.size + 4 * head.bias.size for head in heads):
            return False
        for head in heads:
            weights = np.frombuffer(section, np.int8, head.weights.size, at).reshape(head.weights.shape)
            at += head.weights.size
            bias = np.frombuffer(section, "<i4", head.bias.size, at).astype(np.int32)
            at += 4 * head.bias.size
            self.heads.append((weights, bias))
        return all(fits(*head) for head in self.heads)

    def take_thresholds(self, section: bytes) -> bool:
        if len(section) != 2 * len(exits_of(self.model)):
            return False
        self.thresholds = np.frombuffer(section, "<i2").tolist()
        return all(ALWAYS <= threshold <= NEVER for threshold in self.thresholds)

    def take_bypass(self, section: bytes) -> bool:
        exits = len(exits_of(self.model))
        if len(section) != 2 or (met := _unpack(section[:1], exits)) is None:
            return False
        self.met, self.bypass = met.tolist(), section[1]
        return self.bypass == exits or (self.bypass < exits and self.met[self.bypass])

    def take_new_words(self, section: bytes) -> bool:
        teaching = Teaching.of(self.model)
        size = teaching.features + 4
        if not section or len(section) % size or len(section) > teaching.words * size:
            return False
        for at in range(0, len(section), size):
            weights = np.frombuffer(section, np.int8, teaching.features, at)
            bias = int.from_bytes(section[at + teaching.features : at + size], "little", signed=True)
            self.new_words.append(Row(weights, bias))
        return all(fits(row.weights, np.array(row.bias)) for row in self.new_words)


def _unpack(data: bytes, count: int) -> np.ndarray | None:
    """bool[count] from `data`. None where the length is another, or a bit behind the last item is set."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little").astype(bool)
    return None if len(bits) != -(-count // 8) * 8 or bits[count:].any() else bits[:count]
