"""A spoken corpus made by eSpeak NG: a speaker is an English voice with a variant. The recipe is its whole source.

``python -m kws.data.synthetic FOLDER`` makes it. That is a process of its own because eSpeak NG carries state from item
to item: the same order from process start gives the same audio.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mcu_codegen.errors import InputError

from . import audio, noise
from .corpus import CORE_WORDS, Clip, Corpus

NAME = "synthetic"
_VERSION = "1"  # of the recipe: part of the cache's name
_RATE = 22050  # of eSpeak NG's voices, samples per second

OTHER_WORDS = (
    *("backward", "bed", "bird", "cat", "dog", "eight", "five", "follow", "forward", "four", "happy", "house", "learn"),
    *("marvin", "nine", "one", "seven", "sheila", "six", "three", "tree", "two", "visual", "wow", "zero"),
)
VOICES = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-us-nyc", "en-029")
# Variants that differ in little (edward, edward2) are never on both sides of a split.
VARIANTS = {
    "training": (
        *(
            "Alex",
            "Alicia",
            "Andy",
            "Denis",
            "Diogo",
            "Gene",
            "Henrique",
            "Jacky",
            "Marco",
            "Mike",
            "Mr serious",
            "Nguyen",
        ),
        *(
            "Storm",
            "Tweaky",
            "RicishayMax",
            "anika",
            "announcer",
            "antonio",
            "aunty",
            "benjamin",
            "caleb",
            "croak",
            "ed",
        ),
        *("edward", "f1", "f3", "f5", "fast", "grandma", "grandpa", "gustave", "ian", "iven", "john", "kaukovalta"),
        *("klatt", "klatt3", "klatt4", "klatt6", "m1", "m2", "m4", "m7", "m8", "marcelo", "max", "michel", "miguel"),
        *("mike2", "pablo", "paul", "quincy", "rob", "robert", "shelby", "travis", "victor", "zac"),
    ),
    "validation": ("Andrea", "Hugo", "Lee", "Reed", "adam", "belinda", "f4", "m5", "norbert", "pedro"),
    "testing": (
        "Annie",
        "Mario",
        "Michael",
        "boris",
        "david",
        "f2",
        "linda",
        "m3",
        "m6",
        "sandro",
        "steph",
        "AnxiousAndy",
    ),
}
# How often each speaker says a core word, and another word.
TAKES = {"training": (4, 1), "validation": (2, 1), "testing": (4, 1)}
_NOISES = ("white", "pink", "brown", "hum", "babble")
_NOISE_SECONDS = 60
_BABBLERS = 8


def recipe() -> tuple[Clip, ...]:
    """Every clip there is, in the order in which they are spoken."""
    clips = []
    for split, variants in VARIANTS.items():
        for number, variant in enumerate(variants):
            speaker = f"{VOICES[number % len(VOICES)]}+{variant}"
            for words, takes in zip((CORE_WORDS, OTHER_WORDS), TAKES[split], strict=True):
                clips += [
                    Clip(f"{word}/{speaker}_{take}.wav", word, speaker, split)
                    for word in words
                    for take in range(takes)
                ]
    return tuple(clips)


def open_synthetic() -> Corpus:
    """The corpus; made when its audio is first asked for. Raises InputError where eSpeak NG is not installed."""
    found = importlib.util.find_spec("espeakng_loader")
    if found is None or found.origin is None:
        raise InputError(f"--data {NAME} needs eSpeak NG: pip install 'kws-mcu[synth]', or give a folder of recordings")
    clips = recipe()
    library = sorted(
        path for path in Path(found.origin).parent.iterdir() if "espeak-ng" in path.name and path.is_file()
    )
    parts = [_VERSION, *map(repr, clips), *(f"{path.name}:{path.stat().st_size}" for path in library)]

    def speak(folder: Path) -> None:
        status = subprocess.run([sys.executable, "-m", __name__, str(folder)], check=False).returncode
        if status:
            raise InputError(f"--data {NAME}: eSpeak NG failed with exit status {status}; its message stands above")

    fingerprint = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return Corpus(NAME, clips, _NOISES, fingerprint, lambda: audio.Recordings.open(audio.cached(NAME, parts, speak)))


class _Espeak:
    """eSpeak NG through ctypes: one voice at a time, samples handed to a callback while it speaks."""

    _CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    _SYNCHRONOUS, _UTF8 = 2, 1
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
        self._library.espeak_SetSynthCallback(self._callback)

    def _take(self, samples, count: int, events) -> int:
        if samples and count:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def choose(self, speaker: str) -> None:
        """Set the voice. By itself the library keeps the old one for an unknown voice and drops an unknown variant."""
        variant = self._data / "voices" / "!v" / speaker.partition("+")[2]
        if self._library.espeak_SetVoiceByName(speaker.encode()) or not variant.is_file():
            raise InputError(f"eSpeak NG has no voice '{speaker}'")

    def say(self, word: str, seed: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """One word at a random pace (words a minute), pitch and liveliness (0..100), float32[n] at 16 kHz, RMS 1."""
        for parameter, value in (
            (self._SPEED, rng.integers(115, 200)),
            (self._PITCH, rng.integers(35, 66)),
            (self._RANGE, rng.integers(25, 80)),
        ):
            self._library.espeak_SetParameter(parameter, int(value), 0)
        self._pieces.clear()
        self._library.espeak_ng_SetRandSeed(seed)
        text = word.encode()
        self._library.espeak_Synth(text, len(text) + 1, 0, 0, 0, self._UTF8, None, None)
        if not self._pieces:
            raise InputError(f"eSpeak NG says nothing for '{word}'")
        return noise.normalised(audio.resample(np.concatenate(self._pieces).astype(np.float32), _RATE))


def _background(voices: list[npt.NDArray[np.float32]], rng: np.random.Generator) -> list[audio.Samples]:
    """The recordings of _NOISES; babble is `_BABBLERS` streams of training voices at once."""
    length = _NOISE_SECONDS * audio.RATE
    babble = np.zeros(length, np.float32)
    for _ in range(_BABBLERS):
        stream = np.concatenate([voices[index] for index in rng.integers(len(voices), size=4 * _NOISE_SECONDS)])
        babble += np.resize(stream, length)
    return [*noise.generated(rng, _NOISE_SECONDS), audio.to_int16(noise.normalised(babble) * 10 ** (-35 / 20))]


def _in_a_room(
    word: npt.NDArray[np.float32], background: npt.NDArray[np.float32], rng: np.random.Generator
) -> audio.Samples:
    """int16[16000] with the word near its middle, at -40 to -15 dB of full scale and 10 to 40 dB above noise."""
    word = word[: audio.RATE]
    spare = audio.RATE - len(word)
    start = int(np.clip(spare // 2 + rng.integers(-1600, 1601), 0, spare))
    second = noise.normalised(background) * np.float32(10 ** (-rng.uniform(10, 40) / 20))
    second[start : start + len(word)] += word
    return audio.to_int16(second * 10 ** (rng.uniform(-40, -15) / 20))


def make(folder: Path) -> None:
    """Speak the whole recipe into `folder`, as Recordings: every clip, then every noise."""
    espeak, rng, clips = _Espeak(), np.random.default_rng(1), recipe()
    spoken: list[npt.NDArray[np.float32]] = []
    speaker = ""
    for number, clip in enumerate(audio.progress(clips, "speaking the synthetic corpus", len(clips), "clip")):
        if clip.speaker != speaker:
            speaker = clip.speaker
            espeak.choose(speaker)
        spoken.append(espeak.say(clip.word, number + 1, rng))
    noises = _background([word for word, clip in zip(spoken, clips, strict=True) if clip.split == "training"], rng)

    def recordings() -> Iterator[audio.Samples]:
        for word in spoken:
            yield _in_a_room(word, noise.crops(noises, 1, audio.RATE, rng)[0], rng)
        yield from noises

    audio.Recordings.write(folder, recordings())


if __name__ == "__main__":
    try:
        make(Path(sys.argv[1]))
    except InputError as error:
        sys.exit(str(error))
