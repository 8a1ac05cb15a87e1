"""Words that are taught on the board, as C: clips kept, a row learnt from them, and the network that has it.

`users.teaching` specifies it. The network is the model's with two outputs more (`with_last_layer`), the features and
the logits of its last layer; all that new words need beside it is in the files here.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..graph import Entry, Graph
from ..listen.decision import SILENCE
from ..users.blob import labels_of
from ..users.new_words import LastLayer, head_with
from ..users.regression import Head
from ..users.teaching import Teacher
from .regression import regression
from .text import Origin, array, personal_files


def with_last_layer(model: Graph) -> Graph:
    """`model` whose main entry gives the features and the logits of its last layer behind the scores."""
    last, main = LastLayer.of(model), model.main
    entry = Entry(main.name, main.inputs, (last.scores, last.features, last.logits), main.operators)
    return replace(model, entries=[entry, *model.entries[1:]])


def labels_with_new_words(model: Graph) -> list[str]:
    """The labels of `model`, and names for those of the words to come."""
    names, taken = [], set(labels := labels_of(model))
    for number in range(1, Teacher.of(model).teaching.words + 1):
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
    teacher, labels = Teacher.of(model), labels_of(model)
    teaching, memory = teacher.teaching, arena == "caller"
    logits = head_with(model, []).logits(teaching.negatives)
    values = {
        "core": regression(name, [_last_row(teacher.head)], [teaching.rates]),
        "negatives": array("int8_t", "negatives", teaching.negatives, about="Features of what is not the word."),
        "logits": array("int8_t", "negative_logits", logits, about="And the logits of the factory's labels there."),
        "count": str(len(teaching.negatives)),
        "labels": str(len(labels)),
        "silence": str(labels.index(SILENCE) if SILENCE in labels else -1),
        "fewest": str(teaching.fewest),
        "most": str(teaching.most),
        "epochs": str(teaching.epochs),
        "margin": str(teaching.margin),
        "turn": str(teaching.turn),
        "parameter": "void *memory, " if memory else "",
        "argument": "memory, " if memory else "",
        "input": f"{model.tensors[model.main.inputs[0]].dtype}_t",
    }
    about = "Words that a user teaches the network."
    templates = {f"{name}_teaching.h": (about, _HEADER), f"{name}_teaching.c": (about, _SOURCE)}
    return personal_files(templates, [*values.items()], name, origin)


def _last_row(head: Head) -> Head:
    """The last label of `head` alone."""
    labels, scaling = len(head.bias), head.requantization
    multiplier, shift = (np.broadcast_to(each, labels)[-1:] for each in (scaling.multiplier, scaling.shift))
    own = replace(scaling, multiplier=multiplier, shift=shift)
    return replace(head, weights=head.weights[-1:], bias=head.bias[-1:], requantization=own)


_HEADER = """
#include <stdint.h>

#include "name.h"
#include "name_user.h"

#define NAME_TEACHING_SCORES ($labels$ + NAME_USER_NEW_WORDS) /* the model's labels, then the words of a user */
#define NAME_TEACHING_CLIPS $most$ /* of a word, at most; $fewest$ at least */

/* What is kept of the clips of a word while it is taught. */
typedef struct {
    int32_t count; /* of clips; 0 before the first */
    int8_t features[NAME_TEACHING_CLIPS][NAME_USER_FEATURES];
    int8_t logits[NAME_TEACHING_CLIPS][$labels$];
} name_clips;

/* Run the network on a clip of the word, and keep what the word is learnt from. Returns how many are kept by now;
   -1 where the network hears silence, or there is room for no more, and nothing is kept. */
int32_t name_user_hear_word($parameter$name_clips *clips, const $input$ *input);

/* What learning returns. */
#define NAME_TEACH_DONE 0
#define NAME_TEACH_MORE 1 /* steps are to come */
#define NAME_TEACH_TOO_FEW 2 /* clips: fewer than $fewest$ */
#define NAME_TEACH_FULL 3 /* the user has NAME_USER_NEW_WORDS words already */

/* Learning on its way; nothing in it need be kept. */
typedef struct {
    const name_clips *clips;
    name_user *user;
    int32_t epoch;
    int32_t bias; /* of the word's row, and its weights */
    int32_t master_bias;
    int16_t master_weights[NAME_USER_FEATURES];
    int8_t weights[NAME_USER_FEATURES];
} name_teacher;

/* Give `user` the word in `clips`, the next of hers: all steps at once. Until the last of them she is as before, so
   that nothing is lost by an interruption; she may be in use meanwhile. */
int name_user_learn_word(name_teacher *teacher, const name_clips *clips, name_user *user);

/* The same step by step: NAME_TEACH_MORE where it has begun, and then NAME_TEACH_MORE until NAME_TEACH_DONE. A step is
   one epoch. Clips and user must stay as they are meanwhile. */
