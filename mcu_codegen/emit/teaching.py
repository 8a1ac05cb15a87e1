"""Words that are taught on the board, as C: the sum of their clips, a row learnt from it, and the network that has it.

`users.teaching` specifies it. The network is the model's with two outputs more (`with_last_layer`), the features and
the logits of its last layer; all that new words need beside it is in the files here.
"""

from __future__ import annotations

from dataclasses import replace

from ..graph import Entry, Graph
from ..listen.decision import SILENCE
from ..users.blob import labels_of
from ..users.new_words import LastLayer
from ..users.regression import MOST_BIAS, MOST_WEIGHT
from ..users.teaching import UNIT_BITS, UNITS, Teaching, head_of_new_word
from .answers import answers
from .text import Origin, array, personal_files


def with_last_layer(model: Graph) -> Graph:
    """`model` whose main entry gives the features and the logits of its last layer behind the scores."""
    last, main = LastLayer.of(model), model.main
    entry = Entry(main.name, main.inputs, (last.scores, last.features, last.logits), main.operators)
    return replace(model, entries=[entry, *model.entries[1:]])


def labels_with_new_words(model: Graph) -> list[str]:
    """The labels of `model`, and names for those of the words to come."""
    names, taken = [], set(labels := labels_of(model))
    for number in range(1, Teaching.of(model).words + 1):
        name = f"new word {number}"
        names.append(name if name not in taken else f"{name} of a user")
    return [*labels, *names]


def emit_teaching(
    model: Graph, name: str = "kws_model", origin: Origin | None = None, arena: str = "static"
) -> dict[str, str]:
    """File name to text: `name`_teaching.h and `name`_teaching.c, which go with those of `emit_user` and with the
    network of `with_last_layer`.

    `name` and `arena` are those of the network's C. Raises InputError where the model can be taught no words.
    """
    teaching, labels, memory = Teaching.of(model), labels_of(model), arena == "caller"
    values = {
        "core": answers(name, [head_of_new_word(model).last_label()]),
        "centre": array("int16_t", "centre", teaching.centre, about=f"Mean of all words, in 1/{UNITS} of a code."),
        "inverse": array(
            "int8_t",
            "inverse_covariance",
            teaching.inverse,
            about="Of features inside words: the rows of the lower triangle.",
            attribute=f"{name.upper()}_CONST_ATTR",
        ),
        "units": str(UNITS),
        "halves": str(UNIT_BITS + 1),
        "shift": str(teaching.shift),
        "half": str(1 << teaching.shift >> 1),
        "offset": str(teaching.offset),
        "zero": f" - {zero}" if (zero := 2 * UNITS * (teaching.zero_point + 128)) else "",
        "most_weight": str(MOST_WEIGHT),
        "most_bias": str(MOST_BIAS),
        "labels": str(len(labels)),
        "silence": str(labels.index(SILENCE) if SILENCE in labels else -1),
        "fewest": str(teaching.fewest),
        "most": str(teaching.most),
        "parameter": "void *memory, " if memory else "",
        "argument": "memory, " if memory else "",
        "input": f"{model.tensors[model.main.inputs[0]].dtype}_t",
    }
    about = "Words that a user teaches the network."
    templates = {f"{name}_teaching.h": (about, _HEADER), f"{name}_teaching.c": (about, _SOURCE)}
    return personal_files(templates, [*values.items()], name, origin)


_HEADER = """
#include <stdint.h>

#include "name.h"
#include "name_user.h"

#define NAME_TEACHING_SCORES ($labels$ + NAME_USER_NEW_WORDS) /* the model's labels, then the words of a user */
#define NAME_TEACHING_CLIPS $most$ /* of a word, at most; $fewest$ at least */

/* What is kept of the clips of a word while it is taught. */
typedef struct {
    int32_t count; /* of clips; set it to 0 before the first clip of each word */
    uint16_t sums[NAME_USER_FEATURES]; /* of their features, counted from -128 */
} name_clips;

/* Run the network on a clip of the word, and keep what the word is learnt from. Returns how many are kept by now;
   -1 where the network hears silence, or NAME_TEACHING_CLIPS are kept already, and this one is not. */
int32_t name_user_hear_word($parameter$name_clips *clips, const $input$ *input);

/* What learning returns. */
#define NAME_TEACH_DONE 0
#define NAME_TEACH_TOO_FEW 1 /* clips: fewer than $fewest$ */
#define NAME_TEACH_FULL 2 /* the user has NAME_USER_NEW_WORDS words already */

/* Give `user` the word in `clips`, the next of hers. Until the end she is as before, so that nothing is lost by an
   interruption; she may be in use meanwhile. */
int name_user_learn_word(const name_clips *clips, name_user *user);

/* Run the network with the words of `user`: scores of the model's labels, then of her words; -128 where she has none.
   Without any words of hers they are the model's own scores, bit for bit. */
void name_user_invoke($parameter$const name_user *user, const $input$ *input, int8_t *scores);

/* Which labels may be decided for `user`, as DECISION_allow takes them: (NAME_TEACHING_SCORES + 7) / 8
   bytes. */
void name_user_allowed(const name_user *user, uint8_t *labels);
"""

