"""What words that a user teaches add to the C of users: their rows of the last layer, in blobs and in the struct."""

from __future__ import annotations

from ..graph import Graph
from ..users.blob import Kind
from ..users.regression import MOST_BIAS, MOST_WEIGHT
from ..users.teaching import Teaching
from .user_part import WRITE_NUMBER, Part, Section


def new_words_part(model: Graph) -> Part:
    """Of `model`, which can be taught words. Raises InputError where its metadata are bad."""
    teaching = Teaching.of(model)
    return Part(
        macros="""\
#define NAME_USER_NEW_WORDS $words$ /* that a user may teach */
#define NAME_USER_FEATURES $features$ /* inputs of the last layer */
""",
        fields="""\
    /* Words that she has taught, in order: rows of the last layer. */
    int8_t new_weights[NAME_USER_NEW_WORDS][NAME_USER_FEATURES];
    int32_t new_biases[NAME_USER_NEW_WORDS];
    uint8_t new_words; /* how many; those behind are without meaning */
""",
        reset="user->new_words = 0;",
        functions=_FUNCTIONS,
        sections=(Section(Kind.NEW_WORDS, "new_words", "user->new_words != 0u"),),
        end="",
        header="",
        source="",
        values={
            "words": str(teaching.words),
            "features": str(teaching.features),
            "write_number": WRITE_NUMBER,
            "most_weight": str(MOST_WEIGHT),
            "most_bias": str(MOST_BIAS),
        },
    )


_FUNCTIONS = """\
$write_number$
static int read_new_words(name_user *user, const uint8_t *section, uint32_t bytes)
{
    const uint32_t each = NAME_USER_FEATURES + 4u;
    int good = bytes != 0u && bytes % each == 0u && bytes / each <= (uint32_t)NAME_USER_NEW_WORDS;

    for (uint32_t word = 0; good && word < bytes / each; word++) {
        const int32_t bias = (int32_t)read_number(section + NAME_USER_FEATURES, 4u);

        for (uint32_t i = 0; i < NAME_USER_FEATURES; i++) {
            user->new_weights[word][i] = (int8_t)section[i];
            good = good && user->new_weights[word][i] >= -$most_weight$;
        }
        user->new_biases[word] = bias;
        good = good && bias >= -$most_bias$ && bias <= $most_bias$;
        section += each;
        user->new_words++;
    }
    return good;
}

static uint8_t *write_new_words(const name_user *user, uint8_t *to)
{
    for (uint32_t word = 0; word < user->new_words; word++) {
        for (uint32_t i = 0; i < NAME_USER_FEATURES; i++) {
            *to++ = (uint8_t)user->new_weights[word][i];
        }
        to = write_number(to, (uint32_t)user->new_biases[word], 4u);
    }
    return to;
}
"""
