"""Which weights of a layer matter least, and what the others can do about their loss.

Adaptation-aware network pruning (Gao, He, Zhou, Tong, Thiele: Pruning meta-trained networks for on-device adaptation,
CIKM 2021): layer-wise optimal brain surgeon (Dong et al., arXiv 1705.07565) whose Hessian is taken from the inputs of
each layer in networks *after* adaptation, over many tasks. A layer that computes x W makes an error of
(W - W')^T H (W - W') with H = 1/N sum x x^T. Where the weight in row r goes, and the rest of its column makes up for it
as well as it can, the error is w^2 / [H^-1]_rr. That is how weights are ranked.

The authors' code then removes one weight after the other, each with the correction for itself alone, so that part of it
goes to weights that are gone or go next. Here what is left of a column makes up for all that is gone: the same for one
weight, and less error for many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, unfold

from ..models.layers import SameConv2d, same_padding
from .learners import Adaptable, Adapted, Clips, normalised

_DAMPING = 1e-6  # added to H's diagonal
_LEAST = 1e-5  # added to the diagonal of the inverse, where it divides
_STRIDE = 5  # of the places of a convolution's output every fifth is looked at, along time


@dataclass(frozen=True)
class Columns:
    """A layer's weights as matrices [groups, inputs + 1, outputs], the last row a shift: one matrix for a layer that
    mixes its channels, one of a single column for each channel of a depthwise layer."""

    layer: nn.Conv2d
    shift: Tensor | None  # [channels], of the normalisation behind it

    def read(self) -> Tensor:
        weight = self.layer.weight.detach()
        matrices = weight.view(self.layer.groups, -1, weight[0].numel()).transpose(1, 2).double()
        shift = torch.zeros(len(weight)) if self.shift is None else self.shift.detach()
        return torch.cat([matrices, shift.double().view(self.layer.groups, 1, -1)], 1)

    @torch.no_grad()
    def write(self, matrices: Tensor) -> None:
        self.layer.weight.copy_(matrices[:, :-1].transpose(1, 2).reshape(self.layer.weight.shape))
        if self.shift is not None:
            self.shift.copy_(matrices[:, -1].flatten())

    def inputs(self, values: Tensor) -> Tensor:
        """What the layer multiplies in one place each, [groups, places, inputs + 1], of its input [N, C, H, W]."""
        layer = self.layer
        if isinstance(layer, SameConv2d):
            axes = zip(values.shape[2:], layer.kernel_size, layer.stride, strict=True)
            (top, bottom), (left, right) = (same_padding(*axis) for axis in axes)
            values = pad(values, (left, right, top, bottom))
        elif not isinstance(layer.padding, str):
            values = pad(values, (layer.padding[1],) * 2 + (layer.padding[0],) * 2)
        stride = layer.stride[0] * _STRIDE, layer.stride[1]
        patches = unfold(values, layer.kernel_size, layer.dilation, stride=stride)  # [N, C * taps, places]
        patches = patches.unflatten(1, (layer.groups, -1)).permute(1, 0, 3, 2).flatten(1, 2).double()
        return torch.cat([patches, torch.ones_like(patches[..., :1])], 2)


def columns_of(subject: Adaptable) -> dict[str, Columns]:
    """The layers whose weights can go, by name: all convolutions of the body."""
    shifts = {name: norm.bias for name, _, norm in normalised(subject.body)}
    layers = {name: each for name, each in subject.body.named_modules() if isinstance(each, nn.Conv2d)}
    return {name: Columns(layer, shifts.get(name)) for name, layer in layers.items()}


def hessians(subject: Adaptable, networks: Iterable[tuple[Adapted, Clips]]) -> dict[str, Tensor]:
    """Of every layer, by name, [groups, inputs + 1, inputs + 1]: from `networks` and the clips that each is shown."""
    columns = columns_of(subject)
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def see(name: str, values: Tensor) -> None:
        taken = columns[name].inputs(values)
        product = taken.transpose(1, 2) @ taken
        sums[name] = sums[name] + product if name in sums else product
        counts[name] = counts.get(name, 0) + taken.shape[1]

    for adapted, clips in networks:
        with _watched({name: each.layer for name, each in columns.items()}, see), torch.no_grad():
            subject.logits(adapted, clips.features)
    return {name: total / counts[name] + _DAMPING * torch.eye(total.shape[-1]) for name, total in sums.items()}


def saliency(columns: Columns, hessian: Tensor) -> Tensor:
    """Of each weight, [groups, inputs, outputs]; a shift has none, for it does not go."""
    diagonal = torch.linalg.inv(hessian).diagonal(dim1=1, dim2=2) + _LEAST
    return (columns.read().square() / diagonal[..., None])[:, :-1]


def prune_by_hessian(columns: Columns, hessian: Tensor, count: int) -> None:
    """Remove the `count` weights of least saliency among those that are left; the others of each column, and its
    shift, become what is nearest to its old output on the inputs behind `hessian`."""
    matrices = columns.read()
    kept = matrices != 0
    kept[:, -1] = columns.shift is not None
    for place in _lowest(saliency(columns, hessian), kept[:, :-1], count).tolist():
        kept[_unravel(place, kept[:, :-1].shape)] = False
    mask = kept.transpose(1, 2).double()  # [groups, outputs, inputs + 1]
    whole = (hessian @ matrices).transpose(1, 2) * mask
    left = mask[..., None] * hessian[:, None] * mask[..., None, :] + torch.diag_embed(1 - mask)
    columns.write(torch.linalg.solve(left, whole).transpose(1, 2))


def prune_by_score(columns: Columns, score: Callable[[Tensor], Tensor], count: int) -> None:
    """Remove the `count` weights of least `score` among those that are left."""
    matrices = columns.read()
    weights = matrices[:, :-1]
    for place in _lowest(score(weights), weights != 0, count).tolist():
        weights[_unravel(place, weights.shape)] = 0
    columns.write(matrices)


def _lowest(scores: Tensor, kept: Tensor, count: int) -> Tensor:
    """Flat places of the `count` lowest scores of what is kept, from the lowest on."""
    return scores.masked_fill(~kept, torch.inf).flatten().argsort(stable=True)[:count]


def _unravel(place: int, shape: torch.Size) -> tuple[int, int, int]:
    _, rows, columns = shape
    return place // (rows * columns), place // columns % rows, place % columns


@contextmanager
def _watched(layers: Mapping[str, nn.Module], see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Meanwhile `see` is shown the name and input of each layer that computes."""

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor]], None]:
        return lambda _layer, inputs: see(name, inputs[0])

    handles = [layer.register_forward_pre_hook(hook(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
