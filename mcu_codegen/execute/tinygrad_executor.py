"""A graph's integers executed in tinygrad: independent of NumPy's functions, fast on whole test sets, on any device.

Arrays are cast to int32 before anything else (int8 products are wrong on some devices); `tinygrad_operators` says what
is computed of them. The device is tinygrad's DEV, by default the CPU, for which it needs a clang: one on PATH, or that
of the package ziglang. Either package may be absent: ask `unavailable` first.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from .. import files, lower
from ..emulate.host import cache_folder
from ..errors import InputError
from ..graph import Entry, Graph
from .batches import BatchExecutor
from .tinygrad_integers import int32
from .tinygrad_operators import compute

if TYPE_CHECKING:
    from tinygrad import Tensor


def unavailable() -> str:
    """Why tinygrad cannot be used here, or "" where it can."""
    if importlib.util.find_spec("tinygrad") is None:
        return "the package tinygrad is not installed (extra 'tinygrad')"
    if os.environ.get("DEV", "CPU") == "CPU" and not _clang() and importlib.util.find_spec("ziglang") is None:
        return "tinygrad needs `clang` on PATH or the package ziglang (extra 'emulate'); neither was found"
    return ""


def _clang() -> str | None:
    """The system's clang. CC may name another compiler, whose options tinygrad does not know."""
    named = os.environ.get("CC", "")
    return named if "clang" in Path(named).name else shutil.which("clang")


def _ziglang_script() -> str:
    """An executable that is the clang of the package ziglang: tinygrad runs CC as one word."""
    text = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m ziglang clang "$@"\n'
    script = cache_folder() / f"clang-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    if not os.access(script, os.X_OK):
        files.write_whole(script, text)
        script.chmod(0o755)
    return str(script)


@cache
def _tinygrad() -> ModuleType:
    """The module, with a device and a compiler that work: it reads both from the environment."""
    if reason := unavailable():
        raise InputError(reason)
    if os.environ.setdefault("DEV", "CPU") == "CPU":
        os.environ["CC"] = _clang() or _ziglang_script()
    return importlib.import_module("tinygrad")


class TinygradExecutor(BatchExecutor):
    """Describes a batch of a whole entry, then realises the outputs of all operators at once; from the third batch of
    one size on, what was described is run again without being described."""

    name = "tinygrad"
    batch = 512

    def __init__(self, graph: Graph) -> None:
        _tinygrad()
        super().__init__(graph)
        self._described: dict[tuple[str, int], Callable[..., dict[int, Tensor]]] = {}

    def _invoke(self, entry: Entry, values: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
        with _tinygrad().Context(PARALLEL=0):  # compilation in processes of its own costs more than it gains
            key = entry.name, max(map(len, values.values()))
            if key not in self._described:
                described = partial(self._describe, entry, tuple(values))
                reads = any(isinstance(step, lower.Lstm) for _, step in self.steps[entry.name])  # values in between
                self._described[key] = described if reads else _tinygrad().TinyJit(described)
            outputs = self._described[key](*(int32(data).realize() for data in values.values()))
        return {index: tensor.numpy() for index, tensor in outputs.items()}

    def _describe(self, entry: Entry, indices: tuple[int, ...], *given: Tensor) -> dict[int, Tensor]:
        """Every operator's output for the tensors of `indices`, realised."""
        current = dict(zip(indices, given, strict=True))
        outputs: dict[int, Tensor] = {}
        for operator, step in self.steps[entry.name]:
            operands = (self._operand(index, current) for index in operator.inputs if index >= 0)
            computed = compute(step, *operands)
            results = computed if isinstance(computed, tuple) else (computed,)
            for index, result in zip(operator.outputs, results, strict=True):
                tensor = self.graph.tensors[index]
                outputs[index] = result.reshape(-1, *tensor.shape).cast(tensor.dtype).contiguous()
                current[index] = outputs[index].cast("int32")
        _tinygrad().Tensor.realize(*outputs.values())
        return outputs

    def _operand(self, index: int, current: dict[int, Tensor]) -> Tensor:
        data = self.graph.tensors[index].data
        return current[index] if index in current or data is None else int32(data[np.newaxis])
