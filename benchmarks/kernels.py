"""Instructions, flash and RAM of models on every core, with every compiler that is present.

    python benchmarks/kernels.py [MODEL.tflite ...] [--target CORE ...] [--check | --update]

Each is compiled for speed and for size, and where int16 weights are faster, with those too. Models are by default those
of `residual` and `single_layers`, which have random weights, those in ../shared/models, and the layers of
../shared/trials named in LAYERS.
`--check` compares every layer with benchmarks/kernels.json and ends with status 1 where a core got slower by more than
1 %, or where a layer runs as portable C that did not; `--update` writes there what was measured. Where CMSIS-NN's count
is known (benchmarks/cmsis_nn.json), its ratio to ours is printed. Compilers that are absent, and cores that cannot be
counted here, are named.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import residual
import single_layers
from tqdm import tqdm

from mcu_codegen import files
from mcu_codegen.emit.cortex_m.instruction_sets import RENDERERS, WIDE
from mcu_codegen.emit.portable.renderer import OPTIMIZE, Renderer
from mcu_codegen.emulate import toolchain
from mcu_codegen.errors import InputError
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph
from mcu_codegen.prove.measure import measure
from mcu_codegen.prove.measurement import Measurement
from mcu_codegen.report import Table
from mcu_codegen.targets import TARGETS

HERE = Path(__file__).resolve().parent
BASELINE = HERE / "kernels.json"
MODELS = HERE.parents[1] / "shared" / "models"
TRIALS = MODELS.parent / "trials"
CMSIS_NN = json.loads((HERE / "cmsis_nn.json").read_text())["instructions"]
LAYERS = (
    "pointwise_all_alive",
    "pointwise_one_dead_channel",
    "pointwise_relu6_scale_0.04",
    "fully_connected_561_inputs",
    "fully_connected_2704_inputs",
    "depthwise_5x5_32",
    "depthwise_9x1_64",
    "depthwise_10x8_multiplier_8",
)
TOLERANCE = 0.01
"""How much slower a core may get before --check fails."""

HEADER = (
    "model",
    "core",
    "compiler",
    "weights",
    "instructions",
    "per MAC",
    "CMSIS-NN / ours",
    "cycles (estimate)",
    "flash",
    "RAM",
    "stack",
)


def measured(models: list[Graph], cores: list[str]) -> tuple[list[Measurement], list[str]]:
    """One measurement per model, core, way to render and compiler; and what is absent."""
    found, absent = [], []
    compilers = []
    for name, compiler in toolchain.available().items():
        if isinstance(compiler, str):
            absent.append(f"{name}: {compiler}")
        else:
            compilers.append(compiler)
    for model, core in tqdm(list(itertools.product(models, cores)), "models on cores"):
        for renderer, compiler in itertools.product(renderers(core), compilers):
            try:
                found.append(measure(model, TARGETS[core], compiler, renderer()))
            except InputError as error:
                absent.append(str(error))
    return found, list(dict.fromkeys(absent))


def renderers(core: str) -> list[Callable[[], Renderer]]:
    """What makes a renderer, for every way in which `core` can be served."""
    chosen = TARGETS[core].instruction_set
    wide = [WIDE[chosen]] if chosen in WIDE else []
    return [*(partial(RENDERERS[chosen], goal) for goal in OPTIMIZE[:2]), *wide]


def record(measurements: list[Measurement]) -> dict[str, Any]:
    """What the baseline keeps: instructions by model, core, compiler and weights, and layer or ``invoke``; and which
    layers are portable C."""
    return {
        f"{each.model} {each.target} {each.compiler} {each.weights}": {
            **{layer.name: layer.instructions for layer in each.layers},
            "invoke": each.instructions,
            "portable": sorted(each.portable),
        }
        for each in measurements
    }


def _ratio(measurement: Measurement) -> str:
    theirs = CMSIS_NN.get(measurement.model, {}).get(measurement.target)
    return f"{theirs / measurement.instructions:.2f}" if theirs else "-"


def slower(now: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """A line for every core whose inference takes more than TOLERANCE more instructions, with the layers to blame, and
    for every layer that has become portable C."""
    lines = []
    for key, counts in now.items():
        held = before.get(key)
        if held is None:
            lines.append(f"{key}: not in {BASELINE.name}; run --update")
            continue
        gone = sorted(set(counts["portable"]) - set(held.get("portable", counts["portable"])))
        lines += [f"{key}: {layer} has become portable C" for layer in gone]
        if counts["invoke"] > held["invoke"] * (1 + TOLERANCE):
            layers = [
                f"{name} {held.get(name)} -> {count}"
                for name, count in counts.items()
                if name != "portable" and count != held.get(name)
            ]
            lines.append(f"{key}: slower: {', '.join(layers)}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="*", metavar="MODEL.tflite")
    parser.add_argument("--target", action="append", choices=TARGETS, help="default: all")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true", help="compare with the baseline")
    action.add_argument("--update", action="store_true", help="write the baseline")
    options = parser.parse_args()
    default = [*sorted(MODELS.glob("*.tflite")), *sorted(MODELS.glob("others/*.tflite"))]
    default += [TRIALS / f"{name}.tflite" for name in LAYERS]
    models = [tflite.read(path) for path in options.models or default]
    if not options.models:
        models += residual.MODELS + single_layers.MODELS
    measurements, absent = measured(models, options.target or list(TARGETS))
    rows = [
        (
            each.model,
            each.target,
            each.compiler,
            each.weights,
            each.instructions,
            f"{each.instructions / each.macs:.2f}",
            _ratio(each),
            each.cycles_estimate or "-",
            each.flash,
            each.ram,
            each.stack,
        )
        for each in measurements
    ]
    print(Table(HEADER, rows).text())
    for line in absent:
        print(f"absent: {line}")
    if options.update:
        held = json.loads(BASELINE.read_text()) | record(measurements)
        files.write_whole(BASELINE, json.dumps(held, indent=1) + "\n")
    if options.check:
        lines = slower(record(measurements), json.loads(BASELINE.read_text()))
        print("\n".join(lines) or "no core is slower than the baseline")
        return 1 if lines else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
