"""A user's thresholds and the goal of bypass as C, as `users.thresholds` specifies them."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

from ..users.exits import NEVER
from ..users.learning_constants import Constants
from ..users.thresholds import PER_MILLE, UNIT, Point


def thresholds(constants: Constants, name: str) -> str:
    """Constants and two static functions of a `name`_learner whose codes and losses are complete: choose_point, which
    sets the thresholds of its user, and meets_goal."""
    return _SOURCE.substitute(
        name=name,
        NAME=name.upper(),
        points=_rows(constants.points),
        alone=_rows(constants.bypasses),
        weight=constants.prior,
        unit=UNIT,
        per_mille=PER_MILLE,
        tolerance=constants.tolerance,
        bypass=constants.bypass_utterances,
        never=NEVER,
    )


def _rows(points: Sequence[Point]) -> str:
    return ",\n".join(f"    {{{{{', '.join(map(str, each.thresholds))}}}, {each.loss}}}" for each in points)


_SOURCE = Template("""\
#define UNIT $unit /* the weight of one utterance */

/* Thresholds of all exits together, and what training speakers lose with them. */
typedef struct {
    int16_t thresholds[${NAME}_EXITS];
    int32_t loss;
} point;

/* Operating points, each cheaper than the one before; then everything answered by one exit alone. */
static const point points[] = {
$points
};
static const point alone[${NAME}_EXITS] = {
$alone
};

/* Whether no more is lost than may be, by utterances and training speakers together. */
static int is_good(const ${name}_learner *learner, const point *at)
{
    int32_t lost = at->loss;

    for (int32_t i = 0; i < learner->count; i++) {
        int32_t exit = 0;

        while (exit < ${NAME}_EXITS && learner->codes[exit][i] < at->thresholds[exit]) {
            exit++;
        }
        lost += exit < ${NAME}_EXITS ? UNIT * learner->losses[exit][i] : 0;
    }
    return $per_mille * lost <= $tolerance * (UNIT * learner->count + $weight);
}

/* The thresholds of the last point that is good. */
static void choose_point(const ${name}_learner *learner)
{
    int16_t *const thresholds = learner->user->thresholds;

    for (int32_t exit = 0; exit < ${NAME}_EXITS; exit++) {
        thresholds[exit] = $never;
    }
    for (uint32_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        if (is_good(learner, &points[i])) {
            for (int32_t exit = 0; exit < ${NAME}_EXITS; exit++) {
                thresholds[exit] = points[i].thresholds[exit];
            }
        }
    }
}

/* Whether an exit meets the goal of bypass. */
static int meets_goal(const ${name}_learner *learner, int32_t exit)
{
    return learner->count >= $bypass && is_good(learner, &alone[exit]);
}
""")
