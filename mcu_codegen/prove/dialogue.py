"""Parity of C beside a network: what programs answer to a stream of bytes, against what is expected, part by part."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from ..emulate.dialogue import CoreDialogue, HostDialogue
from ..emulate.machine import MachineError
from ..errors import InputError
from . import parity
from .comparison import Comparison, Report, add
from .parity import Absent
from .personal import Cores


def answers_of(
    what: str,
    on_host: Callable[[], HostDialogue],
    on_core: Callable[..., CoreDialogue],
    wanted: Sequence[tuple[str, bytes]],
    given: bytes,
    cores: Cores,
    progress: Callable[[Comparison], None],
) -> Report:
    """The answers to `given` on this host and on every core, against `wanted`, the parts of them by name. `what` is
    tested names the executors; those that cannot be made are named as absent."""
    room = 2 * sum(len(data) for _, data in wanted)
    executors: list[HostDialogue | CoreDialogue | Absent] = []
    try:
        executors.append(on_host())
    except InputError as error:
        executors.append(Absent(f"host, {what}", str(error)))
    executors += parity.on_cores(cores.targets, cores.compiler, on_core)

    def one(executor: HostDialogue | CoreDialogue | Absent) -> Comparison:
        done = Comparison(executor.name)
        if isinstance(executor, Absent):
            done = replace(done, trouble=executor.reason, absent=True)
        else:
            try:
                done = compared(done, wanted, executor.run(given, room))
            except MachineError as error:
                done = replace(done, trouble=str(error))
        progress(done)
        return done

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return Report(list(pool.map(one, executors)))


def compared(done: Comparison, wanted: Sequence[tuple[str, bytes]], found: bytes) -> Comparison:
    """`done` and all parts of the answers, which `wanted` names."""
    at = 0
    for part, data in wanted:
        first, second = (np.frombuffer(each, np.uint8)[np.newaxis] for each in (data, found[at : at + len(data)]))
        done = add(done, part, first, second)
        at += len(data)
    return done if at == len(found) else replace(done, trouble=f"{len(found)} bytes of answers; {at} are expected")
