"""Early exits: heads behind parts of a network, each with an answer of its own.

PersEPhonEE-style, reconstructed: Leontiadis et al. (HotMobile 2021, arXiv 2102.01393) give the idea of exits on a
shared backbone that are made one person's; places and form of the heads are chosen here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mcu_codegen.errors import InputError

from .count import macs_by_layer
from .layers import GlobalAverage, layer_name

WIDTH = 64  # channels of what a head's linear layer reads, at most
ROWS = 20  # of a head's hidden layers, at most


def boundaries(network: nn.Module) -> list[int]:
    """How many layers of the network lie before each place where a head may stand: behind the stem and behind each
    block. The last is where the network's own last layers begin.

    Raises InputError where the network is no sequence of layers that ends in a mean and a linear layer.
    """
    if (
        not isinstance(network, nn.Sequential)
        or not isinstance(network[-1], nn.Linear)
        or not isinstance(network[-2], GlobalAverage)
    ):
        raise InputError(
            f"network {type(network).__name__}: exits need a sequence of layers, a mean and a linear layer"
        )
    layers = list(network)

    def pointwise(layer: nn.Module) -> bool:
        return isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)

    def ends(layer: nn.Module) -> bool:  # an activation, or a block, which has layers of its own
        return isinstance(layer, nn.ReLU) or any(layer.children())

    return [place for place in range(1, len(layers) - 1) if ends(layers[place - 1]) and not pointwise(layers[place])]


def places_of(network: nn.Module, exits: Sequence[int]) -> list[int]:
    """The boundaries that `exits` count, from 0. Raises InputError where they are no rising numbers of boundaries."""
    found = boundaries(network)
    if not exits or list(exits) != sorted(set(exits)) or not 0 <= exits[0] <= exits[-1] < len(found):
        raise InputError(
            f"--exit-places {','.join(map(str, exits)) or 'none'}: rising numbers from 0 to {len(found) - 1} are"
            " accepted; 0 is behind the stem, 1 behind the first block"
        )
    return [found[exit] for exit in exits]


class Head(nn.Sequential):
    """An answer from what a layer gives, [N, channels, rows, columns]: a small network of its own. Three times a
    depthwise and a pointwise layer, the first of which sees all columns and takes several rows together; their mean; a
    linear layer.

    Time is what an early layer lacks: a word is longer than what it sees. Few rows, and a quarter of the channels, make
    that cheap.
    """

    def __init__(self, channels: int, rows: int, columns: int, classes: int):
        hidden, width = max(min(channels, 16), channels // 4), min(WIDTH, channels)
        stride = -(-rows // ROWS)
        kernel = _odd(min(3 * stride, rows))
        rows = (rows - kernel) // stride + 1
        super().__init__(
            *_unit(channels, hidden, (kernel, columns), stride),
            *_unit(hidden, hidden, (_odd(rows // 3), 1)),
            *_unit(hidden, width, (_odd(rows // 3), 1)),
            GlobalAverage(),
            nn.Linear(width, classes),
        )


def _odd(most: int) -> int:
    """The greatest odd number up to `most`; 1 at least."""
    return max(most, 1) - 1 | 1


def _unit(inputs: int, outputs: int, kernel: tuple[int, int], stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, inputs, kernel, (stride, 1), groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]


class ExitNetwork(nn.Module):
    """A network with a head behind some of its layers: real feature values [N, 1, frames, coefficients] to the logits
    [N, classes] of every exit, by depth; the last are the network's own.

    The network's layers are its own children, not their container's: NNCF names them by the module that calls them.
    """

    def __init__(self, network: nn.Sequential, heads: Mapping[int, nn.Sequential]):
        """`heads` by the number of layers before them, rising. Weights of both are shared, not copied."""
        super().__init__()
        self._depth = len(network)
        self._heads = {place: f"head{number}" for number, place in enumerate(heads)}
        for number, layer in enumerate(network):
            self.add_module(layer_name(number), layer)
        for place, head in heads.items():
            self.add_module(self._heads[place], head)

    @property
    def backbone(self) -> nn.Sequential:
        """The network without exits, of the same layers."""
        return nn.Sequential(*(self.get_submodule(layer_name(number)) for number in range(self._depth)))

    @property
    def heads(self) -> dict[int, nn.Sequential]:
        """By the number of layers before them."""
        found = {place: self.get_submodule(name) for place, name in self._heads.items()}
        return {place: head for place, head in found.items() if isinstance(head, nn.Sequential)}

    def up_to_last(self, features: Tensor) -> tuple[list[Tensor], Tensor]:
        """What the early exits answer, and what the network's last layer takes."""
        value, early = features, []
        for number in range(self._depth - 1):
            if number in self._heads:
                early.append(self.get_submodule(self._heads[number])(value))
            value = self.get_submodule(layer_name(number))(value)
        return early, value

    def last(self, pooled: Tensor) -> Tensor:
        """The network's own answer."""
        logits: Tensor = self.get_submodule(layer_name(self._depth - 1))(pooled)
        return logits

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        early, pooled = self.up_to_last(features)
        return (*early, self.last(pooled))

    def costs(self, frames: int, coefficients: int) -> list[float]:
        """The multiply-accumulates of an inference that stops at each exit, heads passed by included, and last of one
        that stops at none; as shares of the network's without exits."""
        macs: Counter[str] = Counter()
        for name, number in macs_by_layer(self, frames, coefficients).items():
            macs[name.split(".")[0]] += number
        spent, costs = 0, []
        for number in range(self._depth):
            if number in self._heads:
                spent += macs[self._heads[number]]
                costs.append(spent)
            spent += macs[layer_name(number)]
        whole = sum(macs[layer_name(number)] for number in range(self._depth))
        return [cost / whole for cost in (*costs, spent)]


def with_exits(network: nn.Module, exits: Sequence[int], frames: int, coefficients: int) -> ExitNetwork:
    """`network` with untrained heads at `exits`, places among `boundaries`, counted from 0, rising.

    Raises InputError where the network has no such places.
    """
    places = places_of(network, exits)
    assert isinstance(network, nn.Sequential)
    closing = network[-1]
    assert isinstance(closing, nn.Linear)
    shapes = _shapes(network, frames, coefficients)
    return ExitNetwork(network, {place: Head(*shapes[place - 1], closing.out_features) for place in places})


def _shapes(network: nn.Sequential, frames: int, coefficients: int) -> list[tuple[int, int, int]]:
    """(channels, rows, columns) of what each layer before the mean gives."""
    value = torch.zeros(1, 1, frames, coefficients)
    training, shapes = network.training, []
    network.eval()
    with torch.no_grad():
        for layer in list(network)[:-2]:
            value = layer(value)
            shapes.append((value.shape[1], value.shape[2], value.shape[3]))
    network.train(training)
    return shapes
