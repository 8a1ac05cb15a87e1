"""The decision as C: what `decision.Detector` does."""

from __future__ import annotations

from collections.abc import Sequence

from ..listen.decision import Decision, allowed, keywords
from .decision_selftest import decision_selftest
from .text import Origin, banner, comment, header, string


def emit_decision(
    decision: Decision,
    labels: Sequence[str],
    name: str = "kws_decision",
    origin: Origin | None = None,
    words: Sequence[str] | None = None,
    rests: bool = False,
    target_fa: float | None = None,
) -> dict[str, str]:
    """File name to text: `name`.h, `name`.c and `name`_selftest.c.

    `labels` are in the order of the network's scores. `name` is a C identifier, the prefix of every function and, in
    upper case, of every macro. `words` are the keywords that may be decided at first, as in `decision.allowed`. `rests`
    tells the loop that `emit.activity` says which inferences are left out. The header says for how many false accepts
    an hour the settings were chosen, `target_fa`.
    """
    origin = origin or Origin()
    listed = ",\n".join(f"    {string(label)}" for label in labels)
    flags = ", ".join("1" if keyword else "0" for keyword in keywords(labels))
    barred = ", ".join("0" if may else "1" for may in allowed(labels, words))
    files = {
        ".h": (
            "Decision: int8 scores in, detections out.",
            header(f"{name}.h", _header(decision, labels, rests, target_fa)),
        ),
        ".c": (
            "Decision: smoothing, threshold and refractory time.",
            _SOURCE % {"labels": listed, "flags": flags, "barred": barred},
        ),
        "_selftest.c": (
            "Self-test of the decision.",
            decision_selftest(decision, labels, words),
        ),
    }
    return {
        name + suffix: banner(about, origin) + text.replace("KWS_DECISION", name.upper()).replace("kws_decision", name)
        for suffix, (about, text) in files.items()
    }


def _header(decision: Decision, labels: Sequence[str], rests: bool, target_fa: float | None) -> str:
    rate = "for no known rate of false accepts" if target_fa is None else f"for {target_fa:g} false accepts an hour"
    note = "\n#define KWS_DECISION_RESTS /* kws_activity.h says when inferences are left out */" if rests else ""
    return f"""
#include <stdint.h>

#define KWS_DECISION_LABELS {len(labels)} /* {comment(", ".join(labels))} */

/* The settings, chosen {rate}. */
#define KWS_DECISION_STRIDE_HOPS {decision.stride_hops} /* hops between inferences */
#define KWS_DECISION_SMOOTHING {decision.smoothing} /* inferences averaged */
#define KWS_DECISION_THRESHOLD {decision.threshold} /* of the average score, in 1/256 */
#define KWS_DECISION_REFRACTORY_HOPS {decision.refractory_hops} /* hops after a detection without another */{note}

/* What kws_decision_step returns. */
#define KWS_DECISION_NOTHING 0
#define KWS_DECISION_DETECTED 1
#define KWS_DECISION_SUPPRESSED 2 /* a detection within the refractory time of an earlier one */

typedef struct {{
    uint32_t hop; /* hops since the reset, modulo 2^32, when it was decided */
    uint32_t label; /* index into the labels */
}} kws_decision_detection;

/* May be defined to place the state in a memory, as in __attribute__((section(".dtcm"))). */
#ifndef KWS_DECISION_STATE_ATTR
#define KWS_DECISION_STATE_ATTR
#endif

/* Forget all scores and detections. Needed before the first hop. */
void kws_decision_reset(void);

/* Count one hop. Returns 1 when an inference is due; then call kws_decision_step with its scores, before the next
   hop{", unless it is left out" if rests else ""}. */
int kws_decision_hop(void);

/* Take the KWS_DECISION_LABELS scores of one inference (scale 1/256, zero point -128). `detection` is written unless
   the result is KWS_DECISION_NOTHING. */
int kws_decision_step(const int8_t *scores, kws_decision_detection *detection);

/* Decide only the labels whose bit in `labels` is set, from now on; label i is bit i % 8 of byte i / 8, as in the words
   of a user. A reset leaves this as it is. */
void kws_decision_allow(const uint8_t *labels);

/* The name of label `label` in UTF-8; `label` is below KWS_DECISION_LABELS. */
const char *kws_decision_label(uint32_t label);

/* Compare detections in built-in scores with the generator's. Returns 0 when they agree. Resets the decision. To be
   called before kws_decision_allow. */
int kws_decision_selftest(void);
"""


