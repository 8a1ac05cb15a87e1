"""QuantizeLinear and DequantizeLinear: what codes mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..graph import Quantization
from .names import printable
from .onnx_builder import Builder
from .onnx_file import Node
from .onnx_values import Codes, CodesInput, Real, Value, Weights, named

Values = Sequence[Value | None]
Scales = tuple[np.ndarray, np.ndarray, str]
"""(float32 scales, int64 zero points, type of the codes): scalars, or one for each index of an axis."""


def quantize(build: Builder, node: Node, values: Values) -> Value:
    scale, zero_point, dtype = _scales(node, values, "")
    value = values[0]
    if isinstance(value, np.ndarray):
        return _constant(node, value, scale, zero_point, dtype)
    if value is None or isinstance(value, Codes | CodesInput | Weights):
        raise InputError(f"quantises {named(node, 0)}, which is codes already; float values are accepted")
    return replace(build.quantized(node, value, _whole(node, scale, zero_point, dtype)), unsigned=dtype == "uint8")


def dequantize(_build: Builder, node: Node, values: Values) -> Value:
    value = values[0]
    if isinstance(value, Weights):  # a constant that the file quantises itself
        scale, zero_point, dtype = _scales(node, values, "")
        shift = 128 if dtype == "uint8" else 0
        if not np.array_equal(scale, value.scale) or not np.array_equal(zero_point - shift, value.zero_point):
            raise InputError(f"takes codes {named(node, 0)} for such of another scale; what they have is accepted")
        return value
    if isinstance(value, np.ndarray):
        scale, zero_point, dtype = _scales(node, values, value.dtype.name)
        return _weights(node, value, scale, zero_point, dtype)
    if isinstance(value, CodesInput):
        dtype = "uint8" if value.unsigned else "int8"
        return Real(value.codes(_whole(node, *_scales(node, values, dtype)), "NONE"))
    if not isinstance(value, Codes):
        raise InputError(f"dequantises {named(node, 0)}, which is no codes")
    found = _whole(node, *_scales(node, values, "uint8" if value.unsigned else "int8"))
    if found != value.quantization:
        raise InputError(
            f"takes codes of scale {value.quantization.scale[0]:.6g} for such of {found.scale[0]:.6g}, or moves their"
            " zero point; what QuantizeLinear gave is accepted"
        )
    return Real(value)


def _scales(node: Node, values: Values, dtype: str) -> Scales:
    """`dtype` is that of codes which are there; "" where the node makes them."""
    scale = values[1] if len(values) > 1 else None
    zero = values[2] if len(values) > 2 else None
    if not isinstance(scale, np.ndarray) or (zero is not None and not isinstance(zero, np.ndarray)):
        raise InputError(f"scale {named(node, 1)} or zero point is not constant; constants are accepted")
    if scale.dtype != np.float32 or node.attributes.get("block_size"):
        raise InputError(
            f"scale {named(node, 1)} is {scale.dtype}, or of blocks; float32 of a tensor or axis is accepted"
        )
    found = zero.dtype.name if zero is not None else dtype or "uint8"
    if found not in ("int8", "uint8", *(("int32",) if dtype == "int32" else ())) or (dtype and dtype != found):
        raise InputError(f"codes are {found}; int8 or uint8 is accepted")
    zeros = np.zeros(scale.shape, np.int64) if zero is None else zero.astype(np.int64)
    if scale.ndim > 1 or scale.size != zeros.size or not scale.size:
        raise InputError(f"{scale.shape} scales and {zeros.shape} zero points; one, or one for each index of an axis")
    if not np.all(np.isfinite(scale)) or np.any(scale <= 0):
        raise InputError(f"scale {named(node, 1)} is not positive and finite")
    if scale.size == 1:
        scale, zeros = scale.reshape(()), zeros.reshape(())
    return scale, zeros.reshape(scale.shape), found


def _whole(node: Node, scale: np.ndarray, zero_point: np.ndarray, dtype: str) -> Quantization:
    """Of a value that changes: one scale, on int8 codes."""
    if scale.ndim or dtype == "int32":
        raise InputError(
            f"{named(node, 0)} has {scale.size} scales, of {dtype}; one for all, of int8 or uint8, is accepted"
        )
    return Quantization((float(scale),), (int(zero_point) - (128 if dtype == "uint8" else 0),))


def _constant(node: Node, values: np.ndarray, scale: np.ndarray, zero_point: np.ndarray, dtype: str) -> Weights:
    """Float weights that the file quantises itself, as training that knows of quantisation writes them."""
    if values.dtype != np.float32:
        raise InputError(f"quantises {values.dtype}; float32 is accepted")
    codes = np.zeros(values.shape, dtype)
    weights = _weights(node, codes, scale, zero_point, dtype)
    wide = [-1 if scale.ndim and axis == weights.axis else 1 for axis in range(values.ndim)]
    scaled = np.rint(values / (scale.reshape(wide) if scale.ndim else scale)).astype(np.float64)
    zero = weights.zero_point.reshape(wide) if scale.ndim else weights.zero_point
    return replace(weights, codes=np.clip(np.nan_to_num(scaled) + zero, -128, 127).astype(np.int8))


def _weights(node: Node, codes: np.ndarray, scale: np.ndarray, zero_point: np.ndarray, dtype: str) -> Weights:
    axis = 0
    if scale.ndim:
        axis = node.integer("axis", 1)
        if not -codes.ndim <= axis < codes.ndim or codes.shape[axis] != len(scale):
            raise InputError(f"{len(scale)} scales along axis {axis} of {codes.shape}")
        axis %= codes.ndim
    if dtype == "uint8":
        codes, zero_point = np.bitwise_xor(codes, np.uint8(128)).view(np.int8), zero_point - 128
    return Weights(printable(node.inputs[0]), codes, scale, zero_point, axis)