int name_teacher_begin(name_teacher *teacher, const name_clips *clips, name_user *user);
int name_teacher_step(name_teacher *teacher);

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
$negatives$
$logits$
int32_t name_user_hear_word($parameter$name_clips *clips, const $input$ *input)
{
    int8_t scores[LABELS];
    int32_t best = 0;

    if (clips->count >= NAME_TEACHING_CLIPS) {
        return -1;
    }
    name_invoke($argument$input, scores, clips->features[clips->count], clips->logits[clips->count]);
    for (int32_t label = 1; label < LABELS; label++) {
        best = scores[label] > scores[best] ? label : best;
    }
    if (best == $silence$) {
        return -1;
    }
    clips->count++;
    return clips->count;
}

int name_teacher_begin(name_teacher *teacher, const name_clips *clips, name_user *user)
{
    if (clips->count < $fewest$) {
        return NAME_TEACH_TOO_FEW;
    }
    if (user->new_words >= NAME_USER_NEW_WORDS) {
        return NAME_TEACH_FULL;
    }
    teacher->clips = clips;
    teacher->user = user;
    teacher->epoch = 0;
    teacher->bias = teacher->master_bias = 0;
    for (int32_t i = 0; i < NAME_USER_FEATURES; i++) {
        teacher->master_weights[i] = 0;
        teacher->weights[i] = 0;
    }
    return NAME_TEACH_MORE;
}

static void center(const int8_t *codes, int16_t *x)
{
    for (int32_t i = 0; i < NAME_USER_FEATURES; i++) {
        x[i] = (int16_t)(codes[i] - heads[0].zero_point);
    }
}

/* One step: the word's score beside those of the model's labels is to be `target`. */
static void learn_from(const pupil *self, const int8_t *features, const int8_t *logits, int32_t target)
{
    int16_t x[NAME_USER_FEATURES], error;
    int8_t scores[LABELS + 1];

    center(features, x);
    for (int32_t label = 0; label < LABELS; label++) {
        scores[label] = logits[label];
    }
    head_logits(self, x, scores + LABELS);
    soften(self->of, scores, LABELS + 1);
    error = (int16_t)(scores[LABELS] - target);
    if (error >= $margin$ || error <= -$margin$) {
        head_learn(self, x, &error);
    }
}

int name_teacher_step(name_teacher *teacher)
{
    const name_clips *const clips = teacher->clips;
    name_user *const user = teacher->user;
    pupil self;
    int32_t clip = 0, turn = 0;

    if (teacher->epoch == $epochs$) {
        return NAME_TEACH_DONE;
    }
    self.of = &heads[0];
    self.master_weights = teacher->master_weights;
    self.master_biases = &teacher->master_bias;
    self.weights = teacher->weights;
    self.biases = &teacher->bias;
    for (int32_t i = 0; i < $count$; i++) {
        learn_from(&self, negatives + i * NAME_USER_FEATURES, negative_logits + i * LABELS, -128);
        turn++;
        if (turn == $turn$) {
            learn_from(&self, clips->features[clip], clips->logits[clip], 127);
            turn = 0;
            clip++;
            clip = clip == clips->count ? 0 : clip;
        }
    }
    teacher->epoch++;
    if (teacher->epoch < $epochs$) {
        return NAME_TEACH_MORE;
    }
    for (int32_t i = 0; i < NAME_USER_FEATURES; i++) {
        user->new_weights[user->new_words][i] = teacher->weights[i];
    }
    user->new_biases[user->new_words] = teacher->bias;
    user->new_words++;
    return NAME_TEACH_DONE;
}

int name_user_learn_word(name_teacher *teacher, const name_clips *clips, name_user *user)
{
    int status = name_teacher_begin(teacher, clips, user);

    while (status == NAME_TEACH_MORE) {
        status = name_teacher_step(teacher);
    }
    return status;
}

void name_user_invoke($parameter$const name_user *user, const $input$ *input, int8_t *scores)
{
    const head *const of = &heads[0];
    int8_t features[NAME_USER_FEATURES], logits[LABELS];
    int16_t x[NAME_USER_FEATURES];

    name_invoke($argument$input, scores, features, logits);
    center(features, x);
    for (int32_t label = 0; label < LABELS && user->new_words != 0u; label++) {
        scores[label] = logits[label];
    }
    for (int32_t word = 0; word < NAME_USER_NEW_WORDS; word++) {
        scores[LABELS + word] = -128;
        if (word < user->new_words) {
            const int32_t sum = user->new_biases[word] + dot(user->new_weights[word], x, NAME_USER_FEATURES);

            scores[LABELS + word] = logit(of, 0, sum);
        }
    }
    if (user->new_words != 0u) {
        soften(of, scores, LABELS + user->new_words);
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
