"""Channel groups: which channels of a network live and die together.

A convolution that mixes its inputs makes new channels. Whatever works on channels one by one passes them on: depthwise
convolutions, normalisation, activations, slices of time, means over time and frequency. A sum ties the channels of both
its terms, so that a residual network has one group for all layers along a shortcut. Where columns have become channels,
a channel of the group is there once a column. Of several outputs the last is the network's own: what heads beside it
pass on belongs to the group that they read, and the channels that they make are in no group.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx, nn

from mcu_codegen.errors import InputError

from .layers import LAYERS
from .tracing import describe, module_of


@dataclass(frozen=True)
class Group:
    """Nodes of a traced network whose values have the same channels, in the order of the network."""

    name: str
    channels: int
    sources: tuple[str, ...]  # the convolutions that make the channels
    norms: tuple[str, ...]  # the batch normalisations that scale them
    nodes: tuple[str, ...]  # by name


@dataclass(frozen=True)
class Layer:
    """A layer with weights, and the places in `Groups.groups` of the channels that it takes and gives; None: in none,
    as features and logits are. A depthwise layer does not mix channels."""

    target: str
    takes: int | None
    gives: int | None
    mixes: bool

    @property
    def scales_with(self) -> tuple[int, ...]:
        """The groups to whose channels its multiply-accumulates are proportional."""
        return tuple(each for each in (self.takes if self.mixes else None, self.gives) if each is not None)


@dataclass(frozen=True)
class Groups:
    groups: tuple[Group, ...]
    layers: tuple[Layer, ...]
    output: int | None  # what the network gives; of several outputs the last


def find_groups(traced: fx.GraphModule) -> Groups:
    """The groups of a network from `trace`, and how its layers connect them.

    Raises InputError for a convolution that mixes only some of its channels, and where no convolution makes any.
    """
    same: dict[fx.Node, fx.Node] = {}  # towards the first node of a set

    def first(node: fx.Node) -> fx.Node:
        while same[node] is not node:
            node = same[node]
        return node

    makers: dict[fx.Node, nn.Conv2d] = {}
    layers = [node for node in traced.graph.nodes if isinstance(module_of(node), LAYERS)]
    for node in traced.graph.nodes:
        same[node] = node
        module = module_of(node)
        if isinstance(module, nn.Linear) or node.op == "output":
            continue
        if isinstance(module, nn.Conv2d):
            if module.groups == 1:
                makers[node] = module
                continue
            if not module.groups == module.in_channels == module.out_channels:
                raise InputError(f"{describe(node)}: {module.groups} groups; 1 or one per channel are accepted")
        for source in node.all_input_nodes:
            same[first(node)] = first(source)
    (result,) = (node for node in traced.graph.nodes if node.op == "output")
    output = result.all_input_nodes[-1]
    own = _needed_by(output)
    members: dict[fx.Node, list[fx.Node]] = {}
    for node in traced.graph.nodes:
        members.setdefault(first(node), []).append(node)
    sets = [nodes for nodes in members.values() if any(node in makers and node in own for node in nodes)]
    if not sets:
        raise InputError(f"network {type(traced).__name__} has no convolutions that make channels")
    places = {node: number for number, nodes in enumerate(sets) for node in nodes}
    groups = []
    for number, nodes in enumerate(sets):
        sources = [node for node in nodes if node in makers]
        groups.append(
            Group(
                f"group{number}",
                makers[sources[0]].out_channels,
                tuple(str(node.target) for node in sources),
                tuple(str(node.target) for node in nodes if isinstance(module_of(node), nn.BatchNorm2d)),
                tuple(node.name for node in nodes),
            )
        )
    return Groups(
        tuple(groups),
        tuple(
            Layer(
                str(node.target),
                places.get(node.all_input_nodes[0]),
                places.get(node),
                node in makers or isinstance(module_of(node), nn.Linear),
            )
            for node in layers
        ),
        places.get(output),
    )


def _needed_by(node: fx.Node) -> set[fx.Node]:
    """What the value of `node` is computed from, itself included."""
    found, waiting = set[fx.Node](), [node]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting += each.all_input_nodes
    return found
