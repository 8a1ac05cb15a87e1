/* From audio to detections: front end, context, network and decision in their order. Needs a stack for nothing large;
   all state is static. */
#ifndef STREAM_H
#define STREAM_H

#include <stdint.h>

#include "kws_decision.h"
#include "kws_model.h"
#ifdef KWS_MODEL_OUTPUT_2_BYTES
#include "kws_model_user.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Forget everything heard. Needed before the first push. */
void stream_reset(void);

/* Take the next KWS_FRONTEND_HOP samples. Returns what kws_decision_step returned, and KWS_DECISION_NOTHING when the
   network was not due; `detection` is written unless that is KWS_DECISION_NOTHING. */
int stream_push(const int16_t *hop, kws_decision_detection *detection);

#ifdef KWS_MODEL_OUTPUT_2_BYTES
/* Of a network that learns words (emit --learn-word): hear those of `user`, too, and decide for her labels alone. She
   must stay where she is. Call it again when she has taught another word. */
void stream_listen_for(const kws_model_user *user);
#endif

#ifdef __cplusplus
}
#endif

#endif
