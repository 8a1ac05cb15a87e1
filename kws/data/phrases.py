"""What sounds like a phrase: its phonetic neighbours, its parts, other phrases of its rhythm; and plain sentences.

All of them are texts for eSpeak; those in ``[[...]]`` are phonemes in its mnemonics, a stress mark before a vowel.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mcu_codegen.errors import InputError

from .vocabulary import WORDS

Phonemes = Callable[[str], list[str]]
"""The phonemes of a text, `espeak.Espeak.phonemes`."""

# Sounds that are made alike: one takes another's place in a neighbour.
_ALIKE = (
    ("p", "b", "t", "d", "k", "g", "tS", "dZ"),
    ("f", "v", "T", "D", "s", "z", "S", "Z", "h"),
    ("m", "n", "N", "l", "r", "w", "j"),
    ("I", "E", "a", "V", "0", "U", "@"),
    ("i:", "u:", "A:", "O:", "3:", "eI", "aI", "OI", "oU", "aU"),
)
_OTHER_SPELLINGS = {"t#": "t", "i": "i:", "u": "u:", "3": "3:", "aa": "a", "I2": "I", "E2": "E", "O": "0", "A@": "A:"}
_VOWELS = "aeiouAEIOUV03@"  # first letters of vowels in eSpeak's mnemonics


def check(phrase: str, phonemes: Phonemes) -> None:
    """Raises InputError where eSpeak's English voices would not say `phrase` as it is written."""
    odd = [each for each in phrase if not (each.isascii() and (each.isdigit() or each in " '-")) and not _latin(each)]
    if odd or not any(map(is_vowel, phonemes(phrase))):
        found = f"{odd[0]!r} in it" if odd else "nothing to say in it"
        raise InputError(f"--words '{phrase}': {found}; words of Latin letters, digits, ' and - are accepted")


def _latin(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith("LATIN ")


def is_vowel(phoneme: str) -> bool:
    return phoneme.lstrip("',")[:1] in _VOWELS


def neighbours(sounds: Sequence[str], rng: np.random.Generator) -> Iterator[str]:
    """Without end: a quarter of the phonemes, two at least, are other ones of their kind."""
    places = [place for place, sound in enumerate(sounds) if _alike(sound)]
    while places:
        changed = list(sounds)
        for place in rng.choice(places, min(len(places), max(2, round(len(sounds) / 4))), replace=False):
            others = _alike(sounds[place])
            stress = sounds[place][: len(sounds[place]) - len(sounds[place].lstrip("',"))]
            changed[place] = stress + others[int(rng.integers(len(others)))]
        yield spelled(changed)


def _alike(sound: str) -> list[str]:
    plain = sound.lstrip("',")
    plain = _OTHER_SPELLINGS.get(plain, plain)
    return [other for kind in _ALIKE if plain in kind for other in kind if other != plain]


def parts(sounds: Sequence[str]) -> list[str]:
    """Every beginning and every end of a phrase, cut before the consonant of a syllable; none of one syllable."""
    vowels = [place for place, sound in enumerate(sounds) if is_vowel(sound)]
    cuts = [place - (not is_vowel(sounds[place - 1])) for place in vowels[1:]]
    return [spelled(part) for cut in cuts for part in (sounds[:cut], sounds[cut:])]


def spelled(sounds: Sequence[str]) -> str:
    """Phonemes as a text."""
    return f"[[{'|'.join(sounds)}]]"  # a bar keeps two mnemonics from being read as one


def rhythms(phrase: str, phonemes: Phonemes, rng: np.random.Generator) -> Iterator[str]:
    """Without end: every word but at most one is another word of as many syllables."""
    words = phrase.split()
    sizes = {word: sum(map(is_vowel, phonemes(word))) for word in {*words, *WORDS}}
    while True:
        kept = int(rng.integers(len(words))) if len(words) > 1 and rng.random() < 0.5 else -1
        chosen = []
        for place, word in enumerate(words):
            fitting = [other for other in WORDS if sizes[other] == sizes[word] and other != word] or list(WORDS)
            chosen.append(word if place == kept else fitting[int(rng.integers(len(fitting)))])
        yield " ".join(chosen)


def sentences(phrases: Sequence[str], rng: np.random.Generator) -> Iterator[str]:
    """Without end: one to five words, in which none of `phrases` is said."""
    while True:
        sentence = " ".join(WORDS[place] for place in rng.integers(len(WORDS), size=rng.integers(1, 6)))
        if not any(f" {phrase} " in f" {sentence} " for phrase in phrases):
            yield sentence
