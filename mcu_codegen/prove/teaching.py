"""Parity of taught words: what the C hears, learns, answers and loads, against NumPy."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..emulate.machines import counting_machine
from ..emulate.teaching_executor import CoreTeachingExecutor, HostTeachingExecutor
from ..emulate.toolchain import Toolchain
from ..execute.numpy_executor import NumpyExecutor
from ..graph import Graph
from ..listen.decision import SILENCE, UNKNOWN
from ..targets import Target
from ..users.blob import Content, blob, labels_of, pack, read_blob, user_groups
from ..users.gates import Gates, all_open, open_channels
from ..users.new_words import LastLayer, Row, with_words
from ..users.teaching import Teaching, hear, sums
from .comparison import Comparison, Report
from .dialogue import answers_of
from .personal import Cores

DONE, TOO_FEW, FULL = range(3)
"""What the C returns from teaching, as in the header that `emit.teaching` writes."""


@dataclass(frozen=True)
class Given:
    """What the C is asked to do."""

    words: Sequence[np.ndarray]  # clips of each, int8 (K, *input shape)
    blobs: Sequence[bytes]
    features: Sequence[np.ndarray] = ()  # of the clips of other words, int8 [K, features]

    def pack(self) -> bytes:
        """For the C."""
        parts = [struct.pack("<I", len(self.words))]
        parts += [struct.pack("<I", len(clips)) + clips.tobytes() for clips in self.words]
        parts += [struct.pack("<I", len(self.features))]
        parts += [struct.pack("<I", len(codes)) + _sums(codes) for codes in self.features]
        parts += [struct.pack("<I", len(self.blobs))]
        parts += [struct.pack("<I", len(each)) + each for each in self.blobs]
        return b"".join(parts)


def random_given(graph: Graph, heard: np.ndarray, seed: int = 0) -> Given:
    """Words of clips that are heard, one of too many and one of too few; words of given features, one more than there
    is room for and one of too few clips; and blobs that are good or not. `heard` is int8 (N, *input shape): a network
    may hear silence in all of it, and learn nothing from that."""
    rng, teaching = np.random.default_rng([seed, 4]), Teaching.of(graph)
    counts = [teaching.most + 1, teaching.fewest - 1, *[teaching.fewest] * teaching.words]
    words = [heard[rng.integers(0, len(heard), count)] for count in counts]
    clips = [teaching.fewest - 1, *rng.integers(teaching.fewest, teaching.most + 1, teaching.words + 1).tolist()]
    features = [_pattern(rng, count, teaching.features) for count in clips]
    rows = [
        Row(rng.integers(-127, 128, teaching.features).astype(np.int8), int(rng.integers(-(1 << 22), (1 << 22) + 1)))
        for _ in range(teaching.words)
    ]
    open_ = all_open(user_groups(graph))
    word = [label for label in labels_of(graph) if label not in (SILENCE, UNKNOWN)][:1]
    good = [blob(graph, open_, said, None, rows[:count]) for said in (None, word) for count in (1, 2)]
    good.append(blob(graph, open_, word, None, rows))
    places = rng.integers(0, len(good[0]), 12).tolist()
    odd = [good[0][:at] + bytes([good[0][at] ^ 1]) + good[0][at + 1 :] for at in places]
    return Given(words, [*good, *odd, good[1][:-1], b""], features)


def _pattern(rng: np.random.Generator, count: int, features: int) -> np.ndarray:
    """Clips that are alike, int8 [count, features]: of the same few loud features."""
    middle = rng.integers(-128, 128, features) * (rng.random(features) < 0.5)
    return np.clip(middle + rng.integers(-9, 10, (count, features)), -128, 127).astype(np.int8)


def _sums(codes: np.ndarray) -> bytes:
    """What the C keeps of the features of clips, int8 [K, features]."""
    return sums(codes).astype("<u2").tobytes()


def compare(
    model: Graph,
    given: Given,
    cores: Cores = Cores(),  # noqa: B008 - frozen
    progress: Callable[[Comparison], None] = lambda comparison: None,
) -> Report:
    """Every executor's answers against `expected`."""
    return answers_of(
        "teaching",
        lambda: HostTeachingExecutor(model),
        lambda *core: CoreTeachingExecutor(model, *core),
        expected(model, given),
        given.pack(),
        cores,
        progress,
    )


