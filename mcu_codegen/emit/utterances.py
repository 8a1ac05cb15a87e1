"""The buffer of utterances from which exits learn, as C: templates of `learning`."""

from __future__ import annotations

KEPT = """\
#define NAME_BUFFER_UTTERANCES $capacity$
#define NAME_NO_LABEL ($no_label$)

/* What is kept of an utterance. */
typedef struct {
    int8_t features[NAME_EXIT_FEATURE_BYTES];
    int8_t scores[NAME_USER_LABELS]; /* of the last exit */
    int8_t label; /* 0, 1, ..., or NAME_NO_LABEL */
    uint32_t crc; /* of all of the above */
} name_utterance;

/* The latest utterances; utterance i, from 0, is at place i % NAME_BUFFER_UTTERANCES. */
typedef struct {
    uint32_t heard; /* utterances, ever */
    uint32_t learnt; /* those of them that were heard when the user was learnt last */
    name_utterance utterances[NAME_BUFFER_UTTERANCES];
} name_buffer;

/* Forget all utterances. */
void name_buffer_reset(name_buffer *buffer);

/* Run the whole network on one utterance, and keep what exits learn from. `label` is what was said, or NAME_NO_LABEL.
   Returns 1 where it is time to learn ($every$ utterances after the last time, $fewest$ at first), else 0; -1 where
   there is no such label, and nothing is kept. */
int name_user_hear($parameter$name_buffer *buffer, const $input$ *input, int32_t label);
"""
"""What is kept, and how it comes there; for the header."""

BUFFER = """\
static uint32_t crc_of(const name_utterance *utterance)
{
    uint32_t crc = crc32(0u, utterance->features, sizeof utterance->features);

    crc = crc32(crc, utterance->scores, sizeof utterance->scores);
    return crc32(crc, &utterance->label, 1u);
}

void name_buffer_reset(name_buffer *buffer)
{
    buffer->heard = 0;
    buffer->learnt = 0;
}

static int32_t count_of(const name_buffer *buffer)
{
    return buffer->heard < NAME_BUFFER_UTTERANCES ? (int32_t)buffer->heard : NAME_BUFFER_UTTERANCES;
}

int name_user_hear($parameter$name_buffer *buffer, const $input$ *input, int32_t label)
{
    name_utterance *const utterance = &buffer->utterances[buffer->heard % NAME_BUFFER_UTTERANCES];

    if (label < NAME_NO_LABEL || label >= NAME_USER_LABELS) {
        return -1;
    }
    (void)name_invoke_all($argument$input, utterance->features, utterance->scores);
    utterance->label = (int8_t)label;
    utterance->crc = crc_of(utterance);
    buffer->heard++;
    return buffer->heard - buffer->learnt >= $every$u && count_of(buffer) >= $fewest$;
}
"""
"""Functions: those of `KEPT`, and static ones, crc_of an utterance and count_of those that are kept."""
