"""What training does to clips so that the network does not learn the recordings: int16 waveforms, int8 features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mcu_codegen.errors import InputError

from . import noise
from .audio import RATE, Samples, extent
from .corpus import SILENCE
from .rooms import Room, heard_in
from .task import fitted

Features = npt.NDArray[np.int8]
_SPEED_STEP = 400  # samples: clip lengths that a Fourier transform is quick at
TOGETHER = 4  # clips in speech that goes on


@dataclass(frozen=True)
class Waveform:
    """Speed, time shift, background noise and gain, each drawn anew for every clip.

    Ranges are (lowest, highest), drawn uniformly. Speed changes the pitch with it. SNR is over the whole second, so
    that noise is as loud beside a quiet clip as beside a loud one; a clip of zeros stays silent.
    """

    noises: Sequence[Samples]
    shift_ms: float = 100.0  # up to this much, either way
    speed: tuple[float, float] = (0.9, 1.1)  # 1: as recorded
    gain_db: tuple[float, float] = (-10.0, 6.0)
    snr_db: tuple[float, float] = (0.0, 30.0)
    noise_share: float = 0.7  # of the clips that get noise
    rooms: Sequence[Room] = ()
    room_share: float = 0.0  # of the clips that are heard in one of them

    def __call__(self, audio: Samples, rng: np.random.Generator) -> Samples:
        """int16[B, n] to int16[B, n], n even."""
        count, length = audio.shape
        signal = self._moved(audio.astype(np.float32), rng)
        for row in np.flatnonzero(rng.random(count) < self.room_share) if self.rooms else ():
            signal[row] = heard_in(self.rooms[int(rng.integers(len(self.rooms)))], signal[row])[:length]
        noisy = np.flatnonzero(rng.random(count) < self.noise_share)
        if len(noisy):
            background = noise.crops(self.noises, len(noisy), length, rng)
            wanted = _rms(signal[noisy]) * 10 ** (-rng.uniform(*self.snr_db, (len(noisy), 1)) / 20)
            signal[noisy] += background * (wanted / (_rms(background) + 1e-3)).astype(np.float32)
        signal *= (10 ** (rng.uniform(*self.gain_db, (count, 1)) / 20)).astype(np.float32)
        return np.clip(np.rint(signal), -32768, 32767).astype(np.int16)

    def _moved(self, signal: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """Resampled about the middle by the change of speed, then shifted; zeros come in from outside."""
        count, length = signal.shape
        lengths = length / rng.uniform(*self.speed, count)
        lengths = np.rint(lengths / _SPEED_STEP).astype(int) * _SPEED_STEP
        limit = round(self.shift_ms * RATE / 1000)
        starts = (length - lengths) // 2 + rng.integers(-limit, limit + 1, count)
        out = np.zeros_like(signal)
        for new_length in np.unique(lengths):
            rows = np.flatnonzero(lengths == new_length)
            spectrum = np.fft.rfft(signal[rows])[:, : new_length // 2 + 1]
            stretched = np.fft.irfft(spectrum, new_length) * np.float32(new_length / length)
            for row, samples in zip(rows, stretched, strict=True):
                first, last = max(0, starts[row]), min(length, starts[row] + new_length)
                out[row, first:last] = samples[first - starts[row] : last - starts[row]]
        return out


def _rms(signal: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Of every row, [B, 1]."""
    return np.sqrt(np.mean(signal**2, axis=1, keepdims=True))


def spec_augment(
    features: Features,
    floor_codes: Features,
    rng: np.random.Generator,
    time_masks: int = 2,
    time_width: int = 10,
    band_masks: int = 2,
    band_width: int = 2,
) -> Features:
    """A copy of int8[B, frames, coefficients] with stretches of frames and of coefficients silenced (SpecAugment).

    Silenced means the front end's own code for silence, int8[coefficients], not zero, which is a sound. Every mask is
    0 to `time_width` frames, or 0 to `band_width` coefficients, wide.
    """
    count, frames, coefficients = features.shape
    in_time = _masks(count, time_masks, time_width, frames, rng)
    in_band = _masks(count, band_masks, band_width, coefficients, rng)
    return np.where(in_time[:, :, None] | in_band[:, None, :], floor_codes, features)


