"""The integer pipeline over hours of audio at the speed of this machine: the C that a board runs, on all cores."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mcu_codegen.emit.model import emit_model
from mcu_codegen.emulate.host import build_shared_library
from mcu_codegen.errors import InputError
from mcu_codegen.listen.pipeline import Pipeline

from ..data.audio import RATE
from ..features import extract
from .recording import Recording, Spoken

Scores = npt.NDArray[np.int8]

_WINDOWS = """\
#include "kws_model.h"

void hear(const int8_t *frames, const int32_t *starts, int32_t count, int8_t *scores);

/* The scores of `count` windows of one recording; each is frames[starts[i]] and those after it. */
void hear(const int8_t *frames, const int32_t *starts, int32_t count, int8_t *scores)
{
    int64_t arena[(KWS_MODEL_ARENA_BYTES + 7) / 8] KWS_MODEL_ALIGNED; /* one for every thread */

    kws_model_reset(arena);
    for (int32_t window = 0; window < count; window++) {
        kws_model_invoke(arena, frames + starts[window], scores);
        scores += KWS_MODEL_OUTPUT_BYTES;
    }
}
"""


@dataclass(frozen=True)
class Heard:
    """What the network said in a recording, once every `stride_hops` hops, and what there was to hear."""

    scores: Scores  # [inferences, labels]
    stride_hops: int
    hops: int
    hop_seconds: float
    words: tuple[Spoken, ...]


class Listener:
    """A pipeline's front end and network. What decides is not in it: its scores serve any settings of a decision."""

    def __init__(self, pipeline: Pipeline, stride_hops: int) -> None:
        self.pipeline, self.stride_hops = pipeline, stride_hops
        source = pipeline.graph.tensors[pipeline.graph.main.inputs[0]]
        self.context = source.bytes // pipeline.front_end.coefficients  # frames
        model = emit_model(pipeline.graph, arena="caller")
        del model["kws_model_selftest.c"]
        library = build_shared_library({**model, "hear.c": _WINDOWS})
        self._hear = ctypes.CDLL(str(library)).hear
        self._hear.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p]
        self._hear.restype = None

    def hear(self, recording: Recording) -> Heard:
        """One recording from a reset on. Raises InputError where it is shorter than the network's window."""
        front_end = self.pipeline.front_end
        hops = len(recording.audio) // front_end.hop
        if front_end.frames(len(recording.audio)) < self.context:
            raise InputError(
                f"a recording of {len(recording.audio) / RATE:.2f} s: shorter than the network's window of"
                f" {self.context} frames, {((self.context - 1) * front_end.hop + front_end.window) / RATE:.2f} s"
            )
        features = extract(recording.audio[None, : hops * front_end.hop], front_end.name)[0]
        due = np.arange(self.stride_hops, hops + 1, self.stride_hops)
        scores = self._scores(features, due)
        return Heard(scores, self.stride_hops, hops, front_end.hop / RATE, recording.words)

    def _scores(self, features: npt.NDArray[np.int8], due: npt.NDArray[np.int64]) -> Scores:
        """int8[len(due), labels] after each of the hops `due`, of int8 features [frames, coefficients].

        Every inference sees a whole window of frames, silence before the first. A streaming network's step, which
        takes the new frames alone, would replace these lines and nothing else.
        """
        front_end = self.pipeline.front_end
        history = np.concatenate([np.tile(front_end.floor_codes, (self.context, 1)), features])
        # after a hop there are as many frames as in that many samples; the newest ends the window
        frames = np.array([front_end.frames(int(hop) * front_end.hop) for hop in due], np.int32)
        starts = np.ascontiguousarray(frames * front_end.coefficients, np.int32)
        scores = np.empty((len(due), len(self.pipeline.labels)), np.int8)
        self._hear(history.ctypes.data, starts.ctypes.data, len(due), scores.ctypes.data)
        return scores

    def hear_all(self, recordings: Sequence[Callable[[], Recording]]) -> Iterator[Heard]:
        """All of them in order, on as many threads as there are cores; each is made when its turn comes."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                yield from pool.map(lambda make: self.hear(make()), recordings)
            finally:
                pool.shutdown(cancel_futures=True)


def hours(heard: Iterable[Heard]) -> float:
    """Of audio."""
    return sum(each.hops * each.hop_seconds for each in heard) / 3600
