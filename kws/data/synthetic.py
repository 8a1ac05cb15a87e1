"""A spoken corpus made by eSpeak NG: a speaker is an English voice with a variant. The recipe is its whole source.

``python -m kws.data.synthetic FOLDER`` makes it. That is a process of its own because eSpeak NG carries state from item
to item: the same order from process start gives the same audio.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mcu_codegen.errors import InputError

from . import audio, espeak, noise
from .corpus import CORE_WORDS, Clip, Corpus

NAME = "synthetic"
_VERSION = "1"  # of the recipe: part of the cache's name

OTHER_WORDS = (
    *("backward", "bed", "bird", "cat", "dog", "eight", "five", "follow", "forward", "four", "happy", "house", "learn"),
    *("marvin", "nine", "one", "seven", "sheila", "six", "three", "tree", "two", "visual", "wow", "zero"),
)
WORDS = (*CORE_WORDS, *OTHER_WORDS)
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
    clips = recipe()
    return opened(NAME, clips, [_VERSION, *map(repr, clips), *espeak.identity()], [__name__])


def opened(name: str, clips: tuple[Clip, ...], parts: Sequence[str], program: Sequence[str]) -> Corpus:
    """The corpus of `clips`, identified by `parts`, that ``python -m PROGRAM... FOLDER`` makes when it is needed."""

    def speak(folder: Path) -> None:
        status = subprocess.run([sys.executable, "-m", *program, str(folder)], check=False).returncode
        if status:
            raise InputError(f"--data {name}: eSpeak NG failed with exit status {status}; its message stands above")

    fingerprint = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return Corpus(name, clips, _NOISES, fingerprint, lambda: audio.Recordings.open(audio.cached(NAME, parts, speak)))


def _background(voices: list[npt.NDArray[np.float32]], rng: np.random.Generator) -> list[audio.Samples]:
    """The recordings of _NOISES; babble is `_BABBLERS` streams of training voices at once."""
    length = _NOISE_SECONDS * audio.RATE
    babble = np.zeros(length, np.float32)
    for _ in range(_BABBLERS):
        stream = np.concatenate([voices[index] for index in rng.integers(len(voices), size=4 * _NOISE_SECONDS)])
        babble += np.resize(stream, length)
    return [*noise.generated(rng, _NOISE_SECONDS), audio.to_int16(noise.normalised(babble) * 10 ** (-35 / 20))]


def _in_a_room(
    word: npt.NDArray[np.float32], noise_behind: npt.NDArray[np.float32], rng: np.random.Generator
) -> audio.Samples:
    """int16[n] with the word near the middle of a noise of n samples, at -40 to -15 dB of full scale and 10 to 40 dB
    above it; a longer word is cut."""
    word = word[: len(noise_behind)]
    spare = len(noise_behind) - len(word)
    start = int(np.clip(spare // 2 + rng.integers(-1600, 1601), 0, spare))
    second = noise.normalised(noise_behind) * np.float32(10 ** (-rng.uniform(10, 40) / 20))
    second[start : start + len(word)] += word
    return audio.to_int16(second * 10 ** (rng.uniform(-40, -15) / 20))


def make(folder: Path, said: Sequence[tuple[Clip, str]], length: int = audio.RATE) -> None:
    """Speak clips of `length` samples, each with its text, into `folder`, as Recordings: all clips, then all noises."""
    voice, rng = espeak.Espeak(), np.random.default_rng(1)
    spoken: list[npt.NDArray[np.float32]] = []
    speaker = ""
    for number, (clip, text) in enumerate(audio.progress(said, "speaking the synthetic corpus", len(said), "clip")):
        if clip.speaker != speaker:
            speaker = clip.speaker
            voice.choose(speaker)
        sound = voice.say(text, number + 1, rng)
        if clip.word != text and len(sound) > length:  # of a sentence, any part
            sound = sound[rng.integers(len(sound) - length) :][:length]
        spoken.append(sound)
    training = [word for word, (clip, _) in zip(spoken, said, strict=True) if clip.split == "training"]
    noises = _background(training, rng)

    def recordings() -> Iterator[audio.Samples]:
        for word in spoken:
            yield _in_a_room(word, noise.crops(noises, 1, length, rng)[0], rng)
        yield from noises

    audio.Recordings.write(folder, recordings())


if __name__ == "__main__":
    make(Path(sys.argv[1]), [(clip, clip.word) for clip in recipe()])
