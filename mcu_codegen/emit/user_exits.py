"""What early exits add to the C of users: heads, thresholds and bypass, in blobs and in the network."""

from __future__ import annotations

from ..graph import Graph
from ..users.blob import Kind
from ..users.exits import ALWAYS, NEVER
from ..users.learning_constants import heads_of
from ..users.regression import MOST_BIAS, MOST_WEIGHT
from .user_part import WRITE_NUMBER, Part, Section


def exits_part(model: Graph) -> Part:
    """Of `model`, which has early exits. Raises InputError where their heads cannot be learnt."""
    heads = heads_of(model)
    labels = len(heads[0].weights)
    weights = [head.weights.size for head in heads]
    kinds = (Kind.HEADS, Kind.THRESHOLDS, Kind.BYPASS)
    return Part(
        macros="""\
#define NAME_USER_WEIGHTS $weights$ /* of the heads of all early exits */
""",
        fields="""\
    /* Exits that have learnt; without meaning where they have not. */
    int8_t weights[NAME_USER_WEIGHTS]; /* of heads, one after the other: [labels][features] */
    int32_t biases[NAME_EXITS * NAME_USER_LABELS];
    int16_t thresholds[NAME_EXITS]; /* as estimated */
    uint8_t met; /* bit i: exit i met the goal of bypass at the last estimate */
    uint8_t bypass; /* the exit after which nothing is run; NAME_EXITS where all is */
    uint8_t learnt; /* 0: heads and thresholds are the factory's */
""",
        reset="user->learnt = 0;",
        functions=_SECTIONS,
        sections=tuple(Section(kind, kind.name.lower(), "user->learnt != 0u") for kind in kinds),
        end=_END,
        header=_HEADER,
        source=_SOURCE,
        values={
            "weights": str(sum(weights)),
            "first_weights": ", ".join(str(sum(weights[:number])) + "u" for number in range(len(heads) + 1)),
            "head_bytes": str(sum(weights) + 4 * labels * len(heads)),
            "sections": str(len(kinds)),
            "write_number": WRITE_NUMBER,
            "always": str(ALWAYS),
            "never": str(NEVER),
            "most_weight": str(MOST_WEIGHT),
            "most_bias": str(MOST_BIAS),
        },
        includes=("name.h",),
    )


_HEADER = """
/* Run the network with the heads, thresholds and bypass of `user`, from its next call on. It reads the heads where they
   are: `user` must stay, unchanged, until another one is applied or name_reset. */
void name_user_apply(const name_user *user);
"""

_SECTIONS = """\
/* Where the weights of each head begin, and the end. */
static const uint32_t first_weights[NAME_EXITS + 1] = {$first_weights$};

$write_number$
static int read_heads(name_user *user, const uint8_t *section, uint32_t bytes)
{
    int good = bytes == $head_bytes$u;

    user->learnt++;
    for (uint32_t number = 0; number < (uint32_t)NAME_EXITS && good; number++) {
        for (uint32_t i = first_weights[number]; i < first_weights[number + 1u]; i++) {
            user->weights[i] = (int8_t)*section++;
            good = good && user->weights[i] >= -$most_weight$;
        }
        for (uint32_t label = 0; label < NAME_USER_LABELS; label++) {
            const int32_t bias = (int32_t)read_number(section, 4u);

            section += 4;
            user->biases[number * NAME_USER_LABELS + label] = bias;
            good = good && bias >= -$most_bias$ && bias <= $most_bias$;
        }
    }
    return good;
}

static uint8_t *write_heads(const name_user *user, uint8_t *to)
{
    for (uint32_t number = 0; number < (uint32_t)NAME_EXITS; number++) {
        for (uint32_t i = first_weights[number]; i < first_weights[number + 1u]; i++) {
            *to++ = (uint8_t)user->weights[i];
        }
        for (uint32_t label = 0; label < NAME_USER_LABELS; label++) {
            to = write_number(to, (uint32_t)user->biases[number * NAME_USER_LABELS + label], 4u);
        }
    }
    return to;
}

static int read_thresholds(name_user *user, const uint8_t *section, uint32_t bytes)
{
    int good = bytes == 2u * (uint32_t)NAME_EXITS;

    user->learnt++;
    for (uint32_t number = 0; number < (uint32_t)NAME_EXITS && good; number++) {
        user->thresholds[number] = (int16_t)read_number(section + 2u * number, 2u);
        good = user->thresholds[number] >= $always$ && user->thresholds[number] <= $never$;
    }
    return good;
}

static uint8_t *write_thresholds(const name_user *user, uint8_t *to)
{
    for (uint32_t number = 0; number < (uint32_t)NAME_EXITS; number++) {
        to = write_number(to, (uint32_t)user->thresholds[number], 2u);
    }
    return to;
}

static int read_bypass(name_user *user, const uint8_t *section, uint32_t bytes)
{
    if (!read_bits(&user->met, section, bytes == 2u ? 1u : 0u, NAME_EXITS)) {
        return 0;
    }
    user->learnt++;
    user->bypass = section[1];
    return user->bypass == NAME_EXITS ||
           (user->bypass < NAME_EXITS && ((uint32_t)user->met >> user->bypass & 1u) != 0u);
}

static uint8_t *write_bypass(const name_user *user, uint8_t *to)
{
    *to++ = user->met;
    *to++ = user->bypass;
    return to;
}
"""

_END = """\
    if (user->learnt != 0u) { /* counted sections so far */
        good = good && user->learnt == $sections$u;
        user->learnt = 1;
    }
"""

_SOURCE = """
void name_user_apply(const name_user *user)
{
    int16_t thresholds[NAME_EXITS];

    for (uint32_t number = 0; number < (uint32_t)NAME_EXITS; number++) {
        if (user->learnt != 0u) {
            thresholds[number] = number == user->bypass ? $always$ : user->thresholds[number];
            name_set_head((int32_t)number, user->weights + first_weights[number],
                          user->biases + number * NAME_USER_LABELS);
        } else {
            name_set_head((int32_t)number, 0, 0);
        }
    }
    name_set_thresholds(user->learnt != 0u ? thresholds : 0);
}
"""
