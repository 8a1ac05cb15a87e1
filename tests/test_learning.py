"""Learning of exits in integers: the regression, its bounds, thresholds, bypass, and that it learns."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from exit_heads import CLASSES, FEATURES, constants, population, random_head, speaker
from hypothesis import given, settings
from hypothesis import strategies as st

from mcu_codegen import arithmetic
from mcu_codegen.errors import InputError
from mcu_codegen.users import regression, thresholds
from mcu_codegen.users.exits import ALWAYS, NEVER
from mcu_codegen.users.learning import NO_LABEL, Learner, Utterances, _folds, _order
from mcu_codegen.users.regression import Rates, check_head, rates_of
from mcu_codegen.users.thresholds import Goal, Point


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(1, 70), st.sampled_from([1, 5, 200]))
def test_one_step_by_hand(seed: int, labels: int, features: int, margin: int) -> None:
    """Python's own integers, element by element."""
    rng = np.random.default_rng(seed)
    head = random_head(rng, labels, features)
    rates = Rates(tuple(rng.integers(0, 17, labels).tolist()), tuple(rng.integers(0, 21, labels).tolist()))
    codes, target = rng.integers(-128, 128, features).astype(np.int8), rng.integers(-128, 128, labels).astype(np.int8)
    scores = head.scores(codes[np.newaxis])[0]
    (found,) = head.fit(rates, margin, codes[np.newaxis], target[np.newaxis], 1)
    for label in range(labels):
        error, shift = int(scores[label]) - int(target[label]), rates.weights[label]
        error = error if abs(error) >= margin else 0
        for place in range(features):
            step = (error * (int(codes[place]) - head.zero_point) + (1 << shift) // 2) // (1 << shift)
            master = min(max(int(head.weights[label, place]) * 256 - step, -127 * 256), 127 * 256)
            assert found.weights[label, place] == (master + 128) // 256
        bias = int(head.bias[label]) * 256 - error * 2 ** rates.biases[label]
        assert found.bias[label] == (min(max(bias, -(2**30)), 2**30) + 128) // 256


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_nothing_leaves_int32(seed: int) -> None:
    """At the greatest rates, with features and targets at the ends of their range."""
    rng = np.random.default_rng(seed)
    head = random_head(rng, 3, 40, zero_point=int(rng.choice([-128, 127])))
    codes = rng.choice([-128, 127], (20, 40)).astype(np.int8)
    targets = rng.choice([-128, 127], (20, 3)).astype(np.int8)
    last = head
    for last in head.fit(Rates((0,) * 3, (20,) * 3), 1, codes, targets, 2):
        assert np.abs(last.weights.astype(int)).max() <= 127 and np.abs(last.bias).max() <= 1 << 22
        sums = np.abs(last.weights.astype(np.int64)).sum(axis=1) * 255 + np.abs(last.bias.astype(np.int64))
        assert sums.max() <= 255 * 127 * 40 + (1 << 22) <= arithmetic.INT32_MAX
    assert np.abs(last.weights.astype(int)).max() == 127  # it does saturate


def test_a_head_beyond_the_bounds_is_refused() -> None:
    head = random_head(np.random.default_rng(0), 3, 8)
    check_head(head)
    wide = dataclasses.replace(head, weights=np.zeros((3, 66_182), np.int8))
    raised = dataclasses.replace(
        head, requantization=dataclasses.replace(head.requantization, shift=np.array([8, 9, 0], np.int32))
    )
    heavy = dataclasses.replace(head, bias=np.array([0, 1 << 22, -(1 << 22) - 1], np.int32))
    lowest = dataclasses.replace(head, weights=np.full((3, 8), -128, np.int8))
    for odd, message in (
        (wide, "66182 features: an accumulator could reach 2147498374"),
        (raised, r"times 2\^9"),
        (heavy, "a bias of 4194305"),
        (lowest, "a weight of 128"),
    ):
        with pytest.raises(InputError, match=message):
            check_head(odd)


def test_rates_are_the_nearest_shifts() -> None:
    rates = rates_of(0.1, 0.02, np.array([0.01, 0.004, 1e-9]))
    assert rates == Rates((2, 1, 0), (9, 10, 20))  # 0.1 * 0.02 / 0.01 = 1/5, and 0.1 / (0.02 * 0.01) = 500
    assert rates_of(1e-9, 1.0, np.array([1.0])) == Rates((16,), (0,))


@given(st.integers(1, 255))
def test_an_epoch_takes_everything_once(count: int) -> None:
    assert sorted(_order(count)) == list(range(count))


def test_a_label_alternates_between_folds() -> None:
    assert _folds(np.array([3, 3, 5, 3, 5, 7])).tolist() == [0, 1, 0, 0, 1, 0]


def test_losses() -> None:
    last = np.array([[9, 0], [9, 0], [9, 0], [9, 0], [0, 9], [9, 9]], np.int8)
    own = np.array([[5, 1], [1, 5], [1, 5], [5, 1], [9, 0], [0, 0]], np.int8)
    labels = np.array([-1, -1, 0, 1, 0, -1])
    assert thresholds.losses(own, last, labels).tolist() == [0, 1, 1, 0, -1, 0]


CODES = np.array([[10, 20, 30, 40], [90, 90, 90, 20]])
LOST = np.array([[0, 1, 0, 0], [0, -1, 1, 1]])


@pytest.mark.parametrize(
    ("limits", "lost"),
    [((NEVER, NEVER), 0), ((30, NEVER), 0), ((20, NEVER), 1), ((30, 90), -1), ((40, 90), 0), ((40, ALWAYS), 0),
     ((NEVER, ALWAYS), 1)],
)  # fmt: skip
def test_what_is_lost_is_lost_by_all_exits_together(limits: tuple[int, int], lost: int) -> None:
    for tolerance in range(-260, 260, 10):  # per mille of the four, without a prior
        good = Goal(tolerance, 0).good(Point(limits, 0), CODES, LOST)
        assert good == (1000 * lost <= tolerance * 4)


def test_the_prior_counts() -> None:
    point = Point((20, NEVER), 100)  # loses 256 + 100, of 4 * 256 + 1000: 175.9 per mille
    assert Goal(176, 1000).good(point, CODES, LOST) and not Goal(175, 1000).good(point, CODES, LOST)
    assert Goal(0, 1000).good(Point((20, NEVER), -256), CODES, LOST)
    assert Goal(100, 1000).good(point, CODES[:, :0], LOST[:, :0])  # nobody was heard
    assert not Goal(99, 1000).good(point, CODES[:, :0], LOST[:, :0])


def test_the_cheapest_good_point_is_taken() -> None:
    points = [Point((30, NEVER), 0), Point((20, NEVER), 0), Point((40, 90), 0), Point((NEVER, ALWAYS), 0)]
    assert Goal(0, 0).choose(points, CODES, LOST) == (40, 90)  # though one before it is not good
    assert Goal(250, 0).choose(points, CODES, LOST) == (NEVER, ALWAYS)
    assert Goal(0, 0).choose(points[1:2], CODES, LOST) == (NEVER, NEVER)


def test_bypass_needs_two_estimates_and_ends_with_one() -> None:
    none, first, both = (False, False), (True, False), (True, True)
    later = (False, True)
    assert thresholds.bypass(none, both) == 2
    assert thresholds.bypass(first, both) == 0
    assert thresholds.bypass(both, later) == 1
    assert thresholds.bypass(both, none) == 2


@pytest.mark.parametrize(("loss", "count", "expected"), [(0, 20, True), (0, 19, False), (2560, 20, False)])
def test_an_exit_meets_the_goal_alone(loss: int, count: int, expected: bool) -> None:
    """Of those who lose nothing by it: from 20 utterances on, and where training speakers do not say otherwise."""
    heads, last = population(0)
    made = dataclasses.replace(constants(heads[:1]), bypass_utterances=20, alone=(loss,), tolerance=300)
    features = speaker(1)[0][:count]
    said = heads[0].scores(features).argmax(axis=1)
    buffer = Utterances((features,), last(said, 1), np.full(count, NO_LABEL), count)
    assert Learner(heads[:1], made).learn(buffer).met == (expected,)


def test_a_buffer_keeps_the_latest() -> None:
    everything = Utterances((np.arange(8, dtype=np.int8)[:, np.newaxis],), np.zeros((8, 2), np.int8), np.arange(8), 8)
    for steps in ([8], [1, 7], [3, 1, 1, 3]):
        buffer, at = _slice(everything, 0, 0), 0
        for step in steps:
            buffer, at = buffer.joined(_slice(everything, at, step), 5), at + step
        assert buffer.labels.tolist() == buffer.features[0][:, 0].tolist() == [5, 6, 7, 3, 4]
        assert buffer.heard == 8
    assert _slice(everything, 0, 0).joined(everything, 9).labels.tolist() == list(range(8))


def _slice(utterances: Utterances, at: int, count: int) -> Utterances:
    """Some of them, as if nothing else had been heard."""
    features = tuple(each[at : at + count] for each in utterances.features)
    labels = utterances.labels[at : at + count]
    return Utterances(features, utterances.scores[at : at + count], labels, count)


@pytest.mark.parametrize("way", ["labelled", "unlabelled", "mixed"])
def test_it_learns(way: str) -> None:
    """Speakers whose features lie elsewhere than the population's: the mean over eight of them, on other utterances."""
    heads, last = population(0)
    learner = Learner(heads, constants(heads))
    gained, before = [], []
    for seed in range(8):
        learn, learn_labels, test, test_labels = speaker(seed)
        labels = {
            "labelled": learn_labels,
            "unlabelled": np.full(30, NO_LABEL),
            "mixed": np.where(np.arange(30) % 2, learn_labels, NO_LABEL),
        }[way]
        learnt = learner.learn(Utterances((learn,) * len(heads), last(learn_labels, seed), labels, 30))
        for head, weights, bias in zip(heads, learnt.weights, learnt.biases, strict=True):
            own = dataclasses.replace(head, weights=weights, bias=bias)
            right = [(each.scores(test).argmax(axis=1) == test_labels).mean() for each in (head, own)]
            before.append(right[0])
            gained.append(right[1] - right[0])
    assert 0.4 < np.mean(before) < 0.95
    assert np.mean(gained) > 0.1


def test_what_is_learnt_is_a_function_of_the_buffer() -> None:
    heads, last = population(0)
    learner = Learner(heads, constants(heads))
    features, labels, _, _ = speaker(1)
    utterances = Utterances((features,) * len(heads), last(labels, 1), labels, 30)
    first, steps = learner.learn(utterances), list(learner.steps(utterances))
    assert len(steps) == len(heads) * 3 * learner.constants.epochs
    final = [step for step in steps if step.part == 2][learner.constants.epochs - 1 :: learner.constants.epochs]
    for step, weights, bias in zip(final, first.weights, first.biases, strict=True):
        assert np.array_equal(step.head.weights, weights) and np.array_equal(step.head.bias, bias)
    again = learner.learn(utterances, [True] * len(heads))
    assert again.thresholds == first.thresholds and again.met == first.met
    assert again.bypass == (first.met.index(True) if any(first.met) else len(heads))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda u: _slice(u, 0, 9), "9 utterances; 10 to 30 are accepted"),
        (lambda u: dataclasses.replace(u, heard=29), "a buffer of 30 after 29 utterances"),
        (lambda u: dataclasses.replace(u, labels=np.full(30, CLASSES)), "label 12; 0 to 11, or -1"),
        (lambda u: dataclasses.replace(u, labels=np.full(30, -2)), "label -2"),
        (lambda u: dataclasses.replace(u, features=(u.features[0][:, 1:],)), "features"),
    ],
)
def test_an_odd_buffer_is_refused(change, message: str) -> None:
    heads, last = population(0)
    features, labels, _, _ = speaker(1)
    with pytest.raises(InputError, match=message):
        Learner(heads[:1], constants(heads[:1])).learn(change(Utterances((features,), last(labels, 1), labels, 30)))


def test_half_rounds_up() -> None:
    """Of a master: 127.5 codes above and below."""
    assert regression._codes(np.array([128, 127, -128, -129])).tolist() == [1, 0, 0, -1]
    assert math.log2(regression.MOST_BIAS << regression.FRACTION) == 30
    assert FEATURES <= 64
