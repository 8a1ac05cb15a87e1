"""Operators with a state, in NumPy: what they give, and what becomes of their states."""

from __future__ import annotations

import functools

import numpy as np

from .. import arithmetic, lower


def svdf(step: lower.Svdf, newest: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(output, state), where `newest` are codes of the state: the results of the filters."""
    filters, moments = step.time.shape
    earlier = state.reshape(-1, filters, moments)[:, :, 1:]
    state = np.concatenate([earlier, newest.reshape(-1, filters, 1)], axis=2)
    products = (state.astype(np.int64) - step.state_zero_point) * step.time
    sums = products.reshape(len(state), -1, step.rank * moments).sum(axis=2) + step.bias
    return step.requantization(arithmetic.wrap32(sums)), state


def lstm(step: lower.Lstm, source: np.ndarray, hidden: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, ...]:
    """(output, hidden state, cell state)."""
    hidden, cell = (state.reshape(1, step.cells).astype(np.int64) for state in (hidden, cell))
    logistic, tanh = _curve(), _curve(3)
    values = source.reshape(step.steps, -1)
    partial = {name: np.clip(gate.values(values), -32768, 32767) for name, gate in step.gates.items()}
    rows = []
    for row in range(step.steps):
        sums = {
            name: np.clip(partial[name][row] + gate.hidden(hidden), -32768, 32767) for name, gate in step.gates.items()
        }
        kept = arithmetic.rounding_right_shift(logistic[sums["forget"]] * cell, 15)
        fresh = arithmetic.rounding_right_shift(logistic[sums["input"]] * tanh[sums["cell"]], 15 + step.cell_bits)
        cell = np.clip(kept + fresh, -32768, 32767)
        cell = np.clip(cell, -step.clip, step.clip) if step.clip else cell
        hidden = step.requantization(logistic[sums["output"]] * _curve(step.cell_bits)[cell])
        rows.append(hidden)
    return np.concatenate(rows), hidden, cell.astype(np.int16)


@functools.cache
def _curve(integer_bits: int | None = None) -> np.ndarray:
    """tanh_16, or logistic_16 without `integer_bits`, of every int16; negative ones count from the end."""
    codes = np.concatenate([np.arange(32768), np.arange(-32768, 0)])
    return arithmetic.logistic_16(codes) if integer_bits is None else arithmetic.tanh_16(codes, integer_bits)
