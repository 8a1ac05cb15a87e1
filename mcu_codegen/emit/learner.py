"""Learning from a buffer, step by step, as C: templates of `learning`."""

from __future__ import annotations

STEPS = """\
/* What learning returns. */
#define NAME_LEARN_DONE 0
#define NAME_LEARN_MORE 1 /* steps are to come */
#define NAME_LEARN_TOO_FEW 2 /* utterances: fewer than $fewest$ */
#define NAME_LEARN_DAMAGED 3 /* the buffer is, or it was changed before all steps were done */

/* Learning on its way; nothing in it need be kept. */
typedef struct {
    name_buffer *buffer;
    name_user *user;
    uint32_t heard;
    int32_t count; /* of utterances */
    int32_t stride; /* between the places of two that are learnt one after the other */
    int32_t exit;
    int32_t part; /* the fold that is left out */
    int32_t epoch;
    uint8_t before; /* which exits met the goal at the last estimate */
    uint8_t folds[NAME_BUFFER_UTTERANCES];
    int8_t codes[NAME_EXITS][NAME_BUFFER_UTTERANCES]; /* highest scores, and what is lost by leaving with them */
    int8_t losses[NAME_EXITS][NAME_BUFFER_UTTERANCES];
    int16_t weights[$weights$]; /* masters of one head */
    int32_t biases[NAME_USER_LABELS];
} name_learner;

/* Make `user` the user `before` with exits learnt from `buffer`: all steps at once. `before` may be in use meanwhile
   and stays as it is, so that nothing is lost by an interruption; `user`, which must be another one, counts as one that
   has learnt nothing until all is done. Then give it to name_user_apply. */
int name_user_learn(name_learner *learner, name_buffer *buffer, const name_user *before, name_user *user);

/* The same step by step: NAME_LEARN_MORE where it has begun, and then NAME_LEARN_MORE until NAME_LEARN_DONE. A step is
   one epoch of one head. */
int name_learner_begin(name_learner *learner, name_buffer *buffer, const name_user *before, name_user *user);
int name_learner_step(name_learner *learner);
"""
"""What learning returns and does; for the header."""

