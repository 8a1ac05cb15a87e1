"""Gates and exits in one network: heads that learn under closed channels, one user's file for both, the same bytes."""

import dataclasses

import numpy as np
import pytest
import torch
from exit_models import exit_model
from gated_models import features as random_features
from gated_models import gated_model
from test_personalize import FEW, some_gates, task  # noqa: F401  # task: a fixture
from test_personalize import LABELS as WORDS
from test_personalize import QUICK as FEW_STEPS

from kws import models
from kws.personalize.enrolled import Enrolled
from kws.personalize.exit_comparison import GATES, GATES_FACTORY, GATES_LABELLED, GATES_UNLABELLED, Subject, compare
from kws.personalize.exit_subjects import Integers, opened, subject
from kws.personalize.exit_training import ExitRecipe, train_exits
from kws.personalize.gate_training import train_gates
from kws.personalize.gated import Costs, Enrolment, GatedNetwork
from kws.personalize.gated_clips import GatedClips
from kws.personalize.protocol import Trial
from kws.personalize.users import Users
from kws.quantization.nncf_quantize import Settings
from kws.quantization.quantize import quantize
from kws.training import checkpoint
from kws.training.command import _start
from kws.training.inference import features_of, outputs, real
from kws.training.recipe import view_clips, views
from mcu_codegen.errors import InputError
from mcu_codegen.formats import tflite
from mcu_codegen.prove import personal
from mcu_codegen.targets import find
from mcu_codegen.users import costs, gates
from mcu_codegen.users.exits import ALWAYS, NEVER
from mcu_codegen.users.learning import NO_LABEL, Learner, Utterances
from mcu_codegen.users.user import User

CLOSING = dataclasses.replace(FEW_STEPS, steps=40, closing=0.2)
EXITS = ExitRecipe(exits=(0, 2), epochs=2, batch=32, users=8, open=0.25)


def gated_of(model: str) -> checkpoint.Checkpoint:
    """With gates that nobody has trained."""
    torch.manual_seed(3)
    plain = checkpoint.Checkpoint(model, WORDS, models.find(model).front_end, {})
    network = models.build(model, len(WORDS))
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.2, 0.2)
            layer.running_var.uniform_(0.5, 2.0)
    gated = GatedNetwork(network, 4, plain.window.front_end.coefficients)
    return dataclasses.replace(plain, state_dict=gated.state_dict(), gate_size=4)


def heard(held: checkpoint.Checkpoint) -> torch.Tensor:
    shape = (3, 1, held.window.frames(held.window.length), held.window.front_end.coefficients)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("model", ["ds-cnn-xs", "res1d-xs", "bc-resnet-1"])
