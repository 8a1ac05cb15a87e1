"""The core of learning as C: heads that score and learn, as `users.regression` specifies it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..users.regression import FRACTION, MOST_BIAS, MOST_WEIGHT, Head, Rates
from .answers import answers
from .text import array


def regression(name: str, heads: Sequence[Head], rates: Sequence[Rates]) -> str:
    """Constants and static functions: `answers` of `heads`, all of as many labels, which learn; head_logits and
    head_learn. `name` is the prefix of the network's C."""
    rows, tables = [], []
    for number, rate in enumerate(rates):
        tables += [
            array("uint8_t", f"{role}_shifts_{number}", np.array(shifts), about=f"Head {number}: {about}.")
            for role, shifts, about in (
                ("weight", rate.weights, "learning rates of weights, by label"),
                ("bias", rate.biases, "learning rates of biases"),
            )
        ]
        rows.append(f"    {{weight_shifts_{number}, bias_shifts_{number}}}")
    values = {
        "tables": "\n".join(tables),
        "rows": ",\n".join(rows),
        "fraction": str(FRACTION),
        "half": str(1 << (FRACTION - 1)),
        "most_weight": str(MOST_WEIGHT << FRACTION),
        "most_bias": str(MOST_BIAS << FRACTION),
        "heads": str(len(heads)),
        "labels": str(len(heads[0].weights)),
    }
    text = _CORE
    for key, value in values.items():
        text = text.replace(f"${key}$", value)
    return "\n".join([answers(name, heads), text])


_CORE = """\
#define FRACTION $fraction$ /* bits of a master below the code that the network reads */

/* The learning rate of a head, by label. */
typedef struct {
    const uint8_t *weights; /* right shifts */
    const uint8_t *biases; /* left shifts */
} rate_shifts;

/* What one head learns; weights and biases are the codes of the masters. */
typedef struct {
    const head *of;
    const rate_shifts *rates;
    int16_t *master_weights; /* [$labels$][features], of the codes */
    int32_t *master_biases;
    int8_t *weights;
    int32_t *biases;
} pupil;

$tables$
static const rate_shifts head_rates[$heads$] = {
$rows$
};

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
            const int32_t step = error * (1 << self->rates->biases[label]);
            const int32_t master = saturated(self->master_biases[label] - step, $most_bias$);

            self->master_biases[label] = master;
            self->biases[label] = (master + $half$) >> FRACTION;
            row_learn(self->master_weights + label * features, self->weights + label * features, x, features, error,
                      self->rates->weights[label]);
        }
    }
}
"""
