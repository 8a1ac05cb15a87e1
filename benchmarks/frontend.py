"""The integer front end in numbers: speed on this host, distance to float, saturation, and NumPy against C.

    python benchmarks/frontend.py [DATA]

DATA is a folder that holds manifest.csv and audio files (default: ../shared/data/speech_commands). 500 clips are taken,
evenly over the manifest.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from pathlib import Path

import numpy as np
import soundfile

from kws import features, float_frontend
from mcu_codegen.listen import frontend

SAMPLES = frontend.SAMPLE_RATE


def real_clips(folder: Path, count: int) -> np.ndarray:
    """int16[count, 16000], evenly over the manifest; shorter recordings are filled with zeros, longer ones cut."""
    with (folder / "manifest.csv").open(newline="") as lines:
        names = [row["file"] for row in csv.DictReader(lines)]
    clips = np.zeros((count, SAMPLES), np.int16)
    for clip, index in zip(clips, np.linspace(0, len(names) - 1, count).astype(int), strict=True):
        audio = soundfile.read(folder / names[index], dtype="int16")[0][:SAMPLES]
        clip[: len(audio)] = audio
    return clips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / "speech_commands"
    parser.add_argument("data", nargs="?", type=Path, default=default)
    clips = real_clips(parser.parse_args().data, 500)
    for preset, front_end in frontend.PRESETS.items():
        codes = features.extract(clips, preset)  # compiles
        cpu, wall = time.process_time(), time.perf_counter()
        features.extract(clips, preset)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        by_numpy = np.stack([frontend.features(front_end, clip) for clip in clips])
        exact = np.stack([float_frontend.codes(front_end, clip) for clip in clips])
        distance = np.abs(codes - exact.clip(-128, 127))
        low, high = (codes == -128).mean(), (codes == 127).mean()
        at_floor = (codes == front_end.floor_codes).all(axis=2).mean()
        print(
            f"{preset}: {len(clips)} clips, {codes.shape[1]} x {codes.shape[2]} codes of {front_end.scale:.3g} nat\n"
            f"  speed        {len(clips) / cpu:,.0f} x real time on one core; 20,000 clips in "
            f"{20000 / len(clips) * wall:.1f} s on {os.cpu_count()} cores\n"
            f"  against float  mean |difference| {distance.mean():.3f} LSB, {(distance <= 2).mean():.4%} within 2 LSB, "
            f"largest {distance.max():.2f}\n"
            f"  NumPy and C  {np.count_nonzero(by_numpy != codes)} of {codes.size:,} bytes differ\n"
            f"  range        {low:.3%} at -128, {high:.3%} at 127; frames wholly at the floor {at_floor:.2%}; "
            f"mean {codes.mean():.1f}, standard deviation {codes.std():.1f}"
        )


if __name__ == "__main__":
    main()
