"""From waveform to decision: programs on the same audio, compared with the pipeline in NumPy, the specification."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from ..emulate.board_program import BoardProgram
from ..emulate.machine import MachineError
from ..listen.pipeline import Pipeline, Stream
from ..targets import Target
from .comparison import Comparison, Report, add
from .parity import Absent, on_cores


class Program(Protocol):
    """What hears audio: see `Pipeline.run`."""

    name: str

    def run(self, audio: np.ndarray) -> Stream: ...


def programs(pipeline: Pipeline, targets: Sequence[Target], compiler: str | None = None) -> list[BoardProgram | Absent]:
    """The firmware of `pipeline` on `targets`, in each of their emulators, built."""
    return on_cores(targets, compiler, lambda *core: BoardProgram(pipeline, *core))


def compare(pipeline: Pipeline, programs: Iterable[Program | Absent], audio: np.ndarray) -> Report:
    """Feed int16 `audio` [n] at 16 kHz to every program; compare features, scores and detections with their hops."""
    reference = pipeline.run(audio)

    def one(program: Program | Absent) -> Comparison:
        if isinstance(program, Absent):
            return Comparison(program.name, trouble=program.reason, absent=True)
        try:
            found = program.run(audio)
        except MachineError as error:
            return Comparison(program.name, trouble=str(error))
        return _compared(program.name, reference, found)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return Report(list(pool.map(one, programs)))


def _compared(name: str, expected: Stream, found: Stream) -> Comparison:
    done = Comparison(name)
    for part in ("features", "scores"):
        done = add(done, part, getattr(expected, part), getattr(found, part))
    return add(done, "detections", _detections(expected), _detections(found))


def _detections(stream: Stream) -> np.ndarray:
    """One row each: hop, label, whether suppressed."""
    rows = [(each.hop, each.label, int(each.suppressed)) for each in stream.detections]
    return np.array(rows, np.int32).reshape(-1, 3)
