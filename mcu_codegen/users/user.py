"""A user of a personal model: the file on the host.

The file `anna.user` holds what enrolment measured, and the utterances that exits learn from, so that more can be added
later, beside the heads and thresholds that were learnt. The blob for the board follows from it (`blob`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import files
from ..errors import InputError
from ..execute.numpy_executor import NumpyExecutor
from ..graph import Graph
from ..listen.decision import allowed
from .blob import blob, labels_of, user_groups
from .gates import MAX_UTTERANCES, Gates, Group, absent_steps, all_open, check_pair, decide
from .learning import Learner, Utterances
from .learnt import Learnt
from .new_words import NewWord, Row, with_words
from .own_exits import OwnExits
from .teaching import Teaching, check_rows

FORMAT = 3  # of the file


@dataclass(frozen=True)
class User:
    """What enrolment measured for one user of one model."""

    model: str  # SHA-256 of model.tflite, in hexadecimal
    utterances: int  # K; 0 where no gates were enrolled, and all are open
    sums: tuple[tuple[int, ...], ...]  # of the logits of K utterances, by group and gate
    zero_points: tuple[int, ...]  # of the logits, by group
    steps: tuple[tuple[int, ...], ...]  # by group and gate: what the words that she does without change, an utterance
    words: tuple[str, ...] | None = None  # the keywords that this user uses; None: all
    exits: OwnExits | None = None  # None: the factory's
    new_words: tuple[NewWord, ...] = ()  # that she has taught

    @staticmethod
    def nobody(model: Graph, words: Sequence[str] | None = None) -> User:
        """Somebody of whom nothing has been heard. Raises InputError where `model` cannot have users."""
        allowed(labels_of(model), words)
        zeros = tuple((0,) * group.count for group in user_groups(model))
        return User(model.sha256, 0, zeros, (0,) * len(zeros), zeros, None if words is None else tuple(words))

    @staticmethod
    def enrol(model: Graph, enrolment: Graph, features: np.ndarray, words: Sequence[str] | None = None) -> User:
        """From the int8 features (K, *input shape) of K utterances, by the two graphs of a gated model.

        Raises InputError where they do not belong together.
        """
        check_pair(model, enrolment)
        absent = ~np.array(allowed(labels_of(model), words), bool)
        steps = tuple(tuple(table[absent].sum(axis=0, dtype=np.int64).tolist()) for table in absent_steps(enrolment))
        zero_points = tuple(enrolment.tensors[index].zero_point for index in enrolment.main.outputs)
        nobody = replace(User.nobody(model, words), zero_points=zero_points, steps=steps)
        return nobody.heard(enrolment, features)

    def heard(self, enrolment: Graph, features: np.ndarray) -> User:
        """This user after more utterances: int8 features (K, *input shape). Raises InputError."""
        count = self.utterances + len(features)
        if not len(features) or count > MAX_UTTERANCES:
            raise InputError(f"enrolment: {count} utterances; 1 to {MAX_UTTERANCES} are accepted")
        if enrolment.metadata.get("model") != self.model[:16]:
            raise InputError(f"model '{enrolment.name}': it does not enrol for model {self.model[:16]}, the user's")
        if self.zero_points != tuple(enrolment.tensors[index].zero_point for index in enrolment.main.outputs):
            raise InputError(f"model '{enrolment.name}': the user's gates were not enrolled with it")
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

    def taught(self, model: Graph, features: np.ndarray, labels: Sequence[int]) -> User:
        """This user after exits have learnt from more utterances, too: int8 features (K, *input shape) and a label
        each, `NO_LABEL` where there is none. The network runs with the gates that the user has by now.

        Raises InputError where they cannot teach.
        """
        learner, listed = Learner.of(model), user_groups(model)
        before = Utterances.nothing(model) if self.exits is None else self.exits.buffer
        more = Utterances.of(model, features, labels, self.gates(listed) if listed else None)
        buffer = before.joined(more, learner.constants.capacity)
        learnt = learner.learn(buffer, None if self.learnt is None else self.learnt.met)
        return replace(self, exits=OwnExits(buffer, learnt))

    def with_word(self, model: Graph, name: str, clips: np.ndarray) -> User:
        """This user after she has taught the word `name` by `clips` of it, int8 [K, features] of `teaching.hear` with
        the gates that she has by now.

        Raises InputError where they cannot teach, or the model or she has the word already.
        """
        teaching, names = Teaching.of(model), [*(each.name for each in self.new_words), name]
        if len(names) > teaching.words:
            raise InputError(f"word '{name}': {len(names) - 1} words are taught already, as many as can be")
        with_words(model, [Row.blank(teaching.features)] * len(names), names)
        return replace(self, new_words=(*self.new_words, NewWord(name, clips, teaching.learn(clips))))

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        values = asdict(replace(self, exits=None, new_words=()))
        values |= {"exits": None if self.exits is None else self.exits.to_dict()}
        values |= {"new_words": [each.to_dict() for each in self.new_words]}
        files.write_whole(path, json.dumps({"format": FORMAT, **values}, indent=2) + "\n")

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
        if not self.utterances:
            return all_open(groups)
        totals = [
            np.array(sums, np.int64) + self.utterances * np.array(steps, np.int64)
            for sums, steps in zip(self.sums, self.steps, strict=True)
        ]
        return decide(totals, self.zero_points, self.utterances)

    @property
    def learnt(self) -> Learnt | None:
        """What the exits have learnt, if they have."""
        return None if self.exits is None else self.exits.learnt

    def blob(self, model: Graph) -> bytes:
        """For the board."""
        rows = [each.row for each in self.new_words]
        return blob(model, self.gates(user_groups(model)), self.words, self.learnt, rows)


def _user(values: Any, model: Graph) -> User:
    """The user that `save` described. Raises InputError."""
    names = {"format"} | {field.name for field in fields(User)}
    if not isinstance(values, dict) or values.get("format") != FORMAT or set(values) != names:
        found = f"format {values.get('format')!r}" if isinstance(values, dict) else type(values).__name__
        raise InputError(f"found {found}; the file of a user in format {FORMAT} is accepted")
    if values["model"] != model.sha256:
        raise InputError(f"it is of model {values['model']!r}; accepted is {model.sha256!r}, '{model.name}'")
    count = values["utterances"]
    if type(count) is not int or not 0 <= count <= MAX_UTTERANCES:
        raise InputError(f"utterances is {count!r}; 0 to {MAX_UTTERANCES} is accepted")
    counts = [group.count for group in user_groups(model)]
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
        None if values["exits"] is None else OwnExits.from_dict(values["exits"], model),
        _new_words(values["new_words"], model),
    )


def _new_words(values: Any, model: Graph) -> tuple[NewWord, ...]:
    if not isinstance(values, list):
        raise InputError(f"new words: found {values!r}; a list is accepted")
    found = tuple(map(NewWord.from_dict, values))
    if found:
        check_rows(model, [each.row for each in found])
        with_words(model, [each.row for each in found], [each.name for each in found])
        teaching = Teaching.of(model)
        for each in found:
            teaching.check(each.clips)
    return found
