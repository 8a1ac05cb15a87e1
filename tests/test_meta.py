"""Few-shot learning: tasks, learners and their gradients, meta-training that goes on where it was interrupted."""

import dataclasses
import re
from pathlib import Path

import few_shot_corpus
import numpy as np
import pytest
import torch
from test_cli import refused
from torch.nn.functional import cross_entropy

from kws import models
from kws.data.synthetic import WORDS as ENGLISH
from kws.features import Window
from kws.meta.assess import MOST_STEPS, accuracies, interval, losses_by_steps
from kws.meta.learners import LEARNERS, Adaptable, Clips, Learner, absorb, learner_of
from kws.meta.lessons import Lessons, MetaTraining
from kws.meta.splits import with_test_speakers, word_splits
from kws.meta.tasks import Material, Pool, Shape
from kws.meta.train import meta_train
from kws.training import checkpoint
from kws.training.recipe import Augmentation
from mcu_codegen.errors import InputError
from mcu_codegen.listen.frontend import PRESETS

MODEL = "res1d-xs:8,8"
WINDOW = Window("logmel40-20ms", 12)
LESSONS = Lessons(steps=3, tasks=2)
SHAPE = Shape(3, 2)


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("KWS_CACHE", str(tmp_path_factory.getbasetemp() / "few_shot"))  # made once for all modules
    found = Material(few_shot_corpus.corpus(), WINDOW, Augmentation(views=1, noise_share=0.0), 0)
    assert found.training and found.validation and found.testing
    yield found
    patch.undo()


def untrained(labels):
    """Its normalisation is set as by training, to what it is shown."""
    torch.manual_seed(3)
    network = models.build(MODEL, len(labels)).train()
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
            torch.nn.init.normal_(norm.bias, 0, 0.2)
            norm.momentum = 1.0
    network(clips(24, 6, 0).features)
    return checkpoint.Checkpoint(MODEL, labels, "logmel40-20ms", network.state_dict())


@pytest.fixture(scope="module")
def start(material):
    return untrained(material.task.labels)


@pytest.fixture
def subject(start):
    return Adaptable(start.network())


def clips(count, ways, seed, frames=73, dtype=torch.float32):
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % ways
    tilt = labels.view(-1, 1, 1, 1) * torch.linspace(-1, 1, 40)
    return Clips((torch.randn(count, 1, frames, 40, generator=rng) / 2 + tilt).to(dtype), labels)


# what there is to learn


def test_words_are_split_as_the_cards_say():
    """Of the two corpora of words that are known beforehand."""
    for card in ("arabic_speech_commands", "speech_commands"):
        text = (Path(__file__).parents[1] / "datasets" / f"{card}.md").read_text()
        rows = dict(re.findall(r"^\| (training|validation|testing) \| ([a-z, ]+) \|$", text, re.MULTILINE))
        printed = {split: tuple(words.split(", ")) for split, words in rows.items()}
        every = [word for words in printed.values() for word in words]
        assert word_splits(every) == printed
        assert [len(words) for words in printed.values()] == [25, 5, 10 if "arabic" in card else 5]
        assert card.startswith("arabic") or set(every) == set(ENGLISH)


def test_few_words_are_refused():
    with pytest.raises(InputError, match="14 words; 15 or more"):
        word_splits(few_shot_corpus.WORDS[:14])


def test_a_corpus_of_two_splits_gets_test_speakers():
    names = tuple(f"s{number:02}" for number in range(12))
    two = few_shot_corpus.corpus(takes=1, splits={"training": names, "validation": ("v1", "v2")})
    found = {clip.speaker: clip.split for clip in with_test_speakers(two).clips}
    assert {speaker for speaker, split in found.items() if split == "testing"} == {"v1", "v2"}
    assert {speaker for speaker, split in found.items() if split == "validation"} == {"s05", "s11"}
    three = few_shot_corpus.corpus(takes=1)
    assert with_test_speakers(three) is three