LEARNER = """\
/* Begin with the factory's head. */
static void head_begin(const pupil *self, int32_t number)
{
    const int8_t *weights;
    const int32_t *biases;

    name_factory_head(number, &weights, &biases);
    for (int32_t i = 0; i < NAME_USER_LABELS * self->of->features; i++) {
        self->weights[i] = weights[i];
        self->master_weights[i] = (int16_t)(weights[i] * (1 << FRACTION));
    }
    for (int32_t label = 0; label < NAME_USER_LABELS; label++) {
        self->biases[label] = biases[label];
        self->master_biases[label] = biases[label] * (1 << FRACTION);
    }
}

static void head_scores(const pupil *self, const int16_t *x, int8_t *scores)
{
    head_logits(self, x, scores);
    soften(self->of, scores, NAME_USER_LABELS);
}

/* The first of the highest scores. */
static int32_t best(const int8_t *scores)
{
    int32_t found = 0;

    for (int32_t label = 1; label < NAME_USER_LABELS; label++) {
        if (scores[label] > scores[found]) {
            found = label;
        }
    }
    return found;
}

/* 0 or 1, and 2 more where there is nothing to learn: the utterances of a label alternate between folds. */
static void split(name_learner *learner)
{
    uint8_t next[NAME_USER_LABELS];

    for (int32_t label = 0; label < NAME_USER_LABELS; label++) {
        next[label] = 0;
    }
    for (int32_t i = 0; i < learner->count; i++) {
        const name_utterance *const utterance = &learner->buffer->utterances[i];
        const int32_t said = best(utterance->scores);
        const int32_t label = utterance->label < 0 ? said : utterance->label;
        const int taught = utterance->label >= 0 || utterance->scores[said] >= $sure$;

        learner->folds[i] = (uint8_t)(next[label] | (taught ? 0u : 2u));
        next[label] ^= 1u;
    }
}

/* The greatest number up to 5/8 of `count`, or 1, without a divisor in common with it. */
static int32_t stride_of(int32_t count)
{
    for (int32_t stride = count * 5 / 8; stride > 1; stride--) {
        int32_t a = count, b = stride;

        while (b != 0) {
            const int32_t rest = a % b;

            a = b;
            b = rest;
        }
        if (a == 1) {
            return stride;
        }
    }
    return 1;
}

int name_learner_begin(name_learner *learner, name_buffer *buffer, const name_user *before, name_user *user)
{
    const int32_t count = count_of(buffer);

    if (count < $fewest$) {
        return NAME_LEARN_TOO_FEW;
    }
    for (int32_t i = 0; i < count; i++) {
        const name_utterance *const utterance = &buffer->utterances[i];

        if (utterance->label < NAME_NO_LABEL || utterance->label >= NAME_USER_LABELS ||
            utterance->crc != crc_of(utterance)) {
            return NAME_LEARN_DAMAGED;
        }
    }
    *user = *before;
    user->learnt = 0;
    user->met = 0;
    learner->buffer = buffer;
    learner->user = user;
    learner->heard = buffer->heard;
    learner->count = count;
    learner->stride = stride_of(count);
    learner->exit = learner->part = learner->epoch = 0;
    learner->before = before->learnt != 0u ? before->met : 0u;
    split(learner);
    return NAME_LEARN_MORE;
}

/* What the pupil of this step reads of an utterance. */
static void features_of(const pupil *self, const name_utterance *utterance, int16_t *x)
{
    const int8_t *const codes = utterance->features + self->of->first_feature;

    for (int32_t i = 0; i < self->of->features; i++) {
        x[i] = (int16_t)(codes[i] - self->of->zero_point);
    }
}

static void learn_from(const pupil *self, const name_utterance *utterance)
{
    int16_t x[$features$], errors[NAME_USER_LABELS];
    int8_t scores[NAME_USER_LABELS];

    features_of(self, utterance, x);
    head_scores(self, x, scores);
    for (int32_t label = 0; label < NAME_USER_LABELS; label++) {
        const int32_t own = utterance->label == label ? 127 : -128;

        const int32_t error = scores[label] - (utterance->label < 0 ? utterance->scores[label] : own);

        errors[label] = (int16_t)(error > -$margin$ && error < $margin$ ? 0 : error);
    }
    head_learn(self, x, errors);
}

/* Score an utterance that was left out. */
static void judge(name_learner *learner, const pupil *self, int32_t place)
{
    const name_utterance *const utterance = &learner->buffer->utterances[place];
    int16_t x[$features$];
    int8_t scores[NAME_USER_LABELS];
    int32_t said, last, lost;

    features_of(self, utterance, x);
    head_scores(self, x, scores);
    said = best(scores);
    last = best(utterance->scores);
    learner->codes[learner->exit][place] = scores[said];
    if (utterance->label < 0) {
        lost = said != last;
    } else {
        lost = (last == utterance->label) - (said == utterance->label);
    }
    learner->losses[learner->exit][place] = (int8_t)lost;
}

$thresholds$
/* All exits have learnt. */
static void finish(name_learner *learner)
{
    name_user *const user = learner->user;

    choose_point(learner);
    for (int32_t exit = 0; exit < NAME_EXITS; exit++) {
        if (meets_goal(learner, exit)) {
            user->met = (uint8_t)(user->met | 1u << exit);
        }
    }
    user->bypass = 0;
    while (user->bypass < NAME_EXITS && (user->met & learner->before & 1u << user->bypass) == 0u) {
        user->bypass++;
    }
    user->learnt = 1;
    learner->buffer->learnt = learner->heard;
}

int name_learner_step(name_learner *learner)
{
    const head *of;
    pupil self;
    int32_t place = 0;

    if (learner->exit == NAME_EXITS) {
        return NAME_LEARN_DONE;
    }
    if (learner->buffer->heard != learner->heard) {
        return NAME_LEARN_DAMAGED;
    }
    of = &heads[learner->exit];
    self.of = of;
    self.rates = &head_rates[learner->exit];
    self.master_weights = learner->weights;
    self.master_biases = learner->biases;
    self.weights = learner->user->weights + of->first_weight;
    self.biases = learner->user->biases + learner->exit * NAME_USER_LABELS;
    if (learner->epoch == 0) {
        head_begin(&self, learner->exit);
    }
    for (int32_t i = 0; i < learner->count; i++) {
        if (learner->folds[place] < 2u && learner->folds[place] != learner->part) {
            learn_from(&self, &learner->buffer->utterances[place]);
        }
        place += learner->stride;
        place -= place >= learner->count ? learner->count : 0;
    }
    learner->epoch++;
    if (learner->epoch == $epochs$) {
        for (int32_t i = 0; i < learner->count; i++) {
            if ((learner->folds[i] & 1u) == (uint32_t)learner->part) {
                judge(learner, &self, i);
            }
        }
        learner->epoch = 0;
        learner->part++;
    }
    if (learner->part == $parts$) {
        learner->part = 0;
        learner->exit++;
    }
    if (learner->exit < NAME_EXITS) {
        return NAME_LEARN_MORE;
    }
    finish(learner);
    return NAME_LEARN_DONE;
}

int name_user_learn(name_learner *learner, name_buffer *buffer, const name_user *before, name_user *user)
{
    int status = name_learner_begin(learner, buffer, before, user);

    while (status == NAME_LEARN_MORE) {
        status = name_learner_step(learner);
    }
    return status;
}
"""
"""The functions of `STEPS`, on those of `regression`, `utterances.BUFFER` and `thresholds`, which are among them."""