_SOURCE = """\
#include "name_teaching.h"

#define LABELS $labels$ /* of the model */

$core$
$centre$
$inverse$
int32_t name_user_hear_word($parameter$name_clips *clips, const $input$ *input)
{
    int8_t scores[LABELS], logits[LABELS], features[NAME_USER_FEATURES];
    int32_t best = 0;

    if (clips->count >= NAME_TEACHING_CLIPS) {
        return -1;
    }
    name_invoke($argument$input, scores, features, logits);
    for (int32_t label = 1; label < LABELS; label++) {
        best = scores[label] > scores[best] ? label : best;
    }
    if (best == $silence$) {
        return -1;
    }
    for (int32_t i = 0; i < NAME_USER_FEATURES; i++) {
        clips->sums[i] = (uint16_t)((clips->count == 0 ? 0 : clips->sums[i]) + features[i] + 128);
    }
    clips->count++;
    return clips->count;
}

int name_user_learn_word(const name_clips *clips, name_user *user)
{
    int16_t apart[NAME_USER_FEATURES]; /* from the centre */
    int32_t half_way = 0;
    int8_t *weights;

    if (clips->count < $fewest$) {
        return NAME_TEACH_TOO_FEW;
    }
    if (user->new_words >= NAME_USER_NEW_WORDS) {
        return NAME_TEACH_FULL;
    }
    weights = user->new_weights[user->new_words];
    for (int32_t i = 0; i < NAME_USER_FEATURES; i++) {
        apart[i] = (int16_t)(($units$ * clips->sums[i] + clips->count / 2) / clips->count - centre[i]);
    }
    for (int32_t i = 0; i < NAME_USER_FEATURES; i++) {
        int32_t sum = $half$, at = i * (i + 1) / 2;

        for (int32_t j = 0; j < NAME_USER_FEATURES; j++) {
            sum += inverse_covariance[at] * apart[j];
            at += j < i ? 1 : j + 1; /* along row i up to the diagonal, then down column i */
        }
        weights[i] = (int8_t)saturated(sum >> $shift$, $most_weight$);
        half_way += weights[i] * (apart[i] + 2 * centre[i]$zero$);
    }
    user->new_biases[user->new_words] = saturated($offset$ - ((half_way + $units$) >> $halves$), $most_bias$);
    user->new_words++;
    return NAME_TEACH_DONE;
}

void name_user_invoke($parameter$const name_user *user, const $input$ *input, int8_t *scores)
{
    const head *const of = &heads[0];
    const int32_t words = user->new_words;
    int8_t features[NAME_USER_FEATURES], logits[LABELS];
    int16_t x[NAME_USER_FEATURES];

    name_invoke($argument$input, scores, features, logits);
    for (int32_t i = 0; i < NAME_USER_FEATURES; i++) {
        x[i] = (int16_t)(features[i] - of->zero_point);
    }
    for (int32_t label = 0; label < LABELS && words != 0; label++) {
        scores[label] = logits[label];
    }
    for (int32_t word = 0; word < NAME_USER_NEW_WORDS; word++) {
        scores[LABELS + word] = -128;
        if (word < words) {
            const int32_t sum = user->new_biases[word] + dot(user->new_weights[word], x, NAME_USER_FEATURES);

            scores[LABELS + word] = logit(of, 0, sum);
        }
    }
    if (words != 0) {
        soften(of, scores, LABELS + words);
    }
}

void name_user_allowed(const name_user *user, uint8_t *labels)
{
    for (int32_t label = 0; label < NAME_TEACHING_SCORES; label++) {
        const int32_t word = label - LABELS;
        const uint32_t may = word < 0 ? (uint32_t)user->words[label / 8] >> (label % 8) & 1u : word < user->new_words;

        if (label % 8 == 0) {
            labels[label / 8] = 0;
        }
        labels[label / 8] = (uint8_t)(labels[label / 8] | may << (label % 8));
    }
}
"""
