"""Kinds of layers, a network each, with random weights: `layers` counts them beside CMSIS-NN, `kernels` guards them."""

from __future__ import annotations

from residual import Builder

from mcu_codegen.graph import (
    Conv2D,
    DepthwiseConv2D,
    Elementwise,
    Entry,
    FullyConnected,
    Graph,
    LeakyRelu,
    NoOptions,
    Pool2D,
)


def _depthwise(name: str, rows: int, columns: int, channels: int, window: tuple[int, int], padding: str) -> Graph:
    builder = Builder()
    source = builder.activation(1, rows, columns, channels)
    return _alone(name, builder, (source,), builder.depthwise(source, window, padding))


def _pool(name: str, kind: str, rows: int, columns: int, channels: int, window: tuple[int, int]) -> Graph:
    """Windows side by side."""
    builder = Builder()
    source = builder.activation(1, rows, columns, channels)
    output = builder.activation(1, rows // window[0], columns // window[1], channels)
    return _alone(name, builder, (source,), builder.append(kind, output, Pool2D("VALID", window, window), source))


def _pair(
    name: str,
    kind: str,
    scales: tuple[float, float, float],
    options: Elementwise | NoOptions = Elementwise(),  # noqa: B008 - frozen
) -> Graph:
    """`scales` are of both inputs and the output."""
    builder = Builder()
    first, second, output = (builder.activation(1, 16, 16, 32, scale=scale) for scale in scales)
    return _alone(name, builder, (first, second), builder.append(kind, output, options, first, second))


def _table(name: str) -> Graph:
    """Of codes."""
    builder = Builder()
    source, output = (builder.activation(1, 16, 16, 32) for _ in range(2))
    return _alone(name, builder, (source,), builder.append("LEAKY_RELU", output, LeakyRelu(0.1), source))


def _dilated(name: str, rows: int, columns: int, channels: int, window: tuple[int, int], dilation: int) -> Graph:
    """A convolution to as many channels."""
    builder = Builder()
    source, output = (builder.activation(1, rows, columns, channels) for _ in range(2))
    height, width = (dilation if size > 1 else 1 for size in window)
    weights = builder.weights(channels, *window, channels)
    options = Conv2D("SAME", (1, 1), (height, width), "NONE")
    return _alone(name, builder, (source,), builder.append("CONV_2D", output, options, source, *weights))


def _several(name: str, rows: int, columns: int, channels: int, window: tuple[int, int], outputs: int) -> Graph:
    """Depthwise, with so many outputs of each channel."""
    builder = Builder()
    source, output = (builder.activation(1, rows, columns, channels * count) for count in (1, outputs))
    weights = builder.weights(1, *window, channels * outputs, axis=3)
    options = DepthwiseConv2D("SAME", depth_multiplier=outputs)
    return _alone(name, builder, (source,), builder.append("DEPTHWISE_CONV_2D", output, options, source, *weights))


def _one_output(name: str, inputs: int) -> Graph:
    builder = Builder()
    source, output = (builder.activation(1, count) for count in (inputs, 1))
    weights = builder.weights(1, inputs)
    options = FullyConnected()
    return _alone(name, builder, (source,), builder.append("FULLY_CONNECTED", output, options, source, *weights))


def _alone(name: str, builder: Builder, inputs: tuple[int, ...], output: int) -> Graph:
    return Graph(name, builder.tensors, [Entry("invoke", inputs, (output,), builder.operators)])


COUNTED = (
    _depthwise("depthwise_3x1_64", 16, 1, 64, (3, 1), "SAME"),
    _depthwise("depthwise_5x1_64", 16, 1, 64, (5, 1), "SAME"),
    _depthwise("depthwise_15x1_64", 32, 1, 64, (15, 1), "SAME"),
    _depthwise("depthwise_9x1_one_output_64", 9, 1, 64, (9, 1), "VALID"),
    _depthwise("depthwise_3x3_image_3x3_256", 3, 3, 256, (3, 3), "SAME"),
    _pool("max_pool_2x2_32", "MAX_POOL_2D", 16, 16, 32, (2, 2)),
    _pool("average_pool_2x2_32", "AVERAGE_POOL_2D", 16, 16, 32, (2, 2)),
    _pair("add_32", "ADD", (0.0471, 0.0625, 0.0813)),
    # ratios of 5/8 and 25/32: sums halfway between two codes are frequent, and no affine function follows them
    _pair("add_of_ties_32", "ADD", (0.05, 0.0625, 0.08)),
)
"""Those whose instructions CMSIS-NN's are known of."""

MODELS = (
    *COUNTED,
    _pair("add_rescaled_32", "ADD", (0.3, 0.9, 0.6)),
    _pair("mul_32", "MUL", (0.0471, 0.0625, 0.0813)),
    _pair("maximum_32", "MAXIMUM", (0.0625, 0.0625, 0.0625), NoOptions()),
    _table("leaky_relu_32"),
    _dilated("conv_3x1_dilated_4_32", 64, 1, 32, (3, 1), 4),
    _dilated("conv_3x3_dilated_2_16", 16, 16, 16, (3, 3), 2),
    _several("depthwise_3x3_3_multiplier_8", 16, 16, 3, (3, 3), 8),
    _one_output("fully_connected_64_to_one", 64),
)
