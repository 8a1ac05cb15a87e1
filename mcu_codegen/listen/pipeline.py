"""From waveform to decision in Python: what `firmware_stubs/generic/stream.c` does on a board, hop by hop.

The network's context holds the features of silence at first and slides by one frame with every frame of the front end.
The decision counts hops and says when the network runs. A step of a network (`step`) runs as soon as its frames are
there; frames of silence stand for the first hops, which give none, so that a step ends wherever the decision is due.
With an `activity` the network hears only some of the frames, and is asked only at some of those times.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import InputError
from ..execute.numpy_executor import NumpyExecutor
from ..graph import Graph
from ..users.exits import answers, exits_of
from . import frontend
from .activity import Activity
from .decision import Decision, Detection, Detector, allowed
from .frontend import FrontEnd


@dataclass(frozen=True)
class Stream:
    """What came out of a stretch of audio."""

    features: np.ndarray  # int8 (frames, coefficients)
    scores: np.ndarray  # int8 (inferences, labels), of the exit where each stopped
    detections: list[Detection]  # suppressed ones too


@dataclass(frozen=True)
class Pipeline:
    """A graph with the front end, labels and decision that its metadata name."""

    graph: Graph
    front_end: FrontEnd
    labels: tuple[str, ...]
    decision: Decision
    words: tuple[str, ...] | None = None  # the keywords that may be decided; None: all
    target_fa: float | None = None  # false accepts an hour that the decision was chosen for; None: for no known rate
    activity: Activity | None = None  # what leaves out inferences

    @staticmethod
    def of(graph: Graph) -> Pipeline:
        """Raises InputError where the metadata are missing, unknown, or do not match the network."""
        front_end = frontend.PRESETS.get(_field(graph, "front_end"))
        if front_end is None:
            raise InputError(
                f"model '{graph.name}': front end {_field(graph, 'front_end')!r} is unknown;"
                f" accepted are {', '.join(frontend.PRESETS)}"
            )
        labels = tuple(_field(graph, "labels"))
        words = graph.metadata.get("words")
        allowed(labels, words)
        decision = Decision.from_dict(_field(graph, "decision"))
        if len(graph.main.inputs) != 1 or len(graph.main.outputs) != 1 + len(exits_of(graph)):
            raise InputError(
                f"model '{graph.name}': entry '{graph.main.name}' needs one input, and one output for each exit"
            )
        source, output = graph.tensors[graph.main.inputs[0]], graph.tensors[graph.main.outputs[-1]]
        codes = (float(np.float32(front_end.scale)), front_end.zero_point)
        if (float(np.float32(source.scale)), source.zero_point) != codes or source.bytes % front_end.coefficients:
            raise InputError(
                f"input '{source.name}' {source.shape} with scale {source.scale} and zero point {source.zero_point} is"
                f" not what front end '{front_end.name}' gives: frames of {front_end.coefficients}, scale"
                f" {front_end.scale}, zero point {front_end.zero_point}"
            )
        if output.bytes != len(labels) or (output.scale, output.zero_point) != (1 / 256, -128):
            raise InputError(
                f"output '{output.name}' {output.shape} with scale {output.scale} and zero point {output.zero_point} is"
                f" not {len(labels)} scores, one a label, with scale 1/256 and zero point -128"
            )
        if graph.step is not None and decision.stride_hops % graph.step.frames:
            raise InputError(
                f"--rows-per-step {graph.step.frames}: divisors of {decision.stride_hops} are accepted, the decision's"
                " stride_hops"
            )
        words = None if words is None else tuple(words)
        return Pipeline(graph, front_end, labels, decision, words, graph.metadata.get("target_fa"))

    @property
    def context(self) -> int:
        """Frames that the whole network hears."""
        step, source = self.graph.step, self.graph.tensors[self.graph.main.inputs[0]]
        return source.bytes // self.front_end.coefficients if step is None else step.window

    def resting(self, decibels: float) -> Pipeline:
        """The same, which leaves out inferences while nothing is so much louder than the noise. Raises InputError."""
        stride_hops = self.decision.stride_hops
        return replace(self, activity=Activity.of(self.front_end, self.context, stride_hops, decibels))

    def run(self, audio: np.ndarray) -> Stream:
        """What int16 `audio` [n] at 16 kHz gives from a reset on; samples past the last whole hop are unused."""
        front_end = self.front_end
        hops = len(audio) // front_end.hop
        features = frontend.features(front_end, audio[: hops * front_end.hop])
        detector = Detector(self.decision, self.labels, self.words)
        frames = np.array([front_end.frames(hop * front_end.hop) for hop in range(1, hops + 1) if detector.hop()], int)
        heard, awake, ends = self.heard(features, frames)
        scores = self._stepped(heard, ends) if self.graph.step is not None else self._whole(heard, ends)
        detector.reset()
        asked, ready = iter(awake.tolist()), iter(scores)
        found = [detector.step(next(ready)) for _ in range(hops) if detector.hop() and next(asked)]
        return Stream(features, scores, [detection for detection in found if detection is not None])

    def heard(self, features: np.ndarray, due: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the network hears of features int8 (frames, coefficients), and when it is asked.

        `due` is int[n], how many frames there are whenever the decision is due. Gives the frames that it hears;
        bool[n], whether an inference runs; and for each that does, how many of the frames that it hears are there.
        """
        if self.activity is None:
            return features, np.ones(len(due), bool), due
        heard, awake = self.activity.watch(features, due.tolist())
        return features[heard], awake, np.concatenate([[0], np.cumsum(heard)])[due[awake]]

    def _whole(self, features: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Scores int8 (inferences, labels) after so many of the frames."""
        context, source = self.context, self.graph.tensors[self.graph.main.inputs[0]]
        history = np.concatenate([np.tile(self.front_end.floor_codes, (context, 1)), features])
        windows = np.array([history[end : end + context] for end in ends], np.int8).reshape(-1, *source.shape)
        return answers(self.graph, NumpyExecutor(self.graph).run([windows]))[1]

    def _stepped(self, features: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """The same of a step."""
        front_end, source = self.front_end, self.graph.tensors[self.graph.main.inputs[0]]
        frames = source.bytes // front_end.coefficients  # of a step
        late = (front_end.window - 1) // front_end.hop  # hops before the first frame
        history = np.concatenate([np.tile(front_end.floor_codes, (late, 1)), features])
        steps = history[: len(history) // frames * frames].reshape(-1, *source.shape)
        output = self.graph.main.outputs[-1]
        scores = NumpyExecutor(self.graph).run([steps])[output].reshape(-1, len(self.labels))
        return scores[(late + ends) // frames - 1]


def _field(graph: Graph, name: str) -> Any:
    if name not in graph.metadata:
        raise InputError(f"model '{graph.name}': its metadata lack '{name}', which a stream of audio needs")
    return graph.metadata[name]
