"""How a network learns a task, and the gradient by which it is trained to.

The body is everything but the last layer. It is adapted from its weights theta; the head is new for every task and
starts at zero, so that any number of words can be learnt, none of them privileged. Batch normalisation is absorbed
beforehand (`absorb`): what is adapted is what a microcontroller computes, and no clip's answer depends on the others
that are asked with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, linear, one_hot

from mcu_codegen.errors import InputError

from ..models import body_and_head
from ..models.layers import ColumnNorm
from ..models.tracing import describe, module_of, trace
from ..training.checkpoint import Checkpoint

LEARNERS = {
    "maml": "gradient steps for the whole network; the meta-gradient through them (Finn et al., arXiv 1703.03400)",
    "fomaml": "the same, but not through the steps of the body (the head, which starts at zero, owes it everything)",
    "reptile": "the same steps; towards where they lead (Nichol et al., arXiv 1803.02999)",
    "anil": "steps for the head alone, the meta-gradient through them (Raghu et al., arXiv 1909.09157)",
    "prototypes": "the head is the mean of each word's clips (Snell et al., arXiv 1703.05175)",
}


_LEAST = 1e-9  # variance of what the head takes: clips that are all the same teach nothing


@dataclass(frozen=True)
class Learner:
    """`steps` gradient steps over all clips of a task, with a learning rate for the body and one for the head.

    Both are relative, so that they are the same for layers of any scale: the body's to the mean square of each output
    channel's weights, and to their number in the tensor; the head's to the variance of what it takes of the task's
    clips, and to a word's share of them. It learns from what differs between the clips; their mean is part of its bias
    in the end.
    """

    name: str = "fomaml"
    steps: int = 3
    rate: float = 0.001
    head_rate: float = 2.0

    def __post_init__(self) -> None:
        if self.name not in LEARNERS:
            raise InputError(f"learner {self.name!r} is unknown; there are {', '.join(LEARNERS)}")
        if self.steps < 1 or not self.rate > 0 or not self.head_rate > 0:
            raise InputError(
                f"learner {self.name}: {self.steps} steps of {self.rate} and {self.head_rate}; above 0 is accepted"
            )

    @property
    def adapts_body(self) -> bool:
        return self.name not in ("anil", "prototypes")


def learner_of(held: Checkpoint, path: Path) -> Learner:
    """How the network of `held`, which `path` names, is adapted. Raises InputError where it was not meta-trained."""
    if not held.learner:
        raise InputError(f"{path}: not meta-trained; a run of `kws meta train` or `kws meta prune` is accepted")
    try:
        return Learner(**held.learner)
    except TypeError as error:
        raise InputError(f"{path}: damaged, its learner is none ({error})") from None


def _of_a_channel(value: Tensor) -> tuple[int, ...]:
    """The dimensions of a weight tensor that belong to one output channel; of shifts, [channels], their only one."""
    return tuple(range(1, value.ndim)) or (0,)


@dataclass(frozen=True)
class Adapted:
    """A network for one task."""

    body: Mapping[str, Tensor]  # by name, the weights that stand for theta
    weight: Tensor  # of the head, [words, channels]
    bias: Tensor  # [words]


@dataclass(frozen=True)
class Clips:
    """Real feature values [N, 1, frames, coefficients] with labels int64[N]."""

    features: Tensor
    labels: Tensor


class Adaptable:
    """A network as a learner sees it: `theta`, its body's weights, and which of them are there to stay zero."""

    def __init__(self, network: nn.Module) -> None:
        """`network` is changed: its batch normalisation is absorbed, and training `theta` trains it.

        Raises InputError where it is no sequence that ends in a linear layer.
        """
        self.body, self.head = body_and_head(network)
        absorb(network)
        self.network = network.eval()
        idle = {f"{name}.weight" for name, each in self.body.named_modules() if type(each) is nn.BatchNorm2d}
        self.theta = {name: value for name, value in self.body.named_parameters() if name not in idle}
        for value in network.parameters():
            value.requires_grad_(False)
        for value in self.theta.values():
            value.requires_grad_()
        # weights of convolutions that are zero are pruned: nothing trains or adapts them any more
        pruned = {name: value == 0 for name, value in self.theta.items() if value.ndim > 1}
        self.masks = {name: ~zero for name, zero in pruned.items() if zero.any()}
        # how many numbers are not pruned: of each output channel [channels, 1, ...], of shifts all together
        self.kept = {
            name: self.masks.get(name, torch.ones_like(value)).sum(_of_a_channel(value), keepdim=True)
            for name, value in self.theta.items()
        }

    @torch.no_grad()
    def sizes(self) -> dict[str, Tensor]:
        """By name of `theta` the mean square of what is not pruned, of each output channel [channels, 1, ...], of
        shifts, which may be zero, of all together and at least 0.01.

        Of each channel, because absorbed normalisation makes up for a channel that is rarely on by large weights: the
        others must not be moved in proportion to those.
        """
        found = {name: self._mean_square(name, value) for name, value in self.theta.items()}
        return {name: each.clamp(min=0.01) if each.ndim == 1 else each for name, each in found.items()}

    def _mean_square(self, name: str, value: Tensor) -> Tensor:
        """Of what is not pruned of `value`, which belongs to theta's `name`; of each of its channels, of shifts all."""
        return value.square().sum(_of_a_channel(value), keepdim=True) / self.kept[name].clamp(min=1)

    @torch.no_grad()
    def _within(self, size: Tensor, name: str, move: Tensor) -> Tensor:
        """What to multiply `move` by, 1 at most, so that its mean square in a channel is no more than `size`.

        A step that is larger than the weights that it changes leaves nothing of them; where few weights are left, the
        next one finds a still steeper loss, until it is no number.
        """
        return (size / self._mean_square(name, move).clamp(min=1e-30)).sqrt().clamp(max=1)

    def masked(self, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: each * self.masks[name] if name in self.masks else each for name, each in gradients.items()}

    def embed(self, features: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """[N, channels], what the head takes."""
        found: Tensor = functional_call(self.body, dict(weights), (features,))
        return found

    def logits(self, adapted: Adapted, features: Tensor) -> Tensor:
        """[N, words]."""
        return linear(self.embed(features, adapted.body), adapted.weight, adapted.bias)

    def adapt(self, clips: Clips, ways: int, learner: Learner, linked: bool = False) -> Adapted:
        """The network after `learner`'s steps on `clips`."""
        *_, last = self.steps(clips, ways, learner, linked)
        return last

    def unadapted(self, ways: int) -> Adapted:
        """The network before the first step."""
        return Adapted(
            self.theta, self.head.weight.new_zeros(ways, self.head.in_features), self.head.weight.new_zeros(ways)
        )

    def steps(self, clips: Clips, ways: int, learner: Learner, linked: bool = False) -> Iterator[Adapted]:
        """The network after each step on `clips`; prototypes take one. Where it is `linked`, gradients reach theta
        through the steps: through those of the head for every learner, through those of the body for maml alone."""
        embedded = None if learner.adapts_body else self.embed(clips.features, self.theta)
        if learner.name == "prototypes":
            assert embedded is not None
            yield Adapted(self.theta, *_prototypes(embedded, clips.labels, ways))
            return
        body: dict[str, Tensor] = dict(self.theta)
        start = self.unadapted(ways)
        weight, bias = start.weight, start.bias
        sizes = self.sizes()
        rates = {name: learner.rate * square * self.kept[name].sum() for name, square in sizes.items()}
        mean, rate = bias, bias  # of the head, from what the body gives at first
        said = one_hot(clips.labels, ways)
        for step in range(learner.steps):
            # as nodes of their own: what the head owes to them in earlier steps is no part of this step's gradient
            body = {name: value.view_as(value) for name, value in body.items()}
            taken = self.embed(clips.features, body) if embedded is None else embedded
            if not step:
                mean, rate = (
                    taken.mean(0),
                    learner.head_rate * ways / taken.var(0, correction=0).sum().clamp(min=_LEAST),
                )
            outputs = linear(taken - mean, weight, bias)
            if embedded is None and step:  # a head of zeros gives the body no gradient
                loss, second_order = cross_entropy(outputs, clips.labels), linked and learner.name == "maml"
                found = torch.autograd.grad(loss, list(body.values()), retain_graph=linked, create_graph=second_order)
                changes = self.masked(dict(zip(body, found, strict=True)))
                moves = {name: rates[name] * change for name, change in changes.items()}
                body = {name: body[name] - move * self._within(sizes[name], name, move) for name, move in moves.items()}
            wrong = (outputs.softmax(1) - said) / len(said)  # the gradient of the loss for the outputs
            weight, bias = weight - rate * wrong.T @ (taken - mean), bias - learner.head_rate * wrong.sum(0)
            if not linked:
                mean, rate, weight, bias = (each.detach() for each in (mean, rate, weight, bias))
            yield Adapted(body, weight, bias - weight @ mean)

    def meta_gradient(
        self, support: Clips, query: Clips, ways: int, learner: Learner
    ) -> tuple[dict[str, Tensor], float, float]:
        """By name the gradient for theta, masked; the loss on the query in nats, and the share that is right there."""
        if learner.name == "reptile":
            both = Clips(torch.cat([support.features, query.features]), torch.cat([support.labels, query.labels]))
            adapted = self.adapt(both, ways, learner)
            found = {name: (value - adapted.body[name]).detach() for name, value in self.theta.items()}
            with torch.no_grad():
                outputs = self.logits(adapted, query.features)
                loss = cross_entropy(outputs, query.labels)
        else:
            adapted = self.adapt(support, ways, learner, linked=True)
            outputs = self.logits(adapted, query.features)
            loss = cross_entropy(outputs, query.labels)
            found = dict(zip(self.theta, torch.autograd.grad(loss, list(self.theta.values())), strict=True))
        right = float((outputs.argmax(1) == query.labels).float().mean())
        return self.masked(found), loss.item(), right


def _prototypes(embedded: Tensor, labels: Tensor, ways: int) -> tuple[Tensor, Tensor]:
    """Weight and bias of the head whose logits are the negative squared distances from each word's mean, but for what
    all words have in common."""
    means = torch.stack([embedded[labels == way].mean(0) for way in range(ways)])
    return 2 * means, -means.square().sum(1)


def normalised(network: nn.Module) -> Iterator[tuple[str, nn.Conv2d, nn.BatchNorm2d]]:
    """Name and module of each convolution that a batch normalisation follows, and the latter.

    Raises InputError where one follows anything else. `ColumnNorm` is a layer of its own, and left out.
    """
    for node in trace(network).graph.nodes:
        norm = module_of(node)
        if isinstance(norm, nn.BatchNorm2d) and not isinstance(norm, ColumnNorm):
            source = node.all_input_nodes[0]
            conv = module_of(source)
            if not isinstance(conv, nn.Conv2d) or conv.bias is not None or len(source.users) > 1:
                raise InputError(f"{describe(node)} does not follow a convolution of its own")
            yield str(source.target), conv, norm


@torch.no_grad()
def absorb(network: nn.Module) -> None:
    """Let every convolution take up the scale of the batch normalisation behind it, which is left with a shift and with
    what a new one adds to variances: what the network computes in inference stays the same, and so do the names of its
    weights."""
    added = nn.BatchNorm2d(1).eps
    for _, conv, norm in normalised(network):
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None and variance is not None
        scale = norm.weight / (variance + norm.eps).sqrt()
        conv.weight.mul_(scale[:, None, None, None])
        norm.bias.sub_(mean * scale)
        norm.weight.fill_(1)
        mean.zero_()
        norm.eps = added
        variance.fill_(1 - added)
