"""A phrase from its spelling: what sounds like it, the corpus that many voices make of it, and windows that hold it."""

from __future__ import annotations

import importlib.util
import itertools

import numpy as np
import pytest
from test_data import rows_for, write_corpus

from kws import cli
from kws.data import espeak, phrases, spoken, synthetic, task
from kws.data.corpus import SPLITS
from kws.data.opening import open_corpora, open_corpus
from kws.features import Window
from kws.training import checkpoint
from kws.training.inference import window_of
from mcu_codegen.errors import InputError
from mcu_codegen.formats import tflite

if importlib.util.find_spec("espeakng_loader") is None:
    pytest.skip("espeakng-loader (extra synth) is not installed", allow_module_level=True)

LUMEN = ["h", "'eI", "l", "'u:", "m", "E", "n"]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("KWS_CACHE", str(tmp_path_factory.getbasetemp() / "spoken"))  # made once for all tests here


@pytest.fixture(scope="module")
def voice():
    made = espeak.Espeak()
    made.choose("en-us+f2")
    made.speak("yes", 150, 50, 50, seed=1)  # from then on it reads back what is to be said as phonemes
    return made


# --- phrases ---------------------------------------------------------------------------------------------------------


def test_the_phonemes_of_a_phrase(voice):
    assert voice.phonemes("hey lumen") == LUMEN
    assert voice.phonemes("   ") == []


def test_a_neighbour_differs_in_two_sounds_of_the_same_kind(voice):
    texts = list(itertools.islice(phrases.neighbours(LUMEN, np.random.default_rng(0)), 50))
    assert len(set(texts)) > 40
    for text in texts:
        sounds = voice.phonemes(text)  # eSpeak reads back what it is to say
        changed = [(old, new) for old, new in zip(LUMEN, sounds, strict=True) if old != new]
        assert len(changed) == 2, text
        assert all(phrases.is_vowel(old) == phrases.is_vowel(new) for old, new in changed)
        assert all(old.startswith("'") == new.startswith("'") for old, new in changed)


def test_parts_are_beginnings_and_ends_cut_between_syllables(voice):
    assert phrases.parts(LUMEN) == ["[[h|'eI]]", "[[l|'u:|m|E|n]]", "[[h|'eI|l|'u:]]", "[[m|E|n]]"]
    assert phrases.parts(voice.phonemes("yes")) == []


def test_other_phrases_of_the_same_rhythm(voice):
    def syllables(text):
        return [sum(map(phrases.is_vowel, voice.phonemes(word))) for word in text.split()]

    texts = list(itertools.islice(phrases.rhythms("hey lumen", voice.phonemes, np.random.default_rng(0)), 40))
    assert all(syllables(text) == [1, 2] for text in texts) and "hey lumen" not in texts
    kept = sum("hey" in text.split() or "lumen" in text.split() for text in texts)
    assert 10 < kept < 30


def test_sentences_leave_the_phrase_out():
    texts = list(itertools.islice(phrases.sentences(["good"], np.random.default_rng(0)), 2000))
    assert all("good" not in text.split() for text in texts)
    assert {len(text.split()) for text in texts} == {1, 2, 3, 4, 5} and len(set(texts)) > 1500


@pytest.mark.parametrize(
    ("phrase", "message"),
    [
        ("hey ☃", "'☃' in it"),
        ("你好", "'你' in it"),
        ("", "nothing to say"),
        ("- '", "nothing to say"),
        ("a.b", "'.' in it"),
    ],
)
def test_what_cannot_be_spoken(phrase, message, voice):
    with pytest.raises(InputError, match=message):
        phrases.check(phrase, voice.phonemes)
    for fine in ("hey lumen", "naïve", "r2 d2", "what's up"):
        phrases.check(fine, voice.phonemes)


# --- the corpus ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus():
    return spoken.open_spoken(["hey lumen"], 19200, voices=5)


def test_a_phrase_becomes_a_task(corpus):
    assert all(len(corpus.audio(clip)) == 19200 for clip in corpus.clips)
    assert len({corpus.audio(clip).tobytes() for clip in corpus.clips}) == len(corpus.clips)
    made = task.build(corpus, ["hey lumen"], length=19200)
    assert made.labels == ("_silence_", "_unknown_", "hey lumen") and made.length == 19200
    assert np.bincount(made.training.labels).tolist() == [40, 5 * (6 + 4 + 6 + 12), 40]
    assert set(made.training.words) == {
        "_silence_", "hey lumen", spoken.NEIGHBOURS, spoken.PARTS, spoken.RHYTHM, spoken.SENTENCES
    }  # fmt: skip


