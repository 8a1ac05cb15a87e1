"""How a board proves its front end: a signal that needs no storage, and the CRC-32 of its features."""

from __future__ import annotations

import zlib

import numpy as np

from ..listen import frontend
from ..listen.frontend import FrontEnd
from .text import CRC32, RANDOM, random_words

SAMPLES = frontend.SAMPLE_RATE


def selftest_audio() -> np.ndarray:
    """int16[16000]: the self-test's signal. A quarter each of silence, a chirp, noise and a full-scale square wave."""
    n = np.arange(SAMPLES, dtype=np.int64)
    quarter = n * 4 // SAMPLES
    phase = np.cumsum(np.cumsum(np.full(n.shape, 120000))) & 0xFFFFFFFF
    noise = random_words(1, SAMPLES)
    square = np.where((phase >> 31) > 0, 32767, -32768)
    return np.choose(quarter, [0 * n, (phase >> 16) - 32768, (noise >> 16) - 32768, square]).astype(np.int16)


def frontend_selftest(front_end: FrontEnd) -> str:
    """The C file."""
    crc = zlib.crc32(frontend.features(front_end, selftest_audio()).tobytes())
    return _SOURCE.replace("@CRC32@", CRC32).replace("@RANDOM@", RANDOM).replace("@EXPECTED@", f"0x{crc:08X}u")


_SOURCE = """\
#include "kws_frontend.h"

#define SAMPLES KWS_FRONTEND_SAMPLE_RATE
#define EXPECTED @EXPECTED@ /* CRC-32 of all features */

@CRC32@
@RANDOM@
/* A quarter each of silence, a chirp, noise and a full-scale square wave. */
static int16_t signal(uint32_t quarter, uint32_t phase, uint32_t noise)
{
    switch (quarter) {
    case 0:
        return 0;
    case 1:
        return (int16_t)((int32_t)(phase >> 16) - 32768);
    case 2:
        return (int16_t)((int32_t)(noise >> 16) - 32768);
    default:
        return (phase >> 31) != 0 ? 32767 : -32768;
    }
}

int kws_frontend_selftest(void)
{
    int16_t hop[KWS_FRONTEND_HOP];
    int8_t features[KWS_FRONTEND_COEFFICIENTS];
    uint32_t crc = 0, random = 1, phase = 0, step = 0, n = 0;

    kws_frontend_reset();
    while (n < SAMPLES) {
        for (uint32_t i = 0; i < KWS_FRONTEND_HOP; i++, n++) {
            step += 120000u;
            phase += step;
            hop[i] = signal(n * 4u / SAMPLES, phase, next_random(&random));
        }
        if (kws_frontend_push(hop, features)) {
            crc = crc32(crc, features, sizeof features);
        }
    }
    kws_frontend_reset();
    return crc == EXPECTED ? 0 : 1;
}
"""
