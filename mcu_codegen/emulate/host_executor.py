"""The generated C, compiled for this host, as an executor."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..emit.model import emit_plan
from ..emit.plan import INPUTS, compile_plan
from ..emit.portable.renderer import Renderer
from ..graph import Graph
from . import exchange, host, host_harness


class HostExecutor:
    """Runs the C in this process. Two executors of one graph share the C's static arena, hence persistent tensors."""

    def __init__(
        self,
        graph: Graph,
        renderer: Renderer | None = None,
        *,
        sanitize: Iterable[str] = (),
        command: tuple[str, ...] | None = None,
        inputs: str = INPUTS[0],
    ) -> None:
        """`sanitize` and `command` (the compiler) are as in `host.build_shared_library`, `inputs` as in
        `emit.plan.INPUTS`."""
        command = command or host.compiler()
        self.name = f"host {'clang (ziglang)' if 'ziglang' in command else Path(command[0]).name}"
        plan = compile_plan(graph, renderer, inputs=inputs)
        self.graph = plan.in_order(graph)
        model = emit_plan(plan)
        # observe.h goes before the model's source, in the one way that a shared library's build offers
        model["kws_model.c"] = '#include "observe.h"\n' + model["kws_model.c"]
        del model["kws_model_selftest.c"]
        library = host.build_shared_library(
            {**model, **host_harness.sources(graph, inputs)}, sanitize=sanitize, command=command
        )
        self._library = ctypes.CDLL(str(library))
        self.reset()

    def reset(self) -> None:
        """Persistent tensors take their initial values again."""
        self._library.kws_model_reset()

    def run(self, inputs: list[np.ndarray], entry: str | None = None) -> dict[int, np.ndarray]:
        """Values (N, *shape) of every operator's output, by tensor index; `inputs` are (N, *shape) each."""
        chosen = self.graph.entry(entry)
        content = exchange.samples(self.graph, chosen, inputs)
        count = len(inputs[0])
        results = np.empty(count * exchange.observed_bytes(self.graph, chosen), np.int8)
        self._library[f"run_{chosen.name}"](content, ctypes.c_uint32(count), ctypes.c_void_p(results.ctypes.data))
        return exchange.observed(self.graph, chosen, results)

    def stop(self, inputs: list[np.ndarray], thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `users.exits.answers`, of a graph with early exits; `thresholds` are int16 [early exits, N]."""
        content = exchange.samples(self.graph, self.graph.main, inputs)
        limits = np.ascontiguousarray(thresholds.T, np.int16)
        results = np.empty(len(limits) * exchange.answer_bytes(self.graph), np.int8)
        given, found = (ctypes.c_void_p(values.ctypes.data) for values in (limits, results))
        self._library.run_stopping(content, given, ctypes.c_uint32(len(limits)), found)
        return exchange.answers(self.graph, results)
