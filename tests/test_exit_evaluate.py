"""The table of exits: the same ways in integers and in real numbers, users apart from what judges them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from test_cli import refused

from kws.data.task import Examples
from kws.personalize import exit_evaluate
from kws.personalize.exit_comparison import EQUAL, FACTORY, FULL, LABELLED, UNLABELLED, Subject, compare, decided
from kws.personalize.fine_tuning import Cost
from kws.personalize.float_heads import FloatHead, codes_of
from kws.personalize.protocol import Speakers
from mcu_codegen.users.exits import NEVER
from mcu_codegen.users.learning import NO_LABEL, Learner, Utterances
from mcu_codegen.users.learning_constants import Constants
from mcu_codegen.users.regression import Rates
from mcu_codegen.users.thresholds import Point

LABELS = ("_silence_", "_unknown_", "ab", "cd", "ef", "gh")


@pytest.fixture(scope="module")
def clips():
    """Features of six classes in which every one of four speakers has an accent of her own."""
    rng = np.random.default_rng(0)
    labels, speakers = np.tile(np.arange(1, 6), 80), np.repeat(np.arange(4), 100)
    centres, accents = rng.normal(0, 1, (6, 12)), rng.normal(0, 0.8, (4, 6, 12))
    features = centres[labels] + accents[speakers, labels] + rng.normal(0, 0.3, (400, 12))
    names = np.char.add("speaker", speakers.astype(str))
    examples = Examples(np.zeros((400, 2), np.int16), labels, np.array(LABELS)[labels], names)
    return features, centres, examples


@pytest.fixture(scope="module")
def subject(clips):
    features, centres, examples = clips
    scores = np.full((400, 6), -128, np.int8)
    scores[np.arange(400), examples.labels] = 127  # a last exit that is always right
    head = FloatHead(centres, -0.5 * (centres**2).sum(1), 0.05)
    points = tuple(Point((code,), 5) for code in (120, 100, 80, 60, 40, 20, 0, -40))
    constants = Constants(4, (Rates((), ()),), 1, 90, 2, 5120, points, (1280,), 30, 10, 20, 5)
    utterances = Utterances((features,), scores, np.full(400, NO_LABEL), 400)
    choose = {loss: (100,) for loss in (0.0, 0.001, 0.002, 0.004, 0.006, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1)}
    return Subject(utterances, Learner((head,), constants), (100,), np.array([0.3, 1.05]), choose.__getitem__)


def test_own_exits_are_better_than_the_factory_s_where_speakers_differ(subject, clips):
    _, _, examples = clips
    speakers = Speakers(examples, LABELS)
    trials = speakers.voice(30, 2, 6, np.random.default_rng(0))
    found = compare(subject, examples.labels, trials)
    assert found[FULL].accuracy.min() == 1 and np.all(found[FULL].macs == 1)
    assert found[LABELLED].macs.mean() < found[FACTORY].macs.mean() - 0.1
    assert found[LABELLED].accuracy.mean() >= found[FACTORY].accuracy.mean()
    assert found[UNLABELLED].accuracy.mean() == pytest.approx(found[LABELLED].accuracy.mean())  # the last exit knows
    assert found[EQUAL].macs.mean() == pytest.approx(found[FACTORY].macs.mean())  # there is no cheaper one here


def test_folds_are_pooled_as_if_judged_together(subject, clips):
    _, _, examples = clips
    trials = Speakers(examples, LABELS).voice(20, 2, 6, np.random.default_rng(0))
    folds = [[each for each in trials if (each.speaker == 0) == first] for first in (True, False)]
    folds[0] += [each for each in trials if each.speaker == 1]  # in a fold of one speaker there is no other user
    folds[1] = [each for each in folds[1] if each.speaker != 1]
    judged = [exit_evaluate.judge("a fold", [subject], examples.labels, each) for each in (*folds, trials)]
    pooled, together = exit_evaluate.Judgement.pooled(judged[:2]), judged[2]
    for name in (FULL, FACTORY, LABELLED, UNLABELLED):
        np.testing.assert_allclose(pooled.rows[name].accuracy, together.rows[name].accuracy)
        assert pooled.rows[name].macs == pytest.approx(together.rows[name].macs)
        assert pooled.rows[name].exit == pytest.approx(together.rows[name].exit)


def test_users_of_few_words_say_no_others(clips):
    _, _, examples = clips
    for trial in Speakers(examples, LABELS).stream(10, [(2, 3), (4, 5)], 6, np.random.default_rng(0)):
        assert not set(trial.enrol) & set(trial.query)
        said = set(examples.labels[[*trial.enrol, *trial.query]].tolist())
        assert said <= set(np.flatnonzero(trial.allowed).tolist()) and len(trial.enrol) == 10


def test_decisions_among_a_user_s_words():
    scores = np.array([[-128, -100, 27, 20, -128, -128]], np.int8)
    assert decided(scores, np.ones(6, bool)) == [2]
    allowed = np.array([True, True, False, True, True, True])
    assert decided(scores, allowed) == [1]  # _unknown_ has its own share and that of the word that may not be


def test_real_numbers_learn_as_they_should():
    rng = np.random.default_rng(1)
    head = FloatHead(rng.normal(0, 0.1, (3, 4)), np.zeros(3), 0.1)
    sample = rng.normal(0, 1, (1, 4))
    target = np.array([[-128, 127, -128]], np.int8)
    (after,) = head.fit(Rates((), ()), 1, sample, target, 1)
    logits = sample @ head.weights.T
    shares = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(after.weights, head.weights - 0.1 * (shares - [[0, 255 / 256, 0]]).T * sample)
    np.testing.assert_allclose(after.bias, -0.1 * (shares - [[0, 255 / 256, 0]])[0])
    assert codes_of(np.array([[0.0, 100.0]])).tolist() == [[-128, 127]]
    assert head.scores(sample).dtype == np.int8 and NEVER == 128


def test_the_table_and_its_pictures(subject, clips):
    (_, _, examples), rng = clips, np.random.default_rng(0)

    class Named:
        labels, name = LABELS, "made up"

    results = exit_evaluate.evaluate([subject, subject], Named, examples, Speakers(examples, LABELS), 2)
    assert set(results) == {"all-10", "all-20", "all-30", "few"}
    text = results["all-30"].text()
    assert "own exits, labelled" in text and "4 speakers" in text and "learning: MACs" not in text
    counted = replace(subject, learning=lambda utterances: Cost(utterances * 100_000, 1234))
    text = exit_evaluate.judge(
        "title", [counted], examples.labels, Speakers(examples, LABELS).voice(20, 1, 6, rng)
    ).text()
    assert "learning: MACs" in text and "2.0 M" in text and "1,234" in text
    json.dumps({name: result.summary() for name, result in results.items()})
    pictures = exit_evaluate._pictures(results)
    assert set(pictures) == {"macs-all-10.png", "macs-all-20.png", "macs-all-30.png", "macs-few.png", "depth.png"}
    assert all(data.startswith(b"\x89PNG") for data in pictures.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--exits", "--int8"], "--int8: goes with --personal"),
        (["--exits", "--picture", "a.png"], "--picture: goes without --exits"),
        (["--exits"], r"run/exits\.pt: cannot read"),
        (["--small", "other"], "--small: goes with --personal or --exits"),
    ],
)
def test_options_that_make_no_sense(arguments, message, capsys):
    assert message.replace("\\", "") in refused(capsys, "kws", "evaluate", "run", "--data", "nowhere", *arguments)
