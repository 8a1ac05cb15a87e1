"""Operators on one image, done with every image of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Generic, TypeVar

from ..errors import InputError
from ..graph import Graph, Operator

Image = TypeVar("Image")


@dataclass(frozen=True)
class Batch(Generic[Image]):
    """`image`, which takes one NHWC image, on each of `count`."""

    count: int
    image: Image


def each_image(lowering: Callable[[Graph, Operator], Image]) -> Callable[[Graph, Operator], Image | Batch[Image]]:
    """`lowering`, which accepts one image, for any number."""

    @wraps(lowering)
    def lowered(graph: Graph, operator: Operator) -> Image | Batch[Image]:
        ends = (operator.inputs[0], operator.outputs[0])
        source, output = (graph.tensors[index] for index in ends)
        if len(source.shape) != 4 or len(output.shape) != 4 or source.shape[0] == 1:
            return lowering(graph, operator)
        if source.shape[0] != output.shape[0]:
            raise InputError(f"tensor '{output.name}' {output.shape}: as many images as {source.shape} are accepted")
        tensors = list(graph.tensors)
        for index, tensor in zip(ends, (source, output), strict=True):
            tensors[index] = replace(tensor, shape=(1, *tensor.shape[1:]), data=None)
        return Batch(source.shape[0], lowering(replace(graph, tensors=tensors), operator))

    return lowered
