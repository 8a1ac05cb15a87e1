"""The stages of the front end in portable C99, as `listen.frontend` numbers them: text of C functions."""

from __future__ import annotations

WINDOW = """\
#define FRACTION_SHIFT 9 /* Q15 product to 6 fractional bits */

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
"""

ROTATION = """\
#define TWIDDLE_BITS 15
#define TWIDDLE_MASK 0x7FFF

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
"""

TRANSFORM = """\
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

/* In place. */
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
"""

POWERS = """\
#define POWER_SHIFT 12

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
"""

MEL_LOGS = """\
#define MEL_BITS 15

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
"""

CLAMPED = """\
#define OUTPUT_SHIFT 22

static int8_t clamped(int32_t code)
{
    return (int8_t)(code < -128 ? -128 : code > 127 ? 127 : code);
}
"""

PROJECT_DCT = """\
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

PROJECT_BANDS = """\
static void project(int8_t *features)
{
    for (uint32_t band = 0; band < BANDS; band++) {
        features[band] = clamped((GAIN * (int32_t)arena.logs[band] + OFFSET) >> OUTPUT_SHIFT);
    }
}
"""

KEEP = """\
/* The newest samples become the end of the history. */
static void keep(const int16_t *hop)
{
    for (uint32_t i = KWS_FRONTEND_HOP; i < HISTORY; i++) {
        arena.history[i - KWS_FRONTEND_HOP] = arena.history[i];
    }
    for (uint32_t i = 0; i < KWS_FRONTEND_HOP; i++) {
        arena.history[HISTORY - KWS_FRONTEND_HOP + i] = hop[i];
    }
}
"""
