"""Operators with a state, in tinygrad: what they give, and what becomes of their states."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import lower
from .tinygrad_integers import int32, requantized, scaled

if TYPE_CHECKING:
    from tinygrad import Tensor

_FACTORS = (25520, 19875, 12055, 4435, 600, 11, 0)  # exp(-2**k) as Q0.15 for k = -2..4


def svdf(step: lower.Svdf, newest: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """(output, state), where `newest` are codes of the state: the results of the filters."""
    filters, moments = step.time.shape
    last = newest.cast("int32").reshape(-1, filters, 1)
    moved = state.reshape(-1, filters, moments)[:, :, 1:].cat(last, dim=2) if moments > 1 else last
    products = (moved - step.state_zero_point) * int32(step.time)
    sums = products.reshape(1, -1, step.rank * moments).sum(2) + int32(step.bias)  # wraps
    return requantized(step.requantization, sums), moved


def lstm(step: lower.Lstm, source: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, ...]:
    """(output, hidden state, cell state). Each row is realised before the next: all run the same few kernels, and a row
    is a tensor of its own, for a slice of one would be another kernel."""
    hidden, cell = (state.reshape(1, step.cells).contiguous() for state in (hidden, cell))
    values = source.reshape(step.steps, -1)
    partial = {name: _product(gate.values, values).clip(-32768, 32767).numpy() for name, gate in step.gates.items()}
    rows = []
    for row in range(step.steps):
        gates = {}
        for name, gate in step.gates.items():
            total = int32(partial[name][row : row + 1]) + _product(gate.hidden, hidden)
            gates[name] = total.clip(-32768, 32767).cast("int32").contiguous()
        cell = _next_cell(step, gates, cell).contiguous()
        opened = _logistic(gates["output"]) * _tanh(cell, step.cell_bits)
        hidden = requantized(step.requantization, opened).cast("int32").contiguous()
        cell.realize(hidden)
        rows.append(hidden)
    return rows[0].cat(*rows[1:], dim=0), hidden, cell


def _product(product: lower.Product, codes: Tensor) -> Tensor:
    return scaled(codes @ int32(product.weights.T) + int32(product.bias), product.multiplier, product.shift)


def _logistic(a: Tensor) -> Tensor:
    """1 / (1 + exp(-a)) as Q0.15, for int32 `a`, Q3.12."""
    above = _saturated(_inverse(_exponential((a > 0).where(-a, a), 3)) * 2)
    return (a == 0).where(16384, (a > 0).where(above, 32767 - above))


def _tanh(a: Tensor, integer_bits: int) -> Tensor:
    """tanh(a) as Q0.15, for int32 `a` with so many integer bits."""
    magnitude = _saturated((_inverse(_exponential((a > 0).where(-a, a), integer_bits + 1)) - 8192) * 4)
    return (a == 0).where(0, (a > 0).where(magnitude, -magnitude))


def _rounded(a: Tensor, exponent: int) -> Tensor:
    """a / 2**exponent, half away from zero."""
    magnitude = ((a < 0).where(-a, a) + ((1 << exponent) >> 1)) >> exponent
    return (a < 0).where(-magnitude, magnitude)


def _next_cell(step: lower.Lstm, gates: dict[str, Tensor], cell: Tensor) -> Tensor:
    """The cell state after one row, of the sums of its gates, all int32."""
    kept = _rounded(_logistic(gates["forget"]) * cell, 15)
    fresh = _rounded(_logistic(gates["input"]) * _tanh(gates["cell"], 3), 15 + step.cell_bits)
    total = _saturated(kept + fresh)
    return total.clip(-step.clip, step.clip) if step.clip else total


def _saturated(a: Tensor) -> Tensor:
    return a.clip(-32768, 32767)


def _multiply(a: Tensor, b: Tensor | int) -> Tensor:
    return _saturated((a * b + 16384) >> 15)


def _exponential(a: Tensor, integer_bits: int) -> Tensor:
    fraction_bits = 15 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    fraction = (a & (quarter - 1)) - quarter
    x = fraction * (1 << integer_bits) + 4096
    x2 = _multiply(x, x)
    cubic = _multiply(_rounded(_multiply(x2, x2), 2) + _multiply(x2, x), 10923)
    result = _saturated(_multiply(x + _rounded(cubic + x2, 1), 28918) + 28918)
    rest = fraction - a
    for place, factor in enumerate(_FACTORS[: integer_bits + 2]):
        taken = ((rest >> (fraction_bits + place - 2)) & 1) == 1
        result = taken.where(_multiply(result, factor), result)
    if integer_bits > 5:
        result = (a < -(32 << fraction_bits)).where(0, result)
    return (a == 0).where(32767, result)


def _inverse(a: Tensor) -> Tensor:
    half = (a + 32768) >> 1
    x = _multiply(half, -15420) + 23130
    for _ in range(3):
        x = x + _saturated(_multiply(x, 8192 - _multiply(half, x)) * 4)
    return x
