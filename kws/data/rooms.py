"""Rooms as impulse responses: recorded ones, or such as noise that dies away makes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from .audio import RATE, Samples

Room = npt.NDArray[np.float32]  # starts with the direct sound, energy 1
_LONGEST = 3 * RATE // 2  # samples of a response that are used
_GENERATED = 8


def recorded(responses: Iterable[Samples]) -> list[Room]:
    """From recorded impulse responses, cut so that the loudest sample, the direct sound, is the first."""
    return [_normalised(each[int(np.abs(each.astype(np.int32)).argmax()) :]) for each in responses]


def generated(rng: np.random.Generator) -> list[Room]:
    """Direct sound, then noise that falls by 60 dB in 0.2 to 0.8 s and starts 6 to 20 dB below it in energy."""
    rooms = []
    for reverberation in rng.uniform(0.2, 0.8, _GENERATED):
        seconds = np.arange(round(reverberation * RATE)) / RATE
        tail = rng.standard_normal(len(seconds)) * 10 ** (-3 * seconds / reverberation)
        tail *= 10 ** (-rng.uniform(6, 20) / 20) / np.sqrt(np.sum(tail**2))
        tail[0] = 1.0
        rooms.append(_normalised(tail))
    return rooms


def heard_in(room: Room, signal: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """float32[n] as it sounds in `room`, float32[n + len(room) - 1]."""
    length = len(signal) + len(room) - 1
    size = 1 << (length - 1).bit_length()
    return np.fft.irfft(np.fft.rfft(signal, size) * np.fft.rfft(room, size), size)[:length].astype(np.float32)


def _normalised(response: npt.NDArray[np.generic]) -> Room:
    used = response[:_LONGEST].astype(np.float32)
    return used / np.float32(np.sqrt(np.sum(used**2)) + 1e-9)
