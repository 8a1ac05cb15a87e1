"""What an ONNX value is to this reader. QuantizeLinear and DequantizeLinear are no operators of a graph; they say which
values are codes, and what the codes mean.

    float array           a constant
    Weights               a constant of codes, and its DequantizeLinear
    Codes                 what QuantizeLinear gives
    Real                  what DequantizeLinear gives, or a function of that, one code at a time
    Pending               what an operator computes of such values: it waits for the QuantizeLinear that says its scale
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import InputError
from ..graph import Quantization
from .names import printable
from .onnx_file import Node
from .onnx_layout import Layout

Function = Callable[..., np.ndarray]
"""float32 to float32, element by element."""


@dataclass(frozen=True)
class Weights:
    """Constant codes; real = scale * (code - zero point), one of each for all, or one per index along `axis`."""

    name: str
    codes: np.ndarray  # int8, or int32 for a bias; of uint8, less 128
    scale: np.ndarray  # float32; a scalar, or [n]
    zero_point: np.ndarray  # int64, of the same shape
    axis: int

    @property
    def shape(self) -> tuple[int, ...]:
        return self.codes.shape

    @property
    def real(self) -> np.ndarray:
        """float32, as DequantizeLinear gives it."""
        scale, zero = (self._along_axis(each) for each in (self.scale, self.zero_point))
        return (self.codes.astype(np.int64) - zero).astype(np.float32) * scale

    def _along_axis(self, values: np.ndarray) -> np.ndarray:
        sizes = [1] * self.codes.ndim
        if values.ndim:
            sizes[self.axis] = len(values)
        return values.reshape(sizes) if values.ndim else values

    def transposed(self, permutation: Sequence[int]) -> Weights:
        axis = tuple(permutation).index(self.axis) if self.scale.ndim else 0
        return replace(self, codes=np.ascontiguousarray(self.codes.transpose(permutation)), axis=axis)

    def reshaped(self, shape: Sequence[int]) -> Weights:
        """Raises InputError where the axis that has scales does not stay."""
        axis = 0
        if self.scale.ndim:
            before, size = math.prod(self.shape[: self.axis]), self.shape[self.axis]
            kept = (a for a, n in enumerate(shape) if n == size and math.prod(shape[:a]) == before)
            axis = next(kept, -1)
            if axis < 0:
                raise InputError(f"'{self.name}' has a scale per index of axis {self.axis}, which {shape} tears apart")
        return replace(self, codes=self.codes.reshape(shape), axis=axis)


@dataclass(frozen=True)
class Codes:
    """The int8 tensor at `index` of the graph, whose axes lie as `layout` says."""

    index: int
    layout: Layout
    quantization: Quantization
    unsigned: bool = False  # in the file they are uint8, 128 above

    @property
    def shape(self) -> tuple[int, ...]:
        return self.layout.shape


EVERY_CODE = np.arange(256).astype(np.uint8).view(np.int8)
"""In the order of their bytes."""


@dataclass(frozen=True, eq=False)
class Real:
    """The values of `codes`, or a function of them: `table` has it of every code."""

    codes: Codes
    table: np.ndarray | None = None  # float32[256]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.codes.shape

    @property
    def of_every_code(self) -> np.ndarray:
        """float32[256]"""
        if self.table is not None:
            return self.table
        (scale,), (zero_point,) = self.codes.quantization.scale, self.codes.quantization.zero_point
        return (EVERY_CODE.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)

    def then(self, function: Function, *others: Real) -> Real:
        """`function` of it, and of `others`, which are of the same codes."""
        with np.errstate(all="ignore"):
            values = function(self.of_every_code, *(other.of_every_code for other in others))
        return Real(self.codes, np.asarray(values, np.float32))


@dataclass(frozen=True)
class Pending:
    """A value of `shape`, clamped to `low` and `high`, that an operator computes once its scale is known.

    `emit` adds the operator, with a quantisation and an activation of the graph's, and says where its codes are.
    """

    shape: tuple[int, ...]
    emit: Callable[[Quantization, str], Codes]
    low: float = -np.inf
    high: float = np.inf
    clampable: bool = False  # whether the operator of the graph has an activation
    biased: Callable[[np.ndarray], Pending] | None = None  # the same and a constant; where the operator has a bias
    computed: dict[tuple[Quantization, str], Codes] = field(default_factory=dict)

    def codes(self, quantization: Quantization, activation: str) -> Codes:
        """Computed once: who wants other codes of it is refused."""
        wanted = quantization, activation
        if wanted not in self.computed:
            if self.computed:
                raise InputError("its input is quantised elsewhere, with another scale or clamp; once is accepted")
            self.computed[wanted] = self.emit(quantization, activation)
        return self.computed[wanted]

    def clamped(self, low: float, high: float) -> Pending:
        low, high = min(max(low, self.low), self.high), max(min(high, self.high), self.low)
        return replace(self, low=low, high=high, biased=None)

    def moved(self, shape: tuple[int, ...], move: Callable[[Codes], Codes]) -> Pending:
        """The same values elsewhere, as `move` does it with codes."""
        return replace(
            self,
            shape=shape,
            emit=lambda quantization, activation: move(self.codes(quantization, activation)),
            biased=None,
            computed={},
        )


@dataclass(frozen=True)
class CodesInput(Pending):
    """An input of the model that is codes already; what they mean, the DequantizeLinear behind it says."""

    unsigned: bool = False


Value = np.ndarray | Weights | Codes | Real | Pending


def codes_of(node: Node, values: Sequence[Value | None], number: int) -> Codes:
    """The codes that input `number` of `node` is dequantised from. Raises InputError that says what is between."""
    value = values[number] if number < len(values) else None
    if isinstance(value, Real) and value.table is None:
        return value.codes
    found = {
        Real: "a function of codes, in float",
        Pending: "the float output of another operator",
        Codes: "codes without DequantizeLinear",
        CodesInput: "codes without DequantizeLinear",
    }.get(type(value), "a constant")
    raise InputError(f"reads {named(node, number)}, {found}; the output of QuantizeLinear, dequantised, is accepted")


def named(node: Node, number: int) -> str:
    """What errors call input `number`."""
    return f"'{printable(node.inputs[number])}'" if number < len(node.inputs) else f"input {number}"


def integers_of(node: Node, values: Sequence[Value | None], number: int, what: str) -> tuple[int, ...] | None:
    """The constant integers of input `number`; None where it is left out."""
    value = values[number] if number < len(values) else None
    if value is None:
        return None
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iu" or value.ndim > 1:
        raise InputError(f"{what} {named(node, number)} is not a constant list of integers")
    return tuple(int(each) for each in value.reshape(-1))