def instructions(model: Graph, clips: np.ndarray, target: Target, compiler: Toolchain, function: str) -> int:
    """What the first call of a C function executes in teaching one word by `clips` int8 (K, *input shape). Raises
    InputError where nothing counts on `target`."""
    executor = CoreTeachingExecutor(model, target, counting_machine(target), compiler)
    return executor.count(Given([clips], []).pack(), function)


def expected(model: Graph, given: Given, gates: Gates | None = None) -> list[tuple[str, bytes]]:
    """The answers by NumPy, each part named. `gates` are those that are open, all where there are none."""
    parts: list[tuple[str, bytes]] = []
    rows: list[Row] = []
    judge = _Judge(model, gates)
    for number, clips in enumerate(given.words):
        judge.source = clips[-1:] if len(clips) else judge.source
        parts += [(f"word {number}, {what}", data) for what, data in _taught(model, clips, gates, rows, judge)]
    rows.clear()
    for number, codes in enumerate(given.features):
        parts += [(f"features {number}, {what}", data) for what, data in _learnt(model, codes, rows, judge)]
    for number, each in enumerate(given.blobs):
        status, content = read_blob(model, each)
        parts.append((f"blob {number}", struct.pack("<i", status) + judge.show(content)))
    return parts


def _taught(
    model: Graph, clips: np.ndarray, gates: Gates | None, rows: list[Row], judge: _Judge
) -> Iterator[tuple[str, bytes]]:
    """What is said of one word; its row is added to `rows` where it is learnt."""
    teaching = Teaching.of(model)
    codes, silent = hear(model, clips, gates)
    kept: list[int] = []
    for place, quiet in enumerate(silent.tolist()):
        if quiet or len(kept) == teaching.most:
            yield "heard", struct.pack("<i", -1)
        else:
            kept.append(place)
            yield "heard", struct.pack("<i", len(kept)) + _sums(codes[kept])
    yield from _learnt(model, codes[kept], rows, judge)


def _learnt(model: Graph, codes: np.ndarray, rows: list[Row], judge: _Judge) -> Iterator[tuple[str, bytes]]:
    """What is said of the features of a word's clips; its row is added to `rows` where it is learnt."""
    teaching = Teaching.of(model)
    if len(codes) < teaching.fewest or len(rows) == teaching.words:
        yield "refused", struct.pack("<i", TOO_FEW if len(codes) < teaching.fewest else FULL)
        return
    rows.append(teaching.learn(codes))
    user = Content(all_open(user_groups(model)), [True] * len(labels_of(model)), None, tuple(rows))
    yield "learnt", struct.pack("<i", DONE) + judge.show(user)


class _Judge:
    """What a network with some gates open says of one input."""

    def __init__(self, model: Graph, gates: Gates | None) -> None:
        self.model, self.gates = model, gates
        source = model.tensors[model.main.inputs[0]]
        self.source = np.zeros((1, *source.shape), source.dtype)

    def show(self, content: Content) -> bytes:
        """A user as a blob, which labels may be decided, and what is said with her words."""
        words = [label for label, may in zip(labels_of(self.model), content.words, strict=True) if may]
        words = [label for label in words if label not in (SILENCE, UNKNOWN)]
        rows = content.new_words
        data = blob(self.model, content.gates, words or None, None, rows)
        unused = Teaching.of(self.model).words - len(rows)
        may = pack(np.array([*content.words, *[True] * len(rows), *[False] * unused]))
        graph = with_words(self.model, rows, [f"word {number}" for number in range(len(rows))])
        opened = None if self.gates is None else open_channels(graph, self.gates)
        scores = NumpyExecutor(graph, opened).run([self.source])[LastLayer.of(graph).scores]
        return struct.pack("<I", len(data)) + data + may + scores.tobytes() + b"\x80" * unused
