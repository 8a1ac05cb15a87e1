"""A traced network and the numbers of its quantisation become an integer graph; and a part of such a graph.

Knows torch.fx and the graph, nothing of NNCF. A new architecture of layers that `operators.py` knows needs no change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import fx
from torch.fx.passes.shape_prop import ShapeProp

from mcu_codegen import graph as g

from .builder import Builder, Codes
from .operators import translate


def to_graph(
    name: str, traced: fx.GraphModule, codes: Codes, input_shape: tuple[int, ...], metadata: dict, answers: int = 1
) -> tuple[g.Graph, dict[str, str]]:
    """The integer graph of `traced`, and by the name of a node the name of the tensor that holds its value.

    The last `answers` outputs are logits, and end in a softmax each; others stay as they are. What an output needs
    comes before what only later ones need. `input_shape` is torch's, (1, channels, height, width); the graph's tensors
    are NHWC. Raises InputError for a layer that the integer graph lacks, naming it.
    """
    ShapeProp(traced).propagate(torch.zeros(input_shape))
    builder = Builder(codes)
    entry = g.Entry("invoke", (), (), [])
    for node in traced.graph.nodes:
        if node in builder.values:
            continue  # fused into its producer
        if node.op == "placeholder":
            entry.inputs += (builder.activation(node, node, node.name),)
        elif node.op == "output":
            outputs = node.all_input_nodes
            others, early, last = outputs[:-answers], outputs[-answers:-1], outputs[-1]
            entry.outputs = (
                *(builder.values[each] for each in others),
                *(builder.softmax(each, f"{each.name}.scores") for each in early),
                builder.softmax(last, "scores"),
            )
        else:
            translate(builder, node)
    entry.operators = _by_output(builder.operators, entry.outputs)
    names = {node.name: builder.tensors[index].name for node, index in builder.values.items()}
    return g.Graph(name, builder.tensors, [entry], metadata), names


def part(graph: g.Graph, outputs: Sequence[int], name: str, metadata: dict) -> g.Graph:
    """What computes the tensors `outputs` in the entry `invoke` of `graph`, as a graph of its own; what an output needs
    comes before what only later ones need."""
    operators = _by_output(graph.main.operators, outputs)
    touched = {index for each in operators for index in (*each.inputs, *each.outputs) if index >= 0}
    kept = sorted(touched.union(graph.main.inputs, outputs))
    place = {-1: -1} | {index: number for number, index in enumerate(kept)}

    def moved(indices: Sequence[int]) -> tuple[int, ...]:
        return tuple(place[index] for index in indices)

    entry = g.Entry(
        "invoke",
        moved(graph.main.inputs),
        moved(outputs),
        [replace(each, inputs=moved(each.inputs), outputs=moved(each.outputs)) for each in operators],
    )
    return g.Graph(name, [graph.tensors[index] for index in kept], [entry], metadata)


def _needed(operators: Sequence[g.Operator], output: int) -> list[g.Operator]:
    """Those of `operators` that compute the tensor `output`, in their order."""
    wanted = {output}
    found: list[g.Operator] = []
    for each in reversed(operators):
        if each.outputs[0] in wanted:
            found.insert(0, each)
            wanted.update(each.inputs)
    return found


def _by_output(operators: Sequence[g.Operator], outputs: Sequence[int]) -> list[g.Operator]:
    """`operators` so that what an output needs comes before what only later ones need."""
    ordered: list[g.Operator] = []
    for output in outputs:
        ordered += [each for each in _needed(operators, output) if each not in ordered]
    return ordered
