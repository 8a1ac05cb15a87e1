"""What the words that a user uses add to the C of users: which labels may be decided, in blobs and in the struct."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..listen.decision import keywords
from ..users.blob import Kind, pack
from .text import hexadecimal
from .user_part import Part, Section


def words_part(labels: Sequence[str]) -> Part:
    """Of a model with `labels`."""
    return Part(
        macros="",
        fields="""\
    uint8_t words[NAME_USER_LABEL_BYTES]; /* set: may be decided, as DECISION_allow takes them; silence and unknown
                                             words are always set */
""",
        reset="set_all(user->words, NAME_USER_LABELS);",
        functions=_FUNCTIONS,
        sections=(Section(Kind.WORDS, "words", "!equal(user->words, words, NAME_USER_LABEL_BYTES)"),),
        header="",
        end="",
        source="",
        values={"others": hexadecimal(pack(~np.array(keywords(labels))))},
    )


_FUNCTIONS = """\
static const uint8_t others[NAME_USER_LABEL_BYTES] = {$others$}; /* labels that are no words */

static int read_words(name_user *user, const uint8_t *section, uint32_t bytes)
{
    int good = read_bits(user->words, section, bytes, NAME_USER_LABELS);

    for (uint32_t i = 0; i < NAME_USER_LABEL_BYTES && good; i++) {
        good = (others[i] & ~(uint32_t)user->words[i]) == 0u;
    }
    return good;
}

static uint8_t *write_words(const name_user *user, uint8_t *to)
{
    return write_bytes(to, user->words, NAME_USER_LABEL_BYTES);
}
"""
