#include "stream.h"

#include "kws_frontend.h"
#include "kws_model.h"

/* May be defined to look at what passes: `what` is one of those below, or an event of the decision. */
#ifndef STREAM_OBSERVE
#define STREAM_OBSERVE(what, data, bytes) ((void)0)
#endif
#define STREAM_FEATURES 100
#define STREAM_SCORES 101

#define FRAME KWS_FRONTEND_COEFFICIENTS

#ifdef KWS_MODEL_OUTPUT_2_BYTES /* what words are learnt from: the network hears those of a user, too */
#include "kws_model_teaching.h"
#define SCORES KWS_MODEL_TEACHING_SCORES
#else
#define SCORES KWS_MODEL_OUTPUT_BYTES
#endif

#if SCORES != KWS_DECISION_LABELS || KWS_MODEL_INPUT_BYTES % FRAME != 0
#error "front end, network and decision were not generated from one model"
#endif

#if defined(KWS_MODEL_STEP_FRAMES) && defined(KWS_MODEL_INPUT_REUSABLE)
#define FRAMES kws_model_input() /* they are collected where the network takes them */
#else
static int8_t frames[KWS_MODEL_INPUT_BYTES]; /* the oldest first */
#define FRAMES frames
#endif
static int8_t scores[KWS_DECISION_LABELS];

#ifdef KWS_MODEL_INPUT_REUSABLE
static void copy(int8_t *to, const int8_t *from, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        to[i] = from[i];
    }
}
#endif

#ifdef KWS_MODEL_OUTPUT_2_BYTES
static const kws_model_user nobody; /* who has taught no words */
static const kws_model_user *user = &nobody;

void stream_listen_for(const kws_model_user *whom)
{
    uint8_t labels[(SCORES + 7) / 8];

    user = whom;
    kws_model_user_allowed(user, labels);
    kws_decision_allow(labels);
}
#endif

static void silence(void)
{
    static const int8_t codes[FRAME] = KWS_FRONTEND_FLOOR_CODES;
    int8_t *const to = FRAMES;

    for (uint32_t i = 0; i < KWS_MODEL_INPUT_BYTES; i++) {
        to[i] = codes[i % FRAME];
    }
}

#ifdef KWS_MODEL_STEP_FRAMES

/* The network is a step: it hears every frame once, as soon as there are enough. */

#if KWS_DECISION_STRIDE_HOPS % KWS_MODEL_STEP_FRAMES != 0
#error "a step does not end wherever the decision is due"
#endif

/* The first hops give no frame. Frames of silence stand for them, so that steps end wherever the decision is due. */
#define LATE ((KWS_FRONTEND_WINDOW - 1) / KWS_FRONTEND_HOP % KWS_MODEL_STEP_FRAMES)

static uint32_t filled; /* bytes of `frames` */

static void step(void)
{
#ifdef KWS_MODEL_INPUT_REUSABLE
    kws_model_step();
    copy(scores, kws_model_output(), sizeof scores);
#else
    kws_model_step(frames, scores);
#endif
}

static void begin(void)
{
    step(); /* silence after silence changes nothing, and gives the scores of silence */
    silence();
    filled = LATE * FRAME;
}

static void hear(const int8_t *frame)
{
    int8_t *const to = FRAMES;

    for (uint32_t i = 0; i < FRAME; i++) {
        to[filled++] = frame[i];
    }
    if (filled == KWS_MODEL_INPUT_BYTES) {
        step();
        filled = 0;
    }
}

static void answer(void) {}

#else

/* The network hears the whole context whenever the decision is due. */

static void begin(void) {}

/* The frame becomes the newest one of the context, the oldest one falls out. */
static void hear(const int8_t *frame)
{
    for (uint32_t i = FRAME; i < KWS_MODEL_INPUT_BYTES; i++) {
        frames[i - FRAME] = frames[i];
    }
    for (uint32_t i = 0; i < FRAME; i++) {
        frames[KWS_MODEL_INPUT_BYTES - FRAME + i] = frame[i];
    }
}

static void answer(void)
{
#ifdef KWS_MODEL_OUTPUT_2_BYTES
    kws_model_user_invoke(user, frames, scores);
#elif defined KWS_MODEL_INPUT_REUSABLE
    copy(kws_model_input(), frames, sizeof frames);
    kws_model_invoke();
    copy(scores, kws_model_output(), sizeof scores);
#else
    kws_model_invoke(frames, scores);
#endif
}

#endif

#ifdef KWS_DECISION_RESTS

/* The network hears what kws_activity lets through, in stretches that end wherever the decision is due. */

#include "kws_activity.h"

#if KWS_ACTIVITY_COEFFICIENTS != FRAME || KWS_ACTIVITY_STRIDE_HOPS != KWS_DECISION_STRIDE_HOPS
#error "activity and decision were not generated from one model"
#endif

static int due(void)
{
    const int8_t *frame;

    if (!kws_activity_due()) {
        return 0;
    }
    while ((frame = kws_activity_next()) != 0) {
        hear(frame);
    }
    return 1;
}

#else

static void kws_activity_reset(void) {}

static int kws_activity_push(const int8_t *frame)
{
    (void)frame;
    return 1;
}

static int due(void)
{
    return 1;
}

#endif

void stream_reset(void)
{
    silence();
    kws_frontend_reset();
    kws_model_reset();
    kws_decision_reset();
    kws_activity_reset();
    begin();
}

int stream_push(const int16_t *hop, kws_decision_detection *detection)
{
    int8_t frame[FRAME];
    int event;

    if (kws_frontend_push(hop, frame)) {
        STREAM_OBSERVE(STREAM_FEATURES, frame, sizeof frame);
        if (kws_activity_push(frame)) {
            hear(frame);
        }
    }
    if (!kws_decision_hop() || !due()) {
        return KWS_DECISION_NOTHING;
    }
    answer();
    STREAM_OBSERVE(STREAM_SCORES, scores, sizeof scores);
    event = kws_decision_step(scores, detection);
    if (event != KWS_DECISION_NOTHING) {
        STREAM_OBSERVE(event, detection, sizeof *detection);
    }
    return event;
}