def test_pools_share_neither_words_nor_speakers(material):
    pools = material.training, material.validation, material.testing
    for one, other in ((0, 1), (0, 2), (1, 2)):
        said = [set(pools[place].words) - {"_silence_"} for place in (one, other)]
        assert said[0] and not said[0] & said[1]
        assert not (set(pools[one].speakers) & set(pools[other].speakers)) - {""}


@pytest.mark.parametrize("kind", ["words", "speakers"])
def test_a_task_asks_about_other_clips_of_its_words(kind):
    words = np.repeat([f"w{number}" for number in range(6)], 8)
    speakers = np.tile(np.repeat(["a", "b"], 4), 6)
    clip_of = np.repeat(np.arange(len(words)), 2)  # two examples of each
    features = np.arange(len(clip_of), dtype=np.int8)[:, None, None] * np.ones((1, 2, 3), np.int8)
    pool = Pool("small", words, speakers, features, clip_of)
    shape = Shape(3, 2, kind, queries=5)
    for episode in pool.draws(shape, 20, 0):
        taken = [clip_of[half[:, 0, 0]] for half in (episode.support, episode.query)]
        assert len(set(taken[0])) == 6 and not set(taken[0]) & set(taken[1])
        assert len(taken[1]) == 3 * (5 if kind == "words" else 2)
        for half, labels in zip(taken, (episode.support_labels, episode.query_labels), strict=True):
            assert [episode.words[label] for label in labels] == list(words[half])
        if kind == "speakers":
            assert len({speakers[clip] for half in taken for clip in half}) == 1
    again = [each.support.tobytes() for each in pool.draws(shape, 20, 0)]
    assert again == [each.support.tobytes() for each in pool.draws(shape, 20, 0)] and len(set(again)) > 10


def test_a_pool_refuses_tasks_that_it_has_not_got(material):
    with pytest.raises(InputError, match=r"no 5 words of 9 clips or more, which a task of --ways 5 --shots 8"):
        material.testing.check(Shape(5, 8))
    with pytest.raises(InputError, match="no speaker with 5 words of 5 clips or more"):
        material.testing.check(Shape(5, 4, "speakers"))
    with pytest.raises(InputError, match="--ways 1 --shots 5"):
        Shape(1, 5)


# how it is learnt


def test_absorbed_normalisation_changes_no_answer(start):
    network = start.network()
    features = torch.randn(3, 1, 73, 40)
    expected = network(features)
    absorb(network)
    torch.testing.assert_close(network(features), expected)
    assert all((norm.weight == 1).all() for norm in network.modules() if isinstance(norm, torch.nn.BatchNorm2d))
    again = [value.clone() for value in network.state_dict().values()]
    absorb(network)
    assert all(map(torch.equal, again, network.state_dict().values()))


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_learns_its_clips(subject, name):
    support = clips(6, 3, 1)
    adapted = subject.adapt(support, 3, Learner(name, steps=15))
    right = (subject.logits(adapted, support.features).argmax(1) == support.labels).sum()
    assert right == 6 or (name == "prototypes" and right >= 4)  # means need not be nearest to all they are of
    moved = any(not torch.equal(adapted.body[each], value) for each, value in subject.theta.items())
    assert moved == Learner(name).adapts_body


def test_clips_that_are_all_the_same_do_no_harm(subject):
    alike = Clips(torch.zeros(6, 1, 73, 40), torch.arange(6) % 3)
    adapted = subject.adapt(alike, 3, Learner("fomaml", steps=3))
    assert subject.logits(adapted, alike.features).isfinite().all()


def test_a_channel_that_is_made_up_for_moves_no_other(start):
    """The same function with a small channel and large weights behind it: a step is the same function, too."""
    networks = start.network().double(), start.network().double()
    subject, scaled = map(Adaptable, networks)
    with torch.no_grad():
        scaled.theta["0.weight"][3] /= 100
        scaled.theta["1.bias"][3] /= 100
        scaled.theta["3.depthwise.0.weight"][3] *= 100
    support, learner = clips(6, 3, 1, dtype=torch.float64), Learner("fomaml", steps=2)
    found, expected = (each.adapt(support, 3, learner).body for each in (scaled, subject))
    expected["0.weight"][3] /= 100
    expected["3.depthwise.0.weight"][3] *= 100
    for name in ("0.weight", "3.depthwise.0.weight", "6.pointwise.0.weight"):
        assert not torch.allclose(found[name], scaled.theta[name])
        torch.testing.assert_close(found[name], expected[name])


