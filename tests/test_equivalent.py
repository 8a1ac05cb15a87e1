"""Channels with a scaling that no kernel takes, and their equivalents."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mcu_codegen.emit.cortex_m.assembly import taken
from mcu_codegen.emit.cortex_m.equivalent import equivalent
from mcu_codegen.lower.common import Requantization
from mcu_codegen.lower.convolution import FullyConnected

BOUNDS = (2**28, 2**29)  # of Cortex-M0, and of the others


def layer(rng: np.random.Generator, channels: int) -> FullyConnected:
    """Channels of every kind: shifts from far left to far right; biases up to the end of int32, and such that codes
    change amid the accumulators; few weights and many."""
    weights = rng.integers(-127, 128, (channels, int(rng.choice([1, 8, 64, 600])))).astype(np.int8)
    zero_point, output = (int(rng.choice([-128, 0, 127, rng.integers(-128, 128)])) for _ in range(2))
    reach = np.abs(weights.astype(np.int64)).sum(axis=1) * max(127 - zero_point, 128 + zero_point)
    bias = rng.choice([-1, 1], channels) * rng.choice([0, 0.1, 0.5, 0.9, 1], channels) * (2**31 - 1 - reach)
    shift = rng.integers(-31, -15, channels)
    ordinary = rng.random(channels) < 0.3
    shift[ordinary] = rng.integers(-23, 4, ordinary.sum())
    low, high = [(-128, 127), (output, 127), (output, min(127, output + 90)), (max(-128, output - 30), 127)][
        rng.integers(4)
    ]
    multiplier = rng.integers(2**30, 2**31, channels, np.int64)
    scaling = Requantization(multiplier.astype(np.int32), shift.astype(np.int32), output, low, high)
    step = rng.choice([-1, 1], channels) * 2.0 ** (30 - shift) / multiplier + reach * rng.uniform(-0.5, 0.5, channels)
    bias = np.where((rng.random(channels) < 0.3) & (np.abs(step) + reach < 2**31 - 1), step, bias).astype(np.int64)
    return FullyConnected(weights, bias.astype(np.int32), zero_point, scaling, reach + np.abs(bias))


def codes(op: FullyConnected, inputs: np.ndarray) -> np.ndarray:
    """int8 (N, channels) of int64 (N, channels, depth) inputs, one row a channel."""
    sums = ((inputs - op.input_zero_point) * op.weights.astype(np.int64)).sum(axis=2) + op.bias
    assert np.all(np.abs(sums) <= op.bound)
    return op.requantization(sums)


def inputs(rng: np.random.Generator, op: FullyConnected) -> np.ndarray:
    """Random ones, those that bring each channel to both ends of its accumulator, and ways between the two."""
    lowest = np.where(op.weights > 0, -128, 127)
    ends = np.stack([lowest, -1 - lowest])
    shares = rng.random((200, *op.weights.shape)) < np.linspace(0, 1, 200)[:, None, None]
    return np.concatenate([rng.integers(-128, 128, (50, *op.weights.shape)), ends, np.where(shares, *ends)])


@pytest.mark.parametrize("bound", BOUNDS)
def test_equivalents_give_the_same_codes(bound: int) -> None:
    rng = np.random.default_rng(1)
    replaced = found = stepping = 0
    for _ in range(60):
        op = layer(rng, 24)
        other = equivalent(op, bound)
        strange, left = ~taken(op, bound), ~taken(other, bound)
        assert not np.any(left & ~strange)
        replaced, found = replaced + int(strange.sum()), found + int((strange & ~left).sum())
        every = inputs(rng, op)
        before = codes(op, every)
        np.testing.assert_array_equal(codes(other, every), before)
        stepping += int((strange & ~left & np.any(before != before[0], axis=0)).sum())
    assert found > 0.6 * replaced
    assert stepping > 20


def test_a_step_stays_where_it_is() -> None:
    """Every accumulator of a channel with a single weight, around the one at which its code changes."""
    scaling = Requantization(np.array([2**30]), np.array([-30]), 5, -128, 127)
    # half a code is reached at 2^30: 20 below it stands the middle of all accumulators
    op = FullyConnected(np.array([[1]], np.int8), np.array([2**30 - 20], np.int32), 0, scaling, np.array([2**30 + 108]))
    other = equivalent(op, 2**28)
    assert taken(other, 2**28).all() and not taken(op, 2**28).any()
    every = np.arange(-128, 128)[:, None, None]
    before = codes(op, every)
    assert len(np.unique(before)) == 2
    np.testing.assert_array_equal(codes(other, every), before)


def test_ordinary_channels_are_left_alone() -> None:
    op = layer(np.random.default_rng(2), 8)
    op = replace(op, requantization=replace(op.requantization, shift=np.full(8, -9)), bias=np.zeros(8, np.int32))
    op = replace(op, bound=np.minimum(op.bound, 2**27))
    assert equivalent(op, 2**28) is op
