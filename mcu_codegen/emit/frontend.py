"""The front end as C: `frontend`'s tables, and code that computes what `frontend.features` computes."""

from __future__ import annotations

import textwrap
import zlib

import numpy as np

from ..listen import frontend
from ..listen.frontend import FrontEnd
from .text import CRC32, RANDOM, Origin, array, banner, header, random_words

SELFTEST_SAMPLES = frontend.SAMPLE_RATE


def emit_frontend(front_end: FrontEnd, name: str = "kws_frontend", origin: Origin | None = None) -> dict[str, str]:
    """File name to text: `name`.h, `name`.c, `name`_tables.h and `name`_selftest.c.

    `name` is a C identifier; it is the prefix of every function and, in upper case, of every macro.
    """
    origin = origin or Origin()
    about = {
        ".h": f"Audio front end '{front_end.name}': int16 audio at 16 kHz in, int8 features out, hop by hop.",
        ".c": f"Audio front end '{front_end.name}', all in integers.",
        "_tables.h": f"Tables of the audio front end '{front_end.name}'.",
        "_selftest.c": f"Self-test of the audio front end '{front_end.name}'.",
    }
    logmel = front_end.coefficients == front_end.bands
    body = {
        ".h": header(f"{name}.h", _header(front_end)),
        ".c": _SOURCE.replace("@PROJECT@", _PROJECT_BANDS if logmel else _PROJECT_DCT),
        "_tables.h": header(f"{name}_tables.h", _tables(front_end)),
        "_selftest.c": _SELFTEST.replace("@CRC32@", CRC32)
        .replace("@RANDOM@", RANDOM)
        .replace("@EXPECTED@", f"0x{zlib.crc32(frontend.features(front_end, selftest_audio()).tobytes()):08X}u"),
    }
    return {
        name + suffix: banner(about[suffix], origin)
        + text.replace("KWS_FRONTEND", name.upper()).replace("kws_frontend", name)
        for suffix, text in body.items()
    }


def selftest_audio() -> np.ndarray:
    """int16[16000]: the self-test's signal. A quarter each of silence, a chirp, noise and a full-scale square wave."""
    n = np.arange(SELFTEST_SAMPLES, dtype=np.int64)
    quarter = n * 4 // SELFTEST_SAMPLES
    phase = np.cumsum(np.cumsum(np.full(n.shape, 120000))) & 0xFFFFFFFF
    noise = random_words(1, SELFTEST_SAMPLES)
    square = np.where((phase >> 31) > 0, 32767, -32768)
    return np.choose(quarter, [0 * n, (phase >> 16) - 32768, (noise >> 16) - 32768, square]).astype(np.int16)


def arena_bytes(front_end: FrontEnd) -> int:
    """RAM of the C: transform, history, log-mel bands, count of hops; a multiple of 8."""
    used = frontend.POINTS * 8 + _history(front_end) * 2 + front_end.bands * 2 + 4
    return (used + 7) // 8 * 8


