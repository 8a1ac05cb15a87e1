"""eSpeak NG, a speech synthesiser, as the Python package espeakng-loader brings it."""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mcu_codegen.errors import InputError

from . import audio, noise

_RATE = 22050  # of its voices, samples per second


def identity() -> list[str]:
    """What tells the cache which eSpeak NG spoke. Raises InputError where it is not installed."""
    found = importlib.util.find_spec("espeakng_loader")
    if found is None or found.origin is None:
        raise InputError(
            "--data: synthetic speech needs eSpeak NG: pip install 'kws-mcu[synth]', or give a folder of recordings"
        )
    files = (path for path in Path(found.origin).parent.iterdir() if "espeak-ng" in path.name and path.is_file())
    return [f"{path.name}:{path.stat().st_size}" for path in sorted(files)]


class Espeak:
    """eSpeak NG through ctypes: one voice at a time, samples handed to a callback while it speaks."""

    _CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    _SYNCHRONOUS, _UTF8 = 2, 1
    _PHONEMES = 0x100  # text between [[ and ]] is phonemes
    _SPEED, _PITCH, _RANGE = 1, 3, 4  # espeak_PARAMETER

    def __init__(self) -> None:
        import espeakng_loader

        self._pieces: list[npt.NDArray[np.int16]] = []
        self._data = Path(espeakng_loader.get_data_path())
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self._library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
        self._callback = self._CALLBACK(self._take)  # kept: the library calls it for as long as it lives
        rate = self._library.espeak_Initialize(self._SYNCHRONOUS, 0, str(self._data).encode(), 0)
        if rate != _RATE:
            raise InputError(f"eSpeak NG starts with {rate} Hz; {_RATE} Hz is what the recipe expects")

    def _take(self, samples, count: int, events) -> int:
        if samples and count:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def choose(self, speaker: str) -> None:
        """Set the voice. By itself the library keeps the old one for an unknown voice and drops an unknown variant."""
        variant = self._data / "voices" / "!v" / speaker.partition("+")[2]
        if self._library.espeak_SetVoiceByName(speaker.encode()) or not variant.is_file():
            raise InputError(f"eSpeak NG has no voice '{speaker}'")

    def phonemes(self, text: str) -> list[str]:
        """What the voice, which must be chosen before, makes of a text: phonemes in eSpeak's mnemonics, maybe none."""
        translate = self._library.espeak_TextToPhonemes
        translate.restype = ctypes.c_char_p
        rest, found = ctypes.c_char_p(text.encode()), []
        while rest.value:
            found.append(translate(ctypes.byref(rest), self._UTF8, ord("_") << 8).decode())  # "_" between phonemes
        return [each for clause in found for each in clause.replace(" ", "_").split("_") if each.strip("':,")]

    def say(self, text: str, seed: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """A text at a random pace, pitch and liveliness, float32[n] at 16 kHz, RMS 1; in ``[[...]]`` it is phonemes."""
        return self.speak(text, int(rng.integers(115, 200)), int(rng.integers(35, 66)), int(rng.integers(25, 80)), seed)

    def speak(self, text: str, speed: int, pitch: int, liveliness: int, seed: int) -> npt.NDArray[np.float32]:
        """The same at `speed` words a minute; pitch and liveliness are 0 to 100."""
        for parameter, value in ((self._SPEED, speed), (self._PITCH, pitch), (self._RANGE, liveliness)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._pieces.clear()
        self._library.espeak_SetSynthCallback(self._callback)  # of the process, not of this object
        self._library.espeak_ng_SetRandSeed(seed)
        content = text.encode()
        self._library.espeak_Synth(content, len(content) + 1, 0, 0, 0, self._UTF8 | self._PHONEMES, None, None)
        if not self._pieces:
            raise InputError(f"eSpeak NG says nothing for '{text}'")
        return noise.normalised(audio.resample(np.concatenate(self._pieces).astype(np.float32), _RATE))
