"""Float and integer networks on many clips at once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from mcu_codegen.errors import InputError
from mcu_codegen.execute import numpy_executor, tinygrad_executor
from mcu_codegen.execute.batches import BatchExecutor
from mcu_codegen.graph import Graph
from mcu_codegen.listen.frontend import FrontEnd

from ..data.audio import RATE, cache_folder
from ..data.task import Examples, check_seconds
from ..features import Window, cached


def real(features: np.ndarray, spec: FrontEnd) -> Tensor:
    """int8[N, frames, coefficients] as the real values that a network takes, float32[N, 1, frames, coefficients]."""
    return (torch.from_numpy(features).float() - spec.zero_point).mul_(spec.scale).unsqueeze(1)


def outputs(network: nn.Module, features: np.ndarray, spec: FrontEnd, batch: int = 512) -> list[Tensor]:
    """What the network gives for int8 `features`, float32[N, ...] each; it is put into evaluation mode."""
    network.eval()
    with torch.no_grad():
        parts = [network(real(features[start : start + batch], spec)) for start in range(0, len(features), batch)]
    every = [part if isinstance(part, tuple) else (part,) for part in parts]
    return [torch.cat(each) for each in zip(*every, strict=True)]


def logits(network: nn.Module, features: np.ndarray, spec: FrontEnd) -> Tensor:
    """float32[N, labels] of int8 `features`: of several outputs the last, which is the network's own answer."""
    return outputs(network, features, spec)[-1]


def scores(graph: Graph, features: np.ndarray) -> np.ndarray:
    """The int8 scores [N, labels] of an integer network, those of its last exit."""
    return exit_scores(graph, features)[-1]


def exit_scores(graph: Graph, features: np.ndarray) -> np.ndarray:
    """The int8 scores of every exit of an integer network, [exits, N, labels], by tinygrad where it is installed, else
    by NumPy."""
    missing = tinygrad_executor.unavailable()
    executor: BatchExecutor = (
        numpy_executor.NumpyExecutor(graph) if missing else tinygrad_executor.TinygradExecutor(graph)
    )
    values = executor.run([features[:, np.newaxis, ..., np.newaxis]])
    return np.stack([values[output].reshape(len(features), -1) for output in graph.main.outputs])


def features_of(examples: Examples, window: Window) -> np.ndarray:
    """int8[N, frames, coefficients] of unaltered clips, from the cache where they were extracted before."""
    return cached(examples.audio, window, cache_folder() / "features")


def length_of(graph: Graph) -> int:
    """Samples of the clips that an integer network was trained on. Raises InputError where its metadata are bad."""
    return round(check_seconds(graph.metadata.get("seconds", 1.0)) * RATE)


def window_of(graph: Graph) -> Window:
    """What an integer network is shown of a clip, by its metadata and the size of its input.

    Raises InputError where it has no front end, or takes less than the clip's seconds or another width.
    """
    preset = graph.metadata.get("front_end")
    if preset is None:
        raise InputError(f"model '{graph.name}': its metadata name no front end; a model of `kws quantize` is accepted")
    spec, source = Window(preset).front_end, graph.tensors[graph.main.inputs[0]]
    length = length_of(graph)
    surplus = source.bytes // spec.coefficients - spec.frames(length)
    if source.bytes % spec.coefficients or surplus < 0 or surplus % 2:
        raise InputError(
            f"model '{graph.name}': input {source.shape}; {spec.frames(length)} frames of {spec.coefficients}, and as"
            " many before as after, are accepted"
        )
    return Window(preset, surplus // 2, length)