def _masks(count: int, masks: int, width: int, length: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """bool[count, length]: true within any of `masks` random stretches of 0..width places."""
    widths = rng.integers(0, min(width, length) + 1, (count, masks, 1))
    starts = rng.integers(0, length - widths + 1)
    place = np.arange(length)
    return np.any((place >= starts) & (place < starts + widths), axis=1)


def running_speech(clips: Samples, length: int, rng: np.random.Generator) -> Samples:
    """Speech that goes on beyond a window, int16[count, length], from int16[TOGETHER * count, n]: clips one after the
    other, without their pauses, and a stretch anywhere in them. Speech that is too short stands between zeros."""
    count = len(clips) // TOGETHER
    out = np.empty((count, length), np.int16)
    for row, group in zip(out, clips[rng.permutation(len(clips))].reshape(count, TOGETHER, -1), strict=True):
        speech = np.concatenate([clip[slice(*extent(clip))] for clip in group])
        start = int(rng.integers(abs(len(speech) - length) + 1))
        row[:] = np.pad(speech, max(0, length - len(speech)))[start : start + length]
    return out


def synthetic_unknown(
    audio: Samples,
    words: npt.NDArray[np.str_],
    count: int,
    rng: np.random.Generator,
    reversed_share: float = 0.25,
    fade_ms: float = 20.0,
) -> Samples:
    """Words that nobody says, int16[count, length], from clips int16[N, length] of known `words`.

    The first half of one clip is joined to the second half of another one, of another word, cut where half of the
    energy has passed and cross-faded; a `reversed_share` of them are clips played backwards instead. Silence is never
    a source. Pairs that may sound like one of their words (same first or last letter: no + go) and words that are
    another one backwards (no, on) are left alone. Raises InputError where no two words can be joined.
    """
    known, which, held = np.unique(words, return_inverse=True, return_counts=True)
    usable = known != SILENCE
    joinable = np.array([[a[0] != b[0] and a[-1] != b[-1] for b in known] for a in known]) & usable & usable[:, None]
    turnable = np.array([word[::-1] not in known for word in known]) & usable
    if not (reversed_share == 1 or joinable.any()) or not turnable.any():
        raise InputError(f"synthetic unknown words need two words that start and end differently; there are {known}")
    weight = held[which] ** -0.5  # rare words more often than their clips are, yet not as often as frequent ones

    def draw(allowed: npt.NDArray[np.bool_], number: int) -> npt.NDArray[np.int64]:
        chances = weight * allowed[which]
        return rng.choice(len(words), number, p=chances / chances.sum()) if number else np.zeros(0, np.int64)

    backwards = round(count * reversed_share)
    out = np.empty((count, audio.shape[1]), np.int16)
    out[:backwards] = audio[draw(turnable, backwards), ::-1]
    firsts = draw(joinable.any(axis=1), count - backwards)
    seconds = np.empty_like(firsts)
    for word in np.unique(which[firsts]):
        places = which[firsts] == word
        seconds[places] = draw(joinable[word], int(places.sum()))
    fade = round(fade_ms * RATE / 1000)
    for row, first, second in zip(out[backwards:], firsts, seconds, strict=True):
        row[:] = _joined(audio[first].astype(np.float32), audio[second].astype(np.float32), fade, rng)
    return out[rng.permutation(count)]


def _joined(
    first: npt.NDArray[np.float32], second: npt.NDArray[np.float32], fade: int, rng: np.random.Generator
) -> Samples:
    """The beginning of `first` and the end of `second`, at the level of `first`, cross-faded over `fade` samples."""
    cuts, energies = [], []
    for signal in (first, second):
        passed = np.cumsum(signal**2)
        cut = int(np.searchsorted(passed, rng.uniform(0.4, 0.6) * passed[-1]))
        cuts.append(min(max(cut, fade), len(signal) - fade))
        energies.append(passed[-1] + 1.0)
    second = second * np.sqrt(energies[0] / energies[1])
    rise = np.linspace(0, 1, fade, dtype=np.float32)
    middle = first[cuts[0] - fade : cuts[0]] * rise[::-1] + second[cuts[1] : cuts[1] + fade] * rise
    whole = np.concatenate([first[: cuts[0] - fade], middle, second[cuts[1] + fade :]])
    return fitted(np.clip(np.rint(whole), -32768, 32767).astype(np.int16), len(first))
