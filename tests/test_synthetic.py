"""The spoken corpus of eSpeak NG: the same every time, no voice on both sides, clear words where it cannot be made."""

import importlib.util
import itertools
import sys
from collections import Counter

import numpy as np
import pytest

from kws import cli
from kws.data import everyday, synthetic, task
from kws.data.corpus import CORE_WORDS, SPLITS
from kws.data.espeak import Espeak
from kws.data.opening import open_corpus
from kws.data.task_options import MIN_CLIPS
from kws.data.vocabulary import WORDS
from mcu_codegen.errors import InputError

installed = importlib.util.find_spec("espeakng_loader") is not None


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    if not installed:
        pytest.skip("espeakng-loader (extra synth) is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KWS_CACHE", str(tmp_path_factory.mktemp("cache")))
        made = open_corpus("synthetic")
        made.load()
        yield made


def test_no_voice_or_variant_is_in_two_splits():
    clips = synthetic.recipe()
    assert len({clip.key for clip in clips}) == len(clips)
    for part in (lambda clip: clip.speaker, lambda clip: clip.speaker.partition("+")[2]):
        heard = [{part(clip) for clip in clips if clip.split == split} for split in SPLITS]
        assert all(heard) and not (heard[0] & heard[1] or heard[0] & heard[2] or heard[1] & heard[2])


@pytest.mark.slow
def test_makes_the_twelve_class_task(corpus):
    made = task.build(corpus, min_clips=MIN_CLIPS)
    assert made.labels == ("_silence_", "_unknown_", *CORE_WORDS)
    counts = np.bincount(made.testing.labels)
    assert counts.min() >= 40 and counts.max() == counts.min()
    assert len(set(made.training.speakers) - {""}) >= 40


@pytest.mark.slow
def test_every_clip_is_audible_and_unlike_the_others(corpus):
    seconds = [corpus.audio(clip) for clip in corpus.clips]
    assert all(len(samples) == 16000 for samples in seconds)
    levels = 20 * np.log10([np.sqrt(np.mean(samples.astype(float) ** 2)) / 32768 for samples in seconds])
    assert levels.min() > -50 and levels.max() < -15
    assert len({samples.tobytes() for samples in seconds}) == len(seconds)
    assert [len(samples) for samples in corpus.noises] == [60 * 16000] * 5


@pytest.fixture(scope="module")
def espeak():
    return Espeak() if installed else pytest.skip("espeakng-loader (extra synth) is not installed")


def test_a_voice_that_is_not_there_is_refused(espeak):
    for speaker in ("xx+f2", "en-us+nobody"):
        with pytest.raises(InputError, match="no voice"):
            espeak.choose(speaker)


def test_a_word_is_never_said_twice_the_same_way(espeak):
    espeak.choose("en-us+f2")
    rng = np.random.default_rng(0)
    takes = [espeak.say("right", seed, rng) for seed in range(6)]
    assert len({take.tobytes() for take in takes}) == 6 and len({len(take) for take in takes}) >= 3
    assert all(0.2 < len(take) / 16000 < 1.0 and abs(np.sqrt(np.mean(take**2)) - 1) < 1e-3 for take in takes)


def test_without_espeak_the_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)  # how Python spells "cannot be imported"
    assert cli.main(["data", "synthetic"]) == 2
    assert "kws-mcu[synth]" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_make_the_same_corpus(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("KWS_CACHE", str(tmp_path))
    again = open_corpus("synthetic")
    assert again.fingerprint == corpus.fingerprint
    assert all(np.array_equal(corpus.audio(clip), again.audio(clip)) for clip in corpus.clips)
    assert all(np.array_equal(a, b) for a, b in zip(corpus.noises, again.noises, strict=True))


def test_everyday_words_are_said_by_many_voices_and_none_is_in_two_splits():
    clips = everyday.recipe()
    assert len({clip.key for clip in clips}) == len(clips)
    takes = Counter((clip.split, clip.word) for clip in clips)
    assert {split: {takes[split, word] for word in WORDS} for split in SPLITS} == {
        "training": {24},
        "validation": {2},
        "testing": {2},
    }
    variants = {split: {clip.speaker.partition("+")[2] for clip in clips if clip.split == split} for split in SPLITS}
    assert all(variants[split] <= set(synthetic.VARIANTS[split]) for split in SPLITS)
    changes = sum(one.speaker != other.speaker for one, other in itertools.pairwise(clips))
    assert changes + 1 == len({(clip.split, clip.speaker) for clip in clips}), "voice after voice"
