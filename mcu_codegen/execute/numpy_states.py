"""Operators with a state, in NumPy: what they give, and what becomes of their states."""

from __future__ import annotations

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
    rows = []
    for values in source.reshape(step.steps, 1, -1):
        sums = {name: _gate(gate, values, hidden) for name, gate in step.gates.items()}
        given, kept, opened = (arithmetic.logistic_16(sums[name]) for name in ("input", "forget", "output"))
        kept = arithmetic.rounding_right_shift(kept * cell, 15)
        fresh = arithmetic.rounding_right_shift(given * arithmetic.tanh_16(sums["cell"], 3), 15 + step.cell_bits)
        cell = np.clip(kept + fresh, -32768, 32767)
        cell = np.clip(cell, -step.clip, step.clip) if step.clip else cell
        hidden = step.requantization(opened * arithmetic.tanh_16(cell, step.cell_bits))
        rows.append(hidden)
    return np.concatenate(rows), hidden, cell.astype(np.int16)


def _gate(gate: lower.Gate, values: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    partial = np.clip(gate.values(values), -32768, 32767)
    return np.clip(partial + gate.hidden(hidden), -32768, 32767)
