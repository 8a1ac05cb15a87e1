"""LiteRT's reference kernels compared with NumPy: each operator alone, then the whole network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..execute import litert_executor
from ..formats import tflite
from ..graph import Graph
from .comparison import Comparison, add

Values = dict[int, np.ndarray]

IN_FLOAT = "LiteRT requantises FULLY_CONNECTED in float"
"""Why a difference that begins in such a layer is nobody's fault: CMSIS-NN has the bytes of NumPy."""


def compare(graph: Graph, inputs: Mapping[str, list[np.ndarray]], reference: Mapping[str, Values]) -> list[Comparison]:
    """`reference` is, by entry, what NumPy makes of `inputs`. End to end is not asserted.

    Alone, an operator cannot pass on a difference; end to end, one difference of FULLY_CONNECTED can make many.
    """
    found = [Comparison("litert, by operator"), Comparison("litert, end to end", asserted=False)]
    reason = litert_executor.unavailable()
    if reason:
        return [replace(each, trouble=reason, absent=True) for each in found]
    return [_by_operator(found[0], graph, inputs, reference), _end_to_end(found[1], graph, inputs, reference)]


def _by_operator(
    done: Comparison, graph: Graph, inputs: Mapping[str, list[np.ndarray]], reference: Mapping[str, Values]
) -> Comparison:
    refused = []
    for entry in graph.entries:
        known = dict(zip(entry.inputs, inputs[entry.name], strict=True))
        for layer, operator in graph.layers(entry):
            expected = [reference[entry.name][index] for index in operator.outputs]
            variable = [index for index in operator.inputs if index >= 0 and not graph.tensors[index].constant]
            operands = [
                known[index] if index in known else _before(graph, index, reference[entry.name], len(expected[0]))
                for index in dict.fromkeys(variable)
            ]
            known[operator.outputs[0]] = expected[0]
            try:
                results = litert_executor.run_operator(graph, operator, operands)
            except InputError:
                refused.append(layer)
            else:
                for wanted, result in zip(expected, results, strict=True):
                    done = add(done, layer, wanted, result, tolerance=int(operator.kind == "FULLY_CONNECTED"))
    return replace(done, remark=f"LiteRT does not run {', '.join(refused)}" if refused else "")


def _end_to_end(
    done: Comparison, graph: Graph, inputs: Mapping[str, list[np.ndarray]], reference: Mapping[str, Values]
) -> Comparison:
    try:
        executor = litert_executor.LiteRTExecutor(tflite.write(graph))
        for entry, written in zip(graph.entries, executor.graph.entries, strict=True):
            executor.reset()
            found = executor.run(inputs[entry.name], written.name)
            for (layer, operator), same in zip(graph.layers(entry), written.operators, strict=True):
                done = add(done, layer, reference[entry.name][operator.outputs[0]], found[same.outputs[0]])
    except InputError as error:
        return replace(done, trouble=str(error), absent=True)
    return replace(done, remark=_explained(graph, done))


def _explained(graph: Graph, done: Comparison) -> str:
    kinds = {layer: operator.kind for entry in graph.entries for layer, operator in graph.layers(entry)}
    if done.first is None or kinds[done.first.layer] != "FULLY_CONNECTED":
        return ""
    return f"up to {done.largest} code{'s' if done.largest > 1 else ''} from there on: {IN_FLOAT}"


def _before(graph: Graph, persistent: int, values: Values, samples: int) -> np.ndarray:
    """What a persistent tensor holds at the start of every sample: its initial value, then what the one before left."""
    initial = np.asarray(graph.tensors[persistent].data).reshape(1, *graph.tensors[persistent].shape)
    later = values[persistent][:-1] if persistent in values else np.repeat(initial, samples - 1, axis=0)
    return np.concatenate([initial, later])
