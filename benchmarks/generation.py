"""How long it takes to generate the C of a model: `mcu-codegen emit`, from start of the process to its end.

    python benchmarks/generation.py [MODEL.tflite]

The model is by default the MLPerf Tiny keyword spotter in ../shared/models. Prints the fastest of five runs for every
instruction set. Status 1 where one takes more than two seconds.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mcu_codegen.report import Table
from mcu_codegen.targets import TARGETS

KWS_MODEL = Path(__file__).resolve().parents[2] / "shared" / "models" / "mlperf_tiny_kws_int8.tflite"
LIMIT = 2.0  # seconds
RUNS = 5


def seconds(model: Path, core: str, folder: str) -> tuple[float, float]:
    """(wall clock, processor) of one run."""
    command = [sys.executable, "-c", "from mcu_codegen.cli import main; raise SystemExit(main())"]
    command += ["emit", str(model), "--target", core, "--out", folder]
    used, start = _children(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start, _children() - used


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", default=KWS_MODEL, metavar="MODEL.tflite")
    model = parser.parse_args().model
    if not model.exists():
        print(f"no model given, and {KWS_MODEL} does not exist: nothing measured")
        return 0
    cores = {target.instruction_set: target.name for target in TARGETS.values()}
    rows, slowest = [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        for instruction_set, core in cores.items():
            wall, processor = min(seconds(model, core, folder) for _ in range(RUNS))
            slowest = max(slowest, wall)
            rows.append((instruction_set, f"{wall:.2f} s", f"{processor:.2f} s"))
    print(Table(("instruction set", "wall clock", "processor"), rows).text())
    return int(slowest > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
