"""The front of accuracy over cost: every network's int8 accuracy beside its instructions, flash and RAM on a core.

    python benchmarks/front.py [RUNS] [--target cortex-m4] [--way fine-tuned] [--picture front.png]

RUNS is the folder of `benchmarks/accuracy.py`, by default build/accuracy; a network stands there once a seed. Accuracy
is the mean over seeds on the test clips, with its standard error where there are two or more. Costs are those of the
first seed's C, measured with every compiler that is present, the worse one counting.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from kws.plots import png
from mcu_codegen import files, targets
from mcu_codegen.emulate import toolchain
from mcu_codegen.errors import InputError
from mcu_codegen.formats import tflite
from mcu_codegen.prove.measure import measure
from mcu_codegen.report import Table

COSTS = {"instructions": 1e6, "flash": 1024, "RAM": 1024}
UNITS = {"instructions": "million instructions", "flash": "KiB of flash", "RAM": "KiB of RAM"}


@dataclass(frozen=True)
class Network:
    name: str
    accuracies: list[float]  # by seed
    macs: int
    costs: dict[str, int]  # by the names of COSTS

    @property
    def accuracy(self) -> float:
        return float(np.mean(self.accuracies))

    @property
    def error(self) -> float | None:
        """The standard error of the mean over seeds."""
        count = len(self.accuracies)
        return float(np.std(self.accuracies, ddof=1) / count**0.5) if count > 1 else None


def networks(runs: Path, way: str, target: targets.Target) -> list[Network]:
    """What is finished in `runs`, by rising instructions. Raises InputError where nothing is."""
    seeds: dict[str, list[Path]] = {}
    for path in sorted(runs.glob("*-*/accuracy.json")):
        if match := re.fullmatch(r"(.+)-\d+", path.parent.name):
            seeds.setdefault(match[1], []).append(path.parent)
    if not seeds:
        raise InputError(f"{runs}: no <model>-<seed>/accuracy.json; the folder of benchmarks/accuracy.py is accepted")
    compilers = [each for each in toolchain.available().values() if not isinstance(each, str)]
    found = []
    for name, folders in seeds.items():
        graph = tflite.read(folders[0] / f"{way}.tflite")
        measured = [measure(graph, target, compiler) for compiler in compilers]
        accuracies = [json.loads((each / "accuracy.json").read_text())[way]["int8_accuracy"] for each in folders]
        costs = {cost: max(getattr(each, cost.lower()) for each in measured) for cost in COSTS}
        found.append(Network(name, accuracies, measured[0].macs, costs))
    return sorted(found, key=lambda network: network.costs["instructions"])


def table(found: list[Network], target: str) -> Table:
    rows = [
        (
            each.name,
            f"{each.accuracy:.2%}" + (f" ± {each.error:.2%}" if each.error is not None else ""),
            len(each.accuracies),
            f"{each.macs:,}",
            *(f"{value:,}" for value in each.costs.values()),
        )
        for each in found
    ]
    return Table(("network", "int8 accuracy", "seeds", "MACs", f"instructions ({target})", "flash", "RAM"), rows)


def picture(found: list[Network], target: str) -> bytes:
    """Accuracy over each cost; what nothing beats in both is joined by a line."""
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    for axes, (cost, unit) in zip(figure.subplots(1, len(COSTS), sharey=True), COSTS.items(), strict=True):
        points = sorted((each.costs[cost] / unit, 100 * each.accuracy, each) for each in found)
        front = [point for number, point in enumerate(points) if point[1] > max([0, *(p[1] for p in points[:number])])]
        axes.plot([point[0] for point in front], [point[1] for point in front], color="0.7", zorder=1)
        for x, y, each in points:
            error = None if each.error is None else 100 * each.error
            axes.errorbar(x, y, yerr=error, fmt="o", color="C0" if each.name.startswith("res1d") else "C1", zorder=2)
            axes.annotate(each.name, (x, y), xytext=(6, -10), textcoords="offset points", fontsize=8)
        axes.set(xlabel=f"{UNITS[cost]} ({target})", xscale="log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.25)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("int8 accuracy, %")
    return png(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="?", default=Path("build/accuracy"))
    parser.add_argument("--target", default="cortex-m4", metavar="CORE")
    parser.add_argument("--way", choices=("post-training", "fine-tuned"), default="fine-tuned")
    parser.add_argument("--picture", type=Path, default=Path("build/front.png"), metavar="PNG")
    options = parser.parse_args()
    try:
        found = networks(options.runs, options.way, targets.find(options.target))
    except InputError as error:
        print(f"front: {error}", file=sys.stderr)
        return 2
    print(table(found, options.target).text())
    files.write_whole(options.picture, picture(found, options.target))
    print(options.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
