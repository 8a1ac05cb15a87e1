"""Parity of one user: every way to ship a personal network, against the NumPy executor with closed channels."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from ..emit.cortex_m.instruction_sets import SWITCHABLE
from ..emit.portable.renderer import Renderer
from ..emulate.core_executor import CoreExecutor
from ..emulate.host_executor import HostExecutor
from ..emulate.machine import Machine, MachineError
from ..emulate.toolchain import Toolchain
from ..emulate.user_executor import Answers, CoreUserExecutor, HostUserExecutor
from ..errors import InputError
from ..execute.numpy_executor import NumpyExecutor
from ..graph import Graph
from ..targets import TARGETS, Target
from ..users.bake import Restored, bake
from ..users.blob import pack, read_blob, user_groups
from ..users.exits import answers
from ..users.gates import Gates, open_channels
from ..users.learnt import with_exits
from ..users.new_words import with_words
from ..users.user import User
from . import parity
from .comparison import Comparison, Report, add
from .parity import Absent, Executor

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
    """The user's network, baked on every executor, and switchable in C where it has gates: every layer. Where there is
    `enrolment`, enrolment in C too.

    `inputs` are int8 (N, *input shape); for enrolment they are N utterances. Closed channels are compared as what they
    are by definition, zero points.
    """
    own = model if user.learnt is None else with_exits(model, user.learnt)
    own = with_words(own, [each.row for each in user.new_words], [each.name for each in user.new_words])
    given = {model.main.name: [inputs]}
    listed = user_groups(model)
    if not listed:
        return parity.compare(
            own, parity.executors(own, cores.targets, cores.compiler, cores.renderers), given, progress
        )
    gates = user.gates(listed)
    executors = [*_baked(own, gates, cores), *_switchable(own, gates, cores)]
    comparisons = parity.compare(own, executors, given, progress, open_channels(own, gates)).comparisons
    if enrolment is not None:
        comparisons += _enrolment(model, enrolment, user, inputs, cores, progress)
    return Report(comparisons)


def _baked(model: Graph, gates: Gates, cores: Cores) -> list[Executor | Absent]:
    baked = bake(model, gates)
    every = [NumpyExecutor(baked), *parity.executors(baked, cores.targets, cores.compiler, cores.renderers)]
    return [
        replace(each, name=f"{each.name}, baked") if isinstance(each, Absent) else Restored(each, model, gates)
        for each in every
    ]


def _switchable(model: Graph, gates: Gates, cores: Cores) -> list[Executor | Absent]:
    def on_core(target: Target, machine: Machine, compiler: Toolchain) -> Executor:
        optimize = cores.renderers[target.name].optimize if target.name in cores.renderers else "speed"
        renderer = SWITCHABLE[target.instruction_set](optimize, model, None, gates)
        return CoreExecutor(model, target, machine, compiler, renderer)

    found: list[Executor | Absent] = []
    try:
        found.append(HostExecutor(model, SWITCHABLE["portable"]("speed", model, None, gates)))
    except InputError as error:
        found.append(Absent("host", str(error)))
    found += parity.on_cores(cores.targets, cores.compiler, on_core)
    return [_named(each, "switchable") for each in found]


def _named(executor: Executor | Absent, way: str) -> Executor | Absent:
    if isinstance(executor, Absent):
        return replace(executor, name=f"{executor.name}, {way}")
    executor.name = f"{executor.name}, {way}"
    return executor


def _enrolment(
    model: Graph, enrolment: Graph, user: User, features: np.ndarray, cores: Cores, progress: Progress
) -> list[Comparison]:
    """Enrolment against `User.enrol`; the blob of `user` loaded, and refused with any of its bytes changed; the network
    switched to what was loaded."""
    gates = user.gates(user_groups(model))
    data = replace(user, exits=None, new_words=()).blob(model)
    blobs = [data, *(data[:at] + bytes([byte ^ 0xFF]) + data[at + 1 :] for at, byte in enumerate(data))]
    expected = Answers(
        User.enrol(model, enrolment, features, user.words).blob(model),
        loaded(model, blobs, features[-1]),
    )
    executors: list[HostUserExecutor | CoreUserExecutor | Absent] = []
    try:
        executors.append(HostUserExecutor(model, enrolment, gates))
    except InputError as error:
        executors.append(Absent("host", str(error)))
    executors += parity.on_cores(
        cores.targets, cores.compiler, lambda *core: CoreUserExecutor(model, enrolment, gates, *core)
    )

    def one(executor: HostUserExecutor | CoreUserExecutor | Absent) -> Comparison:
        done = Comparison(f"{executor.name}, enrolment")
        if isinstance(executor, Absent):
            done = replace(done, trouble=executor.reason, absent=True)
        else:
            try:
                done = _answers(done, expected, executor.run(features, data, blobs))
            except MachineError as error:
                done = replace(done, trouble=str(error))
        progress(done)
        return done

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, executors))


def loaded(model: Graph, blobs: Sequence[bytes], utterance: np.ndarray) -> list[bytes]:
    """What the C makes of `blobs`, as in `Answers`; `utterance` are int8 features of the input's shape."""
    outputs: dict[bytes, bytes] = {}  # by gates: most blobs are refused
    found = []
    for data in blobs:
        status, content = read_blob(model, data)
        packed = pack(np.concatenate(content.gates))
        if packed not in outputs:
            values = NumpyExecutor(model, open_channels(model, content.gates)).run([utterance[np.newaxis]])
            outputs[packed] = answers(model, values)[1].tobytes()
        found.append(struct.pack("<i", status) + packed + pack(np.array(content.words)) + outputs[packed])
    return found


def _answers(done: Comparison, expected: Answers, found: Answers) -> Comparison:
    pairs = {
        "blob": (expected.blob, found.blob),
        "loaded blobs": (b"".join(expected.loaded), b"".join(found.loaded)),
    }
    for part, both in pairs.items():
        first, second = (np.frombuffer(each, np.uint8)[np.newaxis] for each in both)
        done = add(done, part, first, second)
    return done
