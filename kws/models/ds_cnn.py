"""DS-CNN: depthwise-separable convolutions for keyword spotting (Zhang et al., "Hello Edge", arXiv 1711.07128).

Geometry of Arm's ML-zoo; S is the network of MLPerf Tiny (22,604 parameters and 2,656,768 MACs on 49 x 10 features).
Input [N, 1, frames, coefficients], real feature values; output [N, classes], logits.
"""

from __future__ import annotations

from torch import nn

from .layers import GlobalAverage, conv_bn_relu


def ds_cnn(channels: int, stem_stride: tuple[int, int], strides: list[tuple[int, int]], classes: int) -> nn.Sequential:
    """A 10 x 4 convolution, then one depthwise-separable block per entry of `strides`."""
    layers = conv_bn_relu(1, channels, (10, 4), stem_stride)
    for stride in strides:
        layers += conv_bn_relu(channels, channels, (3, 3), stride, groups=channels)
        layers += conv_bn_relu(channels, channels, (1, 1))
    return nn.Sequential(*layers, GlobalAverage(), nn.Linear(channels, classes))


def extra_small(classes: int) -> nn.Module:
    """Half of the MACs of S: what pruning S must beat."""
    return ds_cnn(44, (2, 2), [(1, 1)] * 4, classes)


def small(classes: int) -> nn.Module:
    return ds_cnn(64, (2, 2), [(1, 1)] * 4, classes)


def medium(classes: int) -> nn.Module:
    return ds_cnn(172, (2, 1), [(2, 2)] + [(1, 1)] * 3, classes)


def large(classes: int) -> nn.Module:
    return ds_cnn(276, (2, 1), [(2, 2)] + [(1, 1)] * 4, classes)
