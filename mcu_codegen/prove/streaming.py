"""A step against the whole network: after every step, the scores must be those of the last window, byte for byte.

LiteRT, which has no steps, is held against the whole network in a few of the windows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..execute.numpy_executor import NumpyExecutor
from ..graph import Graph
from ..listen.step import silence
from . import against_litert, parity

_TOGETHER = 256  # windows whose tensors are in memory at a time
_SHOWN = 4  # windows that LiteRT sees


def random_frames(step: Graph, steps: int, seed: int = 0) -> np.ndarray:
    """(steps, *input shape) of `step`: a fifth of each the lowest, the highest and slowly changing codes, the rest
    random ones."""
    tensor = step.tensors[step.main.inputs[0]]
    codes = np.iinfo(tensor.dtype)
    rng = np.random.default_rng(seed)
    frames = rng.integers(codes.min, codes.max, (steps, *tensor.shape), tensor.dtype, endpoint=True)
    fifth = steps // 5
    frames[:fifth], frames[fifth : 2 * fifth] = codes.min, codes.max
    frames[2 * fifth : 3 * fifth] = frames[2 * fifth : 3 * fifth] // 16 + frames[2 * fifth : 2 * fifth + 1] // 2
    return frames


def compare(
    graph: Graph,
    step: Graph,
    executors: Iterable[parity.Executor | parity.Absent],
    frames: np.ndarray,
    progress: Callable[[parity.Comparison], None] = lambda comparison: None,
) -> parity.Report:
    """Hold `step`, of `graph`, against whole windows of `frames` (steps, *input shape), and `executors` against it."""
    if not len(frames):
        raise InputError("a stream of no steps; one or more are accepted")
    whole = against_windows(graph, step, frames)
    progress(whole)
    rest = parity.compare(step, executors, {step.main.name: [frames]}, progress)
    litert = _litert(graph, _windows(graph, step, frames, np.linspace(0, len(frames) - 1, _SHOWN).astype(int)))
    for each in litert:
        progress(each)
    return parity.Report([whole, *rest.comparisons, *litert])


def _litert(graph: Graph, windows: np.ndarray) -> list[parity.Comparison]:
    inputs = {graph.main.name: [windows]}
    return against_litert.compare(graph, inputs, {graph.main.name: NumpyExecutor(graph).run([windows])})


def _windows(graph: Graph, step: Graph, frames: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """(n, *input shape of `graph`): the windows that end with some of the steps, int[n], of `frames`."""
    assert step.step is not None
    source = graph.tensors[graph.main.inputs[0]]
    row = source.bytes // step.step.window
    history = np.concatenate([silence(graph).reshape(-1, row), frames.reshape(-1, row)])
    ends = (steps + 1) * step.step.frames
    return history[ends[:, np.newaxis] + np.arange(step.step.window)].reshape(-1, *source.shape)


def against_windows(graph: Graph, step: Graph, frames: np.ndarray) -> parity.Comparison:
    """`step` in NumPy; what is expected are the outputs of `graph` on whole windows of `frames`."""
    network, stepped = NumpyExecutor(graph), NumpyExecutor(step).run([frames])
    done = parity.Comparison("numpy, whole windows")
    for first in range(0, len(frames), _TOGETHER):
        steps = np.arange(first, min(first + _TOGETHER, len(frames)))
        expected = network.run([_windows(graph, step, frames, steps)])
        for index, place in zip(graph.main.outputs, step.main.outputs, strict=True):
            done = parity.add(done, graph.tensors[index].name, expected[index], stepped[place][steps])
            if done.first is not None and first:
                return replace(done, first=replace(done.first, sample=done.first.sample + first))
    return done