@pytest.mark.parametrize("name", ["maml", "anil"])
def test_the_meta_gradient_is_that_of_finite_differences(start, name):
    """Through the steps: the second order is all there."""
    subject = Adaptable(start.network().double())
    support, query = (clips(6, 3, seed, dtype=torch.float64) for seed in (1, 2))
    learner = Learner(name, steps=3)
    sizes = subject.sizes()
    subject.sizes = lambda: sizes  # rates follow theta between tasks, the gradient takes them as they are

    def loss():
        adapted = subject.adapt(support, 3, learner)
        return cross_entropy(subject.logits(adapted, query.features), query.labels).item()

    gradient, found, _ = subject.meta_gradient(support, query, 3, learner)
    assert found == pytest.approx(loss())
    first_order, _, _ = subject.meta_gradient(support, query, 3, dataclasses.replace(learner, name="fomaml"))
    rng, step = torch.Generator().manual_seed(0), 1e-8  # small: hardly a ReLU changes its mind
    for each in ("0.weight", "4.depthwise.0.weight", "6.pointwise.1.bias"):
        value = subject.theta[each].detach()
        direction = torch.randn(value.shape, generator=rng, dtype=torch.float64)
        value += step * direction
        above = loss()
        value -= 2 * step * direction
        below = loss()
        value += step * direction
        expected = (above - below) / (2 * step)
        for found, through_all in ((gradient, True), (first_order, False)):
            assert through_all == (
                float((found[each] * direction).sum()) == pytest.approx(expected, rel=1e-4, abs=1e-7)
            )


def test_prototypes_answer_with_the_nearest_mean(subject):
    support, query = clips(6, 3, 1), clips(9, 3, 2)
    adapted = subject.adapt(support, 3, Learner("prototypes"))
    with torch.no_grad():
        embedded = subject.body(support.features)
        means = torch.stack([embedded[support.labels == way].mean(0) for way in range(3)])
        nearest = torch.cdist(subject.body(query.features), means).argmin(1)
    assert torch.equal(subject.logits(adapted, query.features).argmax(1), nearest)


@pytest.mark.parametrize("name", LEARNERS)
def test_what_is_pruned_stays_zero(start, material, name):
    network = start.network()
    with torch.no_grad():
        network[0].weight.view(-1)[::2] = 0
    subject = Adaptable(network)
    assert list(subject.masks) == ["0.weight"]
    before = {each: value.clone() for each, value in subject.theta.items()}
    learner = Learner(name, steps=2)
    adapted = subject.adapt(clips(6, 3, 1), 3, learner)
    MetaTraining(subject, material.training, SHAPE, learner, LESSONS, WINDOW.front_end, (0,)).run("", lambda: None)
    for weights in (adapted.body["0.weight"], subject.theta["0.weight"]):
        assert (weights.flatten()[::2] == 0).all() and (weights.flatten()[1::2] != 0).all()
    assert not torch.equal(subject.theta["0.weight"], before["0.weight"])


# the whole of it


def test_meta_training_improves_on_its_tasks(start, material, tmp_path):
    subject = Adaptable(start.network())
    learner, spec = Learner("anil", steps=3), PRESETS["logmel40-20ms"]
    before = accuracies(subject, material.training, SHAPE, learner, spec, 30, 5).mean()
    run = MetaTraining(subject, material.training, SHAPE, learner, Lessons(30, 2), spec, (0,))
    run.run("", lambda: None)
    assert accuracies(subject, material.training, SHAPE, learner, spec, 30, 5).mean() > before + 0.05
    assert [row["step"] for row in run.history] == [30]


