"""Thresholds and the goal of bypass as C, as `users.thresholds` specifies them."""

from __future__ import annotations

from collections.abc import Iterable

from ..users.exits import NEVER
from ..users.learning_constants import Constants
from ..users.thresholds import PER_MILLE, UNIT


def thresholds(constants: Constants) -> str:
    """Constants and two static functions of a ``name_learner`` whose codes and losses of one exit are complete:
    estimate, its threshold, and meets_goal."""
    rows = [row for each in constants.prior for row in each]
    starts = [sum(map(len, constants.prior[:number])) for number in range(len(constants.prior) + 1)]
    values = {
        "rows": ", ".join(f"{{{code}, {loss}}}" for code, _, loss in rows) or "{0, 0}",
        "starts": _numbers(starts),
        "weights": _numbers(sum(weight for _, weight, _ in each) for each in constants.prior),
        "unit": str(UNIT),
        "per_mille": str(PER_MILLE),
        "tolerance": str(constants.tolerance),
        "bypass": str(constants.bypass_utterances),
        "never": str(NEVER),
    }
    text = _SOURCE
    for key, value in values.items():
        text = text.replace(f"${key}$", value)
    return text


def _numbers(values: Iterable[int]) -> str:
    return ", ".join(map(str, values))


_SOURCE = """\
#define UNIT $unit$ /* the weight of one utterance */

/* Losses of training speakers by code, one exit after the other: where those of each begin, and what all weigh. */
static const struct {
    int16_t code;
    int32_t loss;
} prior[] = {$rows$};
static const int16_t prior_starts[] = {$starts$};
static const int32_t prior_weights[] = {$weights$};

/* What is lost by leaving with all of code `from` and more, in 1/UNIT of an utterance. */
static int32_t lost(const name_learner *learner, int32_t from)
{
    int32_t sum = 0;

    for (int32_t i = 0; i < learner->count; i++) {
        sum += learner->codes[i] >= from ? UNIT * learner->losses[i] : 0;
    }
    for (int32_t i = prior_starts[learner->exit]; i < prior_starts[learner->exit + 1]; i++) {
        sum += prior[i].code >= from ? prior[i].loss : 0;
    }
    return sum;
}

/* The threshold of this exit. */
static int32_t estimate(const name_learner *learner)
{
    const int32_t most = $tolerance$ * (UNIT * learner->count + prior_weights[learner->exit]);
    int32_t lowest = $never$;

    for (int32_t i = 0; i < learner->count; i++) {
        if (learner->codes[i] < lowest && $per_mille$ * lost(learner, learner->codes[i]) <= most) {
            lowest = learner->codes[i];
        }
    }
    for (int32_t i = prior_starts[learner->exit]; i < prior_starts[learner->exit + 1]; i++) {
        if (prior[i].code < lowest && $per_mille$ * lost(learner, prior[i].code) <= most) {
            lowest = prior[i].code;
        }
    }
    return lowest;
}

/* Whether this exit meets the goal of bypass. */
static int meets_goal(const name_learner *learner)
{
    int32_t sum = 0;

    for (int32_t i = 0; i < learner->count; i++) {
        sum += learner->losses[i];
    }
    return learner->count >= $bypass$ && $per_mille$ * sum <= $tolerance$ * learner->count;
}
"""
