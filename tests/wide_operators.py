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


def wide(make: Callable[[Draw, str], Graph]) -> Callable[[Draw, str], Graph]:
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
    """Weights and a bias: int64, int32 or none. Accumulators use a good part of the output's codes."""
    channels = shape[axis]
    weights = matrix(draw, shape, 0.01)
    if not per_tensor:
        scales = (0.01 * 2.0 ** draw.rng.uniform(-2, 2, channels)).astype(np.float32).tolist()
        weights.quantization = Quantization(tuple(scales), ZERO * channels, axis)
    dtype = draw.rng.choice(["int64", "int64", "int32", ""])
    if not dtype:
        return [weights]
    bias = draw.rng.integers(-(2**22), 2**22, channels) << (8 if dtype == "int64" else 0)
    return [weights, Tensor("", (channels,), dtype, None, bias.astype(dtype))]


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


WIDE: dict[str, Callable[[Draw, str], Graph]] = {
    "CONV_2D": convolution,
    "DEPTHWISE_CONV_2D": convolution,
    "FULLY_CONNECTED": fully_connected,
    "QUANTIZE": requantize,
    "SOFTMAX": softmax,
    **{kind: wide(pairwise) for kind in ("ADD", "SUB", "MUL")},
    **{kind: wide(extreme) for kind in ("MAXIMUM", "MINIMUM")},
    **{kind: wide(pool) for kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D")},
    **{kind: wide(function) for kind in ("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1")},
    "LEAKY_RELU": wide(leaky),
    "RESHAPE": wide(rename),
    "SQUEEZE": wide(rename),
    "EXPAND_DIMS": wide(rename),
    "TRANSPOSE": wide(transpose),
    "STRIDED_SLICE": wide(strided_slice),
    "CONCATENATION": wide(concatenation),
    "PAD": wide(pad),
    "PACK": wide(pack),
    "GATHER": wide(gather),
    "RESIZE_NEAREST_NEIGHBOR": wide(resize),
    "SPACE_TO_BATCH_ND": wide(phases),
    "BATCH_TO_SPACE_ND": wide(phases),
}
