"""Gates: one set of weights for everybody, users apart from what judges them, and the statistics of the tables."""

import copy
import dataclasses
import hashlib
import json

import numpy as np
import pytest
import torch

from kws import models
from kws.data.task import LENGTH, Examples, Task
from kws.demo.exits import teach
from kws.demo.gates import people
from kws.demo.people import two_people
from kws.features import Window
from kws.models.count import count
from kws.personalize import choices, comparison, gate_loss, gate_training, protocol
from kws.personalize import evaluate as personal
from kws.personalize.comparison import FULL, OWN, Subject, compare
from kws.personalize.gate_training import GateRecipe, train_gates
from kws.personalize.gated import Costs, Enrolment, GatedNetwork
from kws.personalize.runners import FloatRunner
from kws.personalize.users import Users, speakers_of
from kws.quantization.quantize import quantize
from kws.training import checkpoint
from kws.training.recipe import Augmentation
from mcu_codegen.errors import InputError
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph
from mcu_codegen.users import gates as integer_gates
from mcu_codegen.users.user import User

LABELS = ("_silence_", "_unknown_", "ab", "cd", "ef", "gh")
FRAMES, COEFFICIENTS = 49, 10


@pytest.fixture(params=["ds-cnn-s", "res1d-xs", "bc-resnet-1"])
def architecture(request):
    return models.find(request.param)


@pytest.fixture
def gated(architecture):
    torch.manual_seed(0)
    coefficients = Window(architecture.front_end).front_end.coefficients
    network = GatedNetwork(architecture.build(len(LABELS)), 4, coefficients).eval()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            layer.running_mean.uniform_(-0.2, 0.2)
            layer.running_var.uniform_(0.5, 2.0)
    return network


