"""RAM of networks on every instruction set, beside the least that live bytes and scratch of their kernels allow.

    python benchmarks/ram.py [MODEL.tflite ...] [--target CORE ...] [--optimize GOAL ...] [--check]

Nothing is compiled: the memory plan says it all. Models are by default those of FILES in ../shared/models and, with
random weights, the keyword networks DS-CNN-S and Res1D-S of this project, ten FULLY_CONNECTED layers, and a MobileNet
for images of 96 x 96. `--check` ends with status 1 where a plan needs more than 3 % over its lower bound, and with an
AssertionError where it overwrites what is alive.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np

from mcu_codegen import memory, targets
from mcu_codegen.emit.cortex_m.instruction_sets import RENDERERS
from mcu_codegen.emit.plan import INPUTS, compile_plan
from mcu_codegen.emit.portable.renderer import OPTIMIZE
from mcu_codegen.formats import tflite
from mcu_codegen.graph import (
    Conv2D,
    DepthwiseConv2D,
    Entry,
    FullyConnected,
    Graph,
    Operator,
    Pool2D,
    Quantization,
    Tensor,
)
from mcu_codegen.report import Table

SHARED = Path(__file__).resolve().parents[2] / "shared" / "models"
FILES = (
    "mlperf_tiny_kws_int8.tflite",
    "mlperf_tiny_image_classification_int8.tflite",
    "tflm/person_detect.tflite",
    "others/rock_paper_scissors.tflite",
    "others/keyword_spotting_on_off_v3.tflite",
)
CORES = ("cortex-m0", "cortex-m3", "cortex-m4", "cortex-m55")
HEADER = ("model", "core", "optimize", "input", "RAM", "arena", "lower bound", "RAM / bound")
WITHIN = 1.03


class _Chain:
    """A network without branches, with random weights."""

    def __init__(self, *shape: int) -> None:
        self.rng = np.random.default_rng(0)
        self.tensors = [Tensor("tensor_0", shape, "int8", Quantization((0.05,), (-128,)))]
        self.operators: list[Operator] = []
        self.at = 0

    def constant(self, data: np.ndarray, channels: int, axis: int) -> int:
        quantization = Quantization((0.01,) * channels, (0,) * channels, axis)
        self.tensors.append(Tensor(f"tensor_{len(self.tensors)}", data.shape, str(data.dtype), quantization, data))
        return len(self.tensors) - 1

    def append(self, kind: str, options: object, shape: tuple[int, ...], *weights: int, axis: int = 0) -> None:
        constants = []
        if weights:
            channels = weights[axis]
            constants = [
                self.constant(self.rng.integers(-127, 128, weights, np.int8), channels, axis),
                self.constant(np.zeros(channels, np.int32), channels, 0),
            ]
            bias = self.tensors[constants[1]]
            bias.quantization = Quantization((0.0005,) * channels, (0,) * channels, 0)
        self.tensors.append(Tensor(f"tensor_{len(self.tensors)}", shape, "int8", Quantization((0.05,), (-128,))))
        self.operators.append(Operator(kind, (self.at, *constants), (len(self.tensors) - 1,), options))
        self.at = len(self.tensors) - 1

    def graph(self, name: str) -> Graph:
        return Graph(name, self.tensors, [Entry("invoke", (0,), (self.at,), self.operators)])


def fully_connected() -> Graph:
    """Ten layers, of the autoencoder's sizes that MLPerf Tiny uses for sounds of machines."""
    sizes = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640)
    chain = _Chain(1, sizes[0])
    for inputs, outputs in itertools.pairwise(sizes):
        chain.append("FULLY_CONNECTED", FullyConnected("RELU"), (1, outputs), outputs, inputs)
    return chain.graph("ten_fully_connected")


def mobilenet() -> Graph:
    """MobileNet v1, a quarter as wide, for 96 x 96 pixels of three colours."""
    size, channels = 48, 8
    chain = _Chain(1, 96, 96, 3)
    chain.append("CONV_2D", Conv2D("SAME", (2, 2), (1, 1), "RELU"), (1, size, size, 8), 8, 3, 3, 3)
    for stride, outputs in ((1, 16), (2, 32), (1, 32), (2, 64), (1, 64), (2, 128), *[(1, 128)] * 5, (2, 256), (1, 256)):
        size //= stride
        options = DepthwiseConv2D("SAME", (stride, stride), (1, 1), "RELU")
        chain.append("DEPTHWISE_CONV_2D", options, (1, size, size, channels), 1, 3, 3, channels, axis=3)
        pointwise = Conv2D("SAME", (1, 1), (1, 1), "RELU")
        chain.append("CONV_2D", pointwise, (1, size, size, outputs), outputs, 1, 1, channels)
        channels = outputs
    chain.append("AVERAGE_POOL_2D", Pool2D("VALID", (size, size), (size, size)), (1, 1, 1, channels))
    chain.append("CONV_2D", Conv2D("SAME", (1, 1), (1, 1)), (1, 1, 1, 2), 2, 1, 1, channels)
    return chain.graph("mobilenet_96x96")


def keyword_networks() -> tuple[list[Graph], str]:
    """Those of this project, and "", or why they are absent."""
    try:
        from kws.features import Window
        from kws.models import MODELS
        from kws.quantization.representative import representative
    except ImportError as error:
        return [], f"ds-cnn-s, res1d-s: {error}"
    names = ("ds-cnn-s", "res1d-s")
    return [representative(name, 12, Window(MODELS[name].front_end, MODELS[name].context)) for name in names], ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="*", metavar="MODEL.tflite")
    parser.add_argument("--target", action="append", metavar="CORE", help=f"default: {', '.join(CORES)}")
    parser.add_argument("--optimize", action="append", choices=OPTIMIZE, help="default: speed and ram")
    parser.add_argument("--check", action="store_true", help="prove the plans, and hold them against their bounds")
    options = parser.parse_args()
    absent = []
    if options.models:
        graphs = [tflite.read(path) for path in options.models]
    else:
        graphs, reason = keyword_networks()
        absent += [reason] if reason else []
        absent += [str(SHARED / name) for name in FILES if not (SHARED / name).exists()]
        graphs += [tflite.read(SHARED / name) for name in FILES if (SHARED / name).exists()]
        graphs += [fully_connected(), mobilenet()]
    rows, over = [], []
    for graph, target in itertools.product(graphs, targets.find_all(options.target or list(CORES))):
        for goal, inputs in itertools.product(options.optimize or ("speed", "ram"), INPUTS):
            plan = compile_plan(graph, RENDERERS[target.instruction_set](goal), inputs=inputs)
            if options.check:
                memory.check(plan.graph, plan.memory, {layer.index: layer.kernel.demand for layer in plan.layers})
            needed = plan.memory.arena_bytes + plan.callers_bytes
            ratio = needed / plan.least_bytes
            row = (graph.name, target.name, goal, inputs, needed, plan.memory.arena_bytes, plan.least_bytes)
            rows.append((*row, f"{ratio:.3f}"))
            over += [" ".join(row[:4])] if ratio > WITHIN else []
    print(Table(HEADER, rows).text())
    for line in absent:
        print(f"absent: {line}")
    for line in over:
        print(f"more than {WITHIN - 1:.0%} over its bound: {line}")
    return 1 if options.check and over else 0


if __name__ == "__main__":
    sys.exit(main())
