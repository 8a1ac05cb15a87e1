"""From waveform to decision on every emulated core, compared with Python byte by byte.

    python benchmarks/stream.py MODEL.tflite [--data FOLDER] [--clips N] [--stride HOPS] [--threshold T] [--target CORE]
                                [--rows-per-step N] [--skip-silence [DB]]

A stream is made of real clips with background noise between and under them: by default a little more than three
minutes. FOLDER has manifest.csv, audio files and _background_noise_ (default: ../shared/data/speech_commands).
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import soundfile

from mcu_codegen import targets
from mcu_codegen.commands import listening_options
from mcu_codegen.formats import tflite
from mcu_codegen.listen import frontend
from mcu_codegen.listen.pipeline import Pipeline
from mcu_codegen.listen.step import step_of
from mcu_codegen.prove import parity, pipelines

SAMPLES = frontend.SAMPLE_RATE
DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "speech_commands"


def compose(folder: Path, words: Sequence[str], clips: int, gap: float, seed: int = 0) -> np.ndarray:
    """int16 audio at 16 kHz: `clips` test clips of `words`, each after `gap` seconds of noise, a tenth as loud."""
    rng = np.random.default_rng(seed)
    with (folder / "manifest.csv").open(newline="") as lines:
        names = [row["file"] for row in csv.DictReader(lines) if row["split"] == "testing" and row["word"] in words]
    noises = sorted((folder / "_background_noise_").iterdir())
    pieces = []
    for name in rng.choice(names, clips, replace=False):
        speech = soundfile.read(folder / name, dtype="float64")[0]
        noise = soundfile.read(noises[rng.integers(len(noises))], dtype="float64")[0]
        length = int(gap * SAMPLES) + len(speech)
        start = rng.integers(len(noise) - length)
        noise = noise[start : start + length]
        noise *= 0.1 * np.sqrt(np.mean(speech**2) / max(np.mean(noise**2), 1e-12))
        noise[-len(speech) :] += speech
        pieces.append(noise)
    return np.clip(np.round(np.concatenate(pieces) * 32768), -32768, 32767).astype(np.int16)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--gap", type=float, default=2.2)
    parser.add_argument("--stride", type=int, help="hops between inferences (default: the model's)")
    parser.add_argument("--threshold", type=int, help="of the average score, in 1/256 (default: the model's)")
    parser.add_argument("--rows-per-step", type=int, help="as a step of so many frames (default: the whole network)")
    listening_options.configure(parser)
    parser.add_argument("--target", action="append")
    parser.add_argument("--compiler")
    options = parser.parse_args()
    pipeline = Pipeline.of(tflite.read(options.model))
    decision = pipeline.decision
    pipeline = replace(
        pipeline,
        decision=replace(
            decision,
            stride_hops=options.stride or decision.stride_hops,
            threshold=options.threshold or decision.threshold,
        ),
    )
    if options.skip_silence is not None:
        pipeline = pipeline.resting(options.skip_silence)
    audio = compose(options.data, pipeline.labels, options.clips, options.gap)
    expected = pipeline.run(audio)
    detections = expected.detections
    suppressed = sum(detection.suppressed for detection in detections)
    print(
        f"{len(audio) / SAMPLES:.0f} s of audio with {options.clips} clips, an inference every"
        f" {pipeline.decision.stride_hops} hops: {len(detections) - suppressed} detections,"
        f" {suppressed} repeats suppressed; {len(expected.scores)} inferences\n"
    )
    start = time.perf_counter()
    heard = pipeline
    programs: list[pipelines.Program | parity.Absent] = []
    if options.rows_per_step:  # what is expected stays what the whole network says
        heard = replace(pipeline, graph=step_of(pipeline.graph, options.rows_per_step))
        programs.append(SimpleNamespace(name="numpy, steps", run=heard.run))
    programs += pipelines.programs(heard, targets.find_all(options.target), options.compiler)
    report = pipelines.compare(pipeline, programs, audio)
    print(report.table().text())
    print(f"\n{time.perf_counter() - start:.0f} s")
    return 0 if report.passed and suppressed else 1


if __name__ == "__main__":
    sys.exit(main())
