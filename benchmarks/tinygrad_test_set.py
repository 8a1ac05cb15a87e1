"""How long the whole test set takes through the two Python executors, and whether they agree.

    python benchmarks/tinygrad_test_set.py ../shared/models/mlperf_tiny_kws_int8.tflite

Inputs are random codes: the time does not depend on them. tinygrad's first run includes compilation, which it caches.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from mcu_codegen.execute.batches import BatchExecutor
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.execute.tinygrad_executor import TinygradExecutor
from mcu_codegen.formats import tflite


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="an int8 .tflite")
    parser.add_argument("--clips", type=int, default=2104, help="samples (default: %(default)s, the official test set)")
    options = parser.parse_args()
    graph = tflite.read(options.model)
    rng = np.random.default_rng(0)
    inputs = [
        rng.integers(-128, 128, (options.clips, *graph.tensors[index].shape), dtype=np.int8)
        for index in graph.main.inputs
    ]

    def timed(label: str, executor: BatchExecutor) -> dict[int, np.ndarray]:
        start = time.perf_counter()
        results = executor.run(inputs)
        print(f"{label:<20}{time.perf_counter() - start:8.1f} s")
        return results

    expected = timed("numpy", NumpyExecutor(graph))
    tinygrad = TinygradExecutor(graph)
    timed("tinygrad, first run", tinygrad)
    found = timed("tinygrad, again", tinygrad)
    differing = sum(int((expected[index] != found[index]).sum()) for index in expected)
    print(f"{sum(values.size for values in expected.values()):,} bytes compared, {differing} differ")


if __name__ == "__main__":
    main()
