"""Res1D: a residual network over time alone, for log-mel features.

The stem sees whole frames, so that frequency becomes channels at once; every other layer is a depthwise k x 1 or a
pointwise convolution. Nothing is padded inside, only the input, by `CONTEXT` frames before and after the second: what
the network says of a window is what it would say of the same frames in a stream. While it trains, every such layer has
parallel branches, which are one convolution afterwards (`branches`; for keyword spotting: "RepCNN", arXiv 2406.02652).

Input [N, 1, frames, bands], real feature values; output [N, classes], logits.
"""

from __future__ import annotations

from torch import Tensor, nn

from .branches import Branches
from .layers import GlobalAverage

CONTEXT = 12  # frames
BANDS = 40

# (frames that the stem sees, its stride, channels), then (channels, kernel, stride) of every block
EXTRA_SMALL = (3, 2, 32), [(32, 5, 1)] * 4
SMALL = (3, 1, 48), [(48, 9, 1)] * 5
MEDIUM = (5, 1, 64), [(64, 9, 1)] * 6


class Block(nn.Module):
    """A depthwise layer, linear, then a pointwise one; with a shortcut where neither stride nor width changes."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int):
        super().__init__()
        heights = sorted({kernel, kernel // 2 // 2 * 2 + 1})
        self.depthwise = Branches(inputs, inputs, heights, stride, groups=inputs)
        self.pointwise = Branches(inputs, outputs, [1])
        self.relu = nn.ReLU()
        self.shortcut = (inputs, stride) == (outputs, 1)
        self.margin = kernel // 2

    def forward(self, input: Tensor) -> Tensor:
        output = self.pointwise(self.depthwise(input))
        if self.shortcut:  # without the rows that the depthwise kernel has used up
            output = output + input[:, :, self.margin : -self.margin]
        return self.relu(output)


def res1d(stem: tuple[int, int, int], blocks: list[tuple[int, int, int]], classes: int) -> nn.Sequential:
    """The network of these lists."""
    height, stride, width = stem
    layers: list[nn.Module] = [
        nn.Conv2d(1, width, (height, BANDS), (stride, 1), bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
    for channels, kernel, step in blocks:
        layers.append(Block(width, channels, kernel, step))
        width = channels
    return nn.Sequential(*layers, GlobalAverage(), nn.Linear(width, classes))


def extra_small(classes: int) -> nn.Module:
    return res1d(*EXTRA_SMALL, classes)


def small(classes: int) -> nn.Module:
    return res1d(*SMALL, classes)


def medium(classes: int) -> nn.Module:
    return res1d(*MEDIUM, classes)
