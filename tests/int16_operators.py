"""Random graphs of one operator each on int16 activations, whose weights are int8."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from single_operators import (
    Draw,
    activation,
    alone,
    concatenation,
    extreme,
    function,
    gather,
    leaky,
    pack,
    pad,
    pairwise,
    phases,
    pool,
    rename,
    resize,
    strided_slice,
    transpose,
)
from stateful_operators import matrix

from mcu_codegen.graph import Conv2D, DepthwiseConv2D, FullyConnected, Graph, Quantization, Softmax, Tensor

ZERO = (0,)


def int16(make: Callable[[Draw, str], Graph]) -> Callable[[Draw, str], Graph]:
    """Graphs of `make` with 16 bits for 8, on scales that are finer by as much."""

    def drawn(draw: Draw, kind: str) -> Graph:
        graph = make(draw, kind)
        for tensor in graph.tensors:
            if tensor.dtype == "int8":
                tensor.dtype, tensor.quantization = "int16", Quantization((tensor.scale / 256,), ZERO)
                if tensor.data is not None:
                    tensor.data = draw.rng.integers(-32768, 32768, tensor.shape).astype(np.int16)
        return graph

    return drawn


def scale(draw: Draw, low: float, high: float) -> Quantization:
    return Quantization((float(np.float32(2.0 ** draw.rng.uniform(low, high))),), ZERO)


def weighted(draw: Draw, source: Tensor, shape: tuple[int, ...], axis: int, per_tensor: bool) -> list[Tensor]:
    """Weights and, often, a bias. Accumulators use a good part of the output's codes."""
    channels = shape[axis]
    weights = matrix(draw, shape, 0.01)
    if not per_tensor:
        scales = (0.01 * 2.0 ** draw.rng.uniform(-2, 2, channels)).astype(np.float32).tolist()
        weights.quantization = Quantization(tuple(scales), ZERO * channels, axis)
    if draw.integer(0, 3) == 0:
        return [weights]
    assert weights.quantization is not None
    scales = tuple(float(np.float32(source.scale * each)) for each in weights.quantization.scale)
    quantized = Quantization(scales, ZERO * len(scales))
    return [weights, Tensor("", (channels,), "int64", quantized, draw.rng.integers(-(2**30), 2**30, channels))]


def output_scale(source: Tensor, depth: int) -> Quantization:
    return Quantization((float(np.float32(source.scale * 0.01 * 70 * np.sqrt(depth) / 1.5)),), ZERO)


def convolution(draw: Draw, kind: str) -> Graph:
    images, depth, channels = draw.integer(1, 2), draw.integer(1, 5), draw.integer(1, 5)
    size, window = ([draw.integer(1, most) for _ in range(2)] for most in (7, 3))
    stride, dilation = (tuple(draw.integer(1, 2) for _ in range(2)) for _ in range(2))
    out = [-(-each // step) for each, step in zip(size, stride, strict=True)]
    source = activation((images, *size, depth), scale(draw, -12, -8), "int16")
    name = draw.activation()
    if kind == "CONV_2D":
        constants = weighted(draw, source, (channels, *window, depth), 0, False)
        options: object = Conv2D("SAME", stride, dilation, name)
    else:
        multiplier = draw.integer(1, 2)
        channels = depth * multiplier
        constants = weighted(draw, source, (1, *window, channels), 3, False)
        options = DepthwiseConv2D("SAME", stride, dilation, name, multiplier)
    taps = int(np.prod(window)) * (depth if kind == "CONV_2D" else 1)
    output = activation((images, *out, channels), output_scale(source, taps), "int16")
    return alone(kind, [source, *constants], output, options)


def fully_connected(draw: Draw, kind: str) -> Graph:
    rows, depth, channels = draw.integer(1, 3), draw.integer(1, 30), draw.integer(1, 6)
    source = activation((rows, depth), scale(draw, -12, -8), "int16")
    constants = weighted(draw, source, (channels, depth), 0, bool(draw.integer(0, 2)))
    output = activation((rows, channels), output_scale(source, depth), "int16")
    return alone(kind, [source, *constants], output, FullyConnected(draw.activation()))


WIDTHS = [
    ("int16", "int16"),
    ("int16", "int8"),
    ("int16", "int32"),
    ("int32", "int16"),
    ("int32", "int8"),
    ("int8", "int16"),
]


def requantize(draw: Draw, kind: str) -> Graph:
    dtypes = WIDTHS[draw.integer(0, len(WIDTHS) - 1)]
    source, output = (
        draw.quantization(-12, -8, "int8") if dtype == "int8" else scale(draw, -12, -8) for dtype in dtypes
    )
    steps = {"int8": 1.0, "int16": 2.0**-8, "int32": 2.0**-20}
    source, output = (
        Quantization((float(np.float32(each.scale[0] * steps[dtype])),), each.zero_point)
        for each, dtype in zip((source, output), dtypes, strict=True)
    )
    shape = (1, 16, 16)
    return alone(kind, [activation(shape, source, dtypes[0])], activation(shape, output, dtypes[1]))


def softmax(draw: Draw, kind: str) -> Graph:
    """Of int8 to int16."""
    shape = (draw.integer(1, 3), draw.integer(1, 12))
    output = activation(shape, Quantization((2.0**-16,), (-32768,)), "int16")
    return alone(kind, [activation(shape, draw.quantization(-8, -1))], output, Softmax(1.0))


INT16: dict[str, Callable[[Draw, str], Graph]] = {
    "CONV_2D": convolution,
    "DEPTHWISE_CONV_2D": convolution,
    "FULLY_CONNECTED": fully_connected,
    "QUANTIZE": requantize,
    "SOFTMAX": softmax,
    **{kind: int16(pairwise) for kind in ("ADD", "SUB", "MUL")},
    **{kind: int16(extreme) for kind in ("MAXIMUM", "MINIMUM")},
    **{kind: int16(pool) for kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D")},
    **{kind: int16(function) for kind in ("RELU", "RELU6")},
    "LEAKY_RELU": int16(leaky),
    "RESHAPE": int16(rename),
    "SQUEEZE": int16(rename),
    "EXPAND_DIMS": int16(rename),
    "TRANSPOSE": int16(transpose),
    "STRIDED_SLICE": int16(strided_slice),
    "CONCATENATION": int16(concatenation),
    "PAD": int16(pad),
    "PACK": int16(pack),
    "GATHER": int16(gather),
    "RESIZE_NEAREST_NEIGHBOR": int16(resize),
    "SPACE_TO_BATCH_ND": int16(phases),
    "BATCH_TO_SPACE_ND": int16(phases),
}
