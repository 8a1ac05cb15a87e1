"""Layers at the sizes where the ranges of instructions end: offsets, constants, loop counts, branches."""

from __future__ import annotations

from collections.abc import Callable

from random_layers import Layers

from mcu_codegen.graph import Elementwise, Graph, Pool2D, Quantization

INPUTS = (1, 3, 255, 561, 1020, 1024, 1028, 1364, 1368, 2704, 4095, 4096, 8192, 10_000)
CHANNELS = (1, 2, 60, 256, 257, 344, 520, 820, 1023, 1028, 1364, 1366, 1500)
IMAGES = ((1, 700), (3, 601), (700, 1), (601, 3), (5, 41))
WINDOWS = (
    ((7, 7), 8, 9, 4),
    ((7, 7), 7, 8, 132),
    ((8, 8), 9, 8, 60),
    ((1, 48), 2, 50, 12),
    ((5, 5), 6, 60, 20),
    ((3, 3), 3, 3, 700),
    ((2, 2), 4, 3, 340),
    ((1, 32), 2, 40, 6),
    ((11, 11), 3, 270, 2),
)
COLUMNS = (
    # taps, stride, dilation, rows, columns, channels
    (2, 1, 1, 40, 1, 4),
    (9, 1, 1, 1200, 1, 3),
    (15, 2, 1, 60, 1, 260),
    (16, 127, 1, 600, 1, 12),
    (17, 300, 1, 1000, 1, 4),
    (31, 1, 1, 40, 1, 1500),
    (31, 1, 1, 40, 1, 1023),
    (30, 1, 1, 40, 3, 341),
    (31, 2, 1, 90, 2, 64),
    (5, 600, 1, 2000, 1, 2),
    (4, 90, 8, 500, 1, 8),
)


def pool(layers: Layers, rows: int, columns: int, channels: int) -> None:
    source = layers.input(1, rows, columns, channels)
    output = layers.new((1, 1, 1, channels), "int8", layers.tensors[source].quantization or Quantization((), ()))
    layers.append("AVERAGE_POOL_2D", source, output, Pool2D("VALID", (1, 1), (rows, columns)))


def add(layers: Layers, elements: int) -> None:
    first, second, output = layers.input(1, elements), layers.input(1, elements), layers.activation((1, elements))
    layers.append("ADD", first, output, Elementwise(), second)


def inputs() -> Graph:
    layers = Layers(1)
    for each in INPUTS:
        layers.fully_connected(each, 3)
        layers.fully_connected(each, 1)
    for elements in (1, 1021, 10_000):
        add(layers, elements)
    return layers.graph()


def pointwise() -> Graph:
    layers = Layers(2)
    for channels in CHANNELS:
        layers.convolution(layers.input(1, 3, 2, channels), 4, (1, 1), (1, 1))
        layers.convolution(layers.input(1, 3, 2, 4), channels, (1, 1), (1, 1))
        pool(layers, 3, 2, channels)
    return layers.graph()


def depthwise() -> Graph:
    layers = Layers(3)
    for channels in CHANNELS:
        layers.depthwise(layers.input(1, 5, 5, channels))
    for channels in CHANNELS[::3]:
        layers.depthwise(layers.input(1, 4, 5, channels), (2, 2))
    return layers.graph()


def signals() -> Graph:
    layers = Layers(4)
    for channels in CHANNELS:
        layers.depthwise(layers.input(1, 2, 7, channels), window=(1, 3))
        layers.depthwise(layers.input(1, 5, 1, channels), window=(3, 1))
    return layers.graph()


def images() -> Graph:
    layers = Layers(5)
    for rows, columns in IMAGES:
        for depth, stride in ((1, (1, 1)), (2, (2, 2)), (17, (1, 2))):
            layers.depthwise(layers.input(1, rows, columns, depth), stride)
            layers.depthwise(layers.input(1, rows, columns, depth), stride, window=(1, 3))
        layers.convolution(layers.input(1, rows, columns, 2), 4, (3, 3), (2, 1))
        layers.convolution(layers.input(1, rows, columns, 1), 3, (1, columns), (1, 1))
    return layers.graph()


def columns() -> Graph:
    layers = Layers(6)
    for taps, stride, dilation, *image in COLUMNS:
        layers.depthwise(layers.input(1, *image), (stride, 1), (taps, 1), (dilation, 1))
    return layers.graph()


def windows() -> Graph:
    layers = Layers(7)
    for size, rows, columns, channels in WINDOWS:
        layers.depthwise(layers.input(1, rows, columns, channels), window=size)
        for kind in ("MAX_POOL_2D", "AVERAGE_POOL_2D"):
            source = layers.input(1, rows, columns, channels)
            output = layers.new((1, rows, columns, channels), "int8", layers.tensors[source].quantization)
            layers.append(kind, source, output, Pool2D("SAME", (1, 1), size))
        layers.convolution(layers.input(1, rows, columns, min(channels, 64)), 2, size, (2, 2))
    return layers.graph()


GRAPHS: dict[str, Callable[[], Graph]] = {
    "inputs": inputs,
    "channels of pointwise layers": pointwise,
    "channels of depthwise layers": depthwise,
    "channels of signals": signals,
    "images": images,
    "columns": columns,
    "windows": windows,
}
"""By what is large; each fits the least flash."""
