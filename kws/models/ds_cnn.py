"""DS-CNN: depthwise-separable convolutions for keyword spotting (Zhang et al., "Hello Edge", arXiv 1711.07128).

Geometry of Arm's ML-zoo; S is the network of MLPerf Tiny (22,604 parameters and 2,656,768 MACs on 49 x 10 features).
The streaming form has the same layers and pads time nowhere: what padding stood for it hears instead, `CONTEXT` frames
before and after the second, and what it says of a window it would say of the same frames in a stream.

Input [N, 1, frames, coefficients], real feature values; output [N, classes], logits.
"""

from __future__ import annotations

from torch import nn

from .layers import GlobalAverage, conv_bn_relu, same_padding

CONTEXT = 12  # frames, of the streaming form
COEFFICIENTS = 10  # likewise
SHAPES = {
    # channels, strides of the stem and of the blocks; xs has half of the MACs of s: what pruning s must beat
    "xs": (44, (2, 2), [(1, 1)] * 4),
    "s": (64, (2, 2), [(1, 1)] * 4),
    "m": (172, (2, 1), [(2, 2)] + [(1, 1)] * 3),
    "l": (276, (2, 1), [(2, 2)] + [(1, 1)] * 4),
}


def ds_cnn(size: str, streaming: bool, classes: int) -> nn.Sequential:
    """A 10 x 4 convolution, then depthwise-separable blocks: the network of one of `SHAPES`."""
    channels, stem_stride, strides = SHAPES[size]
    columns = COEFFICIENTS if streaming else 0
    layers: list[nn.Module] = []
    inputs = 1
    for kernel, stride, groups in [((10, 4), stem_stride, 1), *(((3, 3), stride, channels) for stride in strides)]:
        if streaming:
            layers.append(nn.ZeroPad2d((*same_padding(columns, kernel[1], stride[1]), 0, 0)))
            columns = -(-columns // stride[1])
        layers += conv_bn_relu(inputs, channels, kernel, stride, groups, same=not streaming)
        if groups > 1:
            layers += conv_bn_relu(channels, channels, (1, 1))
        inputs = channels
    return nn.Sequential(*layers, GlobalAverage(), nn.Linear(channels, classes))
