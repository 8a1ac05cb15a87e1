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
    """What the network said in a recording, and what there was to hear."""

    scores: Scores  # [inferences, labels]
    after: npt.NDArray[np.int64]  # [inferences], hops heard before each
    hops: int
    hop_seconds: float
    words: tuple[Spoken, ...]
    left_out: int = 0  # inferences


class Listener:
    """A pipeline's front end and network. What decides is not in it: its scores serve any settings of a decision."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
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
        context, stride = self.pipeline.context, self.pipeline.decision.stride_hops
        if front_end.frames(len(recording.audio)) < context:
            raise InputError(
                f"a recording of {len(recording.audio) / RATE:.2f} s: shorter than the network's window of"
                f" {context} frames, {((context - 1) * front_end.hop + front_end.window) / RATE:.2f} s"
            )
        features = extract(recording.audio[None, : hops * front_end.hop], front_end.name)[0]
        due = np.arange(stride, hops + 1, stride)
        frames = np.array([front_end.frames(int(hop) * front_end.hop) for hop in due], np.int64)
        heard, awake, ends = self.pipeline.heard(features, frames)
        scores = self._scores(heard, ends)
        return Heard(scores, due[awake], hops, front_end.hop / RATE, recording.words, int((~awake).sum()))

    def _scores(self, features: npt.NDArray[np.int8], ends: npt.NDArray[np.int64]) -> Scores:
        """int8[len(ends), labels] after so many of the frames int8[frames, coefficients] that the network hears.

        Every inference sees a whole window of frames, silence before the first. A streaming network's step, which
        takes the new frames alone, would replace these lines and nothing else.
        """
        front_end = self.pipeline.front_end
        history = np.concatenate([np.tile(front_end.floor_codes, (self.pipeline.context, 1)), features])
        starts = np.ascontiguousarray(ends * front_end.coefficients, np.int32)
        scores = np.empty((len(ends), len(self.pipeline.labels)), np.int8)
        self._hear(history.ctypes.data, starts.ctypes.data, len(ends), scores.ctypes.data)
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


def left_out(heard: Iterable[Heard]) -> float:
    """The share of the inferences that did not run."""
    counts = [(each.left_out, len(each.after) + each.left_out) for each in heard]
    return sum(rest for rest, _ in counts) / max(1, sum(due for _, due in counts))