_SOURCE = """\
#include "kws_decision.h"

static const char *const label_names[KWS_DECISION_LABELS] = {
%(labels)s,
};

/* Which labels can be detected. */
static const uint8_t keyword[KWS_DECISION_LABELS] = {%(flags)s};

static KWS_DECISION_STATE_ATTR struct {
    uint32_t hops; /* since the reset */
    uint32_t until_inference; /* hops */
    uint32_t last; /* hop of the last detection */
    uint32_t next; /* row of `scores` to be overwritten */
    uint8_t detected; /* whether `last` holds anything */
    uint8_t scores[KWS_DECISION_SMOOTHING][KWS_DECISION_LABELS]; /* of the latest inferences, plus 128 */
} state;

/* Which labels take no part. */
static KWS_DECISION_STATE_ATTR uint8_t barred[KWS_DECISION_LABELS] = {%(barred)s};

void kws_decision_allow(const uint8_t *labels)
{
    for (uint32_t label = 0; label < KWS_DECISION_LABELS; label++) {
        barred[label] = (uint8_t)(~(uint32_t)labels[label / 8u] >> (label %% 8u) & 1u);
    }
}

void kws_decision_reset(void)
{
    state.hops = 0;
    state.until_inference = KWS_DECISION_STRIDE_HOPS;
    state.next = 0;
    state.detected = 0;
    for (uint32_t row = 0; row < KWS_DECISION_SMOOTHING; row++) {
        for (uint32_t label = 0; label < KWS_DECISION_LABELS; label++) {
            state.scores[row][label] = 0;
        }
    }
}

int kws_decision_hop(void)
{
    state.hops++;
    state.until_inference--;
    if (state.until_inference > 0) {
        return 0;
    }
    state.until_inference = KWS_DECISION_STRIDE_HOPS;
    return 1;
}

/* The sum of the latest scores of a label. */
static uint32_t smoothed(uint32_t label)
{
    uint32_t sum = 0;

    for (uint32_t row = 0; row < KWS_DECISION_SMOOTHING; row++) {
        sum += state.scores[row][label];
    }
    return sum;
}

int kws_decision_step(const int8_t *scores, kws_decision_detection *detection)
{
    uint32_t best = 0, best_sum = 0;

    for (uint32_t label = 0; label < KWS_DECISION_LABELS; label++) {
        uint32_t sum;

        state.scores[state.next][label] = (uint8_t)(scores[label] + 128);
        sum = smoothed(label);
        if (sum > best_sum && !barred[label]) {
            best = label;
            best_sum = sum;
        }
    }
    if (++state.next == KWS_DECISION_SMOOTHING) {
        state.next = 0;
    }
    if (!keyword[best] || best_sum < (uint32_t)KWS_DECISION_THRESHOLD * KWS_DECISION_SMOOTHING) {
        return KWS_DECISION_NOTHING;
    }
    detection->hop = state.hops;
    detection->label = best;
    if (state.detected && state.hops - state.last < KWS_DECISION_REFRACTORY_HOPS) {
        return KWS_DECISION_SUPPRESSED;
    }
    state.detected = 1;
    state.last = state.hops;
    return KWS_DECISION_DETECTED;
}

const char *kws_decision_label(uint32_t label)
{
    return label_names[label];
}
"""
