"""The front end as C files: the interface, and what a renderer makes of the stages behind it."""

from __future__ import annotations

import textwrap

from ..listen import frontend
from .cortex_m.instruction_sets import FRONT_ENDS
from .frontend_selftest import frontend_selftest
from .portable.frontend import FrontEndRenderer
from .text import Origin, banner, header


def emit_frontend(
    front_end: frontend.FrontEnd,
    name: str = "kws_frontend",
    origin: Origin | None = None,
    instruction_set: str = "portable",
) -> dict[str, str]:
    """File name to text: `name`.h, `name`.c, `name`_tables.h and `name`_selftest.c.

    `name` is a C identifier; it is the prefix of every function and, in upper case, of every macro. `instruction_set`
    is as in targets.Target: the features are the same bytes whichever it is.
    """
    origin = origin or Origin()
    renderer = FRONT_ENDS[instruction_set](front_end)
    about = {
        ".h": f"Audio front end '{front_end.name}': int16 audio at 16 kHz in, int8 features out, hop by hop.",
        ".c": f"Audio front end '{front_end.name}', all in integers.",
        "_tables.h": f"Tables of the audio front end '{front_end.name}'.",
        "_selftest.c": f"Self-test of the audio front end '{front_end.name}'.",
    }
    body = {
        ".h": header(f"{name}.h", _interface(renderer)),
        ".c": renderer.source(),
        "_tables.h": header(f"{name}_tables.h", renderer.tables_header()),
        "_selftest.c": frontend_selftest(front_end),
    }
    return {
        name + suffix: banner(about[suffix], origin)
        + text.replace("KWS_FRONTEND", name.upper()).replace("kws_frontend", name)
        for suffix, text in body.items()
    }


def _interface(renderer: FrontEndRenderer) -> str:
    front_end = renderer.front_end
    codes = " \\\n    ".join(textwrap.wrap(", ".join(str(code) for code in front_end.floor_codes), 100))
    return f"""
#include <stdint.h>

#define KWS_FRONTEND_SAMPLE_RATE {frontend.SAMPLE_RATE}
#define KWS_FRONTEND_WINDOW {front_end.window} /* samples of a frame */
#define KWS_FRONTEND_HOP {front_end.hop} /* samples from one frame to the next */
#define KWS_FRONTEND_COEFFICIENTS {front_end.coefficients} /* features of a frame */
#define KWS_FRONTEND_FRAMES {front_end.frames(frontend.SAMPLE_RATE)} /* frames of one second: the network's context */

/* A feature is SCALE * (code - ZERO_POINT) nats. FLOOR_CODES is a frame of digital silence. */
#define KWS_FRONTEND_SCALE {front_end.scale:.9g}f
#define KWS_FRONTEND_ZERO_POINT {front_end.zero_point}
#define KWS_FRONTEND_FLOOR_CODES \\
    {{ {codes} }}

/* All RAM that the front end uses beside the stack, as one static object aligned to 8 bytes. */
#define KWS_FRONTEND_ARENA_BYTES {renderer.arena_bytes}

/* May be defined to place the arena and the tables in a memory, as in __attribute__((section(".dtcm"))). */
#ifndef KWS_FRONTEND_ARENA_ATTR
#define KWS_FRONTEND_ARENA_ATTR
#endif
#ifndef KWS_FRONTEND_CONST_ATTR
#define KWS_FRONTEND_CONST_ATTR
#endif

/* Forget all audio. Needed before the first push. */
void kws_frontend_reset(void);

/* Take the next KWS_FRONTEND_HOP samples. Returns 1 when a frame came out, 0 while the first window is not yet full;
   `features` (KWS_FRONTEND_COEFFICIENTS codes) is written only with a frame. Frame f covers the samples f * HOP up to
   f * HOP + WINDOW since the reset. */
int kws_frontend_push(const int16_t *hop, int8_t *features);

/* Compare the features of a built-in signal with the generator's. Returns 0 when they agree. Resets the front end. */
int kws_frontend_selftest(void);
"""
