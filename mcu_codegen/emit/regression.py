"""The core of learning as C: heads that score and learn, as `users.regression` specifies it."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

import numpy as np

from ..users.regression import FRACTION, MOST_BIAS, MOST_WEIGHT, Head, Rates
from .portable.helpers import HELPERS
from .text import array

_HELPERS = ("high_multiply", "rounding_shift", "requantize", "quantize", "reciprocal")


def regression(name: str, heads: Sequence[Head], rates: Sequence[Rates]) -> str:
    """Constants and static functions: `heads`, all of as many labels, which learn; head_logits, soften and head_learn.
    `name` is the prefix of the network's C."""
    rows, tables = [], []
    weights = features = 0
    for number, (head, rate) in enumerate(zip(heads, rates, strict=True)):
        labels, depth = head.weights.shape
        exponentials = shortened(head.exponentials)
        scaling = head.requantization
        tables += [
            array(ctype, f"{role}_{number}", values, about=f"Head {number}: {about}.")
            for role, ctype, values, about in (
                ("multipliers", "int32_t", np.broadcast_to(scaling.multiplier, labels), "multipliers of the logits"),
                ("shifts", "int8_t", np.broadcast_to(scaling.shift, labels), "and their shifts"),
                ("exponentials", "int32_t", exponentials, "exponentials by distance to the highest logit"),
                ("weight_shifts", "uint8_t", np.array(rate.weights), "learning rates of weights, by label"),
                ("bias_shifts", "uint8_t", np.array(rate.biases), "learning rates of biases"),
            )
        ]
        rows.append(
            f"    {{{depth}, {weights}, {features}, {head.zero_point}, {scaling.zero_point}, {scaling.low},"
            f" {scaling.high}, {len(exponentials)}, multipliers_{number}, shifts_{number}, exponentials_{number},"
            f" weight_shifts_{number}, bias_shifts_{number}}}"
        )
        weights, features = weights + labels * depth, features + depth
    helpers = [Template(HELPERS[each].text).substitute(prefix=name) for each in _HELPERS]
    values = {
        "tables": "\n".join(tables),
        "rows": ",\n".join(rows),
        "fraction": str(FRACTION),
        "half": str(1 << (FRACTION - 1)),
        "most_weight": str(MOST_WEIGHT << FRACTION),
        "most_bias": str(MOST_BIAS << FRACTION),
        "features": str(max(head.weights.shape[1] for head in heads)),
        "weights": str(max(head.weights.size for head in heads)),
        "heads": str(len(heads)),
        "labels": str(len(heads[0].weights)),
    }
    text = _CORE
    for key, value in values.items():
        text = text.replace(f"${key}$", value)
    return "\n".join([*helpers, text])


def shortened(exponentials: np.ndarray) -> np.ndarray:
    """Without those at the end that count nothing: they round to 0 in the sum, and to 0/256 as a share of it."""
    return exponentials[: max(1, int((exponentials >= 1 << 11).sum()))]


_CORE = """\
#define FRACTION $fraction$ /* bits of a master below the code that the network reads */

/* FULLY_CONNECTED and SOFTMAX, and how they learn. */
typedef struct {
    int32_t features;
    int32_t first_weight; /* among those of all heads */
    int32_t first_feature;
    int32_t zero_point; /* of the features */
    int32_t logit_zero_point;
    int32_t low; /* logit codes */
    int32_t high;
    int32_t entries; /* exponentials */
    const int32_t *multipliers;
    const int8_t *shifts;
    const int32_t *exponentials;
    const uint8_t *weight_shifts;
    const uint8_t *bias_shifts;
} head;

/* What one head learns; weights and biases are the codes of the masters. */
typedef struct {
    const head *of;
    int16_t *master_weights; /* [$labels$][features], of the codes */
    int32_t *master_biases;
    int8_t *weights;
    int32_t *biases;
} pupil;

$tables$
static const head heads[$heads$] = {
$rows$
};

static int32_t dot(const int8_t *weights, const int16_t *x, int32_t count)
{
    int32_t sum = 0;

    while (count-- > 0) {
        sum += *weights++ * *x++;
    }
    return sum;
}

static int8_t logit(const head *of, int32_t label, int32_t sum)
{
    return name_quantize(sum, of->multipliers[label], of->shifts[label], of->logit_zero_point, of->low, of->high);
}

/* The very logits that the network computes of features `x`, whose zero point is taken off already. */
static void head_logits(const pupil *self, const int16_t *x, int8_t *logits)
{
    const head *const of = self->of;
    const int8_t *weights = self->weights;

    for (int32_t label = 0; label < $labels$; label++) {
        const int32_t sum = self->biases[label] + dot(weights, x, of->features);

        weights += of->features;
        logits[label] = logit(of, label, sum);
    }
}

/* The scores of `count` labels in place of their logits. */
static void soften(const head *of, int8_t *scores, int32_t count)
{
    int32_t maximum = -128;
    uint32_t total = 0;
    int32_t inverse, bits;

    for (int32_t label = 0; label < count; label++) {
        maximum = scores[label] > maximum ? scores[label] : maximum;
    }
    for (int32_t label = 0; label < count; label++) {
        const int32_t distance = maximum - scores[label];

        if (distance < of->entries) {
            total += (uint32_t)name_rounding_shift(of->exponentials[distance], 12);
        }
    }
    inverse = name_reciprocal(total, &bits);
    for (int32_t label = 0; label < count; label++) {
        const int32_t distance = maximum - scores[label];
        int32_t share = 0;

        if (distance < of->entries) {
            share = name_rounding_shift(name_high_multiply(of->exponentials[distance], inverse), bits + 23);
        }
        scores[label] = (int8_t)(share > 255 ? 127 : share - 128);
    }
}

static int32_t saturated(int32_t value, int32_t most)
{
    return value < -most ? -most : value > most ? most : value;
}

/* One step of one label. */
static void row_learn(int16_t *masters, int8_t *weights, const int16_t *x, int32_t count, int32_t error, int32_t shift)
{
    const int32_t half = (int32_t)((1u << shift) >> 1);

    while (count-- > 0) {
        const int32_t master = saturated(*masters - ((error * *x++ + half) >> shift), $most_weight$);

        *masters++ = (int16_t)master;
        *weights++ = (int8_t)((master + $half$) >> FRACTION);
    }
}

/* One step: `errors` are the scores of `x` less those to learn. */
static void head_learn(const pupil *self, const int16_t *x, const int16_t *errors)
{
    const int32_t features = self->of->features;

    for (int32_t label = 0; label < $labels$; label++) {
        const int32_t error = errors[label];

        if (error != 0) {
            const int32_t step = error * (1 << self->of->bias_shifts[label]);
            const int32_t master = saturated(self->master_biases[label] - step, $most_bias$);

            self->master_biases[label] = master;
            self->biases[label] = (master + $half$) >> FRACTION;
            row_learn(self->master_weights + label * features, self->weights + label * features, x, features, error,
                      self->of->weight_shifts[label]);
        }
    }
}
"""
