"""Hours of audio: what is heard in them, how detections are scored, and which settings are chosen."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from test_data import rows_for, write_corpus
from test_stream import babble, small_pipeline, stepping_pipelines

from kws import cli
from kws.data import rooms
from kws.data.opening import open_corpus
from kws.demo import listening as demo
from kws.listening import material, scenes
from kws.listening.decisions import APART, candidates
from kws.listening.hearing import Heard, Listener
from kws.listening.recording import Recording, Spoken, read
from kws.listening.scoring import LATE, Truth
from kws.listening.settings import Trial
from mcu_codegen import cli as mcu_codegen
from mcu_codegen import targets
from mcu_codegen.errors import InputError
from mcu_codegen.formats import tflite
from mcu_codegen.listen.decision import Decision, Detector

LABELS = ("_silence_", "_unknown_", "yes", "no")
HOP = 0.02


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))


def heard(scores: np.ndarray, stride: int, words: tuple[Spoken, ...] = (), hops: int = 0) -> Heard:
    return Heard(scores, stride * np.arange(1, len(scores) + 1), hops or len(scores) * stride, HOP, words)


# --- the pipeline ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stride", "sleeps"), [(1, False), (5, False), (2, True), (5, True)])
def test_what_is_heard_is_what_the_pipeline_says(stride, sleeps):
    pipeline = small_pipeline()
    pipeline = replace(pipeline, decision=replace(pipeline.decision, stride_hops=stride))
    if sleeps:
        pipeline = pipeline.resting(3.0)
        pipeline = replace(pipeline, activity=replace(pipeline.activity, silence=0))
    audio = babble(3.1) if not sleeps else np.concatenate([babble(3.1), np.zeros(20000, np.int16), babble(2)])
    found = Listener(pipeline).hear(Recording(audio, ()))
    expected = pipeline.run(audio)
    assert (found.left_out > 20 // stride) == sleeps and len(found.after) + found.left_out == found.hops // stride
    assert np.array_equal(found.scores, expected.scores) and len(np.unique(found.scores)) > 20
    events = candidates([found], pipeline.decision.smoothing, LABELS).detected(
        pipeline.decision.threshold, pipeline.decision.refractory_hops
    )
    wanted = [(each.hop, each.label) for each in expected.detections if not each.suppressed]
    assert list(zip(*(each.tolist() for each in events), strict=True)) == wanted and wanted


def test_recordings_on_several_threads_are_heard_in_order():
    listener = Listener(small_pipeline())
    recordings = [Recording(babble(1 + 0.3 * number), ()) for number in range(6)]
    together = listener.hear_all([partial(lambda each: each, recording) for recording in recordings])
    for one, alone in zip(together, map(listener.hear, recordings), strict=True):
        assert np.array_equal(one.scores, alone.scores)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    stride=st.integers(1, 12),
    smoothing=st.integers(1, 9),
    threshold=st.integers(1, 255),
    refractory=st.integers(1, 200),
    words=st.sampled_from([None, ["yes"], ["no"]]),
)
def test_decisions_on_many_inferences_are_those_of_the_specification(
    seed, stride, smoothing, threshold, refractory, words
):
    rng = np.random.default_rng(seed)
    recordings = [rng.integers(-128, 128, (rng.integers(0, 80), 4), np.int8) for _ in range(3)]
    decision = Decision(stride, smoothing, threshold, refractory)
    expected, start = [], 0
    for scores in recordings:
        detector = Detector(decision, LABELS, words)
        for row in scores:
            while not detector.hop():
                pass
            found = detector.step(row)
            if found is not None and not found.suppressed:
                expected.append((start + found.hop, found.label))
        start += len(scores) * stride + APART
    every = [heard(scores, stride, hops=len(scores) * stride) for scores in recordings]
    hops, labels = candidates(every, smoothing, LABELS, words).detected(threshold, refractory)
    assert list(zip(hops.tolist(), labels.tolist(), strict=True)) == expected


# --- scoring ---------------------------------------------------------------------------------------------------------


def scored(words, *detections, seconds=100.0):
    """Of detections (seconds, label) in one recording."""
    truth = Truth([heard(np.zeros((0, 4), np.int8), 1, tuple(words), round(seconds / HOP))], LABELS)
    hops, labels = zip(*detections, strict=True) if detections else ((), ())
    return truth.score(np.array([round(at / HOP) for at in hops], np.int64), np.array(labels, np.int64))


def test_a_hit_a_miss_a_confusion_and_a_false_accept():
    words = [Spoken(10, 10.5, "yes"), Spoken(20, 20.5, "no"), Spoken(30, 30.5, "yes")]
    score = scored(words, (5, 2), (10.8, 2), (20.6, 2), (31.9, 2), (90, 3))
    assert score.spoken.tolist() == [0, 0, 2, 1]
    assert score.hits.tolist() == [0, 0, 2, 0]
    assert score.confusions.tolist() == [0, 0, 1, 0]
    assert score.false_accepts.tolist() == [0, 0, 1, 1]
    assert score.latencies == pytest.approx([0.3, 1.4])
    assert score.miss_rate == pytest.approx(1 / 3)
    assert score.hours == pytest.approx((100 - 3 * (0.5 + LATE)) / 3600)
    assert score.fa_per_hour == pytest.approx(2 / score.hours)


def test_a_word_is_hit_from_its_start_until_a_while_after_its_end_and_only_once():
    word = [Spoken(10, 10.4, "no")]
    for at, hit in ((9.98, 0), (10, 1), (10.4 + LATE, 1), (10.42 + LATE, 0)):
        score = scored(word, (at, 3))
        assert (score.hits.sum(), score.false_accepts.sum()) == (hit, 1 - hit), at
    twice = scored(word, (10.5, 3), (11.0, 3))
    assert (twice.hits.sum(), twice.confusions.sum(), twice.false_accepts.sum()) == (1, 1, 0)


def test_of_words_close_together_each_gets_its_own_detection():
    words = [Spoken(10, 10.4, "yes"), Spoken(10.8, 11.2, "no")]
    score = scored(words, (11.0, 2), (11.5, 3))
    assert score.hits.tolist() == [0, 0, 1, 1] and not score.confusions.any()
    assert score.hours == pytest.approx((100 - (11.2 + LATE - 10)) / 3600)  # overlapping times are counted once


def test_nothing_spoken_and_nothing_detected():
    score = scored([])
    assert np.isnan(score.miss_rate) and np.isnan(score.latency(0.5)) and score.fa_per_hour == 0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_detection_counts_once(seed):
    rng = np.random.default_rng(seed)
    begins = np.sort(rng.uniform(0, 90, rng.integers(0, 20)))
    words = [Spoken(at, at + rng.uniform(0.1, 1), LABELS[rng.integers(2, 4)]) for at in begins]
    times = np.sort(rng.uniform(0, 99, rng.integers(0, 40)))
    score = scored(words, *((at, int(rng.integers(2, 4))) for at in times))
    assert score.hits.sum() + score.confusions.sum() + score.false_accepts.sum() == len(times)
    assert (score.hits <= score.spoken).all() and len(score.latencies) == score.hits.sum()
    assert not len(score.latencies) or score.latencies.max() <= LATE + HOP


# --- the choice of settings ------------------------------------------------------------------------------------------


def spoken_scores(false_height: int) -> Heard:
    """Two hours in which "yes" is said every 20 s at a height of 230; ten times "no" is heard where nobody speaks."""
    inferences = 2 * 3600 * 5
    scores = np.full((inferences, 4), -128, np.int8)
    words = []
    for second in range(10, 7190, 20):
        scores[second * 5 : second * 5 + 3, 2] = 230 - 128
        words.append(Spoken(second - 0.5, second, "yes"))
    scores[np.arange(1, 11) * 5 * 600 + 30, 3] = false_height - 128
    return heard(scores, 10, tuple(words))


def test_the_threshold_goes_between_words_and_what_is_not_a_word():
    chosen = Trial([spoken_scores(220)], LABELS, None).choose(10, 0.6)
    assert chosen.score.miss_rate == 0 and chosen.score.fa_per_hour == 0
    low = Trial([spoken_scores(220)], LABELS, None).point(Decision(smoothing=1, threshold=200))
    assert low.score.false_accepts.tolist() == [0, 0, 0, 10]
    assert low.score.fa_per_hour == pytest.approx(10 / low.score.hours)


def test_a_target_that_no_settings_reach():
    scores = np.full((7200, 4), -128, np.int8)
    scores[:, 3] = 127  # it hears "no" all the time
    trial = Trial([heard(scores, 10, (Spoken(5, 6, "no"),))], LABELS, None)
    with pytest.raises(InputError, match=r"--target-fa 3: of settings that hear any word, .* at best"):
        trial.choose(10, 3)
    with pytest.raises(InputError, match=r"--target-fa 2: 0\.40 hours without words are too few .* 0\.5 or more"):
        trial.choose(10, 2)


# --- recordings ------------------------------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path):
    corpus = open_corpus(write_corpus(tmp_path / "corpus", rows_for({"yes": 4, "no": 4, "cat": 5}), seconds=0.6))
    return material.source(corpus, ["yes", "no"], [], "testing")


def test_made_recordings_are_the_same_every_time_and_hold_every_word(source):
    plans = scenes.plan(source, 0.05, seed=3)
    first, again = ([scenes.render(source, scene) for scene in made] for made in (plans, scenes.plan(source, 0.05, 3)))
    assert all(np.array_equal(a.audio, b.audio) and a.words == b.words for a, b in zip(first, again, strict=True))
    assert 180 <= sum(len(each.audio) for each in first) / 16000 < 200
    said = [word.word for each in first for word in each.words]
    assert abs(said.count("yes") - said.count("no")) <= 4 and len(said) > 15
    other = scenes.render(source, scenes.plan(source, 0.05, seed=4)[0])
    assert not np.array_equal(other.audio[:16000], first[0].audio[:16000])


def test_a_word_is_where_the_label_says(source):
    """Louder there than in the pause before it, whatever the room."""
    made = scenes.render(source, scenes.plan(source, 0.03, seed=1)[0])
    for word in made.words:
        start, end = round(word.start * 16000), round(word.end * 16000)
        inside, before = made.audio[start:end].astype(float), made.audio[start - 4000 : start - 800].astype(float)
        assert np.sqrt(np.mean(inside**2)) > 1.5 * np.sqrt(np.mean(before**2))
        assert 0.5 <= word.end - word.start <= 0.62


def test_the_extent_of_a_word():
    rng = np.random.default_rng(0)
    clip = rng.normal(0, 20, 16000)
    clip[4000:9000] += rng.normal(0, 3000, 5000)
    first, last = scenes.extent(clip.astype(np.int16))
    assert abs(first - 4000) <= 320 and abs(last - 9000) <= 320
    assert scenes.extent(np.zeros(16000, np.int16)) == (0, 16000)


def test_a_room_keeps_time_and_energy():
    response = np.concatenate([np.zeros(500), [20000.0], 4000 * np.random.default_rng(0).normal(0, 1, 3000)])
    (room,) = rooms.recorded([response.astype(np.int16)])
    assert room[0] == room.max() and np.sum(room**2) == pytest.approx(1, abs=1e-3)
    signal = np.zeros(2000, np.float32)
    signal[700] = 1
    assert np.allclose(rooms.heard_in(room, signal)[700 : 700 + len(room)], room, atol=1e-6)
    assert all(each[0] == np.abs(each).max() for each in rooms.generated(np.random.default_rng(1)))


# --- files and the command -------------------------------------------------------------------------------------------


def write_recording(path, audio, track="1.0\t1.5\tyes\n2\t2.5\tcat\n\\\t100\t8000\n"):
    soundfile.write(path, audio, 16000)
    path.with_suffix(".txt").write_text(track)
    return path


def test_a_label_track_is_read(tmp_path):
    found = read(write_recording(tmp_path / "a.wav", babble(4)), ["yes", "no"])
    assert found.words == (Spoken(1.0, 1.5, "yes"),) and len(found.audio) == 64000


@pytest.mark.parametrize(
    ("track", "message"),
    [
        ("1\t2\tyes\n3\t5.2\tno\n", r"a\.txt line 2: 'no' from 3 to 5.2 s; the recording has 4 s"),
        ("2\t1\tyes\n", "line 1: 'yes' from 2 to 1 s"),
        ("1 2 yes\n", "line 1: found '1 2 yes'"),
        ("1\tnan\tyes\n", "line 1"),
        (None, r"a\.txt: cannot read the label track"),
    ],
)
def test_a_label_track_that_does_not_fit(track, message, tmp_path):
    path = write_recording(tmp_path / "a.wav", babble(4), track or "")
    if track is None:
        path.with_suffix(".txt").unlink()
    with pytest.raises(InputError, match=message):
        read(path, ["yes", "no"])


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.tflite"
    graph = small_pipeline().graph
    graph.metadata["labels"] = ["yes", "no", "_silence_", "_unknown_"]  # so that tones are words
    path.write_bytes(tflite.write(graph))
    return path


def evaluate(*arguments) -> int:
    return cli.main(["evaluate", *map(str, arguments)])


def test_the_command_chooses_settings_and_writes_them_into_the_model(model, tmp_path, capsys):
    corpus = write_corpus(tmp_path / "corpus", rows_for({"yes": 4, "no": 4, "cat": 5}), seconds=0.6)
    arguments = [model, "--stream", "--data", corpus, "--hours", "0.02", "--stride-hops", "4"]
    assert evaluate(*arguments, "--target-fa", "1e6", "--picture", tmp_path / "det.png", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["validation", "testing", "curve"] and found["validation"]["fa_per_hour"] <= 1e6
    graph = tflite.read(model)
    assert graph.metadata["decision"] == found["testing"]["decision"] and graph.metadata["decision"]["stride_hops"] == 4
    assert graph.metadata["target_fa"] == 1e6
    assert (tmp_path / "det.png").read_bytes()[:4] == b"\x89PNG"
    assert evaluate(*arguments, "--json") == 0  # the model's own settings, on the same recordings
    assert json.loads(capsys.readouterr().out)["testing"] == found["testing"]


@pytest.mark.parametrize(
    ("decision", "target_fa", "said", "comment"),
    [
        (Decision(), None, "the usual smoothing 3, threshold 128, ", "for no known rate of false accepts"),
        (Decision(20), None, "the usual smoothing 3, threshold 128, ", "for no known rate of false accepts"),
        (Decision(threshold=200), None, "smoothing 3, threshold 200, ", "for no known rate of false accepts"),
        (Decision(threshold=200), 0.5, "smoothing 3, threshold 200, ", "for 0.5 false accepts an hour"),
    ],
)
def test_emit_says_what_the_decision_was_chosen_for(decision, target_fa, said, comment, model, tmp_path, capsys):
    graph = tflite.read(model)
    graph.metadata |= {"decision": decision.to_dict()} | ({} if target_fa is None else {"target_fa": target_fa})
    model.write_bytes(tflite.write(graph))
    assert mcu_codegen.main(["emit", str(model), "-o", str(tmp_path / "c")]) == 0
    (line,) = re.findall("^decision: .*$", capsys.readouterr().out, re.MULTILINE)
    assert line.startswith(f"decision: {said}")
    assert line.endswith("; chosen for 0.5 false accepts an hour") == (target_fa is not None)
    assert (f"`kws evaluate {model} --stream --target-fa F`" in line) == (target_fa is None)
    header = (tmp_path / "c" / "kws_decision.h").read_text()
    assert f"chosen {comment}. */" in header and f"#define KWS_DECISION_THRESHOLD {decision.threshold} " in header


def test_inferences_in_silence_are_left_out(model, tmp_path, capsys):
    path = write_recording(tmp_path / "a.wav", np.concatenate([babble(4), np.zeros(64000, np.int16)]))
    assert evaluate(model, "--stream", path, "--skip-silence") == 0
    assert re.search(r"; 4\d\.\d% of the inferences left out", capsys.readouterr().out)
    assert evaluate(model, "--stream", path, "--skip-silence", "6", "--json") == 0
    assert 0.3 < json.loads(capsys.readouterr().out)["recordings"]["left_out"] < 0.5


def test_files_with_label_tracks(model, tmp_path, capsys):
    path = write_recording(tmp_path / "a.wav", babble(8))
    assert evaluate(model, "--stream", path) == 0
    assert "missed" in (text := capsys.readouterr().out) and "1 words" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stream", "short.wav"], "a recording of 0.30 s: shorter than the network's window of 20 frames, 0.41 s"),
        (["--stream", "--hours", "0"], "--hours 0: above 0"),
        (["--stream", "--target-fa", "-1"], "--target-fa -1: above 0"),
        (["--stream", "--hours", "1.5", "--target-fa", "0.5"], "--hours 1.5: with --target-fa 0.5, 2.0 and the time"),
        (["--stream", "--int8"], "--int8: goes with --personal"),
        (["--target-fa", "1"], "--target-fa: goes with --stream"),
        (["--stream", "--exits"], "--stream: goes without --exits"),
    ],
)
def test_bad_input(arguments, message, model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_recording(tmp_path / "short.wav", babble(0.3), "")
    before = model.read_bytes()
    assert evaluate(model, "--data", "nowhere", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert model.read_bytes() == before


def test_a_gated_model_keeps_its_enrolment(model, tmp_path, capsys):
    """Its hash changes with the decision, and the enrolment names it."""
    graph = small_pipeline().graph
    graph.metadata["model"] = "0" * 16
    beside = model.with_suffix(".enrol.tflite")
    beside.write_bytes(tflite.write(graph))
    corpus = write_corpus(tmp_path / "corpus", rows_for({"yes": 4, "no": 4, "cat": 5}), seconds=0.6)
    assert evaluate(model, "--stream", "--data", corpus, "--hours", "0.02", "--target-fa", "1e6") == 0
    capsys.readouterr()
    assert tflite.read(beside).metadata["model"] == hashlib.sha256(model.read_bytes()).hexdigest()[:16]


@pytest.mark.slow
def test_the_demo_listens(tmp_path, monkeypatch):
    core = "cortex-m4"
    monkeypatch.setattr(demo, "TARGETS", {core: targets.find(core)})
    monkeypatch.setattr(demo, "HOURS", 0.02)
    graph = stepping_pipelines(2, 10)[0].graph
    graph.metadata["labels"] = ["yes", "no", "_silence_", "_unknown_"]
    rows = rows_for({"yes": 4, "no": 4, "cat": 5})
    corpus = open_corpus(write_corpus(tmp_path / "corpus", rows, seconds=0.6))
    task = SimpleNamespace(labels=("_silence_", "_unknown_", "yes", "no"))
    found = demo.listen(graph, corpus, task, ())
    assert isinstance(found.hours, demo.Hours) and found.hours.picture[:4] == b"\x89PNG"
    assert found.hours.own.score.spoken.sum() > 3 and "the model's" in found.points().text()
    if isinstance(found.costs[core], str):
        pytest.skip(found.costs[core])
    whole, step = found.costs[core]
    assert step.inferences_per_second == 5 * whole.inferences_per_second == 25
    assert step.ram < whole.ram and "200 ms" in found.seconds().text() and "40 ms" in found.seconds().text()
    assert found.summary()["instructions_per_second"][core]["steps"] == step.instructions_per_second
    monkeypatch.setattr(demo, "TARGETS", {})
    assert "no other sounds" in str(demo.listen(graph, corpus, task, ("cat",)).hours)
