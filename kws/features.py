"""Features for training and evaluation: the very C front end that a board runs, compiled for this host."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import io
import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mcu_codegen import files
from mcu_codegen.emit.frontend import emit_frontend
from mcu_codegen.emulate.host import build_shared_library
from mcu_codegen.errors import InputError
from mcu_codegen.listen.frontend import PRESETS, FrontEnd

_BATCH = """\
#include "kws_frontend.h"

void extract(const int16_t *clips, int32_t count, int32_t hops, int8_t *features);

/* `count` clips of `hops` hops each, every clip from a reset. */
void extract(const int16_t *clips, int32_t count, int32_t hops, int8_t *features)
{
    for (int32_t clip = 0; clip < count; clip++) {
        kws_frontend_reset();
        for (int32_t hop = 0; hop < hops; hop++) {
            if (kws_frontend_push(clips, features)) {
                features += KWS_FRONTEND_COEFFICIENTS;
            }
            clips += KWS_FRONTEND_HOP;
        }
    }
}
"""


def front_end(preset: str) -> FrontEnd:
    """The front end called `preset`. Raises InputError naming those there are."""
    if preset not in PRESETS:
        raise InputError(f"front end '{preset}': unknown; accepted are {', '.join(PRESETS)}")
    return PRESETS[preset]


@dataclass(frozen=True)
class Window:
    """What a network is shown of a clip: features of `preset`, and `context` frames before and after the clip.

    `length` is the clip's, in samples at 16 kHz: a second, or more where phrases are longer.
    """

    preset: str
    context: int = 0
    length: int = 16000

    @property
    def front_end(self) -> FrontEnd:
        return front_end(self.preset)

    def frames(self, samples: int) -> int:
        """Frames that the network takes with a clip of so many samples."""
        return self.front_end.frames(samples) + 2 * self.context

    def surrounded(self, clips: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
        """int16[N, samples] with zeros before and after, as much as the context hears."""
        margin = self.context * self.front_end.hop
        return np.pad(clips, ((0, 0), (margin, margin)))

    def extract(self, clips: npt.NDArray[np.int16]) -> npt.NDArray[np.int8]:
        """int8[N, frames, coefficients] of int16[N, samples], with silence for context."""
        return extract(self.surrounded(clips), self.preset)


def extract(clips: np.ndarray, preset: str) -> np.ndarray:
    """int8[N, frames, coefficients] of int16 `clips` [N, samples], all of one length, a multiple of the hop.

    Runs on as many threads as there are cores.
    """
    spec = front_end(preset)
    if clips.ndim != 2 or clips.dtype != np.int16 or clips.shape[1] % spec.hop:
        raise InputError(
            f"front end '{preset}': clips of type {clips.dtype} and shape {clips.shape}; "
            f"accepted are int16[N, samples] with a multiple of {spec.hop} samples"
        )
    count, samples = clips.shape
    clips = np.ascontiguousarray(clips)
    features = np.empty((count, spec.frames(samples), spec.coefficients), np.int8)
    run = _library(preset).extract

    def part(bounds: tuple[int, int]) -> None:
        first, last = bounds
        run(clips[first:].ctypes.data, last - first, samples // spec.hop, features[first:].ctypes.data)

    workers = os.cpu_count() or 1
    edges = np.linspace(0, count, workers + 1).astype(int).tolist()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(part, itertools.pairwise(edges)))
    return features


def cached(clips: np.ndarray, window: Window, folder: Path) -> np.ndarray:
    """`Window.extract`, kept in `folder` under a name made of the audio's bytes and the front end's own C."""
    sources = emit_frontend(window.front_end)
    digest = hashlib.sha256(repr((sorted(sources.items()), clips.shape, window.context)).encode())
    digest.update(np.ascontiguousarray(clips).view(np.uint8).data)
    path = folder / f"{window.preset}-{digest.hexdigest()[:32]}.npy"
    if path.exists():
        return np.load(path)
    features = window.extract(clips)
    content = io.BytesIO()
    np.save(content, features)
    files.write_whole(path, content.getvalue())
    return features


@functools.cache
def _library(preset: str) -> ctypes.CDLL:
    """The C front end with an arena per thread; ctypes lets other threads run meanwhile."""
    sources = {**emit_frontend(front_end(preset)), "extract.c": _BATCH}
    library = ctypes.CDLL(str(build_shared_library(sources, defines=["KWS_FRONTEND_ARENA_ATTR=_Thread_local"])))
    library.extract.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p]
    library.extract.restype = None
    return library