def _history(front_end: FrontEnd) -> int:
    """Samples kept from hop to hop: all earlier whole hops that a frame may need."""
    return ((front_end.window - 1) // front_end.hop) * front_end.hop


def _header(front_end: FrontEnd) -> str:
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
#define KWS_FRONTEND_ARENA_BYTES {arena_bytes(front_end)}

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


def _tables(front_end: FrontEnd) -> str:
    tables = front_end.tables
    arrays = [
        array("uint16_t", "window", tables.window, about="Periodic Hann window, Q15.", attribute=_CONST),
        array("int16_t", "minus_sine", tables.minus_sine, about="-sin(2 pi k / 512), Q15.", attribute=_CONST),
        array(
            "uint8_t",
            "interval_bins",
            tables.interval_bins,
            about="Bins between neighbouring centres of mel bands.",
            attribute=_CONST,
        ),
        array(
            "uint16_t",
            "rising",
            tables.rising,
            about="Weight of a bin in the band whose centre comes next, Q15; the band before has the rest.",
            attribute=_CONST,
        ),
        array("uint16_t", "log2_chords", tables.log2, about="log2(1 + i / 32), Q15.", attribute=_CONST),
    ]
    if front_end.coefficients == front_end.bands:  # the projection is a multiple of the identity
        scale = (
            f"#define GAIN {tables.projection[0, 0]} /* codes per unit of log2, Q12 */\n"
            f"#define OFFSET ({tables.offset[0]}) /* zero point, floor and half a code, Q22 */\n"
        )
    else:
        scale = ""
        arrays += [
            array(
                "int16_t",
                "projection",
                tables.projection,
                about="DCT-II, row by row: codes per unit of log2, Q12.",
                attribute=_CONST,
            ),
            array(
                "int32_t", "offset", tables.offset, about="Zero point, floor and half a code, Q22.", attribute=_CONST
            ),
        ]
    return f"""
#include <stdint.h>

#define HISTORY {_history(front_end)} /* samples kept from hop to hop */
#define BANDS {front_end.bands}
#define FIRST_BIN {tables.first_bin}
#define LAST_BIN {tables.first_bin + len(tables.rising) - 1}
#define FLOOR {tables.floor}u /* the smallest mel sum that counts */
#define FLOOR_LOG {tables.floor_log}u /* its log2, Q10 */
{scale}
""" + "\n".join(arrays)


_CONST = "KWS_FRONTEND_CONST_ATTR"

_SOURCE = """\
/*
 * Right shifts of negative numbers are taken to be arithmetic, as every compiler for these cores has them.
 * No product needs more than 32 bits except powers and mel sums, which are uint64_t.
 */
#include "kws_frontend.h"

#include "kws_frontend_tables.h"

#define POINTS 256 /* of the complex transform */
#define FRACTION_SHIFT 9 /* Q15 product to 6 fractional bits */
#define TWIDDLE_BITS 15
#define TWIDDLE_MASK 0x7FFF
#define POWER_SHIFT 12
#define MEL_BITS 15
#define OUTPUT_SHIFT 22

typedef struct {
    int32_t re, im;
} complex_t;

/* A point of the transform; in the end its power takes its place. */
typedef union {
    complex_t value;
    uint64_t power;
} bin_t;

typedef struct {
    bin_t bins[POINTS];
    int16_t history[HISTORY]; /* the samples before the newest hop */
    uint16_t logs[BANDS]; /* log2 of the bands relative to the floor, Q10 */
    uint32_t missing; /* samples until the history is full */
} arena_t;

typedef char arena_bytes_hold[sizeof(arena_t) <= KWS_FRONTEND_ARENA_BYTES ? 1 : -1];

static KWS_FRONTEND_ARENA_ATTR arena_t arena;

/* Stage 1: the window. */

/* The base-4 digits of a point's number in reverse: where the transform wants it. */
static uint32_t digits_reversed(uint32_t point)
{
    point = (point >> 4) | ((point & 0x0Fu) << 4);
    return ((point >> 2) & 0x33u) | ((point & 0x33u) << 2);
}

static int32_t windowed(int16_t sample, uint16_t weight)
{
    return ((int32_t)sample * (int32_t)weight + (1 << (FRACTION_SHIFT - 1))) >> FRACTION_SHIFT;
}

/* Put `count` samples, the window's `first` and following, into the transform: even ones real, odd ones imaginary. */
static void load(const int16_t *samples, uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i += 2) {
        complex_t *value = &arena.bins[digits_reversed((first + i) / 2)].value;

        value->re = windowed(samples[i], window[first + i]);
        value->im = windowed(samples[i + 1], window[first + i + 1]);
    }
}

static void load_frame(const int16_t *hop)
{
    load(arena.history, 0, HISTORY);
    load(hop, HISTORY, KWS_FRONTEND_WINDOW - HISTORY);
    for (uint32_t point = KWS_FRONTEND_WINDOW / 2; point < POINTS; point++) {
        complex_t *value = &arena.bins[digits_reversed(point)].value;

        value->re = 0;
        value->im = 0;
    }
}

/* Stage 2: the transform, in place. */

/* exp(-2 pi i k / 512), k below 384 */
static complex_t twiddle(uint32_t k)
{
    complex_t turn;

    turn.re = k < 128u ? -minus_sine[k + 128u] : minus_sine[k - 128u];
    turn.im = minus_sine[k];
    return turn;
}

/* value * turn, rounded half up. Splitting the value into upper part and lower 15 bits keeps it exact in 32 bits. */
static complex_t rotated(complex_t value, complex_t turn)
{
    const int32_t re_high = value.re >> TWIDDLE_BITS, re_low = value.re & TWIDDLE_MASK;
    const int32_t im_high = value.im >> TWIDDLE_BITS, im_low = value.im & TWIDDLE_MASK;
    const int32_t half = 1 << (TWIDDLE_BITS - 1);
    complex_t result;

    result.re = re_high * turn.re - im_high * turn.im + ((re_low * turn.re - im_low * turn.im + half) >> TWIDDLE_BITS);
    result.im = re_high * turn.im + im_high * turn.re + ((re_low * turn.im + im_low * turn.re + half) >> TWIDDLE_BITS);
    return result;
}

/* Four points, `span` apart from `bin` on, become their transform. */
static void butterfly(bin_t *bin, uint32_t span, complex_t b, complex_t c, complex_t d)
{
    const complex_t a = bin[0].value;
    const int32_t ac_re = a.re + c.re, ac_im = a.im + c.im, a_c_re = a.re - c.re, a_c_im = a.im - c.im;
    const int32_t bd_re = b.re + d.re, bd_im = b.im + d.im, b_d_re = b.re - d.re, b_d_im = b.im - d.im;

    bin[0].value.re = ac_re + bd_re;
    bin[0].value.im = ac_im + bd_im;
    bin[span].value.re = a_c_re + b_d_im;
    bin[span].value.im = a_c_im - b_d_re;
    bin[2u * span].value.re = ac_re - bd_re;
    bin[2u * span].value.im = ac_im - bd_im;
    bin[3u * span].value.re = a_c_re - b_d_im;
    bin[3u * span].value.im = a_c_im + b_d_re;
}

static void transform(void)
{
    for (uint32_t span = 1; span < POINTS; span *= 4) {
        const uint32_t step = 128u / span;

        /* the first of every four needs no rotation */
        for (bin_t *bin = arena.bins; bin < arena.bins + POINTS; bin += 4u * span) {
            butterfly(bin, span, bin[span].value, bin[2u * span].value, bin[3u * span].value);
        }
        for (uint32_t i = 1; i < span; i++) {
            const complex_t once = twiddle(i * step), twice = twiddle(2u * i * step), thrice = twiddle(3u * i * step);

            for (bin_t *bin = arena.bins + i; bin < arena.bins + POINTS; bin += 4u * span) {
                butterfly(bin, span, rotated(bin[span].value, once), rotated(bin[2u * span].value, twice),
                          rotated(bin[3u * span].value, thrice));
            }
        }
    }
}

/* Stage 3: power, in place, of twice the spectrum of the real samples. */

static uint64_t power(int32_t re, int32_t im)
{
    return ((uint64_t)((int64_t)re * re) + (uint64_t)((int64_t)im * im)) >> POWER_SHIFT;
}

static void powers(void)
{
    for (uint32_t k = 1; k <= POINTS / 2; k++) {
        bin_t *bin = &arena.bins[k], *mirror = &arena.bins[POINTS - k];
        const complex_t a = bin->value, b = mirror->value;
        const complex_t odd = {a.im + b.im, b.re - a.re}; /* times -i */
        const complex_t turned = rotated(odd, twiddle(k));
        const int32_t even_re = a.re + b.re, even_im = a.im - b.im;

        mirror->power = power(even_re - turned.re, even_im - turned.im);
        bin->power = power(even_re + turned.re, even_im + turned.im);
    }
}

/* Stages 4 and 5: mel bands and their logarithm. */

/* log2 of a positive value, Q10: the leading bit, and a chord through the curve for the 21 bits after it. */
static uint32_t log2_of(uint64_t value)
{
    uint32_t exponent = 63, mantissa, segment, fraction, chord;

    for (uint32_t bits = 32; bits > 0; bits /= 2) {
        if ((value >> (64u - bits)) == 0) {
            value <<= bits;
            exponent -= bits;
        }
    }
    mantissa = (uint32_t)(value >> 32);
    segment = (mantissa >> 26) & 31u;
    fraction = (mantissa >> 10) & 0xFFFFu;
    chord = log2_chords[segment];
    chord += ((uint32_t)(log2_chords[segment + 1u] - log2_chords[segment]) * fraction + 0x8000u) >> 16;
    return (exponent << 10) + ((chord + 16u) >> 5);
}

static void mel_logs(void)
{
    const bin_t *bin = &arena.bins[FIRST_BIN];
    const uint16_t *weight = rising;
    uint64_t first_half = 0; /* of the band: its rising slope */

    for (uint32_t interval = 0; interval <= BANDS; interval++) {
        uint64_t up = 0, all = 0;

        for (uint32_t bins = interval_bins[interval]; bins > 0; bins--) {
            up += bin->power * *weight++;
            all += bin->power;
            bin++;
        }
        if (interval > 0) {
            const uint64_t sum = first_half + (all << MEL_BITS) - up;

            arena.logs[interval - 1u] = (uint16_t)(log2_of(sum < FLOOR ? FLOOR : sum) - FLOOR_LOG);
        }
        first_half = up;
    }
}

/* Stage 6: projection onto the features. */

static int8_t clamped(int32_t code)
{
    return (int8_t)(code < -128 ? -128 : code > 127 ? 127 : code);
}

@PROJECT@
/* Interface. */

void kws_frontend_reset(void)
{
    arena.missing = HISTORY;
}

int kws_frontend_push(const int16_t *hop, int8_t *features)
{
    const int complete = arena.missing == 0;

    if (complete) {
        load_frame(hop);
        transform();
        powers();
        mel_logs();
        project(features);
    } else {
        arena.missing -= KWS_FRONTEND_HOP;
    }
    for (uint32_t i = KWS_FRONTEND_HOP; i < HISTORY; i++) {
        arena.history[i - KWS_FRONTEND_HOP] = arena.history[i];
    }
    for (uint32_t i = 0; i < KWS_FRONTEND_HOP; i++) {
        arena.history[HISTORY - KWS_FRONTEND_HOP + i] = hop[i];
    }
    return complete;
}
"""

_PROJECT_DCT = """\
static void project(int8_t *features)
{
    const int16_t *row = projection;

    for (uint32_t i = 0; i < KWS_FRONTEND_COEFFICIENTS; i++) {
        int32_t sum = offset[i];

        for (uint32_t band = 0; band < BANDS; band++) {
            sum += *row++ * (int32_t)arena.logs[band];
        }
        features[i] = clamped(sum >> OUTPUT_SHIFT);
    }
}
"""

_PROJECT_BANDS = """\
static void project(int8_t *features)
{
    for (uint32_t band = 0; band < BANDS; band++) {
        features[band] = clamped((GAIN * (int32_t)arena.logs[band] + OFFSET) >> OUTPUT_SHIFT);
    }
}
"""

_SELFTEST = """\
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
