"""The integer front end: 16 kHz int16 audio in, int8 log-mel or MFCC features out.

The specification, its tables and its NumPy execution. The C that `emit.frontend` writes prints these same tables and
computes the same integers, so both give the same bytes. Right shifts are arithmetic (they round down) everywhere.

A frame of `window` samples goes through these stages; every working value fits int32 unless it says otherwise.

1. **Window.** Sample times periodic Hann in Q15, rounded to 6 fractional bits: |x w| <= 2**21. The window sums to
   window / 2, so no bin of its transform exceeds 2**21 * window / 2 < 2**29: nothing ever has to be scaled.
2. **Transform.** Even samples as real and odd samples as imaginary parts of 256 complex points; radix 4, in place,
   twiddles in Q15, each product pair rounded once; then the split into *twice* the spectrum of the 512 real points
   (not halving saves a rounding).
3. **Power.** Square of the magnitude, uint64, shifted right by `POWER_SHIFT`. By Parseval the bins' sum stays below
   2**48, so that the mel sums with Q15 weights stay below 2**63.
4. **Mel bands.** Triangles on the HTK scale, not normalised. Between two neighbouring centres the falling and the
   rising slope add up to one, so a bin needs one weight: band = rising part of its first interval + (all - rising)
   part of its second.
5. **Logarithm.** log2 in Q10 by leading bit and a table of 32 chords, relative to the floor and never below it. The
   chords are at most 0.00018 below the curve, the rounding adds 0.0005: 0.0005 nat in all.
6. **Projection.** `scale` and the natural logarithm's base, and for MFCC the orthonormal DCT-II, as one Q12 matrix;
   round half up, add the zero point, clamp to int8.

A feature is `scale * (code - zero_point)`: the natural logarithm of the mel power of audio in [-1, 1) (or its DCT).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

SAMPLE_RATE = 16000
WINDOW_BITS = 15
FRACTION_BITS = 6  # kept of the windowed sample
FFT = 512
POINTS = FFT // 2  # of the complex transform
TWIDDLE_BITS = 15
POWER_SHIFT = 12
MEL_BITS = 15
LOG_BITS = 10
LOG_SEGMENTS = 32
PROJECTION_BITS = 12
OUTPUT_SHIFT = LOG_BITS + PROJECTION_BITS
_POWER_OF_ONE = 2.0 ** (2 * (15 + FRACTION_BITS + 1) - POWER_SHIFT + MEL_BITS)  # mel sum where the real power is 1


@dataclass(frozen=True)
class FrontEnd:
    """A preset. Everything is fixed before training: scale and zero point are the network's input quantisation."""

    name: str
    hop: int  # samples from one frame to the next; 160 = 10 ms
    bands: int  # mel bands
    coefficients: int  # features per frame: fewer than `bands` are MFCC, as many are the log-mel bands themselves
    low_hz: float  # where the first triangle starts
    high_hz: float  # where the last triangle ends
    scale: float  # nats per code, exactly representable in float32
    zero_point: int  # the code of 0 nat
    window: int = 480  # samples of a frame, 30 ms
    floor_nats: float = -13.8  # natural logarithm of the mel power's floor, about 1e-6

    def frames(self, samples: int) -> int:
        """Whole frames in `samples` samples; frame f covers samples f * hop up to f * hop + window."""
        return max(0, (samples - self.window) // self.hop + 1)

    @cached_property
    def tables(self) -> Tables:
        return Tables.of(self)

    @cached_property
    def floor_codes(self) -> np.ndarray:
        """int8[coefficients]: the features of digital silence, with which context and masks are filled."""
        return features(self, np.zeros(self.window, np.int16))[0]


@dataclass(frozen=True)
class Tables:
    """The integers of a front end: NumPy computes with them and the C prints them."""

    window: np.ndarray  # int32[window], Q15: periodic Hann; its peak is exactly 32768
    minus_sine: np.ndarray  # int32[384], Q15: -sin(2 pi k / 512), three quarters of the circle
    first_bin: int  # of the first mel interval
    interval_bins: np.ndarray  # int32[bands + 1]: bins between neighbouring centres
    rising: np.ndarray  # int32[sum of interval_bins], Q15: weight of a bin in the band whose centre comes next
    log2: np.ndarray  # int32[33], Q15: log2(1 + i / 32)
    floor: int  # the smallest mel sum that counts
    floor_log: int  # its log2, Q10
    projection: np.ndarray  # int32[coefficients, bands], Q12: codes per unit of log2
    offset: np.ndarray  # int32[coefficients], Q22: zero point, floor and half a code

    @staticmethod
    def of(front_end: FrontEnd) -> Tables:
        k = np.arange(3 * FFT // 4)
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(front_end.window) / front_end.window)
        first_bin, interval_bins, rising = _mel_intervals(front_end)
        log2 = _rounded(np.log2(1 + np.arange(LOG_SEGMENTS + 1) / LOG_SEGMENTS) * 2**15)
        floor = round(_POWER_OF_ONE * math.exp(front_end.floor_nats))
        codes_per_nat = _dct(front_end.coefficients, front_end.bands) / front_end.scale
        floor_codes = front_end.zero_point + codes_per_nat.sum(axis=1) * front_end.floor_nats
        return Tables(
            window=_rounded(hann * 2**WINDOW_BITS),
            minus_sine=_rounded(-np.sin(2 * np.pi * k / FFT) * 2**TWIDDLE_BITS),
            first_bin=first_bin,
            interval_bins=interval_bins,
            rising=rising,
            log2=log2,
            floor=floor,
            floor_log=int(_log2(np.array([floor]), log2)[0]),
            projection=_rounded(codes_per_nat * math.log(2) * 2**PROJECTION_BITS),
            offset=_rounded(floor_codes * 2**OUTPUT_SHIFT) + 2 ** (OUTPUT_SHIFT - 1),
        )


_LSB_LOGMEL = float(np.float32(0.1))

PRESETS = {
    # 49 x 10 per second, the geometry of the MLPerf Tiny keyword model. The zero point puts c0 of the floor at -128
    # (floor: -13.8 * sqrt(40) / 0.5 = -174.6 codes) and leaves +80 codes = 40 nats above zero.
    "mfcc10": FrontEnd("mfcc10", 320, 40, 10, low_hz=20.0, high_hz=4000.0, scale=0.5, zero_point=47),
    # 98 x 40 per second. 255 codes cover the 25.2 nats from the floor (code -128) to a full-scale sine.
    "logmel40": FrontEnd("logmel40", 160, 40, 40, low_hz=20.0, high_hz=7600.0, scale=_LSB_LOGMEL, zero_point=10),
    # 49 x 40: half of the frames, at half of the front end's cost
    "logmel40-20ms": FrontEnd(
        "logmel40-20ms", 320, 40, 40, low_hz=20.0, high_hz=7600.0, scale=_LSB_LOGMEL, zero_point=10
    ),
    # for audio that has nothing above 4 kHz
    "logmel40-4khz": FrontEnd(
        "logmel40-4khz", 320, 40, 40, low_hz=20.0, high_hz=4000.0, scale=_LSB_LOGMEL, zero_point=10
    ),
}


def features(front_end: FrontEnd, audio: np.ndarray) -> np.ndarray:
    """int8[frames, coefficients] of int16 `audio` [n] at 16 kHz; samples past the last whole frame are unused."""
    tables = front_end.tables
    starts = np.arange(front_end.frames(len(audio))) * front_end.hop
    frames = audio[starts[:, None] + np.arange(front_end.window)].astype(np.int64)
    windowed = (frames * tables.window + (1 << (WINDOW_BITS - FRACTION_BITS - 1))) >> (WINDOW_BITS - FRACTION_BITS)
    mel = _mel(_power(*_transform(windowed, tables.minus_sine), tables.minus_sine), tables)
    logs = _log2(np.maximum(mel, tables.floor), tables.log2) - tables.floor_log
    codes = (logs @ tables.projection.T + tables.offset) >> OUTPUT_SHIFT
    return np.clip(codes, -128, 127).astype(np.int8)


def twiddle(k: np.ndarray, minus_sine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The parts of exp(-2 pi i k / 512), Q15, for k below 384; `minus_sine` as in Tables."""
    quarter = FFT // 4
    cosine = np.where(k < quarter, -minus_sine[np.minimum(k + quarter, FFT // 2)], minus_sine[k - quarter])
    return cosine, minus_sine[k]


def _rotate(re: np.ndarray, im: np.ndarray, k: np.ndarray, minus_sine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(re + i im) * exp(-2 pi i k / 512), k below 384; each part rounded half up once."""
    cosine, sine = twiddle(k, minus_sine)
    half = 1 << (TWIDDLE_BITS - 1)
    return (re * cosine - im * sine + half) >> TWIDDLE_BITS, (re * sine + im * cosine + half) >> TWIDDLE_BITS


def _transform(windowed: np.ndarray, minus_sine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 256-point complex transform of (even, odd) samples: int64 parts [frames, 256]."""
    points = np.zeros((len(windowed), FFT), np.int64)
    points[:, : windowed.shape[1]] = windowed
    order = sum(((np.arange(POINTS) >> (2 * digit)) & 3) << (6 - 2 * digit) for digit in range(4))  # digits reversed
    re, im = points[:, 0::2][:, order], points[:, 1::2][:, order]
    span = 1
    while span < POINTS:
        re, im = (part.reshape(len(windowed), POINTS // (4 * span), 4, span) for part in (re, im))
        k = np.arange(4)[:, None] * np.arange(span) * (FFT // (4 * span))
        re, im = _rotate(re, im, k, minus_sine)
        (a, b, c, d), (e, f, g, h) = np.moveaxis(re, 2, 0), np.moveaxis(im, 2, 0)
        re = np.stack([a + c + b + d, a - c + f - h, a + c - b - d, a - c - f + h], axis=2)
        im = np.stack([e + g + f + h, e - g - b + d, e + g - f - h, e - g + b - d], axis=2)
        span *= 4
    return re.reshape(len(windowed), POINTS), im.reshape(len(windowed), POINTS)


def _power(re: np.ndarray, im: np.ndarray, minus_sine: np.ndarray) -> np.ndarray:
    """The shifted power of bins 0 .. 255 of twice the spectrum. Bin 0 is not computed (no band holds it) and is 0."""
    k = np.arange(1, POINTS // 2 + 1)
    mirror = POINTS - k
    even_re, even_im = re[:, k] + re[:, mirror], im[:, k] - im[:, mirror]
    odd_re, odd_im = re[:, k] - re[:, mirror], im[:, k] + im[:, mirror]
    turned_re, turned_im = _rotate(odd_im, -odd_re, k, minus_sine)  # times -i, then the twiddle
    power = np.zeros(re.shape, np.int64)
    power[:, mirror] = ((even_re - turned_re) ** 2 + (even_im - turned_im) ** 2) >> POWER_SHIFT
    power[:, k] = ((even_re + turned_re) ** 2 + (even_im + turned_im) ** 2) >> POWER_SHIFT
    return power


def _mel(power: np.ndarray, tables: Tables) -> np.ndarray:
    """The mel sums [frames, bands], below 2**63."""
    used = power[:, tables.first_bin : tables.first_bin + len(tables.rising)]
    starts = np.cumsum(tables.interval_bins) - tables.interval_bins
    rising = np.add.reduceat(used * tables.rising, starts, axis=1)
    falling = (np.add.reduceat(used, starts, axis=1) << MEL_BITS) - rising
    return rising[:, :-1] + falling[:, 1:]


def _log2(value: np.ndarray, table: np.ndarray) -> np.ndarray:
    """log2 of positive int64 in Q10."""
    exponent = np.zeros(value.shape, np.int64)
    for bits in (32, 16, 8, 4, 2, 1):
        exponent += bits * (value >> (exponent + bits) > 0)
    mantissa = (value.astype(np.uint64) << (63 - exponent).astype(np.uint64) >> np.uint64(32)).astype(np.int64)
    segment, fraction = (mantissa >> 26) & (LOG_SEGMENTS - 1), (mantissa >> 10) & 0xFFFF
    chord = table[segment] + (((table[segment + 1] - table[segment]) * fraction + (1 << 15)) >> 16)
    return (exponent << LOG_BITS) + ((chord + (1 << (14 - LOG_BITS))) >> (15 - LOG_BITS))


def _mel_intervals(front_end: FrontEnd) -> tuple[int, np.ndarray, np.ndarray]:
    """(first bin, bins in each of the bands + 1 intervals between centres, rising Q15 weight of each bin)."""
    low, high = (2595 * math.log10(1 + hz / 700) for hz in (front_end.low_hz, front_end.high_hz))
    edges = 700 * (10 ** (np.linspace(low, high, front_end.bands + 2) / 2595) - 1)
    hz = np.arange(POINTS) * (SAMPLE_RATE / FFT)
    interval = np.searchsorted(edges, hz, side="right") - 1
    (used,) = np.nonzero((interval >= 0) & (interval <= front_end.bands) & (hz > edges[0]))
    index = interval[used]
    rising = (hz[used] - edges[index]) / (edges[index + 1] - edges[index])
    counts = np.bincount(index, minlength=front_end.bands + 1)
    if counts.min() == 0:
        raise ValueError(f"front end '{front_end.name}': mel bands narrower than a bin ({SAMPLE_RATE / FFT} Hz)")
    return int(used[0]), counts.astype(np.int32), _rounded(rising * 2**MEL_BITS)


def _dct(coefficients: int, bands: int) -> np.ndarray:
    """The first rows of the orthonormal DCT-II; the identity where there are as many coefficients as bands."""
    if coefficients == bands:
        return np.eye(bands)
    rows = np.cos(np.pi * np.arange(coefficients)[:, None] * (np.arange(bands) + 0.5) / bands) * math.sqrt(2 / bands)
    rows[0] *= math.sqrt(0.5)
    return rows


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.floor(values + 0.5).astype(np.int32)
