"""Everything that touches NNCF: fold, quantise, read the integer codes out of the quantiser modules.

NNCF inserts fake-quantisers around torch functions and keeps them in the model's hook storage, under names such as
``4/conv2d/0__1`` (the weight of the first conv2d called in module 4) or ``6/relu/0__0`` (that ReLU's output). Here they
are matched to the nodes of the traced graph; what goes on from here is plain data (`builder.Codes`).
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import re
import sys
from collections import Counter
from dataclasses import dataclass

# Before the import: no telemetry, and no compilation of NNCF's C++ extension (26 s; its torch fallback is as exact)
os.environ.update(NNCF_CI="1", TORCHDYNAMO_DISABLE="1", CXX="/bin/false")

import nncf
import numpy as np
import torch
from nncf.common.quantization.structs import QuantizationScheme
from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, QuantizationParameters
from nncf.quantization.range_estimator import RangeEstimatorParametersSet
from nncf.torch.function_hook.wrapper import get_hook_storage
from nncf.torch.quantization.layers import AsymmetricQuantizer, BaseQuantizer, PTQuantizerSpec
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mcu_codegen.errors import InputError
from mcu_codegen.graph import Quantization

from ..models.layers import ColumnNorm
from ..models.tracing import module_of, trace
from .builder import Codes

nncf.set_log_level(logging.ERROR)

RANGES = {
    name: getattr(RangeEstimatorParametersSet, name.upper())
    for name in ("minmax", "mean_minmax", "mean_no_outliers_minmax", "mean_quantile", "histogram")
}
"""NNCF's ways to choose an activation's range from calibration data."""


@dataclass(frozen=True)
class Settings:
    """Post-training quantisation; benchmarks/quantization.py compares the settings."""

    activation_range: str = "histogram"  # a key of RANGES
    bias_correction: bool = False  # NNCF's fast one, which takes every layer's input for constant over its positions
    calibration_clips: int = 500  # evenly over the classes

    def __post_init__(self) -> None:
        if self.activation_range not in RANGES:
            raise InputError(f"activation range {self.activation_range!r} is unknown; there are {', '.join(RANGES)}")


DEFAULTS = Settings()
_MOST_MULTIPLIER = 0.499


class Folded(nn.Module):
    """The network one level down: NNCF adds its storage as a child of the model, and a Sequential would call it."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.network(features)


def fold(model: nn.Module) -> Folded:
    """A copy of `model` for inference, each batch normalisation folded into the convolution before it; a `ColumnNorm`
    becomes a depthwise 1 x 1 convolution.
    """
    model = copy.deepcopy(model).eval()
    for node in trace(model).graph.nodes:
        norm = module_of(node)
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        source = node.all_input_nodes[0]
        conv = module_of(source)
        if isinstance(norm, ColumnNorm):
            model.set_submodule(str(node.target), _per_column(norm, module_of(source.all_input_nodes[0])))
            continue
        if not isinstance(conv, nn.Conv2d) or len(source.users) > 1:
            raise InputError(f"layer '{node.target}' (BatchNorm2d) does not follow a convolution of its own")
        model.set_submodule(str(source.target), fuse_conv_bn_eval(conv, norm).requires_grad_())  # its new bias too
        model.set_submodule(str(node.target), nn.Identity())
    return Folded(model)


@torch.no_grad()
def _per_column(norm: ColumnNorm, before: nn.Module | None) -> nn.Conv2d:
    """`norm` of columns times channels as a depthwise convolution.

    What a channel's columns have in common goes into the depthwise layer `before`, so that its output, which is
    quantised as a whole, has channels of like size.
    """
    identity = nn.Conv2d(norm.num_features, norm.num_features, 1, groups=norm.num_features, bias=False).eval()
    nn.init.ones_(identity.weight)
    scale = fuse_conv_bn_eval(identity, norm).requires_grad_()
    if isinstance(before, nn.Conv2d) and before.bias is None:
        columns = scale.weight.view(-1, before.out_channels)
        common = columns.abs().amax(0).clamp(min=torch.finfo(columns.dtype).tiny)
        columns /= common
        before.weight *= common.view(-1, 1, 1, 1)
    return scale


def quantize(folded: Folded, calibration: torch.Tensor, front_end: Quantization, settings: Settings) -> nn.Module:
    """A copy of `folded` with NNCF's fake-quantisers, their ranges chosen on `calibration`.

    `calibration` holds real feature values [N, 1, frames, coefficients]. The input quantiser is set to `front_end`'s
    scale and zero point, whatever the calibration data would suggest, and does not train.
    """
    activations = QuantizationParameters(per_channel=False)  # else the inputs of depthwise layers are per channel
    advanced = AdvancedQuantizationParameters(
        overflow_fix=nncf.OverflowFix.DISABLE,  # else the first layer's weights have 7 bits
        disable_bias_correction=not settings.bias_correction,
        activations_quantization_params=activations,
        quantize_outputs=True,  # else the logits stay real
        activations_range_estimator_params=RANGES[settings.activation_range],
    )
    with contextlib.redirect_stdout(sys.stderr):  # NNCF's progress bars; standard output belongs to results
        network = nncf.quantize(
            folded,
            nncf.Dataset(list(calibration.split(1))),
            preset=nncf.QuantizationPreset.PERFORMANCE,
            subset_size=len(calibration),
            advanced_parameters=advanced,
        )
    _set_input(network, trace(folded), front_end)
    keep_multipliers_small(network, folded, front_end)
    return network