def test_no_step_is_larger_than_the_weights_that_it_changes(subject):
    given, learner = clips(6, 3, 1), Learner(steps=2, rate=1e10)
    sizes, (first, second) = subject.sizes(), [each.body for each in subject.steps(given, 3, learner)]
    assert all(torch.equal(first[name], value) for name, value in subject.theta.items())  # the head was zero
    for name, value in subject.theta.items():
        moved = (second[name] - value).detach().square()
        mean = moved.mean(tuple(range(1, value.ndim)) or (0,), keepdim=True)
        assert torch.isfinite(moved).all() and (mean <= 1.001 * sizes[name]).all() and (mean > 0).any(), name


def test_lessons_that_diverge_say_so(subject, material):
    run = MetaTraining(subject, material.training, SHAPE, Learner(head_rate=1e300), LESSONS, WINDOW.front_end, (0,))
    with pytest.raises(InputError, match="step 1 of meta-training: the loss is no number"):
        run.run("", lambda: None)


class Interrupted(Exception):
    pass


@pytest.fixture(autouse=True)
def _few_validation_tasks(monkeypatch):
    for module in ("train", "pruning"):
        monkeypatch.setattr(f"kws.meta.{module}.VALIDATED", 3)


def test_an_interrupted_run_ends_where_a_whole_one_does(start, material, tmp_path, monkeypatch):
    monkeypatch.setattr("kws.meta.lessons._SAVED", 1)
    parts = start, material, SHAPE, Learner("reptile", steps=2), LESSONS, 0
    whole = meta_train(*parts, tmp_path / "whole")
    step = MetaTraining._step

    def fails(self, number):
        if number == 2:
            raise Interrupted
        return step(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(MetaTraining, "_step", fails)
        with pytest.raises(Interrupted):
            meta_train(*parts, tmp_path / "cut")
    assert not (tmp_path / "cut" / "best.pt").exists()
    resumed = meta_train(*parts, tmp_path / "cut", resume=True)
    for key, value in whole.state_dict.items():
        assert torch.equal(value, resumed.state_dict[key]), key
    with pytest.raises(InputError, match="--resume needs the same"):
        meta_train(*parts[:3], Learner("reptile", steps=3), LESSONS, 0, tmp_path / "cut", resume=True)


def test_a_meta_trained_network_is_a_run_like_any_other(start, material, tmp_path):
    result = meta_train(start, material, SHAPE, Learner("anil", steps=2), LESSONS, 0, tmp_path)
    held = checkpoint.load(tmp_path / "best.pt")
    assert held.labels == material.task.labels and held.learner == result.learner
    steps = learner_of(held, tmp_path).steps
    asked = Learner("anil", steps=MOST_STEPS)
    validated = losses_by_steps(Adaptable(held.network()), material.validation, SHAPE, asked, WINDOW.front_end, 3, 1)
    assert validated.mean(0).argmin() + 1 == steps
    with pytest.raises(InputError, match="not meta-trained; a run of `kws meta train`"):
        learner_of(start, tmp_path)
    with pytest.raises(InputError, match="damaged, its learner is none"):
        learner_of(dataclasses.replace(held, learner={"names": "maml"}), tmp_path)


def test_the_interval_holds_the_mean_and_narrows_with_tasks():
    values = np.random.default_rng(1).normal(0.5, 0.1, 900)
    mean, low, high = interval(values)
    assert low < mean < high and high - low == pytest.approx(2 * 1.96 * 0.1 / 30, rel=0.15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--learner", "mamal"], "learner 'mamal' is unknown; there are maml, fomaml"),
        (["--steps", "0"], "--steps 0: 1 or more is accepted"),
        (["--ways", "1"], "--ways 1 --shots 5"),
        (["--inner-steps", "0"], "above 0 is accepted"),
        (["--views", "0"], "--views 0: 1 or more is accepted"),
        (["--start", "absent.pt"], "absent.pt: cannot read"),
    ],
)
def test_bad_input_is_one_line(arguments, message, capsys, tmp_path):
    assert message in refused(capsys, "kws", "meta", "train", *arguments, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