@pytest.fixture
def features(architecture):
    window = Window(architecture.front_end, architecture.context)
    shape = (8, 1, window.frames(LENGTH), window.front_end.coefficients)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def some_gates(gated, seed=0):
    generator = torch.Generator().manual_seed(seed)
    like = [torch.ones(1, group.channels // gated.size) for group in gated.groups]
    half = [each.clone().index_fill_(1, torch.arange(each.shape[1] // 2), 0.0) for each in like]
    return choices.random(half, generator)


def test_open_gates_change_nothing_and_closed_ones_do(gated, features):
    plain = gated.network(features)
    opened = [torch.ones(1, group.channels // gated.size) for group in gated.groups]
    assert torch.equal(gated(features), plain)
    assert torch.equal(gated(features, *opened), plain)
    assert not torch.allclose(gated(features, *some_gates(gated)), plain)


def test_a_closed_channel_is_a_channel_less(gated, features):
    """Masked channels give what a network without them gives, and cost what it costs."""
    gates = some_gates(gated)
    kept = [each.repeat_interleave(gated.size, 1)[0].bool() for each in gates]
    small = copy.deepcopy(gated.network)

    def cut(values, keep):
        """Of a norm of columns, the channels of every column."""
        return values[keep.repeat(len(values) // len(keep))]

    for layer in gated.layers:
        module = small.get_submodule(layer.target)
        if isinstance(module, torch.nn.BatchNorm2d):
            continue  # below, with the others
        if layer.gives is not None:
            for name in ("weight", "bias"):
                if getattr(module, name) is not None:
                    setattr(module, name, torch.nn.Parameter(getattr(module, name)[kept[layer.gives]]))
        if layer.takes is not None and layer.mixes:
            module.weight = torch.nn.Parameter(module.weight[:, kept[layer.takes]])
        elif layer.takes is not None:
            module.groups = int(kept[layer.takes].sum())
    for group, keep in zip(gated.groups, kept, strict=True):
        for name in group.norms:
            norm = small.get_submodule(name)
            for part in ("weight", "bias", "running_mean", "running_var"):
                getattr(norm, part).data = cut(getattr(norm, part), keep)
    torch.testing.assert_close(gated(features, *gates), small(features), rtol=1e-4, atol=1e-4)
    frames, coefficients = features.shape[2:]
    share = count(small, frames, coefficients).macs / count(gated.network, frames, coefficients).macs
    assert float(Costs.of(gated, frames, coefficients).kept(gates)) == pytest.approx(share)


def test_gradients_of_gates_reach_the_gating_alone(gated, features):
    said = gated.train().enrol(features)
    sum(each.sum() for each in said).backward()
    assert all(parameter.grad is None for parameter in gated.network.parameters())
    assert all(parameter.grad is not None for parameter in gated.gating.parameters())


def test_straight_through_leaves_one_open():
    logits = torch.tensor([[-3.0, -1.0, -2.0], [0.5, -1.0, 2.0]], requires_grad=True)
    gates = gate_loss.straight_through(logits)
    assert gates.tolist() == [[0, 1, 0], [1, 0, 1]]
    gates.sum().backward()
    assert (logits.grad > 0).all()


def test_enrolment_says_what_training_says(gated, features):
    *said, logits = Enrolment(gated)(features)
    torch.testing.assert_close(logits, gated(features), rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(said, gated.enrol(features), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_gates_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(InputError, match=r"--gate-size 5: group0 has 64 channels"):
        GatedNetwork(models.build("ds-cnn-s", 4), 5, COEFFICIENTS)


def speech(count: int, seed: int) -> Examples:
    """Noise of a word's and a speaker's loudness; every speaker says everything."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(LABELS)
    speakers = np.where(labels == 0, "", np.char.add("speaker", (np.arange(count) // len(LABELS) % 3).astype(str)))
    loud = 100 * (1 + labels)[:, None]
    audio = np.rint(rng.normal(0, 1, (count, LENGTH)) * loud).astype(np.int16)
    return Examples(audio, labels.astype(np.int64), np.array(LABELS)[labels], speakers)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("KWS_CACHE", str(tmp_path_factory.mktemp("cache")))
    noises = (np.random.default_rng(9).normal(0, 300, 3 * LENGTH).astype(np.int16),)
    yield Task("noise", LABELS, "noise-1", speech(144, 0), speech(36, 1), speech(72, 2), noises)
    patch.undo()


@pytest.fixture(scope="module")
def held():
    torch.manual_seed(1)
    network = models.build("ds-cnn-s", len(LABELS))
    return checkpoint.Checkpoint("ds-cnn-s", LABELS, "mfcc10", network.state_dict())


FEW = Augmentation(views=2)
QUICK = GateRecipe(steps=4, users=3, query=6, full_batch=8, closing=0.5, words_share=0.5)


@pytest.fixture(scope="module")
def trained(task, held, tmp_path_factory):
    out = tmp_path_factory.mktemp("gates")
    return out, train_gates(held, task, QUICK, 0, out, augmentation=FEW)


def test_an_interrupted_run_resumes_to_the_same_bits(trained, task, held, tmp_path, monkeypatch):
    step = gate_training._Run._step

    def interrupted(self):
        if self.done == 2:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(gate_training, "_ROUND", 1)
    monkeypatch.setattr(gate_training._Run, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_gates(held, task, QUICK, 0, tmp_path, augmentation=FEW)
    monkeypatch.setattr(gate_training._Run, "_step", step)
    again = train_gates(held, task, QUICK, 0, tmp_path, resume=True, augmentation=FEW)
    _, whole = trained
    assert all(torch.equal(again.state_dict[name], value) for name, value in whole.state_dict.items())
    other = dataclasses.replace(QUICK, keep_macs=0.3)
    with pytest.raises(InputError, match="--resume needs the same"):
        train_gates(held, task, other, 0, tmp_path, resume=True, augmentation=FEW)


def test_the_quantised_pair_enrols_like_the_float_network(trained, task):
    """The integer gates are those of the float network, but for few whose logits are near the threshold."""
    _, gated_held = trained
    quantized = quantize(gated_held, task)
    assert quantized.enrolment is not None
    model = quantized.graph
    codes = gate_training.features_of(task.testing, Window("mfcc10"))[:5]
    user = User.enrol(model, quantized.enrolment, codes[:, None, ..., None])
    opened = user.gates(integer_gates.groups(model))
    gated = gated_held.network()
    said = gated.enrol(gate_training.real(codes, Window("mfcc10").front_end))
    wanted = np.concatenate([logits.mean(0).detach().numpy() > 0 for logits in said])
    assert 0 < wanted.sum() < len(wanted)
    assert np.mean(np.concatenate(opened) == wanted) >= 0.9
    assert hashlib.sha256(tflite.write(model)).hexdigest() == model.sha256


def test_gates_need_speakers_who_said_enough(task):
    nameless = dataclasses.replace(task.training, speakers=np.full(len(task.training), ""))
    with pytest.raises(InputError, match="named, with 4 clips"):
        speakers_of(dataclasses.replace(task, training=nameless))


def test_a_demo_without_people_says_why(task, held, tmp_path):
    """Recordings of speakers who said little, or of one word, still give a page."""
    silent = dataclasses.replace(task.testing, speakers=np.full(len(task.testing), ""))
    nobody = two_people(dataclasses.replace(task, testing=silent), 0)
    gated = people(nobody, held, task, 1, FEW, "cortex-m4", 0, tmp_path)
    taught = teach(nobody, held, Graph("none", [], []), task, 1, FEW, "cortex-m4", 0, tmp_path)
    assert gated.passed and taught.passed and not gated.persons + taught.persons
    for table in (gated.table(), taught.words(), taught.costs()):
        assert "two or more are needed" in table.text()
    assert not list(tmp_path.iterdir())


def test_another_speaker_enrols_with_the_words_that_the_user_enrols_with(task):
    speakers = protocol.Speakers(task.testing, LABELS)
    trials = speakers.words(4, [(2, 3)], np.random.default_rng(0))
    rows = comparison._same_words(trials[1], task.testing.labels, trials[0])
    assert len(rows) and set(task.testing.labels[rows]) <= {2, 3}


def test_a_word_less_only_closes_gates(trained):
    """So that a user of few words keeps a part of what users of all words train."""
    _, gated_held = trained
    tables = [value for name, value in gated_held.state_dict.items() if name.startswith("absent")]
    assert tables and all(table.max() <= 0 for table in tables)
    assert any(table.min() < 0 for table in tables)


def test_training_users_are_judged_by_other_clips(task):
    rng = np.random.default_rng(0)
    clips = np.repeat(np.arange(144), 2)
    clips[task.training.labels[clips] == 0] = -1
    labels = task.training.labels[np.repeat(np.arange(144), 2)]
    users = Users(task, clips, labels)
    words, strangers = 0, set[str]()
    for _ in range(20):
        batch = users.batch(4, 3, 12, 0.5, rng)
        for enrol, query, truth, allowed in zip(batch.enrol, batch.query, batch.labels, batch.allowed, strict=True):
            hers = clips[query][:6]
            assert not set(enrol) & set(hers)
            assert len({task.training.speakers[row] for row in (*enrol, *hers)}) == 1
            strangers.update(task.training.speakers[clips[query][6:]])
            assert allowed[truth].all()
            assert allowed[task.training.labels[enrol]].all()
            words += not allowed.all()
            np.testing.assert_array_equal(truth, np.where(allowed[labels[query]], labels[query], 1))
    assert 0 < words < 80 and len(strangers) > 2


def test_trials_keep_enrolment_and_query_apart(task):
    speakers = protocol.Speakers(task.testing, LABELS, each=3)
    rng = np.random.default_rng(0)
    for trial in speakers.voice(5, 3, 4, rng) + speakers.words(10, [(2, 3), (4, 5)], rng):
        assert not set(trial.enrol) & set(trial.query)
        assert {task.testing.speakers[row] for row in (*trial.enrol, *trial.query)} == {speakers.names[trial.speaker]}
        assert trial.allowed[trial.truth].all()
        if not trial.allowed.all():
            assert set(task.testing.labels[trial.enrol]) == set(np.flatnonzero(trial.allowed)[2:])
            assert set(np.flatnonzero(trial.allowed)[1:]) == set(trial.truth)
    with pytest.raises(InputError, match="two or more are needed"):
        protocol.Speakers(task.testing, LABELS, each=1000)


def test_every_method_keeps_as_much_as_the_own_gates(trained, task, gated):
    _, gated_held = trained
    network = gated_held.network()
    codes = gate_training.features_of(task.testing, Window("mfcc10"))
    features = gate_training.real(codes, Window("mfcc10").front_end)
    everybody = [each.mean(0, keepdim=True).detach() for each in network.enrol(features)]
    costs = Costs.of(network, FRAMES, COEFFICIENTS)
    subject = Subject(
        network, network, FloatRunner(network, features), FloatRunner(network, features), None, everybody, costs
    )
    speakers = protocol.Speakers(task.testing, LABELS)
    trials = speakers.words(4, [(2, 3), (4, 5)], np.random.default_rng(0))
    outcome = compare(subject, features, task.testing.labels, trials, 0)
    for name in ("random", "L1", "BN gamma", "Taylor", "all speakers'", "L1 of the full network"):
        np.testing.assert_allclose(outcome.kept[name], outcome.kept[OWN], rtol=1e-6)
    assert outcome.accuracy[FULL].shape == (len(trials),)
    np.testing.assert_array_equal(outcome.accuracy[FULL], outcome.accuracy["own weights, all open"])


def test_users_with_the_same_gates_are_answered_alike(gated, features):
    """Three users, two of the same gates, who share rows: each has the answers for hers, in her order."""
    first, second = some_gates(gated, 0), some_gates(gated, 1)
    queries, opened = [np.array([2, 0]), np.array([0, 1]), np.array([1, 2])], [first, second, first]
    found = FloatRunner(gated, features).outputs(queries, opened)
    for rows, gates, outputs in zip(queries, opened, found, strict=True):
        torch.testing.assert_close(outputs, gated(features[rows], *gates))
    assert not torch.allclose(found[0][1], found[1][0])


def test_intervals_and_overlap_by_hand():
    low, high = protocol.interval(np.array([0.1, 0.1, 0.1]))
    assert low == high == pytest.approx(0.1)
    low, high = protocol.interval(np.array([-1.0, 1.0] * 50))
    assert -0.25 < low < -0.1 < 0.1 < high < 0.25
    trials = [protocol.Trial(owner, *([np.zeros(1, int)] * 3), np.ones(2, bool)) for owner in (0, 0, 1)]
    chosen = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1]], bool)
    assert protocol.overlap(trials, chosen) == pytest.approx((2 / 3, (0 + 1 / 4) / 2))
    summary = protocol.Summary.of(np.array([0.5, 0.9]), np.array([0.6, 0.8]))
    assert summary.harmed == 0.5 and summary.own_minus == pytest.approx(0.0) and summary.worst_tenth == 0.5


@pytest.mark.slow
def test_the_table_in_float_and_in_integers(trained, task, held):
    """Small as it is, the whole way: subjects from files, all protocols, text, JSON and pictures."""
    out, _ = trained
    checkpoint.save(out / checkpoint.BEST, held)
    speakers = protocol.Speakers(task.testing, LABELS)
    spec = Window("mfcc10").front_end
    features = gate_training.real(gate_training.features_of(task.testing, Window("mfcc10")), spec)
    tables = []
    for integer in (False, True):
        one, _ = personal.subject(out, out, task, task.testing, integer)
        results = personal.evaluate([one], features, task, task.testing, speakers, 2, counts=(10,), thresholds=(1.0,))
        assert set(results) == {"voice-10", "words", "voice-10@+1"}
        text = results["words"].text()
        assert "own gates, others as unknown" in text and "small network from scratch" in text
        assert json.loads(json.dumps(results["words"].summary()))["methods"]["own gates"]["kept"] > 0
        tables.append(results["voice-10"].accuracy[FULL].mean())
        assert results["voice-10@+1"].kept[OWN] <= results["voice-10"].kept[OWN]
    pictures = personal._pictures(results, one, speakers.names)
    assert all(picture.startswith(b"\x89PNG") for picture in pictures.values())
    assert tables[0] == pytest.approx(tables[1], abs=0.2)
