"""Layers that torch lacks or spells otherwise than TFLite."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TFLite's SAME padding of one axis, (before, after): ceil(size / stride) output steps, an odd cell goes after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class SameConv2d(nn.Conv2d):
    """A convolution with TFLite's SAME padding, which depends on the input's size and may be asymmetric.

    Input [N, C, H, W], output [N, C', ceil(H / stride), ceil(W / stride)]. Bias-free: batch normalisation follows.
    For torch.fx this must be a leaf: the padding is computed from the shape at run time.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        groups: int = 1,
    ):
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        (top, bottom), (left, right) = (
            same_padding(*axis) for axis in zip(input.shape[2:], self.kernel_size, self.stride, strict=True)
        )
        if (top, left) == (bottom, right):  # the convolution pads by itself: one copy of the activations less
            return functional.conv2d(input, self.weight, self.bias, self.stride, (top, left), groups=self.groups)
        padded = functional.pad(input, (left, right, top, bottom))
        return functional.conv2d(padded, self.weight, self.bias, self.stride, groups=self.groups)


class SubSpectralNorm(nn.Module):
    """Batch normalisation of every column on its own (Chang et al., arXiv 2103.13620, a sub-band per column).

    Input and output [N, channels, T, columns].
    """

    def __init__(self, channels: int, columns: int):
        super().__init__()
        self.spread, self.norm = ColumnsToChannels(), ColumnNorm(columns * channels)
        self.gather = ChannelsToColumns(columns)

    def forward(self, input: Tensor) -> Tensor:
        normal: Tensor = self.gather(self.norm(self.spread(input)))
        return normal


class ColumnNorm(nn.BatchNorm2d):
    """Batch normalisation behind `ColumnsToChannels`: no convolution can take it up, so that it is a layer of its own
    in inference, a depthwise 1 x 1 convolution.
    """

    def forward(self, input: Tensor) -> Tensor:
        output = super().forward(input)
        if output.requires_grad:  # torch 2.13 takes gradients in another order of memory than the input's for its own
            output.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
        return output


class ColumnsToChannels(nn.Module):
    """[N, C, H, W] to [N, W * C, H, 1], a column after the other: in channels-last memory the same bytes."""

    def forward(self, input: Tensor) -> Tensor:
        return input.permute(0, 3, 1, 2).flatten(1, 2).unsqueeze(3)


class ChannelsToColumns(nn.Module):
    """[N, W * C, H, 1] to [N, C, H, W]: what `ColumnsToChannels` has done, undone."""

    def __init__(self, columns: int):
        super().__init__()
        self.columns = columns

    def forward(self, input: Tensor) -> Tensor:
        return input.squeeze(3).unflatten(1, (self.columns, -1)).permute(0, 2, 3, 1)


class GlobalAverage(nn.Module):
    """Mean over time and frequency: [N, C, H, W] to [N, C]."""

    def forward(self, input: Tensor) -> Tensor:
        return input.mean((2, 3))


def conv_bn_relu(
    inputs: int,
    outputs: int,
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    groups: int = 1,
    same: bool = True,
) -> list[nn.Module]:
    """The one motif of every network here: convolution (padded, unless not `same`), batch normalisation, ReLU."""
    if same:
        convolution: nn.Module = SameConv2d(inputs, outputs, kernel, stride, groups)
    else:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


def layer_name(position: int) -> str:
    """What a network calls the layer at `position` of another one that it has taken in."""
    return f"layer{position}"


LAYERS = nn.Conv2d | nn.Linear | ColumnNorm
"""What multiplies and accumulates in inference."""
