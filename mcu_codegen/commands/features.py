"""Inputs of a network in a file: one meaning wherever a verb takes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import InputError
from ..graph import Graph


def read(graph: Graph, path: Path, option: str) -> np.ndarray:
    """The inputs (N, *shape) of `graph` in the .npy file that `option` names. Raises InputError."""
    values = _load(path, option)
    if len(graph.entries) != 1 or len(graph.main.inputs) != 1:
        raise InputError(f"{option} {path}: accepted are models of one entry with one input, unlike this one")
    tensor = graph.tensors[graph.main.inputs[0]]
    if values.dtype != tensor.dtype or values.shape[1:] != tensor.shape or not len(values):
        raise InputError(
            f"{option} {path}: found {values.dtype} {values.shape}; accepted is {tensor.dtype} (N, *{tensor.shape})"
        )
    return values


def stream(step: Graph, path: Path, option: str) -> np.ndarray:
    """The inputs (steps, *shape) of a step out of a stream (frames, features); frames past the last whole step are
    unused. Raises InputError."""
    assert step.step is not None
    tensor, values = step.tensors[step.main.inputs[0]], _load(path, option)
    features = tensor.bytes // step.step.frames
    steps = len(values) // step.step.frames if values.ndim else 0
    if values.dtype != tensor.dtype or values.shape[1:] != (features,) or not steps:
        raise InputError(
            f"{option} {path}: found {values.dtype} {values.shape}; accepted is {tensor.dtype} (N, {features}), a"
            f" stream of {step.step.frames} frames or more"
        )
    return values[: steps * step.step.frames].reshape(steps, *tensor.shape)


def _load(path: Path, option: str) -> np.ndarray:
    try:
        values: np.ndarray = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{option} {path}: not a readable .npy file ({error})") from None
    return values
