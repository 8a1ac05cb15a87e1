"""The firmware of firmware_stubs on an emulated core: self-tests, then a recording, from waveform to decision."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import numpy as np

from ..emit.activity import emit_activity
from ..emit.cortex_m.instruction_sets import RENDERERS
from ..emit.decision import emit_decision
from ..emit.frontend import emit_frontend
from ..emit.model import emit_model
from ..emit.plan import INPUTS
from ..emit.portable.renderer import Renderer
from ..listen.decision import Detection
from ..listen.pipeline import Pipeline, Stream
from ..targets import Target
from .build import RUNTIME, build, stubs
from .exchange import OBSERVED
from .machine import Machine
from .observers import observer
from .toolchain import Toolchain

RECORDING = "recording.raw"
"""As in firmware_stubs/emulated/board.c: int16 samples."""

_FIRMWARE = (
    "generic/board.h",
    "generic/main.c",
    "emulated/board.c",
    *RUNTIME,
)

# as in firmware_stubs/generic/stream.c and in the header of the decision
_FEATURES, _SCORES, _DETECTED, _SUPPRESSED = 100, 101, 1, 2


def loop(pipeline: Pipeline, target: Target, renderer: Renderer) -> dict[str, str]:
    """File name to text: front end, network, decision, and the loop that joins them, for the core of `target`."""
    front_end, decision, activity = pipeline.front_end, pipeline.decision, pipeline.activity
    return {
        **emit_frontend(front_end, instruction_set=target.instruction_set),
        # the frames of a step are needed once; those of a whole network are most of the next window, too
        **emit_model(pipeline.graph, renderer=renderer, inputs=INPUTS[pipeline.graph.step is not None]),
        **emit_decision(
            decision,
            pipeline.labels,
            words=pipeline.words,
            rests=activity is not None,
            target_fa=pipeline.target_fa,
        ),
        **(emit_activity(activity, front_end.coefficients, decision.stride_hops) if activity else {}),
        **stubs("generic/stream.c", "generic/stream.h"),
    }


class BoardProgram:
    """Front end, network and decision of a pipeline, as an emulated board runs them."""

    def __init__(self, pipeline: Pipeline, target: Target, machine: Machine, toolchain: Toolchain) -> None:
        """Builds; `machine` emulates `target`."""
        self.name = f"{target.name} {machine.name} {toolchain.name}"
        self.text = ""  # what the last run wrote
        self._pipeline = pipeline
        self._machine = machine
        self._folder = tempfile.TemporaryDirectory(prefix="kws-mcu-")
        sources = {
            **loop(pipeline, target, RENDERERS[target.instruction_set]()),
            **stubs(*_FIRMWARE),
            **observer("STREAM_OBSERVE"),
        }
        self._program = build(
            Path(self._folder.name),
            sources,
            target,
            toolchain,
            defines=["KWS_MODEL_SELFTEST"],
            include=["observe.h"],
        )

    def run(self, audio: np.ndarray) -> Stream:
        """What int16 `audio` [n] at 16 kHz gives from a reset on. Raises MachineError where a self-test fails."""
        folder = Path(self._folder.name)
        (folder / RECORDING).write_bytes(audio.astype("<i2").tobytes())
        (folder / OBSERVED).unlink(missing_ok=True)
        self.text = self._machine.run(self._program, folder)
        return self._parse((folder / OBSERVED).read_bytes())

    def _parse(self, content: bytes) -> Stream:
        features, scores, detections = [], [], []
        at = 0
        while at < len(content):
            what, size = struct.unpack_from("<II", content, at)
            data = content[at + 8 : at + 8 + size]
            at += 8 + size
            if what == _FEATURES:
                features.append(data)
            elif what == _SCORES:
                scores.append(data)
            else:
                hop, label = struct.unpack_from("<IB", data)
                detections.append(Detection(label, hop, {_DETECTED: False, _SUPPRESSED: True}[what]))
        return Stream(
            np.frombuffer(b"".join(features), np.int8).reshape(-1, self._pipeline.front_end.coefficients),
            np.frombuffer(b"".join(scores), np.int8).reshape(-1, len(self._pipeline.labels)),
            detections,
        )
