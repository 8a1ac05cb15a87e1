"""Parity of one user: every way to ship a personal network, against the NumPy executor with closed channels."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from . import parity
from .bake import Restored, bake
from .emit.renderer import Renderer
from .emulate.machine import MachineError
from .emulate.user_executor import Answers, CoreUserExecutor, HostUserExecutor
from .errors import InputError
from .execute.numpy_executor import NumpyExecutor
from .gates import groups, open_channels
from .graph import Graph
from .parity import Absent, Comparison, Executor, Report
from .targets import TARGETS, Target
from .user import User, blob, pack, read_blob

Progress = Callable[[Comparison], None]


@dataclass(frozen=True)
class Cores:
    """Where C is compared beside this host, and how it is made; see `parity.executors`."""

    targets: Sequence[Target] = tuple(TARGETS.values())
    compiler: str | None = None
    renderers: Mapping[str, Renderer] = field(default_factory=dict)


def compare(
    model: Graph,
    enrolment: Graph | None,
    user: User,
    inputs: np.ndarray,
    cores: Cores = Cores(),  # noqa: B008 - frozen
    progress: Progress = lambda comparison: None,
) -> Report:
    """The user's network baked, on every executor, every layer; and enrolment in C, where there is `enrolment`.

    `inputs` are int8 (N, *input shape); for enrolment they are N utterances. Closed channels are compared as what they
    are by definition, zero points.
    """
    comparisons = _baked(model, user, inputs, cores, progress)
    if enrolment is not None:
        comparisons += _enrolment(model, enrolment, user, inputs, cores, progress)
    return Report(comparisons)


def _baked(model: Graph, user: User, inputs: np.ndarray, cores: Cores, progress: Progress) -> list[Comparison]:
    gates = user.gates(groups(model))
    baked = bake(model, gates)
    every = [NumpyExecutor(baked), *parity.executors(baked, cores.targets, cores.compiler, cores.renderers)]
    executors: list[Executor | Absent] = [
        replace(each, name=f"{each.name}, baked") if isinstance(each, Absent) else Restored(each, model, gates)
        for each in every
    ]
    given = {model.main.name: [inputs]}
    return parity.compare(model, executors, given, progress, open_channels(model, gates)).comparisons


def _enrolment(
    model: Graph, enrolment: Graph, user: User, features: np.ndarray, cores: Cores, progress: Progress
) -> list[Comparison]:
    """Enrolment against `User.enrol`; the blob of `user` loaded, and refused with any of its bytes changed."""
    data = user.blob(model)
    blobs = [data, *(data[:at] + bytes([byte ^ 0xFF]) + data[at + 1 :] for at, byte in enumerate(data))]
    expected = Answers(
        blob(model, User.enrol(model, enrolment, features).gates(groups(model))),
        [loaded(model, each) for each in blobs],
    )
    executors: list[HostUserExecutor | CoreUserExecutor | Absent] = []
    try:
        executors.append(HostUserExecutor(model, enrolment))
    except InputError as error:
        executors.append(Absent("host", str(error)))
    executors += parity.on_cores(cores.targets, cores.compiler, lambda *core: CoreUserExecutor(model, enrolment, *core))

    def one(executor: HostUserExecutor | CoreUserExecutor | Absent) -> Comparison:
        done = Comparison(f"{executor.name}, enrolment")
        if isinstance(executor, Absent):
            done = replace(done, trouble=executor.reason, absent=True)
        else:
            try:
                done = _answers(done, expected, executor.run(features, blobs))
            except MachineError as error:
                done = replace(done, trouble=str(error))
        progress(done)
        return done

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, executors))


def loaded(model: Graph, data: bytes) -> bytes:
    """What the C makes of a blob: status (int32), gates, words, as in `Answers`."""
    status, gates, words = read_blob(model, data)
    return struct.pack("<i", status) + pack(np.concatenate(gates)) + pack(np.array(words))


def _answers(done: Comparison, expected: Answers, found: Answers) -> Comparison:
    pairs = {
        "blob": (expected.blob, found.blob),
        "loaded blobs": (b"".join(expected.loaded), b"".join(found.loaded)),
    }
    for part, both in pairs.items():
        first, second = (np.frombuffer(each, np.uint8)[np.newaxis] for each in both)
        done = parity.add(done, part, first, second)
    return done
