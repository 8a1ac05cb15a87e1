"""Last layers as C beside the network, on features that it gave: logits, and the scores of any number of them."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

import numpy as np

from ..users.regression import Head
from .portable.helpers import HELPERS
from .text import array

_HELPERS = ("high_multiply", "rounding_shift", "requantize", "quantize", "reciprocal")


def answers(name: str, heads: Sequence[Head]) -> str:
    """The constants of `heads`, all of as many labels; functions dot, logit and soften, and
    saturated, for rows that are learnt. `name` is the prefix of the network's C."""
    rows, tables = [], []
    weights = features = 0
    for number, head in enumerate(heads):
        labels, depth = head.weights.shape
        exponentials = shortened(head.exponentials)
        scaling, of = head.requantization, f" of head {number}" if len(heads) > 1 else ""
        tables += [
            array(ctype, f"{role}_{number}", values, about=f"{about}{of}.")
            for role, ctype, values, about in (
                ("multipliers", "int32_t", np.broadcast_to(scaling.multiplier, labels), "Multipliers of the logits"),
                ("shifts", "int8_t", np.broadcast_to(scaling.shift, labels), "Their shifts"),
                ("exponentials", "int32_t", exponentials, "Exponentials by distance to the highest logit"),
            )
        ]
        rows.append(
            f"    {{{depth}, {weights}, {features}, {head.zero_point}, {scaling.zero_point}, {scaling.low},"
            f" {scaling.high}, {len(exponentials)}, multipliers_{number}, shifts_{number}, exponentials_{number}}}"
        )
        weights, features = weights + labels * depth, features + depth
    helpers = [Template(HELPERS[each].text).substitute(prefix=name) for each in _HELPERS]
    text = _CORE.replace("$tables$", "\n".join(tables)).replace("$rows$", ",\n".join(rows))
    return "\n".join([*helpers, text.replace("$heads$", str(len(heads)))])


def shortened(exponentials: np.ndarray) -> np.ndarray:
    """Without those at the end that count nothing: they round to 0 in the sum, and to 0/256 as a share of it."""
    return exponentials[: max(1, int((exponentials >= 1 << 11).sum()))]


_CORE = """\
/* FULLY_CONNECTED and SOFTMAX. */
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
} head;

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
"""
