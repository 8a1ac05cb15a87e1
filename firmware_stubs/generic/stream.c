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
#define CONTEXT KWS_MODEL_INPUT_BYTES

#if KWS_MODEL_OUTPUT_BYTES != KWS_DECISION_LABELS || CONTEXT % FRAME != 0
#error "front end, network and decision were not generated from one model"
#endif

static int8_t context[CONTEXT]; /* the newest frames, the oldest first */

void stream_reset(void)
{
    static const int8_t silence[FRAME] = KWS_FRONTEND_FLOOR_CODES;

    for (uint32_t i = 0; i < CONTEXT; i++) {
        context[i] = silence[i % FRAME];
    }
    kws_frontend_reset();
    kws_model_reset();
    kws_decision_reset();
}

/* The frame becomes the newest one of the context, the oldest one falls out. */
static void append(const int8_t *frame)
{
    for (uint32_t i = FRAME; i < CONTEXT; i++) {
        context[i - FRAME] = context[i];
    }
    for (uint32_t i = 0; i < FRAME; i++) {
        context[CONTEXT - FRAME + i] = frame[i];
    }
}

int stream_push(const int16_t *hop, kws_decision_detection *detection)
{
    int8_t frame[FRAME];
    int8_t scores[KWS_DECISION_LABELS];
    int event;

    if (kws_frontend_push(hop, frame)) {
        STREAM_OBSERVE(STREAM_FEATURES, frame, sizeof frame);
        append(frame);
    }
    if (!kws_decision_hop()) {
        return KWS_DECISION_NOTHING;
    }
    kws_model_invoke(context, scores);
    STREAM_OBSERVE(STREAM_SCORES, scores, sizeof scores);
    event = kws_decision_step(scores, detection);
    if (event != KWS_DECISION_NOTHING) {
        STREAM_OBSERVE(event, detection, sizeof *detection);
    }
    return event;
}
