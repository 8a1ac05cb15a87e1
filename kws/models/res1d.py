"""Res1D: a residual network over time alone, for log-mel features.

The stem turns every frame into channels at once, and a strided layer takes two frames together; every other layer is a
depthwise k x 1 or a pointwise convolution. Nothing is padded inside, only the input, by `CONTEXT` frames before and
after the second: what the network says of a window is what it would say of the same frames in a stream.

Input [N, 1, frames, bands], real feature values; output [N, classes], logits.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from .layers import GlobalAverage

CONTEXT = 12  # frames
BANDS = 40
WIDTHS = {"xs": 44, "s": 56, "m": 128, "l": 256}  # channels, everywhere the same
WIDE = (128, 256, 512, 1280)  # channels of the stem, and of stages that each take two steps of time together


class Block(nn.Module):
    """A depthwise layer, linear, then a pointwise one; with a shortcut where there is no stride."""

    def __init__(self, inputs: int, channels: int, kernel: int, stride: int):
        super().__init__()
        depthwise = nn.Conv2d(inputs, inputs, (kernel, 1), (stride, 1), groups=inputs, bias=False)
        self.depthwise = nn.Sequential(depthwise, nn.BatchNorm2d(inputs))
        self.pointwise = nn.Sequential(nn.Conv2d(inputs, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.relu = nn.ReLU()
        self.shortcut = stride == 1
        self.margin = kernel // 2

    def forward(self, input: Tensor) -> Tensor:
        output = self.pointwise(self.depthwise(input))
        if self.shortcut:  # without the rows that the depthwise kernel has used up
            output = output + input[:, :, self.margin : -self.margin]
        return self.relu(output)


def res1d(channels: int, classes: int) -> nn.Sequential:
    """Four blocks of that width."""
    kernels_and_strides = ((9, 2), (5, 1), (9, 1), (13, 1))
    return _network(channels, [(channels, kernel, stride) for kernel, stride in kernels_and_strides], classes)


def wide(classes: int) -> nn.Sequential:
    """Three stages that widen as time gets shorter, so that 3.2 million parameters cost 18 million MACs: a teacher, and
    what pruning starts from."""
    stem, first, second, third = WIDE
    blocks = [(first, 9, 2), (first, 3, 1), (first, 3, 1)]
    blocks += [(second, 5, 2), (second, 3, 1), (second, 3, 1)]
    blocks += [(third, 3, 2), (third, 3, 1)]
    return _network(stem, blocks, classes)


def _network(stem: int, blocks: Sequence[tuple[int, int, int]], classes: int) -> nn.Sequential:
    """`blocks` are (channels, rows of the depthwise layer, stride); one with a stride of 1 keeps the channels."""
    layers = [nn.Conv2d(1, stem, (1, BANDS), bias=False), nn.BatchNorm2d(stem), nn.ReLU()]
    inputs = stem
    for channels, kernel, stride in blocks:
        layers.append(Block(inputs, channels, kernel, stride))
        inputs = channels
    return nn.Sequential(*layers, GlobalAverage(), nn.Linear(inputs, classes))