def test_what_a_closed_channel_holds_reaches_no_exit(model):
    held = gated_of(model)
    network, clips = held.with_exits((0, 2)), heard(held)
    before = held.network()
    assert torch.equal(network(clips)[-1], before(clips))
    assert [group.channels for group in network.groups] == [group.channels for group in before.groups]
    opened = some_gates(network)
    wanted, said = network(clips, *opened), network.enrol(clips)
    assert torch.allclose(wanted[-1], before(clips, *opened), atol=1e-5)
    assert all(torch.equal(*pair) for pair in zip(said, before.enrol(clips), strict=True))
    assert not any(torch.allclose(*pair) for pair in zip(wanted, network(clips), strict=True))
    with torch.no_grad():
        for group, gate in zip(network.groups, opened, strict=True):
            closed = ~gate[0].repeat_interleave(network.size).bool()
            for name in group.norms:
                bias = network.network.get_submodule(name).bias
                bias[closed.repeat(len(bias) // len(closed))] += 5
    for found, answer in zip(network(clips, *opened), wanted, strict=True):
        torch.testing.assert_close(found, answer, rtol=1e-4, atol=1e-4)


def test_enrolment_gives_gates_then_exits():
    held = gated_of("res1d-xs")
    network, clips = held.with_exits((0, 2)).eval(), heard(held)
    found = Enrolment(network)(clips)
    for ours, theirs in zip(found, (*network.enrol(clips), *network(clips)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def trained(task, tmp_path_factory):  # noqa: F811
    """A gated network, and the same with exits."""
    out = tmp_path_factory.mktemp("both")
    plain = gated_of("ds-cnn-xs")
    weights = plain.network().network.state_dict()
    held = dataclasses.replace(plain, state_dict=weights, gate_size=0)
    gated = train_gates(held, task, CLOSING, 0, out, augmentation=FEW)
    train_exits(gated, task, EXITS, 0, out, augmentation=FEW)
    return gated, checkpoint.load(out / "exits.pt")


def test_heads_learn_and_nothing_else(trained):
    gated, both = trained
    assert (both.gate_size, both.exits) == (4, (0, 2))
    kept = {name: value for name, value in both.state_dict.items() if not name.startswith("network.head")}
    wanted = {name.replace("network.", "network.layer"): value for name, value in gated.state_dict.items()}
    assert kept.keys() == wanted.keys() and len(kept) < len(both.state_dict)
    assert all(torch.equal(kept[name], value) for name, value in wanted.items())
    torch.manual_seed(0)
    untrained = gated.with_exits(EXITS.exits).state_dict()
    heads = both.state_dict.keys() - kept.keys()
    assert all(not torch.equal(both.state_dict[name], untrained[name]) for name in heads if "num_batches" not in name)


def test_training_users_close_channels_and_some_do_not(trained, task):  # noqa: F811
    gated, _ = trained
    users = Users(task, view_clips(task, FEW, 0), views(task, gated.window, FEW, 0).labels)
    clips, spec = features_of(task.training, gated.window), gated.window.front_end
    found = Enrolled.of(gated.network(), users, clips, spec, 20, 0.25, np.random.default_rng(0))
    opened = torch.cat(found.gates, 1).bool()
    whole = opened.all(1)
    assert len(opened) == 20 and 5 <= whole.sum() < 20 and found.allowed[:5].all() and not found.allowed.all()
    assert all(each.any(1).all() for each in found.gates)
    drawn, allowed = found.drawn(7, np.random.default_rng(1))
    assert [each.shape for each in drawn] == [(7, each.shape[1]) for each in found.gates]
    assert allowed.shape == (7, len(WORDS))


@pytest.fixture(scope="module")
def quantized(trained, task):  # noqa: F811
    return quantize(trained[1], task, settings=Settings(calibration_clips=24))


@pytest.fixture(scope="module")
def anna(quantized, task):  # noqa: F811
    """(the model, her), of 12 utterances."""
    model = tflite.read_bytes(tflite.write(quantized.graph), "model.tflite")
    codes = features_of(task.testing, quantized.checkpoint.window)[:, None, ..., None]
    user = User.enrol(model, quantized.enrolment, codes[:12])
    return model, codes, user.taught(model, codes[:12], task.testing.labels[:12].tolist())


@pytest.mark.slow
def test_integers_stop_like_real_numbers_under_gates(anna, trained, quantized, task):  # noqa: F811
    model, codes, user = anna
    assert [group.name for group in gates.groups(model)] == [f"group{number}" for number in range(5)]
    opened = user.gates(gates.groups(model))
    assert not np.concatenate(opened).all()
    network, spec = trained[1].network(), trained[1].window.front_end
    floats = [torch.from_numpy(gate).float()[None] for gate in opened]
    with torch.no_grad():
        answers = network(real(codes[:, 0, ..., 0], spec), *floats)
    heard = Utterances.of(model, codes, [NO_LABEL] * len(codes), opened)
    heads = [head.scores(each) for head, each in zip(Learner.of(model).heads, heard.features, strict=True)]
    for integers, logits in zip((*heads, heard.scores), answers, strict=True):
        assert np.abs((integers.astype(int) + 128) / 256 - logits.softmax(1).numpy()).mean() < 0.03
    frames = codes.shape[2:4]
    assert costs.costs(model) == pytest.approx(network.network.costs(*frames))
    assert model.metadata["exits"]["costs"] == pytest.approx(costs.costs(model), abs=1e-4)
    plain = trained[0].network()
    assert costs.kept(model, opened) == pytest.approx(float(Costs.of(plain, *frames).kept(floats)))
    less = costs.costs(model, opened)
    assert all(own < every for own, every in zip(less, costs.costs(model), strict=True)) and less == sorted(less)


@pytest.mark.slow
def test_one_user_of_both_is_the_same_everywhere(anna, quantized):
    """Baked and switchable, on this host and on Cortex-M4; her closed channels reach into heads."""
    model, codes, user = anna
    in_heads = {name for group in model.metadata["gates"] for name in group["tensors"] if "head" in name}
    assert len(in_heads) == 2
    report = personal.compare(model, quantized.enrolment, user, codes[:4], personal.Cores([find("cortex-m4")]))
    done = {each.name: each for each in report.comparisons if not each.absent}
    assert report.passed and all(each.differing == each.tolerated for each in done.values())
    for way in ("baked", "switchable", "enrolment"):
        assert any(way in name and "host" in name for name in done)
        assert any(way in name and "cortex-m4" in name for name in done)


@pytest.fixture(scope="module")
def pair():
    model = exit_model(gates=True)
    _, enrolment = gated_model(frames=7, exits=True)
    enrolment.metadata["model"] = model.sha256[:16]
    return model, enrolment


def everybody(model, codes):
    """All clips with all gates open."""
    clips = Utterances.of(model, codes, [NO_LABEL] * len(codes))
    thresholds = (ALWAYS, NEVER)
    return Subject(clips, Learner.of(model), thresholds, np.array(costs.costs(model)), lambda loss: thresholds)


@pytest.mark.parametrize("words", [None, ("yes", "no")])
def test_the_table_hears_what_a_user_hears(pair, words):
    model, enrolment = pair
    codes, rows = random_features(model, 30, 5), np.arange(30)
    allowed = np.ones(6, bool) if words is None else np.array([1, 1, 1, 1, 0, 0], bool)
    trial = Trial(0, rows[3:11], rows[11:], np.zeros(19, int), allowed)
    clips = GatedClips(model, enrolment, codes, everybody(model, codes))
    user = User.enrol(model, enrolment, codes[trial.enrol], words)
    opened = user.gates(gates.groups(model))
    assert all(np.array_equal(*each) for each in zip(clips.gates(trial), opened, strict=True))
    own, wanted = clips.under(trial), Utterances.of(model, codes, [NO_LABEL] * 30, opened)
    for ours, theirs in zip((*own.clips.features, own.clips.scores), (*wanted.features, wanted.scores), strict=True):
        assert np.array_equal(ours[3:], theirs[3:]) and not ours[:3].any()
    assert own.costs.tolist() == costs.costs(model, opened) and own.macs == costs.kept(model, opened) < 1


def test_rows_of_gates_with_and_without_exits(pair):
    model, enrolment = pair
    codes, rows = random_features(model, 40, 6), np.arange(40)
    labels = np.random.default_rng(0).integers(6, size=40)
    trials = [Trial(who, rows[who::4], rows[who + 2 :: 4], labels[who + 2 :: 4], np.ones(6, bool)) for who in (0, 1)]
    base = everybody(model, codes)
    clips = GatedClips(model, enrolment, codes, base)
    found = compare(dataclasses.replace(base, gated=clips.under), labels, trials)
    shares = [costs.kept(model, clips.gates(trial)) for trial in trials]
    assert found[GATES].macs.tolist() == shares and np.all(found[GATES].exit == 2)
    firsts = [costs.costs(model, clips.gates(trial))[0] for trial in trials]
    assert found[GATES_FACTORY].macs.tolist() == firsts and np.all(found[GATES_FACTORY].exit == 0)
    again = everybody(model, codes)
    for number, trial in enumerate(trials):
        heard = Utterances.of(model, codes[trial.enrol], labels[trial.enrol], clips.gates(trial))
        learnt = again.learner.learn(heard)
        query = Utterances.of(model, codes[trial.query], labels[trial.query], clips.gates(trial))
        early = [head.scores(each) for head, each in zip(again.heads(learnt), query.features, strict=True)]
        sure = np.stack(early).max(2) >= np.array(learnt.applied())[:, None]
        exits = np.vstack([sure, np.ones(len(trial.query), bool)]).argmax(0)
        assert found[GATES_LABELLED].exit[number] == exits.mean()
    assert GATES_UNLABELLED in found and GATES not in compare(base, labels, trials)


def test_a_model_of_both_is_opened_with_its_enrolment(pair, tmp_path):
    model, enrolment = pair
    (tmp_path / "model.tflite").write_bytes(tflite.write(model))
    (tmp_path / "model.enrol.tflite").write_bytes(tflite.write(enrolment))
    found = opened(tmp_path / "model.tflite")
    assert isinstance(found, Integers) and found.enrolment is not None and found.enrolment.main.outputs


def test_real_numbers_have_all_gates_open(trained, task):  # noqa: F811
    found = subject(trained[1], task, task.testing)
    assert found.gated is None
    last = outputs(trained[1].network(), features_of(task.testing, trained[1].window), trained[1].window.front_end)[-1]
    assert (found.clips.scores.argmax(1) == last.argmax(1).numpy()).mean() > 0.9


def test_what_has_gates_may_begin_exits_and_no_second_gates(trained, task, tmp_path):  # noqa: F811
    gated, both = trained
    for name, each in (("gated.pt", gated), ("exits.pt", both)):
        checkpoint.save(tmp_path / name, each)
    assert _start(tmp_path / "gated.pt", task, gates=False).gate_size == 4
    for name, gates_too, message in (
        ("gated.pt", True, "with gates; one of .* with neither gates nor exits is accepted"),
        ("exits.pt", False, "with gates and exits; one of .* with no exits is accepted"),
    ):
        with pytest.raises(InputError, match=message):
            _start(tmp_path / name, task, gates_too)
