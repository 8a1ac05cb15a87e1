"""Parity of learning: what the C hears, learns in every epoch and loads, against NumPy."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..emulate.learning_executor import CoreLearningExecutor, HostLearningExecutor
from ..emulate.machines import counting_machine
from ..emulate.toolchain import Toolchain
from ..errors import InputError
from ..execute.numpy_executor import NumpyExecutor
from ..graph import Graph
from ..listen.decision import SILENCE, UNKNOWN
from ..targets import Target
from ..users.blob import Content, blob, labels_of, read_blob, user_groups
from ..users.exits import answers
from ..users.gates import Gates, all_open, open_channels
from ..users.learning import Learner, Step, Utterances
from ..users.learning_constants import heads_of
from ..users.learnt import with_exits
from ..users.regression import Head
from .comparison import Comparison, Report
from .dialogue import answers_of
from .personal import Cores

DONE, MORE, TOO_FEW, DAMAGED = range(4)
"""What the C returns from learning, as in the header that `emit.learning` writes."""


@dataclass(frozen=True)
class Stored:
    """A buffer as a board holds it."""

    utterances: Utterances
    met: Sequence[bool]  # by exit, at the estimate before
    broken: int | None = None  # the place of an utterance whose CRC does not fit

    def pack(self) -> bytes:
        """For the C."""
        kept = self.utterances
        met = sum(1 << exit for exit, each in enumerate(self.met) if each)
        content = struct.pack("<3I", met, kept.heard, len(kept.labels))
        for place, label in enumerate(kept.labels.tolist()):
            codes = b"".join(each[place].tobytes() for each in (*kept.features, kept.scores))
            crc = utterance_crc(kept, place) ^ (place == self.broken)
            content += codes + struct.pack("<iI", label, crc)
        return content

    def status(self, learner: Learner) -> int:
        """What the C says before it begins."""
        if len(self.utterances.labels) < learner.constants.fewest:
            return TOO_FEW
        try:
            learner.check(self.utterances)
        except InputError:
            return DAMAGED
        return MORE if self.broken is None else DAMAGED


@dataclass(frozen=True)
class Given:
    """What the C is asked to do."""

    heard: np.ndarray  # int8 (N, *input shape)
    labels: Sequence[int]  # of these
    buffers: Sequence[Stored]
    blobs: Sequence[bytes]

    def pack(self) -> bytes:
        """For the C."""
        pairs = zip(self.labels, self.heard, strict=True)
        parts = [struct.pack("<I", len(self.labels))]
        parts += [struct.pack("<i", label) + each.tobytes() for label, each in pairs]
        parts += [struct.pack("<I", len(self.buffers)), *(each.pack() for each in self.buffers)]
        parts += [struct.pack("<I", len(self.blobs))]
        parts += [struct.pack("<I", len(each)) + each for each in self.blobs]
        return b"".join(parts)


def compare(
    model: Graph,
    given: Given,
    cores: Cores = Cores(),  # noqa: B008 - frozen
    progress: Callable[[Comparison], None] = lambda comparison: None,
) -> Report:
    """Every executor's answers against `expected`."""
    return answers_of(
        "learning",
        lambda: HostLearningExecutor(model),
        lambda *core: CoreLearningExecutor(model, *core),
        expected(model, given),
        given.pack(),
        cores,
        progress,
    )


def instructions(model: Graph, utterances: Utterances, target: Target, compiler: Toolchain) -> int:
    """What `<name>_user_learn` executes to learn from a buffer. Raises InputError where nothing counts on `target`."""
    executor = CoreLearningExecutor(model, target, counting_machine(target), compiler)
    stored = Stored(utterances, [False] * len(utterances.features))
    heard = np.empty((0, *model.tensors[model.main.inputs[0]].shape), np.int8)
    return executor.count(Given(heard, [], [stored], []).pack(), "kws_model_user_learn")


