"""Any phrase as a corpus, from its spelling: said by many voices, beside what sounds like it and plain sentences.

``python -m kws.data.spoken LENGTH VOICES PHRASE... FOLDER`` makes it, in a process of its own as `synthetic` does.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mcu_codegen.errors import InputError

from . import audio, espeak, phrases, synthetic
from .corpus import Clip, Corpus

VOICES = 200  # of the training clips; a fifth as many validate, and as many test
_VERSION = "1"  # of the recipe: part of the cache's name
_SLOWEST = 115  # words a minute, as in `espeak.Espeak.say`
NEIGHBOURS, PARTS, RHYTHM, SENTENCES = "_neighbours_", "_parts_", "_rhythm_", "_sentences_"  # words of the corpus
PHRASE = "phrase"
# How often each voice says each phrase, texts that sound like it, and sentences.
_TAKES = {
    "training": {PHRASE: 8, NEIGHBOURS: 6, PARTS: 4, RHYTHM: 6, SENTENCES: 12},
    "validation": {PHRASE: 5, NEIGHBOURS: 6, PARTS: 2, RHYTHM: 6, SENTENCES: 20},
    "testing": {PHRASE: 5, NEIGHBOURS: 6, PARTS: 2, RHYTHM: 6, SENTENCES: 20},
}


def speakers(split: str, voices: int) -> list[str]:
    """Voices of a split, each an accent with a variant; no variant is in two splits."""
    variants, accents = synthetic.VARIANTS[split], synthetic.VOICES
    numbers = range(voices if split == "training" else math.ceil(voices / 5))
    return [f"{accents[(n + n // len(variants)) % len(accents)]}+{variants[n % len(variants)]}" for n in numbers]


def recipe(words: Sequence[str], voices: int) -> list[tuple[Clip, str]]:
    """Every clip there is and its text, in the order in which they are spoken.

    Clips that are none of `words` have their kind for a word, so that training draws kinds as often as words.
    """
    voice = espeak.Espeak()
    voice.choose(speakers("training", voices)[0])
    rng = np.random.default_rng(1)
    sounds = [voice.phonemes(phrase) for phrase in words]
    barred = {*words, *map(phrases.spelled, sounds)}
    sources = [
        {
            NEIGHBOURS: phrases.neighbours(each, rng),
            PARTS: itertools.cycle([part for part in phrases.parts(each) if part not in barred]),
            RHYTHM: phrases.rhythms(phrase, voice.phonemes, rng),
        }
        for phrase, each in zip(words, sounds, strict=True)
    ]
    said: list[tuple[Clip, str]] = []

    def add(word: str, texts: Iterable[str], speaker: str, split: str, takes: int) -> None:
        fitting = (text for text in texts if text == word or text not in barred)
        for text in itertools.islice(fitting, takes):
            said.append((Clip(f"{word.replace(' ', '_')}/{speaker}_{len(said)}.wav", word, speaker, split), text))

    plain = phrases.sentences(words, rng)
    for split, takes in _TAKES.items():
        for speaker in speakers(split, voices):
            for phrase, like in zip(words, sources, strict=True):
                add(phrase, itertools.repeat(phrase), speaker, split, takes[PHRASE])
                for kind, texts in like.items():
                    add(kind, texts, speaker, split, takes[kind])
            add(SENTENCES, plain, speaker, split, takes[SENTENCES])
    return said


def open_spoken(words: Sequence[str], length: int, voices: int = VOICES) -> Corpus:
    """The corpus of `words` in clips of `length` samples; made when its audio is first asked for.

    Raises InputError where eSpeak NG is not installed, would not say a phrase as it is written, or needs longer for it.
    """
    library = espeak.identity()
    most = 5 * len(synthetic.VARIANTS["validation"]) * len(synthetic.VOICES)
    if not 1 <= voices <= most:
        raise InputError(f"--voices {voices}: 1 to {most} are accepted")
    voice = espeak.Espeak()
    for phrase in words:
        voice.choose(speakers("training", 1)[0])
        phrases.check(phrase, voice.phonemes)
        longest = _longest(voice, phrase)
        if longest > length / audio.RATE:
            raise InputError(
                f"--words '{phrase}': takes up to {longest:.2f} s, a window has {length / audio.RATE:g} s;"
                f" --window {math.ceil(10 * longest) / 10:g} is enough"
            )
    said = recipe(words, voices)
    clips = tuple(clip for clip, _ in said)
    parts = [_VERSION, str(length), *(f"{clip} {text}" for clip, text in said), *library]
    program = [__name__, str(length), str(voices), *words]
    return synthetic.opened(f"{synthetic.NAME} ({', '.join(words)})", clips, parts, program)


def _longest(voice: espeak.Espeak, phrase: str) -> float:
    """Seconds that the slowest accent takes."""
    seconds = []
    for accent in synthetic.VOICES:
        voice.choose(f"{accent}+{synthetic.VARIANTS['training'][0]}")
        sound = np.abs(voice.speak(phrase, _SLOWEST, 50, 50, seed=1)) > 0.05  # of its RMS
        seconds.append(np.ptp(np.flatnonzero(sound)) / audio.RATE)
    return float(max(seconds))


if __name__ == "__main__":
    _, samples, number, *texts, folder = sys.argv
    synthetic.make(Path(folder), recipe(texts, int(number)), int(samples))
