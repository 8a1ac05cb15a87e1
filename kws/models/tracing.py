"""A network as a graph of its layers."""

from __future__ import annotations

from torch import fx, nn

from mcu_codegen.errors import InputError

from .layers import LAYERS, ChannelsToColumns, ColumnsToChannels


def trace(model: nn.Module) -> fx.GraphModule:
    """The network as a graph of layers, without those that do nothing in inference.

    Nodes keep the names and targets of `model`. Raises InputError where the control flow depends on the data.
    """
    try:
        traced = fx.GraphModule(model, _Tracer().trace(model))
    except fx.proxy.TraceError as error:
        raise InputError(f"network {type(model).__name__} cannot be traced: {error}") from None
    for node in list(traced.graph.nodes):
        if isinstance(module_of(node), nn.Identity | nn.Dropout):
            node.replace_all_uses_with(node.all_input_nodes[0])
            traced.graph.erase_node(node)
    traced.recompile()
    return traced


def module_of(node: fx.Node) -> nn.Module | None:
    """The module that a node calls, or None for a function or method."""
    if node.op != "call_module":
        return None
    assert node.graph.owning_module is not None
    return node.graph.owning_module.get_submodule(str(node.target))


def describe(node: fx.Node) -> str:
    """The node for an error message."""
    module = module_of(node)
    if module is not None:
        return f"layer '{node.target}' ({type(module).__name__})"
    return f"layer '{node.name}' ({getattr(node.target, '__name__', node.target)})"


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        own = LAYERS | ColumnsToChannels | ChannelsToColumns
        return isinstance(module, own) or super().is_leaf_module(module, name)
