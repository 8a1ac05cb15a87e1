"""A corpus of real wake words, to be mixed with synthetic ones: recordings and a manifest, split by the files' names.

    python benchmarks/wake_words.py WAVES/more_audio/wake_words real
    kws train --data synthetic --data real --words "smart mirror" --window 1.2 --streaming --epochs 10 --out run

A folder of WAVES/more_audio/wake_words is a phrase. Half of its files are for training, 15 % for validation, the rest
for testing. Speakers are not known: one may be in all three.
"""

from __future__ import annotations

import argparse
import csv
import io
import zlib
from pathlib import Path

from mcu_codegen import files

SHARES = {"training": 0.5, "validation": 0.65, "testing": 1.0}  # where each ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    text = io.StringIO()
    manifest = csv.writer(text, lineterminator="\n")
    manifest.writerow(["file", "word", "speaker", "split"])
    for folder in sorted(path for path in options.source.iterdir() if path.is_dir()):
        recordings = sorted(folder.iterdir(), key=lambda path: zlib.crc32(path.name.encode()))
        for place, recording in enumerate(recordings):
            split = next(name for name, end in SHARES.items() if place / len(recordings) < end)
            name = f"{folder.name}/{recording.name}"
            (options.out / folder.name).mkdir(parents=True, exist_ok=True)
            files.write_whole(options.out / name, recording.read_bytes())
            manifest.writerow([name, folder.name.replace("_", " "), "", split])
    files.write_whole(options.out / "manifest.csv", text.getvalue())


if __name__ == "__main__":
    main()