def read(network: nn.Module, folded: Folded, front_end: Quantization) -> Codes:
    """The integer codes of a network from `quantize` (perhaps fine-tuned since). `folded` gives the structure.

    Raises InputError where NNCF's quantisers do not fit the traced graph.
    """
    storage = get_hook_storage(network)
    hooks = {f"pre {key}": hook for key, hook in storage.pre_hooks.items()}
    hooks |= {f"post {key}": hook for key, hook in storage.post_hooks.items()}

    def take(point: str) -> BaseQuantizer | None:
        found = [key for key in hooks if re.fullmatch(point, key)]
        return next(iter(hooks.pop(found[0]).children())) if found else None

    codes = Codes({}, {}, {})
    calls: Counter[str] = Counter()
    for node in trace(folded).graph.nodes:
        if node.op == "placeholder":
            take(f"post {node.target}__0")
            codes.activations[node.name] = front_end
        elif node.op != "output":
            operation = _operation(node, calls)
            if (output := take(f"post {operation}__0")) is not None:
                codes.activations[node.name] = _activation(output)
            module = module_of(node)
            if module is not None and (weights := take(f"pre {operation}__1")) is not None:
                _read_layer(node.name, network.get_submodule(str(node.target)), weights, codes)
    if hooks:
        raise InputError(f"NNCF quantises at {', '.join(hooks)}, where the traced network has no such tensor")
    return codes


def _set_input(network: nn.Module, traced: fx.GraphModule, front_end: Quantization) -> None:
    (source,) = (node for node in traced.graph.nodes if node.op == "placeholder")
    quantizer = AsymmetricQuantizer(
        PTQuantizerSpec(
            num_bits=8,
            mode=QuantizationScheme.ASYMMETRIC,
            signedness_to_force=None,
            narrow_range=False,
            half_range=False,
            scale_shape=(1,),
            logarithm_scale=False,
        )
    )
    scale, zero_point = front_end.scale[0], front_end.zero_point[0]
    quantizer.input_low.data.fill_(scale * (-128 - zero_point))
    quantizer.input_range.data.fill_(scale * 255)
    quantizer.disable_gradients()
    get_hook_storage(network).post_hooks[f"{source.target}__0"] = nn.ModuleDict({"0": quantizer})


def keep_multipliers_small(network: nn.Module, folded: Folded, front_end: Quantization) -> None:
    """Widen the range of a layer's output where a channel's accumulator would count for half a code or more: kernels
    requantise by a multiplier below a half (`emit.cortex_m.assembly`), and would leave the whole layer to portable C.

    That happens where a channel hardly uses the range of its tensor and large weights make up for it.
    """
    codes = read(network, folded, front_end)
    outputs: dict[str, BaseQuantizer] = {}
    calls: Counter[str] = Counter()
    hooks = get_hook_storage(network).post_hooks
    nodes = [node for node in trace(folded).graph.nodes if node.op not in ("placeholder", "output")]
    for node in nodes:
        operation = _operation(node, calls)
        for key in (key for key in hooks if re.fullmatch(f"{operation}__0", key)):
            outputs[node.name] = next(iter(hooks[key].children()))
    for node in nodes:
        if node.name in codes.weights:
            target = next(each for each in (node, *node.users) if each.name in outputs)
            source = node.all_input_nodes[0]
            while source.name not in codes.activations:  # a slice has the scale of what it is cut from
                source = source.all_input_nodes[0]
            step = codes.activations[source.name].scale[0] * float(codes.weights[node.name][1].max())
            _widen(outputs[target.name], step / codes.activations[target.name].scale[0] / _MOST_MULTIPLIER)


@torch.no_grad()
def _widen(quantizer: BaseQuantizer, factor: float) -> None:
    for name in ("scale", "input_low", "input_range"):
        if factor > 1 and hasattr(quantizer, name):
            getattr(quantizer, name).data.mul_(factor)


def _operation(node: fx.Node, calls: Counter[str]) -> str:
    """A pattern for NNCF's name of the node's torch function: path of the calling module, function, running number."""
    if node.op == "call_module":
        return re.escape(str(node.target).replace(".", "/")) + r"/\w+/0"
    path = next(reversed(node.meta.get("nn_module_stack", {"": None})))
    name = f"{path.replace('.', '/')}/{getattr(node.target, '__name__', node.target)}"
    calls[name] += 1
    return re.escape(f"{name}/{calls[name] - 1}")


def _activation(quantizer: BaseQuantizer) -> Quantization:
    low, _, scale, zero_point = quantizer.get_parameters_for_torch_fq()
    return Quantization((float(np.float32(scale.item())),), (int(zero_point.item()) - low - 128,))


@torch.no_grad()
def _read_layer(name: str, layer: nn.Module, quantizer: BaseQuantizer, codes: Codes) -> None:
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, torch.Tensor)
    scales = quantizer.get_parameters_for_torch_fq()[2].numpy().astype(np.float32)
    steps = scales.astype(np.float64).reshape(-1, *(1,) * (weight.ndim - 1))
    integers = np.rint(quantizer.forward(weight).double().numpy() / steps)
    assert np.abs(integers).max() <= 127
    codes.weights[name] = integers.astype(np.int8), np.broadcast_to(scales, weight.shape[:1])
    codes.biases[name] = bias.double().numpy() if isinstance(bias, torch.Tensor) else np.zeros(len(weight))
