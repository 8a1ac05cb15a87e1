"""Networks that nobody trained, as integer graphs: every one exports, and its C agrees with NumPy."""

import numpy as np
import pytest

from kws.features import Window
from kws.models import MODELS, find
from kws.quantization.representative import representative
from mcu_codegen import targets
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph
from mcu_codegen.prove import parity


def exported(name: str) -> Graph:
    architecture = find(name)
    graph = representative(name, 4, Window(architecture.front_end, architecture.context))
    return tflite.read_bytes(tflite.write(graph), "model")


@pytest.mark.parametrize("name", MODELS)
def test_every_network_exports(name):
    graph = exported(name)
    shape = graph.tensors[graph.main.inputs[0]].shape
    codes = np.random.default_rng(0).integers(-128, 128, (1, *shape), np.int8)
    shares = NumpyExecutor(graph).run([codes])[graph.main.outputs[-1]].astype(int) + 128
    assert shares.size == 4 and abs(shares.sum() - 256) <= 4


@pytest.mark.slow
def test_the_wide_network_gives_the_same_bytes_everywhere():
    graph = exported("res1d-wide:8,8,12,16")
    executors = parity.executors(graph, [targets.find("cortex-m4"), targets.find("cortex-m0")])
    report = parity.compare(graph, executors, parity.random_inputs(graph, 3))
    assert report.passed, report.table().text()
