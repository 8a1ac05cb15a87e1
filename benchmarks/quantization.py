"""What quantisation costs a trained network, by the way it is done: the table behind the defaults of `kws quantize`.

    python benchmarks/quantization.py RUN [--data DATA] [--exclude on,off] [--qat-epochs 1,3]

RUN is a folder of `kws train`. Validation and test clips are judged together, for the differences are small; defaults
are chosen on agreement with the float network, which needs no labels.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from dataclasses import astuple
from pathlib import Path

import numpy as np

from kws.data.opening import open_corpus
from kws.data.task import build
from kws.data.task_options import word_list
from kws.quantization.nncf_quantize import RANGES, Settings
from kws.quantization.qat import Schedule
from kws.quantization.quantize import quantize
from kws.training import checkpoint
from kws.training.checkpoint import BEST
from kws.training.inference import features_of

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "speech_commands"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", default=str(DATA))
    parser.add_argument("--exclude", type=word_list, default=["on", "off"])
    parser.add_argument("--qat-epochs", default="1,3")
    options = parser.parse_args()
    held = checkpoint.load(options.run / BEST)
    task = build(open_corpus(options.data), held.labels[2:], options.exclude)
    splits = task.validation, task.testing
    codes = np.concatenate([features_of(examples, held.window) for examples in splits])
    labels = np.concatenate([examples.labels for examples in splits])
    cases: list[tuple[Settings, Schedule | None]] = [
        (Settings(ranges, corrected), None) for ranges, corrected in itertools.product(RANGES, (False, True))
    ]
    cases += [(Settings(calibration_clips=clips), None) for clips in (100, 2000)]
    cases += [(Settings(), Schedule(int(epochs))) for epochs in options.qat_epochs.split(",")]
    print(f"{held.model}, {len(labels)} clips; accuracies, then how often int8 decides like the other two")
    print(f"{'activation range':<24} {'bias':<9} clips  qat    float    fake    int8  =float   =fake  seconds")
    for settings, schedule in cases:
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            quantized = quantize(held, task, settings=settings, schedule=schedule, state=Path(folder) / "qat.pt")
        seconds = time.monotonic() - started
        _, *shares = astuple(quantized.compare(codes, labels))
        print(
            f"{settings.activation_range:<24} {'corrected' if settings.bias_correction else 'as it is':<9}"
            f" {settings.calibration_clips:>5} {schedule.epochs if schedule else 0:>4} "
            + " ".join(f"{share:7.2%}" for share in shares)
            + f" {seconds:8.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
