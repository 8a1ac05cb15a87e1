"""What a body lost with its weights it learns again from the whole one, before the lessons of the round.

It is shown the clips of the words to learn from, and is to find those alike that the whole body does. No label takes
part, and no task: this is ordinary training, of many clips at a time, with masked gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..training.checkpoint import Checkpoint
from ..training.inference import real
from ..training.recipe import Views, ramp
from .learners import absorb, normalised

_BATCH = 128
_LEARNING_RATE = 8e-3  # the highest; it rises for an epoch and falls to zero as a cosine
_SEEN = 512  # examples that normalisation starts from
# What live normalisation adds to variances, which in absorbed layers are about 1. It bounds how far channels are
# amplified that have lost nearly everything: with the usual 1e-5 adaptation diverged when a twentieth of all was left.
_ADDED = 0.1


def imitated(
    held: Checkpoint, whole: Checkpoint, examples: Views, epochs: int, seed: Sequence[int], title: str
) -> Checkpoint:
    """`held` after its body has learnt from that of `whole`; weights of convolutions that are zero stay zero.

    The loss is the square error of `likeness` in a batch, relative to what it should be. Batch normalisation is live
    meanwhile (`revive`), and absorbed in the end. Every random number comes from `seed`.
    """
    front_end, rng = held.window.front_end, np.random.default_rng(seed)
    student, teacher = (each.network().to(memory_format=torch.channels_last) for each in (held, whole))  # type: ignore[call-overload]  # quicker on a CPU
    body, shown = student[:-1], teacher[:-1]
    masks = {value: value != 0 for value in body.parameters() if value.ndim == 4}
    revive(student, real(examples.features[np.sort(rng.integers(len(examples.features), size=_SEEN))], front_end))
    optimizer = torch.optim.Adam(body.parameters())
    student.train()
    order = int(rng.integers(2**31))
    steps = -(-examples.size // _BATCH)
    bar = tqdm(range(epochs * steps), title, leave=False, mininterval=0.5, disable=None)
    for number in bar:
        epoch, step = divmod(number, steps)
        if not step:
            codes, _ = examples.epoch(epoch, order)
        rate = ramp(number / steps, min(1.0, epochs / 4), epochs)
        optimizer.param_groups[0]["lr"] = _LEARNING_RATE * rate
        features = real(codes[step * _BATCH : (step + 1) * _BATCH], front_end)
        with torch.no_grad():
            wanted = likeness(shown(features))
        loss = (likeness(body(features)) - wanted).square().sum() / wanted.square().sum()
        optimizer.zero_grad()
        loss.backward()
        for value, mask in masks.items():
            value.grad *= mask
        optimizer.step()
    absorb(student.eval())
    return replace(held, state_dict=student.state_dict())


def likeness(embedded: Tensor) -> Tensor:
    """How alike the clips of a batch are to the head, [N, N], for what it takes of them, [N, channels].

    The inner products of the clips about their mean, as shares of the sum of their squares. A head that starts at zero,
    whose rate is relative to the variance of what it takes, sees nothing else of a body, which therefore may turn what
    it says, scale it, or say it in fewer channels (compare Tung & Mori, arXiv 1907.09682).
    """
    centred = embedded - embedded.mean(0)
    return centred @ centred.T / centred.square().sum()


@torch.no_grad()
def revive(network: nn.Module, features: Tensor) -> None:
    """The opposite of `absorb`: every batch normalisation gets the statistics of what it is given for `features`, adds
    0.1 to variances, and gets such a scale and shift that the network computes in inference what it did."""

    def see(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
        mean, variance = inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3), correction=0)
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        norm.bias.add_((mean - norm.running_mean) * scale)
        norm.eps = _ADDED
        norm.weight.copy_(scale * (variance + norm.eps).sqrt())
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)

    handles = [norm.register_forward_pre_hook(see) for _, _, norm in normalised(network)]
    network(features)
    for handle in handles:
        handle.remove()
