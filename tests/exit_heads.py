"""Heads of exits over made-up features: clusters of a population, which single speakers shift."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mcu_codegen import arithmetic
from mcu_codegen.lower.common import Requantization
from mcu_codegen.users.learning_constants import Constants
from mcu_codegen.users.regression import Head, rates_of
from mcu_codegen.users.thresholds import Point

CLASSES, FEATURES = 12, 56
FEATURE_SCALE, ZERO_POINT, LOGIT_SCALE = 0.02, -128, 0.12


def random_head(rng: np.random.Generator, labels: int, features: int, zero_point: int | None = None) -> Head:
    """Logits use their range."""
    weights = rng.integers(-127, 128, (labels, features)).astype(np.int8)
    bias = rng.integers(-100_000, 100_001, labels).astype(np.int32)
    real = rng.uniform(0.5, 2, labels) * 60 / (90 * 73 * np.sqrt(features))
    pairs = [arithmetic.quantize_multiplier(each) for each in real]
    multiplier, shift = (np.array(values, np.int32) for values in zip(*pairs, strict=True))
    point = int(rng.integers(-128, 128)) if zero_point is None else zero_point
    scaling = Requantization(multiplier, shift, int(rng.integers(-20, 60)), -128, 127)
    return Head(weights, bias, point, scaling, arithmetic.softmax_exponentials(float(rng.uniform(0.03, 0.3)), 1.0))


def population(seed: int) -> tuple[tuple[Head, ...], Callable[[np.ndarray, int], np.ndarray]]:
    """(two heads, learnt in float from many speakers; the last exit's scores of labels, right nine times in ten)."""
    rng = np.random.default_rng([1, seed])
    heads = []
    for _ in range(2):
        parts = [_speech(1000 + number, 40) for number in range(20)]
        codes, labels = (np.concatenate(each) for each in zip(*parts, strict=True))
        heads.append(_head(codes, labels, rng))

    def last(labels: np.ndarray, speaker: int) -> np.ndarray:
        own = np.random.default_rng([2, speaker])
        said = np.where(own.random(len(labels)) < 0.9, labels, own.integers(0, CLASSES, len(labels)))
        scores = np.full((len(labels), CLASSES), -127, np.int8)
        scores[np.arange(len(labels)), said] = np.where(said == labels, 117, own.integers(-30, 100, len(labels)))
        return scores

    return tuple(heads), last


def speaker(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(30 codes to learn from, their labels, 200 others, their labels)."""
    codes, labels = _speech(seed, 230)
    return codes[:30], labels[:30], codes[30:], labels[30:]


def constants(heads: tuple[Head, ...], rate: float = 0.1, epochs: int = 3) -> Constants:
    """With a rate for these features."""
    scales = [weight_scales(head) for head in heads]
    rates = tuple(rates_of(rate, FEATURE_SCALE, each) for each in scales)
    points = tuple(Point((code,) * len(heads), loss) for code, loss in ((110, 2), (60, 30), (0, 200)))
    return Constants(epochs, rates, 4, 90, 10, 2560, points, (300,) * len(heads), 30, 10, 20, 5)


def _speech(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes and labels of one speaker, who shifts and shears what all share."""
    shared, own = np.random.default_rng(7), np.random.default_rng([3, seed])
    centres = shared.gamma(1.0, 0.35, (CLASSES, FEATURES))
    shift, each = own.normal(0, 0.5, FEATURES), own.normal(0, 0.5, (CLASSES, FEATURES))
    labels = own.integers(0, CLASSES, count)
    real = np.maximum(centres[labels] + shift + each[labels] + own.normal(0, 0.6, (count, FEATURES)), 0)
    return np.clip(np.rint(real / FEATURE_SCALE) + ZERO_POINT, -128, 127).astype(np.int8), labels


def weight_scales(head: Head) -> np.ndarray:
    """Of the weights of a head that `_head` made."""
    real = head.requantization.multiplier.astype(float) * 2.0 ** (head.requantization.shift - 31)
    return real * LOGIT_SCALE / FEATURE_SCALE


def _head(codes: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Head:
    """Softmax regression by gradient descent, quantised with a quarter of headroom."""
    real = (codes.astype(float) - ZERO_POINT) * FEATURE_SCALE
    weights, bias = rng.normal(0, 0.01, (CLASSES, FEATURES)), np.zeros(CLASSES)
    target = np.eye(CLASSES)[labels]
    for _ in range(300):
        logits = real @ weights.T + bias
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        error = (shares / shares.sum(axis=1, keepdims=True) - target) / len(real)
        weights, bias = weights - 0.5 * (error.T @ real + 1e-3 * weights), bias - 0.5 * error.sum(axis=0)
    scales = np.abs(weights).max(axis=1) / 96
    pairs = [arithmetic.quantize_multiplier(FEATURE_SCALE * scale / LOGIT_SCALE) for scale in scales]
    multiplier, shift = (np.array(values, np.int32) for values in zip(*pairs, strict=True))
    return Head(
        np.rint(weights / scales[:, np.newaxis]).astype(np.int8),
        np.rint(bias / (FEATURE_SCALE * scales)).astype(np.int32),
        ZERO_POINT,
        Requantization(multiplier, shift, 0, -128, 127),
        arithmetic.softmax_exponentials(LOGIT_SCALE, 1.0),
    )
