"""BC-ResNet: a residual network whose temporal half works on the mean over frequency (Kim et al., "Broadcasted Residual
Learning for Efficient Keyword Spotting", arXiv 2106.04140), for log-mel features.

A block convolves over frequency, [T, F], then over time on the mean of its columns, [T, 1], and adds that to every
column. Frequency is padded, time nowhere: only the input, by `CONTEXT` frames before and after the second, so that what
the network says of a window is what it would say of the same frames in a stream. Temporal kernels use up 64 of the
73 frames, at hops of 20 ms; the dilations of stages 2 to 4 span as much time as the paper's, whose hop is 10 ms. ReLU
stands for the paper's swish, every column is normalised on its own (the paper: in five bands), and there is no dropout.

Input [N, 1, frames, bands], real feature values; output [N, classes], logits.
"""

from __future__ import annotations

from torch import Tensor, nn

from .layers import GlobalAverage, SameConv2d, SubSpectralNorm

CONTEXT = 12  # frames
BANDS = 40
BLOCKS = (2, 2, 4, 4)  # of each stage
CHANNELS = (8, 12, 16, 20)
STRIDES = (1, 2, 2, 1)  # over frequency, of a stage's first block
DILATIONS = (1, 1, 2, 4)  # over time
STEM, HEAD = 16, 32  # channels before and after the stages


class Block(nn.Module):
    """[N, inputs, T, F] to [N, outputs, T - 2 dilation, `columns`]; a shortcut where the channels stay."""

    def __init__(self, inputs: int, outputs: int, stride: int, dilation: int, columns: int):
        super().__init__()
        self.shortcut = inputs == outputs
        entry = [] if self.shortcut else _pointwise(inputs, outputs)
        self.frequency = nn.Sequential(
            *entry,
            SameConv2d(outputs, outputs, (1, 3), (1, stride), groups=outputs),
            SubSpectralNorm(outputs, columns),
        )
        self.temporal = nn.Sequential(
            nn.Conv2d(outputs, outputs, (3, 1), dilation=(dilation, 1), groups=outputs, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 1),
        )
        self.relu = nn.ReLU()
        self.margin = dilation

    def forward(self, input: Tensor) -> Tensor:
        columns = self.frequency(input)
        common = self.temporal(columns.mean(3, keepdim=True))
        inner = slice(self.margin, -self.margin)  # without the rows that the temporal kernel has used up
        columns = columns[:, :, inner]
        if self.shortcut:
            columns = columns + input[:, :, inner]
        return self.relu(columns + common)


def bc_resnet(scale: int, classes: int) -> nn.Sequential:
    """BC-ResNet-`scale`: `scale` times the channels of BC-ResNet-1."""
    channels, columns = scale * STEM, BANDS // 2
    stem = nn.Conv2d(1, channels, 5, (1, 2), bias=False)
    layers = [nn.ZeroPad2d((1, 2, 0, 0)), stem, nn.BatchNorm2d(channels), nn.ReLU()]
    for blocks, width, stride, dilation in zip(BLOCKS, CHANNELS, STRIDES, DILATIONS, strict=True):
        columns //= stride
        for number in range(blocks):
            layers.append(Block(channels, scale * width, 1 if number else stride, dilation, columns))
            channels = scale * width
    layers.append(nn.Conv2d(channels, channels, 5, groups=channels, bias=False))  # all columns become one
    return nn.Sequential(
        *layers, *_pointwise(channels, scale * HEAD), GlobalAverage(), nn.Linear(scale * HEAD, classes)
    )


def _pointwise(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
