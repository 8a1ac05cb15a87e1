"""Noise without a recording, and silence: the sound of nobody speaking at any level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .audio import RATE, Samples, to_int16

_SLOPES = {"white": 0.0, "pink": 0.5, "brown": 1.0}  # amplitude falls as frequency ** -slope


def coloured(colour: str, length: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """white, pink or brown noise, float32[length], RMS 1."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    frequency = np.fft.rfftfreq(length, 1 / RATE)
    spectrum *= np.maximum(frequency, 20.0) ** -_SLOPES[colour]
    return normalised(np.fft.irfft(spectrum, length))


def hum(length: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Mains hum: a drifting 50 or 60 Hz with ten harmonics, float32[length], RMS 1."""
    drift = np.cumsum(rng.standard_normal(length)) * 1e-5
    phase = 2 * np.pi * (rng.choice([50.0, 60.0]) * np.arange(length) / RATE + drift)
    harmonics = range(1, 11)
    return normalised(sum(rng.uniform(0.2, 1) / k * np.sin(k * phase + rng.uniform(0, 6)) for k in harmonics))


def normalised(signal: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """The signal at RMS 1."""
    return (signal / np.sqrt(np.mean(signal**2) + 1e-12)).astype(np.float32)


def generated(rng: np.random.Generator, seconds: float = 60.0) -> list[Samples]:
    """White, pink and brown noise and hum, int16[seconds * 16000] each, at -35 dB of full scale (RMS)."""
    length = round(seconds * RATE)
    signals = [coloured(colour, length, rng) for colour in _SLOPES] + [hum(length, rng)]
    return [to_int16(signal * 10 ** (-35 / 20)) for signal in signals]


def crops(noises: Sequence[Samples], count: int, length: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """`count` random pieces of random recordings, float32[count, length] in units of int16; short ones repeat."""
    out = np.empty((count, length), np.float32)
    for row, which in enumerate(rng.integers(len(noises), size=count)):
        recording = noises[which]
        if len(recording) >= length:
            start = rng.integers(len(recording) - length + 1)
            out[row] = recording[start : start + length]
        else:
            out[row] = np.take(recording, np.arange(length) + rng.integers(len(recording)), mode="wrap")
    return out


def silences(noises: Sequence[Samples], count: int, rng: np.random.Generator, length: int = RATE) -> Samples:
    """`count` silence examples, int16[count, length]: noise at -75 to -8 dB of full scale (RMS, uniform in dB).

    One in twenty is digital silence. The range is that wide because a microphone's idea of silence is: the official
    test silences of Speech Commands reach from -88 to -9 dB.
    """
    pieces = crops(noises, count, length, rng)
    rms = np.sqrt(np.mean(pieces**2, axis=1)) + 1e-3
    level = 32768 * 10 ** (rng.uniform(-75, -8, count) / 20)
    level[rng.random(count) < 0.05] = 0
    pieces *= (level / rms)[:, None].astype(np.float32)
    return np.clip(np.rint(pieces), -32768, 32767).astype(np.int16)
