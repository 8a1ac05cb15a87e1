"""Parallel convolutions over time that train apart and add up to one (Ding et al., "RepVGG", arXiv 2101.03697)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)


class Branches(nn.Module):
    """The sum of convolutions of odd heights, k x 1, about the same row, and of the input itself where neither stride
    nor width changes; each has a batch normalisation of its own.

    Input [N, C, H, W], output [N, C', (H - k) // stride + 1, W] for the greatest height k: nothing is padded.
    """

    def __init__(self, inputs: int, outputs: int, heights: Sequence[int], stride: int = 1, groups: int = 1):
        super().__init__()
        self.heights = tuple(heights)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, (height, 1), (stride, 1), groups=groups, bias=False) for height in heights
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) for _ in heights)
        self.shortcut = nn.BatchNorm2d(outputs) if (inputs, stride) == (outputs, 1) else None

    def forward(self, input: Tensor) -> Tensor:
        total: Tensor | None = None if self.shortcut is None else self.shortcut(self._about(input, 1))
        for height, convolution, norm in zip(self.heights, self.convolutions, self.norms, strict=True):
            part = norm(convolution(self._about(input, height)))
            total = part if total is None else total + part
        assert total is not None
        return total

    def _about(self, input: Tensor, height: int) -> Tensor:
        """The rows that a kernel of `height` sees where it stands in the middle of the greatest one."""
        margin = (max(self.heights) - height) // 2
        return input[:, :, margin : input.shape[2] - margin]

    @torch.no_grad()
    def merged(self) -> nn.Conv2d:
        """The one convolution with a bias that says in inference what all branches say, to float rounding."""
        parts = [_fused(*pair) for pair in zip(self.convolutions, self.norms, strict=True)]
        if self.shortcut is not None:
            parts.append(_fused(_identity(parts[0]), self.shortcut))
        whole = max(parts, key=lambda part: part.kernel_size[0])
        for part in parts:
            if part is not whole:
                margin = (whole.kernel_size[0] - part.kernel_size[0]) // 2
                whole.weight[:, :, margin : whole.kernel_size[0] - margin] += part.weight
                whole.bias += part.bias  # type: ignore[operator]  # fusing gave both one
        return whole.requires_grad_()


def merge(network: Network) -> Network:
    """A copy of `network` for inference in which one convolution stands for the branches of each layer."""
    network = copy.deepcopy(network).eval()
    for name, module in list(network.named_modules()):
        if isinstance(module, Branches):
            network.set_submodule(name, module.merged())
    return network


def _fused(convolution: nn.Module, norm: nn.Module) -> nn.Conv2d:
    assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    return fuse_conv_bn_eval(convolution.eval(), norm.eval())


def _identity(like: nn.Conv2d) -> nn.Conv2d:
    """A convolution 1 x 1 that gives its input, with the groups of `like`."""
    same = nn.Conv2d(like.in_channels, like.out_channels, 1, groups=like.groups, bias=False)
    depth = like.in_channels // like.groups
    same.weight.copy_(torch.eye(depth).repeat(like.groups, 1)[:, :, None, None])
    return same
