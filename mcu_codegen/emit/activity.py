"""What leaves out inferences as C: what `activity.Activity` specifies, and the frames that a sleeping loop keeps."""

from __future__ import annotations

from ..listen.activity import FALL, FLOOR_BITS, RISE, Activity
from .text import Origin, banner, header


def emit_activity(
    activity: Activity, coefficients: int, stride_hops: int, name: str = "kws_activity", origin: Origin | None = None
) -> dict[str, str]:
    """File name to text: `name`.h and `name`.c, for frames of so many `coefficients` and a decision that is due every
    `stride_hops` hops. `name` is a C identifier, the prefix of every function and, in upper case, of every macro.
    """
    origin = origin or Origin()
    values = {
        "coefficients": coefficients,
        "stride": stride_hops,
        "summed": activity.summed,
        "silence": activity.silence,
        "margin": activity.margin,
        "hold": activity.hold_hops,
        "frames": activity.lead_hops + stride_hops,
        "bits": FLOOR_BITS,
        "fall": FALL,
        "rise": RISE,
    }
    files = {
        ".h": ("Activity: whether inferences are left out.", header(f"{name}.h", _HEADER % values)),
        ".c": ("Activity: the floor of the noise, and what rises above it.", _SOURCE % values),
    }
    return {
        name + suffix: banner(about, origin) + text.replace("KWS_ACTIVITY", name.upper()).replace("kws_activity", name)
        for suffix, (about, text) in files.items()
    }


_HEADER = """
#include <stdint.h>

#define KWS_ACTIVITY_COEFFICIENTS %(coefficients)d /* features of a frame */
#define KWS_ACTIVITY_STRIDE_HOPS %(stride)d /* hops between inferences */
#define KWS_ACTIVITY_MARGIN %(margin)d /* codes by which the level of a loud frame exceeds the floor, at least */
#define KWS_ACTIVITY_HOLD_HOPS %(hold)d /* frames without a loud one until the loop sleeps */
#define KWS_ACTIVITY_FRAMES %(frames)d /* that a sleeping loop keeps for the network */

/* May be defined to place the state in a memory, as in __attribute__((section(".dtcm"))). */
#ifndef KWS_ACTIVITY_STATE_ATTR
#define KWS_ACTIVITY_STATE_ATTR
#endif

/* Awake, with the floor of digital silence. Needed before the first frame. */
void kws_activity_reset(void);

/* Take the next frame. Returns 1 when the network is to hear it now, 0 when it is kept. */
int kws_activity_push(const int8_t *frame);

/* To be called whenever the decision is due. Returns 1 when an inference is to run; before it the network is to hear
   all frames that kws_activity_next gives. */
int kws_activity_due(void);

/* The oldest frame that is kept, which is kept no longer; 0 where there is none. */
const int8_t *kws_activity_next(void);
"""


_SOURCE = """\
#include "kws_activity.h"

#define SUMMED %(summed)du /* codes of a frame that are its level */
#define FLOOR_ONE (1 << %(bits)d)

static KWS_ACTIVITY_STATE_ATTR struct {
    int32_t floor; /* of the level, in 1/FLOOR_ONE */
    uint32_t quiet; /* frames since a loud one, up to HOLD_HOPS */
    uint32_t asleep;
    uint32_t kept; /* frames in the ring */
    uint32_t next; /* where the next one goes */
    int8_t frames[KWS_ACTIVITY_FRAMES][KWS_ACTIVITY_COEFFICIENTS];
} state;

void kws_activity_reset(void)
{
    state.floor = %(silence)d * FLOOR_ONE;
    state.quiet = 0;
    state.asleep = 0;
    state.kept = 0;
    state.next = 0;
}

/* The floor after this frame, and how long it has been quiet. */
static void follow(const int8_t *frame)
{
    int32_t level = 0, above;

    for (uint32_t i = 0; i < SUMMED; i++) {
        level += frame[i];
    }
    above = level * FLOOR_ONE - state.floor;
    if (above > KWS_ACTIVITY_MARGIN * FLOOR_ONE) {
        state.quiet = 0;
    } else if (state.quiet < KWS_ACTIVITY_HOLD_HOPS) {
        state.quiet++;
    }
    state.floor += above >> (above < 0 ? %(fall)d : %(rise)d);
}

int kws_activity_push(const int8_t *frame)
{
    follow(frame);
    if (!state.asleep) {
        return 1;
    }
    for (uint32_t i = 0; i < KWS_ACTIVITY_COEFFICIENTS; i++) {
        state.frames[state.next][i] = frame[i];
    }
    if (++state.next == KWS_ACTIVITY_FRAMES) {
        state.next = 0;
    }
    if (state.kept < KWS_ACTIVITY_FRAMES) {
        state.kept++;
    }
    return 0;
}

int kws_activity_due(void)
{
    if (!state.asleep) {
        state.asleep = state.quiet == KWS_ACTIVITY_HOLD_HOPS;
        return 1;
    }
    state.asleep = state.quiet >= KWS_ACTIVITY_STRIDE_HOPS;
    return !state.asleep;
}

const int8_t *kws_activity_next(void)
{
    uint32_t oldest;

    if (state.kept == 0) {
        return 0;
    }
    oldest = state.next + KWS_ACTIVITY_FRAMES - state.kept--;
    return state.frames[oldest %% KWS_ACTIVITY_FRAMES];
}
"""
