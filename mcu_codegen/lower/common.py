"""What lowerings share: requantisation, activation ranges, padding, and checks of tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import arithmetic
from ..errors import InputError
from ..graph import Graph, Tensor

MAX_PADDED_BYTES = 64 << 20


@dataclass(frozen=True)
class Requantization:
    """int32 accumulators to codes of `dtype`. `multiplier` and `shift` have one entry, or one per output channel."""

    multiplier: np.ndarray  # int32, Q31
    shift: np.ndarray  # int32, positive to the left
    zero_point: int
    low: int
    high: int
    dtype: str = "int8"

    def __call__(self, accumulator: np.ndarray) -> np.ndarray:
        """Codes of `accumulator` (any shape, channels last)."""
        value = arithmetic.requantize(accumulator, self.multiplier, self.shift) + self.zero_point
        return np.clip(value, self.low, self.high).astype(self.dtype)


class LongRequantization(Requantization):
    """int64 accumulators to codes; `multiplier` is Q15."""

    def __call__(self, accumulator: np.ndarray) -> np.ndarray:
        value = arithmetic.requantize_long(accumulator, self.multiplier, self.shift) + self.zero_point
        return np.clip(value, self.low, self.high).astype(self.dtype)


def activation_range(activation: str, tensor: Tensor) -> tuple[int, int]:
    """(lowest, highest) code of `tensor` under a fused activation."""
    codes = np.iinfo(tensor.dtype)
    low, high = int(codes.min), int(codes.max)

    def code(real: float) -> int:
        # float32 division and rounding half away from zero, as the reference computes the clamp
        quotient = float(np.float32(real) / np.float32(tensor.scale))
        return tensor.zero_point + int(np.copysign(np.floor(abs(quotient) + 0.5), quotient))

    if activation == "RELU":
        low = max(low, code(0.0))
    elif activation == "RELU6":
        low, high = max(low, code(0.0)), min(high, code(6.0))
    elif activation == "RELU_N1_TO_1":
        low, high = max(low, code(-1.0)), min(high, code(1.0))
    elif activation == "RELU_0_TO_1":
        low, high = max(low, code(0.0)), min(high, code(1.0))
    elif activation != "NONE":
        raise InputError(f"tensor '{tensor.name}': fused activation {activation} is not supported")
    return low, high


def padding(kind: str, size: int, window: int, stride: int, dilation: int, output: int) -> tuple[int, int]:
    """(before, after) along one axis; SAME puts the odd one after."""
    reach = (window - 1) * dilation + 1
    expected = -(-size // stride) if kind == "SAME" else (size - reach) // stride + 1
    if output != expected or expected < 1:
        raise InputError(
            f"{kind} padding of {size} with window {reach} and stride {stride} gives {expected}, not {output}"
        )
    total = max((output - 1) * stride + reach - size, 0) if kind == "SAME" else 0
    return total // 2, total - total // 2


def check_padded(source: Tensor, pads: tuple[int, int, int, int]) -> None:
    """Refuse a window so far beyond the image that padding it takes more memory than any microcontroller has."""
    _, height, width, channels = source.shape
    if (height + pads[0] + pads[1]) * (width + pads[2] + pads[3]) * channels > MAX_PADDED_BYTES:
        raise InputError(f"tensor '{source.name}' {source.shape}: padding by {pads} is beyond {MAX_PADDED_BYTES} bytes")


def require_codes(tensor: Tensor) -> None:
    """Refuse what is no tensor of codes, which all that generated C takes and gives are."""
    if tensor.dtype not in ("int8", "uint8", "int16") and (tensor.dtype != "int32" or tensor.quantization is None):
        raise InputError(f"tensor '{tensor.name}' is {tensor.dtype}; int8, uint8, int16 or quantised int32 is accepted")


def int8_tensor(graph: Graph, index: int) -> Tensor:
    """The int8 tensor at `index`, with one scale."""
    return quantized_tensor(graph, index, "int8")


def codes(graph: Graph, index: int) -> Tensor:
    """The int8 or int16 tensor at `index`, with one scale."""
    return quantized_tensor(graph, index, "int8", "int16")


def activations(graph: Graph, *indices: int) -> list[Tensor]:
    """Tensors of one type, int8, or int16 with zero point 0."""
    tensors = [codes(graph, index) for index in indices]
    for tensor in tensors:
        if tensor.dtype != tensors[-1].dtype:
            raise InputError(f"tensor '{tensor.name}' is {tensor.dtype}, '{tensors[-1].name}' {tensors[-1].dtype}")
        if tensor.dtype == "int16" and tensor.zero_point:
            raise InputError(f"tensor '{tensor.name}' is int16 with zero point {tensor.zero_point}; 0 is accepted")
    return tensors


def quantized_tensor(graph: Graph, index: int, *dtypes: str) -> Tensor:
    """The tensor at `index`, of one of `dtypes`, with one scale."""
    tensor = graph.tensors[index]
    if tensor.dtype not in dtypes:
        raise InputError(f"tensor '{tensor.name}' is {tensor.dtype}; {' or '.join(dtypes)} is accepted")
    check_scales(tensor, np.asarray(tensor.scale))
    codes = np.iinfo(tensor.dtype)
    if not codes.min <= tensor.zero_point <= codes.max:
        raise InputError(
            f"tensor '{tensor.name}' has zero point {tensor.zero_point}; {codes.min}..{codes.max} is accepted"
        )
    return tensor


def constant_integers(graph: Graph, index: int, what: str) -> np.ndarray:
    """int64 values of the constant at `index`, which errors call `what`."""
    tensor = graph.tensors[index]
    if tensor.dtype not in ("int32", "int64") or not tensor.constant or tensor.data is None:
        raise InputError(f"{what} '{tensor.name}' ({tensor.dtype}) are not constant int32 or int64")
    return tensor.data.astype(np.int64)


def check_scales(tensor: Tensor, scales: np.ndarray) -> None:
    # within these limits no product or quotient of scales overflows, and NaN fails both comparisons
    low, high = 2.0**-64, 2.0**64
    if not np.all((scales >= low) & (scales <= high)):
        found = scales.reshape(-1)[int(np.argmin((scales >= low) & (scales <= high)))]
        raise InputError(f"tensor '{tensor.name}' has scale {found}; {low:.1e} to {high:.1e} is accepted")


def requantization(real: np.ndarray, output: Tensor, activation: str) -> Requantization:
    pairs = [arithmetic.quantize_multiplier(float(value)) for value in real]
    if max(shift for _, shift in pairs) > 30:
        raise InputError(f"tensor '{output.name}': its scale {output.scale} is too small for the operator's inputs")
    low, high = activation_range(activation, output)
    return Requantization(
        np.array([multiplier for multiplier, _ in pairs], np.int32),
        np.array([shift for _, shift in pairs], np.int32),
        output.zero_point,
        low,
        high,
        output.dtype,
    )


def long_requantization(real: np.ndarray, output: Tensor, activation: str, bound: np.ndarray) -> LongRequantization:
    """`bound` holds for the accumulators, by channel."""
    plain = requantization(real, output, activation)
    short = np.array([arithmetic.short_multiplier(int(each)) for each in plain.multiplier], np.int32)
    if np.any(plain.shift > 7) or np.any(arithmetic.requantize_long(bound, short, plain.shift) > arithmetic.INT32_MAX):
        raise InputError(f"tensor '{output.name}': its scale {output.scale} is too small for the operator's inputs")
    return LongRequantization(short, plain.shift, plain.zero_point, plain.low, plain.high, plain.dtype)


def check_sum(source: Tensor, count: int | None = None) -> None:
    """Refuse sums of `count` codes (default: all) that int32 may not hold."""
    reach = 2 ** (8 * np.dtype(source.dtype).itemsize) - 1
    if (source.elements if count is None else count) > arithmetic.INT32_MAX // reach:
        raise InputError(f"tensor '{source.name}' {source.shape}: its sum can exceed int32")


def check_same_codes(source: Tensor, output: Tensor, kind: str) -> None:
    """Refuse an operator that takes codes as they are where they mean something else in its output."""
    if (source.dtype, source.scale, source.zero_point) != (output.dtype, output.scale, output.zero_point):
        raise InputError(
            f"tensor '{output.name}' has scale {output.scale} and zero point {output.zero_point}, '{source.name}'"
            f" {source.scale} and {source.zero_point}; {kind} does not rescale: equal ones are accepted"
            if source.dtype == output.dtype
            else f"tensor '{output.name}' is {output.dtype}, '{source.name}' {source.dtype}; equal types are accepted"
        )


def scale_of(tensor: Tensor) -> float:
    """The scale of a tensor as the float32 that it is."""
    return float(np.float32(tensor.scale))