def test_no_voice_is_in_two_splits():
    for voices in (5, 200, 400):
        heard = [set(spoken.speakers(split, voices)) for split in SPLITS]
        assert [len(each) for each in heard] == [voices, voices // 5, voices // 5]
        variants = [{speaker.partition("+")[2] for speaker in each} for each in heard]
        assert not (variants[0] & variants[1] or variants[0] & variants[2] or variants[1] & variants[2])


def test_another_process_speaks_the_same(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("KWS_CACHE", str(tmp_path))
    again = spoken.open_spoken(["hey lumen"], 19200, voices=5)
    assert again.fingerprint == corpus.fingerprint
    assert all(np.array_equal(corpus.audio(clip), again.audio(clip)) for clip in corpus.clips[::7])


def test_of_two_phrases_neither_is_a_near_miss_of_the_other():
    said = spoken.recipe(["hey", "hey lumen"], 5)
    assert not any(text == "[[h|'eI]]" for _, text in said)
    assert {clip.word for clip, text in said if text in ("hey", "hey lumen")} == {"hey", "hey lumen"}
    assert spoken.PARTS not in {clip.word for clip, _ in spoken.recipe(["hey you", "hey", "you"], 5)}


def test_synthetic_words_that_are_always_there_stay_what_they_were():
    assert open_corpus("synthetic", ["yes", "tree"]).fingerprint == synthetic.open_synthetic().fingerprint


def test_a_phrase_longer_than_its_window():
    with pytest.raises(
        InputError, match=r"--words 'okay garden lights': takes up to 1\.81 s, a window has 1 s; --window 1\.9"
    ):
        open_corpus("synthetic", ["okay garden lights"])
    open_corpus("synthetic", ["okay garden lights"], 30400)


# --- mixing ----------------------------------------------------------------------------------------------------------


def test_corpora_are_mixed(tmp_path, corpus):
    root = write_corpus(tmp_path / "mine", rows_for({"yes": 2, "hey lumen": 3}))
    recorded = open_corpus(root)
    mixed = open_corpora([root, root])
    assert len(mixed.clips) == 2 * len(recorded.clips) and len({clip.key for clip in mixed.clips}) == len(mixed.clips)
    assert mixed.words == ["hey lumen", "yes"] and mixed.fingerprint != recorded.fingerprint
    for number in (0, 1):
        for clip, twin in zip(recorded.clips, mixed.clips[number * len(recorded.clips) :], strict=False):
            assert np.array_equal(recorded.audio(clip), mixed.audio(twin)) and twin.speaker != clip.speaker
    assert task.build(mixed, ["hey lumen"]).training.labels.tolist().count(2) == 6


# --- windows ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_longer_window_from_training_to_the_model(tmp_path, capsys):
    """The command line, on little: checkpoint and model carry the window, evaluation finds the same clips."""
    run, model = tmp_path / "run", tmp_path / "model.tflite"
    corpus = write_corpus(tmp_path / "corpus", rows_for({"hey lumen": 20, "other": 20}), seconds=1.3)
    data = ["--data", str(corpus)]
    train = ["train", *data, "--words", "hey lumen", "--window", "1.5", "--min-clips", "5", "--model", "ds-cnn-xs"]
    assert cli.main([*train, "--epochs", "1", "--out", str(run)]) == 0
    held = checkpoint.load(run / "best.pt")
    assert held.seconds == 1.5 and held.window == Window("mfcc10", 0, 24000)
    assert cli.main(["quantize", str(run), *data, "-o", str(model)]) == 0
    graph = tflite.read(model)
    assert graph.metadata["seconds"] == 1.5 and window_of(graph) == held.window
    assert cli.main(["evaluate", str(model), *data]) == 0
    assert "accuracy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data", "say"], "kws data say: no phrase"),
        (["data", "say", "hey ☃"], "--words 'hey ☃': '☃' in it"),
        (["data", "say", "okay garden lights"], "--window 1.9 is enough"),
        (["data", "say", "hey", "--voices", "999"], "--voices 999: 1 to 400 are accepted"),
        (["data", "say", "hey", "--window", "9"], "a window of 9.0 s: 0.5 to 4.0 s"),
        (["data", "synthetic", "hey"], "phrases go with 'say' alone"),
        (["train", "--words", "okay garden lights"], "a window has 1 s"),
    ],
)
def test_bad_input(arguments, message, capsys):
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