def expected(model: Graph, given: Given, gates: Gates | None = None) -> list[tuple[str, bytes]]:
    """The answers by NumPy, each part named. `gates` are those that are open, all where there are none."""
    learner, judge = Learner.of(model), _Judge(model, given.heard[-1:], gates)
    heard = Utterances.of(model, given.heard, given.labels, gates)
    parts = [("heard", data) for data in _heard(learner, heard)]
    shown = _Heads(heads_of(model))
    for number, stored in enumerate(given.buffers):
        parts += [(f"buffer {number}, {what}", data) for what, data in _learnt(model, learner, stored, shown, judge)]
    for number, each in enumerate(given.blobs):
        status, content = read_blob(model, each)
        parts.append((f"blob {number}", struct.pack("<i", status) + judge.show(content)))
    return parts


def utterance_crc(utterances: Utterances, place: int) -> int:
    """As a board keeps it with an utterance."""
    codes = b"".join(each[place].tobytes() for each in (*utterances.features, utterances.scores))
    return zlib.crc32(codes + struct.pack("<b", int(utterances.labels[place])))


def _heard(learner: Learner, heard: Utterances) -> Iterator[bytes]:
    constants = learner.constants
    for number, label in enumerate(heard.labels.tolist()):
        count = min(number + 1, constants.capacity)
        due = number + 1 >= constants.every and count >= constants.fewest
        codes = b"".join(each[number].tobytes() for each in (*heard.features, heard.scores))
        yield struct.pack("<i", due) + codes + struct.pack("<iI", label, utterance_crc(heard, number))


class _Heads:
    """The heads in a user on a board, whatever is in them: those of the user before until they begin to learn."""

    def __init__(self, heads: Sequence[Head]) -> None:
        """Zeros, as static memory is."""
        self._factory = heads
        self.begin()

    def begin(self) -> None:
        self.weights = [np.zeros_like(head.weights) for head in self._factory]
        self.biases = [np.zeros_like(head.bias) for head in self._factory]

    def show(self, status: int) -> bytes:
        return struct.pack("<i", status) + b"".join(each.tobytes() for each in (*self.weights, *self.biases))


def _learnt(
    model: Graph, learner: Learner, stored: Stored, heads: _Heads, judge: _Judge
) -> Iterator[tuple[str, bytes]]:
    status = stored.status(learner)
    if status != MORE:
        yield "refused", heads.show(status)
        return
    heads.begin()
    yield "begun", heads.show(MORE)
    before: Step | None = None
    for step in learner.steps(stored.utterances, stored.met):
        if before is not None:
            yield f"exit {before.exit}, part {before.part}", heads.show(MORE)
        heads.weights[step.exit], heads.biases[step.exit] = step.head.weights, step.head.bias
        before = step
    yield "the last step", heads.show(DONE)
    learnt = learner.learn(stored.utterances, stored.met)
    shown = judge.show(Content(all_open(user_groups(model)), [True] * len(labels_of(model)), learnt))
    yield "user", shown + shown


@dataclass(frozen=True)
class _Judge:
    """What a network with some gates open says of one input."""

    model: Graph
    source: np.ndarray  # int8 (1, *input shape)
    gates: Gates | None

    def show(self, content: Content) -> bytes:
        """A user as a blob, and what is said with her exits; her gates are for the caller to set."""
        words = [label for label, may in zip(labels_of(self.model), content.words, strict=True) if may]
        words = [label for label in words if label not in (SILENCE, UNKNOWN)]
        data = blob(self.model, content.gates, words or None, content.learnt)
        graph = self.model if content.learnt is None else with_exits(self.model, content.learnt)
        opened = None if self.gates is None else open_channels(graph, self.gates)
        chosen, scores = answers(graph, NumpyExecutor(graph, opened).run([self.source]))
        return struct.pack("<I", len(data)) + data + struct.pack("<i", int(chosen[0])) + scores.tobytes()
