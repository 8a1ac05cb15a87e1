"""Res1D: a residual network over time alone, for log-mel features.

The stem turns every frame into channels at once, and a strided layer takes two frames together; every other layer is a
depthwise k x 1 or a pointwise convolution. Nothing is padded inside, only the input, by `CONTEXT` frames before and
after the second: what the network says of a window is what it would say of the same frames in a stream.

Input [N, 1, frames, bands], real feature values; output [N, classes], logits.
"""

from __future__ import annotations

from torch import Tensor, nn

from .layers import GlobalAverage

CONTEXT = 12  # frames
BANDS = 40
KERNELS = (9, 5, 9, 13)  # rows of each block's depthwise layer
STRIDES = (2, 1, 1, 1)
WIDTHS = {"xs": 44, "s": 56, "m": 128, "l": 256}  # channels


class Block(nn.Module):
    """A depthwise layer, linear, then a pointwise one; with a shortcut where there is no stride."""

    def __init__(self, channels: int, kernel: int, stride: int):
        super().__init__()
        depthwise = nn.Conv2d(channels, channels, (kernel, 1), (stride, 1), groups=channels, bias=False)
        self.depthwise = nn.Sequential(depthwise, nn.BatchNorm2d(channels))
        self.pointwise = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.relu = nn.ReLU()
        self.shortcut = stride == 1
        self.margin = kernel // 2

    def forward(self, input: Tensor) -> Tensor:
        output = self.pointwise(self.depthwise(input))
        if self.shortcut:  # without the rows that the depthwise kernel has used up
            output = output + input[:, :, self.margin : -self.margin]
        return self.relu(output)


def res1d(channels: int, classes: int) -> nn.Sequential:
    """The network of that width."""
    stem = [nn.Conv2d(1, channels, (1, BANDS), bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
    blocks = [Block(channels, kernel, stride) for kernel, stride in zip(KERNELS, STRIDES, strict=True)]
    return nn.Sequential(*stem, *blocks, GlobalAverage(), nn.Linear(channels, classes))
