"""A corpus as everything else sees it: clips with a word, a speaker and a split, and their audio."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from .audio import Recordings, Samples

SPLITS = ("training", "validation", "testing")
SILENCE, UNKNOWN = "_silence_", "_unknown_"
CORE_WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")  # of the 12-class benchmark
NOISE_FOLDER = "_background_noise_"


@dataclass(frozen=True)
class Clip:
    """One recording. `official_test` is its class in an official test set, empty where it is in none."""

    key: str
    word: str
    speaker: str
    split: str
    official_test: str = ""


class Corpus:
    """`clips` and their audio; `fingerprint` changes whenever a clip, its split or its audio does."""

    def __init__(
        self,
        name: str,
        clips: tuple[Clip, ...],
        noise_names: tuple[str, ...],
        fingerprint: str,
        decode: Callable[[], Recordings | Sequence[Samples]],
    ) -> None:
        """`decode` gives the recordings of all clips, then those of all noises; it is called when first needed."""
        self.name, self.clips, self.noise_names, self.fingerprint = name, clips, noise_names, fingerprint
        self._decode = decode
        self._index = {clip.key: index for index, clip in enumerate(clips)}

    @cached_property
    def _recordings(self) -> Recordings | Sequence[Samples]:
        return self._decode()

    def load(self) -> None:
        """Have all audio decoded now rather than when the first clip is asked for."""
        _ = self._recordings

    def audio(self, clip: Clip) -> Samples:
        """int16[n] at 16 kHz, n >= 1."""
        return self._recordings[self._index[clip.key]]

    @cached_property
    def noises(self) -> list[Samples]:
        """The background-noise recordings, int16[n] at 16 kHz each; may be empty."""
        return [self._recordings[len(self.clips) + index] for index in range(len(self.noise_names))]

    def split_anew(self, splits: Mapping[str, str]) -> Corpus:
        """The same clips, in the split that `splits` names for their speaker: for folds."""
        clips = tuple(replace(clip, split=splits[clip.speaker]) for clip in self.clips)
        fingerprint = f"{self.fingerprint} {sorted(splits.items())}"
        return Corpus(self.name, clips, self.noise_names, fingerprint, self._decode)

    @property
    def words(self) -> list[str]:
        """Every word that is spoken in it, sorted."""
        return sorted({clip.word for clip in self.clips} - {SILENCE})
