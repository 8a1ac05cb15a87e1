"""C functions shared by layers."""

from __future__ import annotations

from string import Template

from ..kernel import Helper


def _dot4(name: str, weight: str) -> Helper:
    return Helper(
        Template("""\
/* sums[k] = bias[k] + a[0] * b[k] + a[1] * b[4 + k] + ...: four output channels, whose weights lie side by side. */
static inline void ${prefix}_$name(int32_t *sums, const int32_t *bias, const int8_t *a, const $weight *b, int32_t count)
{
    int32_t sum0 = bias[0], sum1 = bias[1], sum2 = bias[2], sum3 = bias[3];

    while (count-- > 0) {
        const int32_t value = *a++;

        sum0 += value * b[0];
        sum1 += value * b[1];
        sum2 += value * b[2];
        sum3 += value * b[3];
        b += 4;
    }
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
}
""").safe_substitute(name=name, weight=weight)
    )


def _quantize(name: str, code: str) -> Helper:
    return Helper(
        Template("""\
/* The code, in low..high, of an accumulator. */
static inline $code ${prefix}_$name(int32_t accumulator, int32_t multiplier, int32_t shift, int32_t zero_point,
                                    int32_t low, int32_t high)
{
    const int32_t value = ${prefix}_requantize(accumulator, multiplier, shift);

    /* compared before the zero point is added, for value can be near the ends of int32 */
    return ($code)(value < low - zero_point ? low : value > high - zero_point ? high : value + zero_point);
}
""").safe_substitute(name=name, code=code),
        ("requantize",),
    )


