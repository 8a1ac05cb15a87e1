"""Corpora of recordings, the task made of them, and augmentation."""

import argparse
import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kws import cli
from kws.data import audio, augment, noise, rooms, speech_commands, task, task_options
from kws.data.corpus import SPLITS
from kws.data.opening import open_corpus
from mcu_codegen.errors import InputError

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
RECORDINGS = SHARED / "speech_commands"
needs_recordings = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recordings in ../shared/data")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def tone(hz: float, seconds: float = 1.0, rate: int = 16000) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write_corpus(root: Path, rows, columns=("file", "word", "speaker", "split"), seconds=0.2) -> Path:
    """A folder of short tones; every file has a pitch of its own."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    for number, row in enumerate(rows):
        (root / row[0]).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / row[0], tone(200 + 7 * number, seconds), 16000)
    return root


def rows_for(words: dict[str, int], splits=SPLITS) -> list[tuple[str, ...]]:
    """So many clips of each word in every split, each split with a speaker of its own."""
    return [
        (f"{word}/{split}_{n}.wav", word, f"speaker-{split}", split)
        for word, count in words.items()
        for split in splits
        for n in range(count)
    ]


# --- audio ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 16001])
def test_resampled_tone_is_the_tone(rate):
    out = audio.resample(tone(1000, 1, rate), rate)
    assert abs(len(out) - 16000) <= 1
    middle = slice(2000, 14000)
    assert np.abs(out[middle] - tone(1000)[: len(out)][middle]).max() < 2e-3


def test_resampling_does_not_fold_back():
    out = audio.resample(tone(10000, 1, 44100), 44100)
    assert np.abs(out[2000:14000]).max() < 0.5 * 10 ** (-70 / 20)


def test_any_rate_channels_and_format(tmp_path, capsys):
    root = write_corpus(tmp_path / "mine", rows_for({"yes": 1}))
    rows = [
        ("a.flac", "yes", "anna", "training"),
        ("b.ogg", "yes", "bert", "validation"),
        ("c.wav", "yes", "c", "testing"),
    ]
    write_corpus(root, rows)
    soundfile.write(root / "a.flac", np.stack([tone(500, 1, 48000), -0.5 * tone(500, 1, 48000)], axis=1), 48000)
    soundfile.write(root / "b.ogg", tone(500, 1, 8000), 8000)
    soundfile.write(root / "c.wav", (tone(500) * 32768).astype(np.int16), 16000)
    corpus = open_corpus(root)
    a, b, c = (corpus.audio(clip) for clip in corpus.clips)
    assert a.dtype == np.int16 and abs(len(a) - 16000) <= 1
    assert np.abs(a[2000:14000] - tone(500)[2000:14000] * 32768 / 4).max() < 60  # mean of 1 and -0.5
    assert np.corrcoef(b[2000:14000], tone(500)[2000:14000])[0, 1] > 0.99
    assert np.array_equal(c, (tone(500) * 32768).astype(np.int16))
    assert "resampled to 16000 Hz: 1 from 8000 Hz, 1 from 48000 Hz" in capsys.readouterr().err
    open_corpus(root).load()
    assert capsys.readouterr().err == ""  # from the cache, and the notice only once


def test_a_changed_file_is_read_again(tmp_path):
    root = write_corpus(tmp_path / "mine", rows_for({"yes": 1}))
    before = open_corpus(root)
    assert before.audio(before.clips[0]).any()
    soundfile.write(root / before.clips[0].key, np.zeros(500), 16000)
    after = open_corpus(root)
    assert after.fingerprint != before.fingerprint
    assert len(after.audio(after.clips[0])) == 500


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cut, "truncated"),
        (lambda path: path.write_bytes(path.read_bytes()[:30]), "truncated"),
        (lambda path: soundfile.write(path, np.zeros(0), 16000), "zero-length"),
        (lambda path: path.write_bytes(b"not audio at all"), "cannot read as audio"),
        (lambda path: path.unlink(), "No such file"),
    ],
)
def test_a_spoilt_file_is_named_and_nothing_is_cached(tmp_path, cache, spoil, message):
    root = write_corpus(tmp_path / "mine", rows_for({"yes": 3}))
    spoil(root / "yes" / "training_1.wav")
    with pytest.raises(InputError, match=message) as caught:
        open_corpus(root).load()
    assert "training_1.wav" in str(caught.value) and "\n" not in str(caught.value)
    assert not cache.exists() or list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,word,split\n", "no column speaker"),
        ("file,word,speaker,split\n", "lists no clips"),
        ("file,word,speaker,split\na.wav,yes,anna,train\n", "line 2: split is 'train'"),
        ("file,word,speaker,split\na.wav,,anna,training\n", "line 2: no word"),
        ("file,word,speaker,split\n" + 2 * "a.wav,yes,anna,training\n", "line 3: 'a.wav' is listed twice"),
    ],
)
def test_a_bad_manifest_names_the_line(tmp_path, text, message):
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        open_corpus(tmp_path)


def test_missing_and_empty_folders(tmp_path, capsys):
    assert cli.main(["data", str(tmp_path / "nowhere")]) == 2
    assert "no such data folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert cli.main(["data", str(tmp_path / "empty")]) == 2
    assert "empty data folder" in capsys.readouterr().err


def test_nan_samples_are_refused(tmp_path):
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan, np.float32), 16000, subtype="FLOAT")
    with pytest.raises(InputError, match=r"nan\.wav: holds NaN"):
        audio.read(tmp_path / "nan.wav")


def test_an_interrupted_build_leaves_nothing(cache):
    def interrupted(folder: Path) -> None:
        (folder / "half").write_text("written")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audio.cached("audio", ["x"], interrupted)
    assert list(cache.iterdir()) == []
    built = audio.cached("audio", ["x"], lambda folder: (folder / "whole").touch())
    assert [path.name for path in built.iterdir()] == ["whole"]
    assert audio.cached("audio", ["x"], interrupted) == built


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    root = write_corpus(tmp_path / "mine", rows_for({"yes": 1}))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="KWS_CACHE"):
        open_corpus(root).load()


def test_a_speaker_in_two_splits_is_said(tmp_path, capsys):
    rows = [(f"{split}.wav", "yes", "anna", split) for split in SPLITS]
    open_corpus(write_corpus(tmp_path / "mine", rows))
    assert "1 speakers are in more than one split" in capsys.readouterr().err


def test_written_folder_reads_back_the_same(tmp_path, capsys):
    root = write_corpus(tmp_path / "mine", rows_for({"yes": 2, "no": 1}))
    (root / "_background_noise_").mkdir()
    soundfile.write(root / "_background_noise_" / "fan.flac", tone(60, 3), 16000)
    assert cli.main(["data", str(root), "--words", "yes", "--make", str(tmp_path / "copy")]) == 0
    printed = capsys.readouterr().out
    assert "fan 3 s" in printed and "as a task of 3 classes" in printed
    first, second = open_corpus(root), open_corpus(tmp_path / "copy")
    assert first.clips == second.clips
    assert all(np.array_equal(first.audio(clip), second.audio(clip)) for clip in first.clips)
    assert np.array_equal(first.noises[0], second.noises[0])
    assert cli.main(["data", str(root), "--make", str(tmp_path / "copy")]) == 2


# --- task ----------------------------------------------------------------------------------------------------------


def test_task_is_built_as_in_the_benchmark(tmp_path):
    root = write_corpus(tmp_path / "mine", rows_for({"yes": 6, "no": 6, "cat": 9, "dog": 2, "on": 4}))
    made = task.build(open_corpus(root), ["yes", "no"], ["on"], min_clips=6)
    assert made.labels == ("_silence_", "_unknown_", "yes", "no")
    assert np.bincount(made.training.labels).tolist() == [6, 11, 6, 6]
    assert np.bincount(made.testing.labels).tolist() == [6, 6, 6, 6]
    assert "on" not in {*made.training.words, *made.validation.words, *made.testing.words}
    unknown = made.validation.words[made.validation.labels == 1].tolist()
    assert unknown.count("dog") == 2 and unknown.count("cat") == 4  # every rare word, then the frequent one
    assert made.training.audio.dtype == np.int16 and made.training.audio.shape == (29, 16000)
    for split in SPLITS:
        examples = made.split(split)
        assert set(examples.speakers) == {f"speaker-{split}", ""}
        assert all(
            (label == "_silence_") == (word == "_silence_")
            for label, word in zip(np.array(made.labels)[examples.labels], examples.words, strict=True)
        )
    again = task.build(open_corpus(root), ["yes", "no"], ["on"])
    assert again.fingerprint == made.fingerprint and np.array_equal(again.testing.audio, made.testing.audio)
    assert task.build(open_corpus(root), ["yes", "no"]).fingerprint != made.fingerprint


def test_rows_hold_their_own_clip(tmp_path):
    root = write_corpus(tmp_path / "mine", rows_for({"yes": 2, "no": 2}), seconds=0.5)
    corpus = open_corpus(root)
    made = task.build(corpus, ["yes", "no"])
    by_audio = {task.fitted(corpus.audio(clip)).tobytes(): clip for clip in corpus.clips}
    for row, label, word, speaker in zip(
        made.testing.audio, made.testing.labels, made.testing.words, made.testing.speakers, strict=True
    ):
        if label >= 2:
            clip = by_audio[row.tobytes()]
            assert (clip.word, clip.speaker, clip.split) == (word, speaker, "testing")
            assert made.labels[label] == word


def test_an_official_test_set_is_the_test_set(tmp_path):
    columns = ("file", "word", "speaker", "split", "official_test")
    rows = [(*row, "") for row in rows_for({"yes": 4, "no": 4, "cat": 4})]
    rows += [("y.wav", "yes", "t", "testing", "yes"), ("n.wav", "no", "t", "testing", "no")]
    rows += [("o.wav", "off", "t", "testing", "off"), ("u.wav", "cat", "t", "testing", "_unknown_")]
    rows += [("s.wav", "_silence_", "", "testing", "_silence_")]
    corpus = open_corpus(write_corpus(tmp_path / "mine", rows, columns))
    made = task.build(corpus, ["yes", "no"])
    assert sorted(made.testing.words.tolist()) == ["_silence_", "cat", "no", "yes"]
    # a word that is in no official test set: the test is built from the testing split as elsewhere
    assert np.bincount(task.build(corpus, ["cat"]).testing.labels).tolist()[2] == 5


def test_words_that_the_corpus_lacks_and_thin_classes(tmp_path):
    corpus = open_corpus(write_corpus(tmp_path / "mine", rows_for({"yes": 6, "no": 3, "cat": 9})))
    with pytest.raises(InputError, match="no clips of marvin; it has cat, no, yes"):
        task.build(corpus, ["yes", "marvin"])
    with pytest.raises(InputError, match=r"class 'no' has 3 training clips; at least 5 are needed \(--min-clips\)"):
        task.build(corpus, ["yes", "no"], min_clips=5)
    with pytest.raises(InputError, match="class '_unknown_' has 0 training clips"):
        task.build(corpus, ["yes", "no"], ["cat"], min_clips=1)
    with pytest.raises(InputError, match="choose --words among cat, no, yes"):
        task_options.default_words(corpus, ["yes", "no"])
    with pytest.raises(InputError, match="each word once"):
        task.build(corpus, ["yes", "yes"])
    only_training = open_corpus(write_corpus(tmp_path / "other", rows_for({"yes": 3, "no": 2}, ["training"])))
    with pytest.raises(InputError, match="no testing clips of yes"):
        task.build(only_training, ["yes"]).split("testing")
    options = argparse.ArgumentParser()
    task_options.configure(options)
    with pytest.raises(InputError, match="no validation clips of yes, no"):
        task_options.from_options(options.parse_args(["--data", str(tmp_path / "other"), "--min-clips", "0"]))


def test_fitted_pads_evenly_and_keeps_the_loudest_part():
    short = task.fitted(np.full(4001, 7, np.int16))
    assert len(short) == 16000 and abs(np.flatnonzero(short)[0] - 6000) <= 1 and (short != 0).sum() == 4001
    long = np.ones(40000, np.int16)
    long[25000:30000] = 1000
    kept = task.fitted(long)
    assert len(kept) == 16000 and (kept == 1000).sum() == 5000


def test_silences_reach_from_nothing_to_loud():
    made = noise.silences(noise.generated(np.random.default_rng(0), 5.0), 400, np.random.default_rng(1))
    levels = 20 * np.log10(np.sqrt((made.astype(float) ** 2).mean(axis=1)) / 32768 + 1e-9)
    assert (levels < -150).sum() > 5  # digital silence
    heard = levels[levels > -150]
    assert heard.min() < -65 and heard.max() > -13 and np.ptp(np.quantile(heard, [0.25, 0.75])) > 20


# --- Speech Commands -----------------------------------------------------------------------------------------------


@needs_recordings
def test_speaker_hash_agrees_with_the_lists_and_the_manifest():
    listed = speech_commands.read_lists(RECORDINGS)
    assert len(listed) > 20000
    wrong = [
        file for file, split in listed.items() if speech_commands.split_of(speech_commands.speaker_of(file)) != split
    ]
    assert wrong == []
    with (RECORDINGS / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["speaker"]]
    assert all(speech_commands.split_of(row["speaker"]) == row["split"] for row in rows)
    assert all(speech_commands.speaker_of(row["file"]) == row["speaker"] for row in rows)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    if not RECORDINGS.is_dir():
        pytest.skip("no recordings in ../shared/data")
    root = tmp_path_factory.mktemp("unpacked")
    command = [
        sys.executable,
        SHARED / "unpack.py",
        root,
        "--only",
        "speech_commands",
        "--words",
        "yes,bed",
        "--limit",
        "9",
    ]
    subprocess.run(command, check=True, capture_output=True)
    (root / speech_commands.LAYOUT / "manifest.csv").unlink()  # torchaudio's layout has none
    return root


def test_torchaudio_layout(unpacked):
    corpus = open_corpus(unpacked)
    assert corpus.words == ["bed", "yes"] and len(corpus.noises) == 6
    speakers = [{clip.speaker for clip in corpus.clips if clip.split == split} for split in SPLITS]
    assert all(speakers) and not (speakers[0] & speakers[1] or speakers[0] & speakers[2] or speakers[1] & speakers[2])
    assert task.build(corpus, ["yes"]).testing.labels.tolist().count(2) == 9


def test_torchaudio_agrees(unpacked):
    from kws.torchaudio_import import torchaudio

    speech_commands.download(unpacked)  # it is there already: nothing is fetched
    ours = {clip.key: clip for clip in open_corpus(unpacked).clips}
    compared = 0
    for split in SPLITS:
        theirs = torchaudio.datasets.SPEECHCOMMANDS(unpacked, subset=split)
        for number in range(len(theirs)):
            path, rate, word, speaker, _ = theirs.get_metadata(number)
            clip = ours.get(Path(path).relative_to("speech_commands_v0.02").as_posix())
            if clip is None:
                continue  # listed, but not among the unpacked
            compared += 1
            assert (rate, word, speaker) == (16000, clip.word, clip.speaker)
            # torchaudio takes every unlisted clip, those of v0.01 too, for training
            assert clip.split == split or split == "training"
    assert compared == len(ours)


def test_a_list_that_contradicts_the_hash_is_refused(unpacked, tmp_path):
    folder = tmp_path / "speech_commands_v0.02"
    (folder / "yes").mkdir(parents=True)
    clip = next(clip for clip in open_corpus(unpacked).clips if clip.split == "training" and clip.word == "yes")
    (folder / clip.key).write_bytes((unpacked / speech_commands.LAYOUT / clip.key).read_bytes())
    (folder / "testing_list.txt").write_text(clip.key + "\n")
    (folder / "validation_list.txt").write_text("")
    with pytest.raises(InputError, match="in the testing list, but its speaker hashes to training"):
        open_corpus(tmp_path)


@needs_recordings
def test_shared_recordings_make_the_official_test_set():
    corpus = open_corpus(RECORDINGS)
    words = [word for word in task.CORE_WORDS if word not in ("on", "off")]
    chosen, silences = task._select(corpus, tuple(words), frozenset(["on", "off"]), "testing")
    assert len(chosen) == 2104 and silences == 0
    assert sum(label == "_unknown_" for _, label in chosen) == 219
    splits: dict[str, set[str]] = {}
    for clip in corpus.clips:
        if clip.speaker:
            splits.setdefault(clip.speaker, set()).add(clip.split)
    assert all(len(found) == 1 for found in splits.values())


# --- augmentation --------------------------------------------------------------------------------------------------


def clips(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    made = np.zeros((count, 16000), np.int16)
    made[:, 4000:12000] = rng.normal(0, 2000, (count, 8000)).astype(np.int16)
    return made


QUIET = {"speed": (1.0, 1.0), "gain_db": (0.0, 0.0), "noise_share": 0.0}


def test_waveform_with_nothing_to_do_changes_nothing():
    given = clips(20)
    unchanged = augment.Waveform([], shift_ms=0, **QUIET)(given, np.random.default_rng(0))
    assert np.abs(unchanged.astype(int) - given).max() <= 1


def test_shift_is_within_its_limit_and_moves_whole_clips():
    given = clips(50)
    moved = augment.Waveform([], shift_ms=100, **QUIET)(given, np.random.default_rng(0))
    shifts = [
        int(np.argmax(np.correlate(m[2000:14000].astype(float), g[4000:12000], "valid"))) - 2000
        for m, g in zip(moved[:8], given[:8], strict=True)
    ]
    assert all(-1600 <= shift <= 1600 for shift in shifts) and len(set(shifts)) > 4
    for m, g, shift in zip(moved, given, shifts, strict=False):
        assert np.abs(np.roll(g, shift).astype(int) - m).max() <= 1


def test_noise_has_the_ratio_asked_for():
    given = clips(30)
    settings = {**QUIET, "noise_share": 1.0}
    background = noise.generated(np.random.default_rng(1), 3.0)
    noisy = augment.Waveform(background, shift_ms=0, snr_db=(10, 10), **settings)(given, np.random.default_rng(0))
    added = noisy.astype(float) - given
    ratio = 10 * np.log10((given.astype(float) ** 2).mean(axis=1) / (added**2).mean(axis=1))
    assert np.abs(ratio - 10).max() < 0.1
    silent = np.zeros((3, 16000), np.int16)
    assert not augment.Waveform(background, **settings)(silent, np.random.default_rng(0)).any()


def test_speed_changes_length_and_gain_the_level():
    given = np.tile((tone(1000) * 8192).astype(np.int16), (4, 1))
    faster = augment.Waveform([], 0, (1.1, 1.1), (-6, -6), noise_share=0)(given, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(faster[0].astype(float)))
    assert abs(int(spectrum.argmax()) - 1100) <= 15
    assert abs(np.abs(faster[0, 6000:10000]).max() / (8192 * 0.5) - 0.501) < 0.01


def test_rooms_go_on_sounding_after_the_clip():
    given = np.zeros((6, 16000), np.int16)
    given[:, 2000:8000] = clips(6)[:, 4000:10000]
    heard = rooms.generated(np.random.default_rng(0))
    echoing = augment.Waveform([], 0, rooms=heard, room_share=1.0, **QUIET)(given, np.random.default_rng(0))
    assert echoing[:, 8200:9000].any(axis=1).all() and not echoing[:, :2000].any()
    half = augment.Waveform([], 0, rooms=heard, room_share=0.5, **QUIET)(given, np.random.default_rng(0))
    assert 0 < half[:, 8200:9000].any(axis=1).sum() < 6


@pytest.mark.parametrize("length", [16000, 23680])
def test_running_speech_has_no_pause(length: int):
    given = np.zeros((80, 16000), np.int16)
    given[:, 4160:8960] = np.arange(1, 81)[:, None]  # pauses before and after
    made = augment.running_speech(given, length, np.random.default_rng(0))
    sounds = [clip[np.flatnonzero(clip)[0] : np.flatnonzero(clip)[-1] + 1] for clip in made]
    assert made.shape == (20, length) and all(sound.all() for sound in sounds)
    assert {len(sound) for sound in sounds} == {min(length, 4 * 4800)}
    assert all(len(set(sound)) >= 4 for sound in sounds)  # at 16,000 samples, three whole clips and a part at least


def test_spec_augment_fills_with_the_floor():
    floor = np.arange(-100, -90, dtype=np.int8)
    features = np.full((200, 49, 10), 50, np.int8)
    out = augment.spec_augment(features, floor, np.random.default_rng(0), 1, 8, 1, 2)
    masked = out != 50
    assert np.array_equal(out[masked], np.broadcast_to(floor, out.shape)[masked]) and out.dtype == np.int8
    frames, bands = masked.all(axis=2).sum(axis=1), masked.all(axis=1).sum(axis=1)
    assert set(frames) == set(range(9)) and set(bands) == {0, 1, 2}
    assert (features == 50).all()
    nothing = augment.spec_augment(features, floor, np.random.default_rng(0), 0, 0, 0, 0)
    assert np.array_equal(nothing, features)


def test_synthetic_unknown_joins_different_words():
    words = np.array(["yes", "down", "_silence_", "go", "no"] * 4)
    given = np.zeros((20, 16000), np.int16)
    for row, word in enumerate(words):  # every word a level of its own, silence unlike all of them
        given[row, 4000:12000] = {"yes": 1000, "down": 1100, "go": 1200, "no": 1300, "_silence_": 9999}[word]
    made = augment.synthetic_unknown(given, words, 300, np.random.default_rng(0))
    assert made.shape == (300, 16000) and made.dtype == np.int16 and made.any(axis=1).all()
    assert made.max() <= 1310
    joined = augment.synthetic_unknown(given, np.array(["yes", "go"] * 10), 50, np.random.default_rng(0), 0.0)
    assert not any((clip == whole).all() for clip in joined for whole in given)
    again = augment.synthetic_unknown(given, words, 300, np.random.default_rng(0))
    assert np.array_equal(made, again)


@pytest.mark.parametrize("words", [["yes", "yes"], ["no", "go"], ["no", "on"], ["yes", "_silence_"]])
def test_synthetic_unknown_refuses_words_that_give_themselves(words):
    with pytest.raises(InputError, match="synthetic unknown"):
        augment.synthetic_unknown(clips(2), np.array(words), 5, np.random.default_rng(0))
