"""From waveform to decision: Python's pipeline, and the firmware on emulated cores, byte by byte."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streaming_models import small_network

from mcu_codegen import targets
from mcu_codegen.emulate.board_program import BoardProgram
from mcu_codegen.errors import InputError
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Conv2D, Entry, FullyConnected, Graph, Operator, Quantization, Softmax, Tensor
from mcu_codegen.listen import frontend
from mcu_codegen.listen.decision import Decision, Detector
from mcu_codegen.listen.frontend import PRESETS
from mcu_codegen.listen.pipeline import Pipeline
from mcu_codegen.listen.step import step_of
from mcu_codegen.prove import parity, pipelines

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
LABELS = ["_silence_", "_unknown_", "yes", "no"]


def small_pipeline(preset: str = "mfcc10") -> Pipeline:
    """Random weights on a context of 20 frames; its scores move with the audio, and that is all it is for."""
    rng = np.random.default_rng(5)
    front_end = PRESETS[preset]
    width = front_end.coefficients

    def weights(name: str, scale: float, shape: tuple[int, ...]) -> Tensor:
        quantization = Quantization((scale,) * shape[0], (0,) * shape[0])
        return Tensor(name, shape, "int8", quantization, rng.integers(-127, 128, shape, np.int8))

    tensors = [
        Tensor("features", (1, 20, width, 1), "int8", Quantization((front_end.scale,), (front_end.zero_point,))),
        weights("kernel", 0.01, (6, 5, 4, 1)),
        Tensor("hidden", (1, 10, width // 2, 6), "int8", Quantization((0.4,), (-128,))),
        weights("matrix", 6e-5, (4, 30 * width)),
        Tensor("logits", (1, 4), "int8", Quantization((0.1,), (0,))),
        Tensor("scores", (1, 4), "int8", Quantization((1 / 256,), (-128,))),
    ]
    operators = [
        Operator("CONV_2D", (0, 1, -1), (2,), Conv2D(stride=(2, 2), activation="RELU")),
        Operator("FULLY_CONNECTED", (2, 3, -1), (4,), FullyConnected()),
        Operator("SOFTMAX", (4,), (5,), Softmax()),
    ]
    decision = Decision(stride_hops=5, smoothing=2, threshold=40, refractory_hops=30)
    metadata = {"front_end": preset, "labels": LABELS, "decision": decision.to_dict()}
    return Pipeline.of(Graph("small", tensors, [Entry("invoke", (0,), (5,), operators)], metadata))


def babble(seconds: float) -> np.ndarray:
    """Noise whose loudness and colour change ten times a second, full scale and silence included."""
    rng = np.random.default_rng(9)
    count = int(seconds * 10) + 1
    loudness = np.repeat(10 ** rng.uniform(-1, 4.8, count), 1600)
    audio = rng.normal(0, 1, len(loudness))
    smooth = np.convolve(audio, np.ones(8) / 3, "same")
    mix = np.repeat(rng.uniform(0, 1, count), 1600)
    return np.clip((mix * audio + (1 - mix) * smooth) * loudness, -32768, 32767).astype(np.int16)[
        : int(seconds * 16000)
    ]


@pytest.mark.parametrize("preset", PRESETS)
def test_the_pipeline_is_what_happens_hop_by_hop(preset):
    pipeline, front_end = small_pipeline(preset), PRESETS[preset]
    audio = babble(3.0)
    found = pipeline.run(audio)
    # the same, with nothing computed ahead of its time
    network, detector = NumpyExecutor(pipeline.graph), Detector(pipeline.decision, LABELS)
    context = [front_end.floor_codes] * 20
    features, scores, detections = [], [], []
    needed = -(-front_end.window // front_end.hop) * front_end.hop  # whole hops that hold a window
    for end in range(front_end.hop, len(audio) + 1, front_end.hop):
        if end >= needed:
            features.append(frontend.features(front_end, audio[end - needed : end])[-1])
            context = [*context[1:], features[-1]]
        if detector.hop():
            window = np.array(context).reshape(1, 1, 20, front_end.coefficients, 1)
            scores.append(network.run([window])[5].reshape(-1))
            detections.append(detector.step(scores[-1]))
    assert np.array_equal(found.features, features)
    assert np.array_equal(found.scores, scores)
    assert found.detections == [each for each in detections if each]
    assert len(np.unique(found.scores)) > 30


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"front_end": "mfcc99"}, "front end 'mfcc99' is unknown; accepted are mfcc10, logmel40"),
        ({"front_end": "logmel40"}, "is not what front end 'logmel40' gives"),
        ({"labels": LABELS[:3]}, "is not 3 scores"),
        ({"decision": {"stride_hops": 5}}, "decision: found stride_hops; accepted are exactly"),
    ],
)
def test_metadata_that_do_not_match_are_refused(change, message):
    graph = small_pipeline().graph
    with pytest.raises(InputError, match=message):
        Pipeline.of(replace(graph, metadata={**graph.metadata, **change}))
    with pytest.raises(InputError, match=f"its metadata lack '{next(iter(change))}'"):
        Pipeline.of(replace(graph, metadata={k: v for k, v in graph.metadata.items() if k not in change}))


def compared(pipeline: Pipeline, programs: list[BoardProgram | parity.Absent], audio: np.ndarray) -> parity.Report:
    present = [each for each in programs if isinstance(each, BoardProgram)]
    if not present:
        pytest.skip("; ".join(each.reason for each in programs if isinstance(each, parity.Absent)))
    report = pipelines.compare(pipeline, programs, audio)
    for program in present:
        lines = program.text.splitlines()
        parts = ("front end", "network", "decision")
        assert lines[:3] == [f"self-test of {part}: passed" for part in parts]
        detections = [each for each in pipeline.run(audio).detections if not each.suppressed]
        hop_ms = pipeline.front_end.hop // 16
        assert [line.split() for line in lines[3:]] == [
            [str(each.hop * hop_ms), "ms", pipeline.labels[each.label]] for each in detections
        ]
    return report


def test_a_stream_is_the_same_on_two_cores():
    pipeline, audio = small_pipeline(), babble(4.0)
    expected = pipeline.run(audio)
    assert any(each.suppressed for each in expected.detections)
    assert sum(not each.suppressed for each in expected.detections) >= 2
    programs = pipelines.programs(pipeline, targets.find_all(["cortex-m0", "cortex-m4"]))
    report = compared(pipeline, programs, audio)
    size = expected.features.nbytes + expected.scores.nbytes + 12 * len(expected.detections)
    for comparison in report.comparisons:
        assert comparison.absent or (comparison.compared, comparison.differing) == (size, 0), str(report.table().text())
    assert report.passed


def stepping_pipelines(frames: int, stride_hops: int) -> tuple[Pipeline, Pipeline]:
    """One network as a whole, and as a step of so many frames."""
    front_end = PRESETS["mfcc10"]
    decision = Decision(stride_hops, smoothing=2, threshold=40, refractory_hops=30)
    graph = small_network(10, 30, front_end="mfcc10", labels=LABELS, decision=decision.to_dict())
    graph.tensors[0].quantization = Quantization((front_end.scale,), (front_end.zero_point,))
    return Pipeline.of(graph), Pipeline.of(step_of(graph, frames))


@pytest.mark.parametrize(("frames", "stride_hops"), [(2, 2), (2, 10), (10, 10), (4, 8)])
def test_a_step_hears_what_the_whole_network_hears(frames, stride_hops):
    whole, stepping = stepping_pipelines(frames, stride_hops)
    audio = babble(4.0)
    expected, found = whole.run(audio), stepping.run(audio)
    assert np.array_equal(found.scores, expected.scores) and len(np.unique(found.scores)) > 10
    assert found.detections == expected.detections


def test_steps_that_are_not_there_when_the_decision_is_due_are_refused():
    with pytest.raises(InputError, match="--rows-per-step 4: divisors of 10 are accepted, the decision's stride_hops"):
        stepping_pipelines(4, 10)


@pytest.mark.parametrize(("core", "frames"), [("cortex-m0", 2), ("cortex-m4", 4), ("cortex-m55", 2)])
def test_a_stream_of_steps_is_the_same_on_a_core(core, frames):
    _, stepping = stepping_pipelines(frames, 4)
    programs = pipelines.programs(stepping, targets.find_all([core]))
    report = compared(stepping, programs, babble(2.0))
    assert report.passed, report.table().text()


def sparse_babble(seconds: float) -> np.ndarray:
    """Noise of a room that now and then, for a quarter of a second, is babble."""
    audio, rng = babble(seconds), np.random.default_rng(11)
    at = np.arange(len(audio)) / 16000
    bursts = (at % 3.1 > 2.7) & (at > 2)
    return np.where(bursts, audio, rng.normal(0, 30, len(audio)).round()).astype(np.int16)


def resting(pipeline: Pipeline, hold_hops: int = 30, lead_hops: int = 4) -> Pipeline:
    """With a floor that knows the room from the start, so that seconds are enough, and keywords that win."""
    activity = replace(pipeline.resting(3.0).activity, silence=-60, hold_hops=hold_hops, lead_hops=lead_hops)
    return replace(pipeline, activity=activity, labels=("yes", "no", "_silence_", "_unknown_"))


def test_a_sleeping_loop_hears_the_stream_without_what_it_slept_through():
    """Hop by hop, with nothing but the frames that it keeps."""
    whole, stepping = (resting(each) for each in stepping_pipelines(2, 4))
    activity, audio = whole.activity, sparse_babble(18.0)
    found = whole.run(audio)
    front_end, context = PRESETS["mfcc10"], 30
    history = [front_end.floor_codes] * context
    detector = Detector(whole.decision, whole.labels)
    floor, quiet, asleep, kept, slept = activity.silence * 1024, 0, False, [], 0
    scores, detections = [], []
    for hop in range(1, len(audio) // front_end.hop + 1):
        if front_end.frames(hop * front_end.hop):
            frame = found.features[front_end.frames(hop * front_end.hop) - 1]
            above = int(frame[0]) * 1024 - floor
            quiet = 0 if above > activity.margin * 1024 else quiet + 1
            floor += above // (64 if above < 0 else 512)
            kept = [*kept, frame][-4 - 4 :] if asleep else [frame]
            history += [] if asleep else [frame]
        if detector.hop():
            if asleep and quiet >= 4:
                slept += 1
                continue
            history += kept if asleep else []
            asleep = not asleep and quiet >= 30
            kept = []
            window = np.array(history[-context:]).reshape(1, 1, context, 10, 1)
            scores.append(NumpyExecutor(whole.graph).run([window])[whole.graph.main.outputs[0]].reshape(-1))
            detections.append(detector.step(scores[-1]))
    assert slept > 30 and len(scores) > 30
    for each in (found, stepping.run(audio)):
        assert np.array_equal(each.scores, scores)
        assert each.detections == [detection for detection in detections if detection]
    assert found.detections


@pytest.mark.parametrize(("core", "frames"), [("cortex-m0", None), ("cortex-m4", 2)])
def test_a_sleeping_loop_is_the_same_on_a_core(core, frames):
    pipeline = resting(stepping_pipelines(frames or 2, 4)[frames is not None])
    audio = sparse_babble(8.0)
    awake = len(pipeline.run(audio).scores)
    assert 20 < awake < 80  # of a hundred
    report = compared(pipeline, pipelines.programs(pipeline, targets.find_all([core])), audio)
    assert report.passed, report.table().text()


def test_nothing_is_left_out_before_the_floor_is_found():
    """It rises from digital silence to the room in some tens of seconds, and until then the loop is awake."""
    pipeline = stepping_pipelines(2, 10)[0].resting(3.0)
    noise = np.random.default_rng(0).normal(0, 100, 16000 * 60).astype(np.int16)
    features = frontend.features(pipeline.front_end, noise)
    _, awake, _ = pipeline.heard(features, np.arange(9, len(features), 10))
    first = int(np.argmin(awake)) * 0.2
    assert 5 < first < 40 and awake[int(first / 0.2) :].mean() < 0.1


@pytest.mark.parametrize("decibels", [0.0, 41.0, float("nan")])
def test_margins_that_are_none_are_refused(decibels):
    with pytest.raises(InputError, match=r"--skip-silence .*: 0\.1 to 40 dB are accepted"):
        small_pipeline().resting(decibels)


class Altered:
    """A program that hears something else."""

    name = "altered"

    def __init__(self, pipeline: Pipeline, alter) -> None:
        self.pipeline, self.alter = pipeline, alter

    def run(self, audio):
        return self.alter(self.pipeline.run(audio))


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (
            lambda s: replace(s, features=s.features ^ (np.arange(s.features.size).reshape(s.features.shape) == 57)),
            "features, sample 5, index (7,)",
        ),
        (lambda s: replace(s, scores=s.scores[:-1]), "scores"),
        (
            lambda s: replace(s, detections=[replace(s.detections[0], hop=s.detections[0].hop + 1), *s.detections[1:]]),
            "detections, sample 0, index (0,)",
        ),
        (lambda s: replace(s, detections=s.detections[1:]), "detections"),
    ],
)
def test_a_stream_that_differs_fails(alter, message):
    pipeline = small_pipeline()
    report = pipelines.compare(pipeline, [Altered(pipeline, alter)], babble(4.0))
    assert not report.passed
    assert message in report.table().text()


@pytest.mark.slow
def test_minutes_of_real_speech_are_the_same_on_every_core():
    if not (SHARED / "data" / "speech_commands" / "manifest.csv").exists():
        pytest.skip("no recordings in ../shared/data")
    pytest.importorskip("soundfile")
    compose = runpy.run_path(str(ROOT / "benchmarks" / "stream.py"))["compose"]
    graph = tflite.read(SHARED / "models" / "mlperf_tiny_kws_int8.tflite")
    front_end = PRESETS["mfcc10"]
    # its features are another front end's: with ours it hears badly, which is no matter here
    graph.tensors[graph.main.inputs[0]].quantization = Quantization((front_end.scale,), (front_end.zero_point,))
    labels = ["down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "_silence_", "_unknown_"]
    decision = Decision(stride_hops=25, smoothing=2, threshold=40, refractory_hops=50)
    graph.metadata = {"front_end": "mfcc10", "labels": labels, "decision": decision.to_dict()}
    pipeline = Pipeline.of(graph)
    audio = compose(SHARED / "data" / "speech_commands", labels, clips=55, gap=2.4)
    assert len(audio) >= 180 * 16000
    detections = pipeline.run(audio).detections
    assert any(each.suppressed for each in detections) and not all(each.suppressed for each in detections)
    # one emulator a core, for time: QEMU, which is four times as fast, or else Unicorn
    found = [pipelines.programs(pipeline, [target]) for target in targets.TARGETS.values()]
    present = [[each for each in both if isinstance(each, BoardProgram)] or both for both in found]
    report = compared(pipeline, [each[-1] for each in present], audio)
    assert report.passed, report.table().text()


@pytest.mark.slow
@pytest.mark.parametrize("core", targets.TARGETS)
def test_a_stream_of_steps_is_the_same_on_every_core(core):
    whole, stepping = stepping_pipelines(2, 2)
    audio = babble(10.0)
    programs = pipelines.programs(stepping, targets.find_all([core]))
    report = compared(whole, programs, audio)
    assert report.passed, report.table().text()