HELPERS = {
    "high_multiply": Helper("""\
/* a * b / 2^31, rounded half up; b is not negative. Right shifts of negative numbers are arithmetic here and below. */
static inline int32_t ${prefix}_high_multiply(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + 1073741824) >> 31);
}
"""),
    "rounding_shift": Helper("""\
/* value / 2^exponent, rounded half away from zero; exponent is 0..31. */
static inline int32_t ${prefix}_rounding_shift(int32_t value, int32_t exponent)
{
    const int32_t mask = (int32_t)((1u << exponent) - 1u);

    return (value >> exponent) + ((value & mask) > (mask >> 1) + (value < 0));
}
"""),
    "requantize": Helper(
        """\
/* accumulator * multiplier * 2^(shift - 31), rounded twice as TFLite's reference kernels do; a left shift wraps. */
static inline int32_t ${prefix}_requantize(int32_t accumulator, int32_t multiplier, int32_t shift)
{
    const int32_t shifted = shift > 0 ? (int32_t)((uint32_t)accumulator << shift) : accumulator;

    return ${prefix}_rounding_shift(${prefix}_high_multiply(shifted, multiplier), shift < 0 ? -shift : 0);
}
""",
        ("high_multiply", "rounding_shift"),
    ),
    "quantize": _quantize("quantize", "int8_t"),
    "quantize_16": _quantize("quantize_16", "int16_t"),
    "quantize_32": _quantize("quantize_32", "int32_t"),
    "quantize_long": Helper("""\
/* The int16 code, in low..high, of accumulator * multiplier * 2^(shift - 15), rounded half up; shift is up to 14. */
static inline int16_t ${prefix}_quantize_long(int64_t accumulator, int32_t multiplier, int32_t shift,
                                              int32_t zero_point, int32_t low, int32_t high)
{
    const int64_t half = (int64_t)1 << (14 - shift);
    const int32_t value = (int32_t)((accumulator * multiplier + half) >> (15 - shift));

    return (int16_t)(value < low - zero_point ? low : value > high - zero_point ? high : value + zero_point);
}
"""),
    "word": Helper("""\
/* An int32 that lies anywhere, its lowest byte first. */
static inline int32_t ${prefix}_word(const uint8_t *from)
{
    return (int32_t)(from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24);
}
"""),
    "unpack": Helper(
        """\
/* Constants as a kernel reads them: so many words before; words of which only bytes that are not zero are there, of
   every eight behind a mask of them; so many words behind. Returns where the next ones begin. */
static inline const uint8_t *${prefix}_unpack(const uint8_t *from, void *constants, int32_t before, int32_t masked,
                                              int32_t behind)
{
    uint32_t *to = (uint32_t *)constants;
    uint8_t *eight;

    for (; before > 0; before--) {
        *to++ = (uint32_t)${prefix}_word(from);
        from += 4;
    }
    eight = (uint8_t *)to;
    for (int32_t i = 0; i < masked; i++) {
        *to++ = 0;
    }
    for (; masked > 0; masked -= 2) {
        uint8_t *at = eight;

        for (uint32_t mask = *from++; mask != 0; mask = mask << 1 & 255) {
            if (mask & 128) {
                *at = *from++;
            }
            at++;
        }
        eight += 8;
    }
    for (; behind > 0; behind--) {
        *to++ = (uint32_t)${prefix}_word(from);
        from += 4;
    }
    return from;
}
""",
        ("word",),
    ),
    "dot4": _dot4("dot4", "int8_t"),
    "dot4_wide": _dot4("dot4_wide", "int16_t"),
    "sum4": Helper("""\
/* sums[k] = from[k] + from[distance + k] + ...: four channels of so many pixels. */
static inline void ${prefix}_sum4(int32_t *sums, const int8_t *from, int32_t pixels, int32_t distance)
{
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;

    while (pixels-- > 0) {
        sum0 += from[0];
        sum1 += from[1];
        sum2 += from[2];
        sum3 += from[3];
        from += distance;
    }
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
}
"""),
    "copy": Helper("""\
static void ${prefix}_copy(int8_t *to, const int8_t *from, int32_t count)
{
    while (count-- > 0) {
        *to++ = *from++;
    }
}
"""),
    "repeat": Helper(
        """\
/* `count` bytes that are the same `period` bytes again and again. */
static void ${prefix}_repeat(int8_t *to, int32_t count, const int8_t *from, int32_t period)
{
    for (int32_t done = 0; done < count; done += period) {
        ${prefix}_copy(to + done, from, period);
    }
}
""",
        ("copy",),
    ),
    "fill": Helper("""\
static void ${prefix}_fill(int8_t *to, int8_t value, int32_t count)
{
    while (count-- > 0) {
        *to++ = value;
    }
}
"""),
    "divide": Helper(
        """\
/* The int8 code, in low..high, of a / b * multiplier * 2^(shift - 31); a and b are below 256. */
static int8_t ${prefix}_divide(int32_t a, int32_t b, int32_t multiplier, int32_t shift, int32_t zero_point,
                               int32_t low, int32_t high)
{
    int32_t inverse, bits, left = 0, value = 0;

    if (b == 0) {
        return (int8_t)(a < 0 ? low : high);
    }
    if (b < 0) {
        a = -a;
        b = -b;
    }
    if (a != 0) {
        while (a < 1073741824 && a >= -1073741824) {
            a *= 2;
            left++;
        }
        inverse = ${prefix}_reciprocal((uint32_t)b, &bits);
        value = ${prefix}_high_multiply(${prefix}_high_multiply(a, inverse), multiplier);
        bits += left + 19 - shift;
        value = bits > 31 ? 0 : ${prefix}_rounding_shift(value, bits);
    }
    return (int8_t)(value < low - zero_point ? low : value > high - zero_point ? high : value + zero_point);
}
""",
        ("reciprocal", "high_multiply", "rounding_shift"),
    ),
    "reciprocal": Helper(
        """\
/* r with 1 / total = r * 2^-*bits: total is Q12.19 and positive, r Q0.31. Three Newton steps. */
static int32_t ${prefix}_reciprocal(uint32_t total, int32_t *bits)
{
    int32_t half, x;

    for (*bits = 12; total < 2147483648u; --*bits) {
        total <<= 1;
    }
    half = (int32_t)(total >> 1);
    x = 1515870810 - ${prefix}_high_multiply(half, 1010580540); /* 48/17 - 32/17 * half */
    for (int step = 0; step < 3; step++) {
        x += ${prefix}_high_multiply(x, 536870912 - ${prefix}_high_multiply(half, x)) * 4;
    }
    return x >= 1073741824 ? 2147483647 : x * 2;
}
""",
        ("high_multiply",),
    ),
}
