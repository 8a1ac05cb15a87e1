"""The generated C on an emulated core, as an executor."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from ..emit.cortex_m.instruction_sets import RENDERERS
from ..emit.model import emit_plan
from ..emit.plan import INPUTS, compile_plan
from ..emit.portable.renderer import Renderer
from ..graph import Graph
from ..targets import Target
from . import core_harness, exchange
from .build import RUNTIME, build, stubs
from .machine import Machine
from .observers import observer
from .toolchain import Toolchain


class CoreExecutor:
    """Builds once, with every layer observed; every run boots anew, so persistent tensors start from their reset."""

    def __init__(
        self,
        graph: Graph,
        target: Target,
        machine: Machine,
        toolchain: Toolchain,
        renderer: Renderer | None = None,
        inputs: str = INPUTS[0],
    ) -> None:
        """`machine` emulates `target`; the renderer is by default the one of the target's instruction set. `inputs` is
        one of `emit.plan.INPUTS`."""
        self.name = f"{target.name} {machine.name} {toolchain.name}"
        self._machine = machine
        self._folder = tempfile.TemporaryDirectory(prefix="kws-mcu-")
        renderer = renderer or RENDERERS[target.instruction_set]()
        plan = compile_plan(graph, renderer, inputs=inputs)
        self.graph = plan.in_order(graph)
        model = emit_plan(plan)
        del model["kws_model_selftest.c"]
        sources = {**model, **core_harness.sources(graph, inputs), **observer("KWS_MODEL_OBSERVE"), **stubs(*RUNTIME)}
        self._program = build(
            Path(self._folder.name), sources, target, toolchain, include=["observe.h"], optimize=renderer.optimize
        )

    def reset(self) -> None:
        """Nothing is left to reset: every run starts from a reset."""

    def run(self, inputs: list[np.ndarray], entry: str | None = None) -> dict[int, np.ndarray]:
        """Values (N, *shape) of every operator's output, by tensor index; `inputs` are (N, *shape) each."""
        chosen = self.graph.entry(entry)
        folder = Path(self._folder.name)
        number = self.graph.entries.index(chosen)
        (folder / exchange.INPUTS).write_bytes(bytes([number]) + exchange.samples(self.graph, chosen, inputs))
        self._machine.run(self._program, folder)
        return exchange.observed(self.graph, chosen, (folder / exchange.OBSERVED).read_bytes())

    def stop(self, inputs: list[np.ndarray], thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `users.exits.answers`, of a graph with early exits; `thresholds` are int16 [early exits, N]."""
        folder = Path(self._folder.name)
        content = exchange.stopping_samples(self.graph, inputs, thresholds)
        (folder / exchange.INPUTS).write_bytes(bytes([len(self.graph.entries)]) + content)
        self._machine.run(self._program, folder)
        return exchange.answers(self.graph, (folder / exchange.ANSWERS).read_bytes())
