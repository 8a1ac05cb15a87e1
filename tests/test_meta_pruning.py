"""Pruning that spares adaptation: inverse Hessians against brute force, rounds, what stays zero, whole channels."""

import copy
import dataclasses
import json

import pytest
import torch
from test_cli import refused
from test_meta import (  # noqa: F401  # fixtures among them
    MODEL,
    SHAPE,
    WINDOW,
    Interrupted,
    _few_validation_tasks,
    clips,
    material,
    start,
)
from torch import nn

from kws import models
from kws.meta import channels
from kws.meta.integer import adapted_checkpoint
from kws.meta.learners import Adaptable, Learner
from kws.meta.lessons import Lessons, MetaTraining
from kws.meta.pruning import Method, Pruning, round_name
from kws.meta.saliency import Columns, columns_of, hessians, prune_by_hessian, prune_by_score, saliency
from kws.models.count import count
from kws.models.layers import SameConv2d
from kws.quantization.quantize import quantize
from kws.training import checkpoint
from mcu_codegen.emit.plan import compile_plan
from mcu_codegen.emit.portable.sparse import SparseRenderer
from mcu_codegen.errors import InputError

LEARNER = Learner("fomaml", steps=2)
LESSONS = Lessons(steps=2, tasks=1)
METHOD = Method("anp", (0.3, 0.6), tasks=2, epochs=1)

KINDS = {
    "pointwise": lambda: nn.Conv2d(6, 5, 1, bias=False),
    "depthwise": lambda: nn.Conv2d(6, 6, (5, 1), (2, 1), groups=6, bias=False),
    "stem": lambda: nn.Conv2d(1, 4, (1, 7), bias=False),
    "padded": lambda: SameConv2d(1, 4, (5, 3), (2, 2)),
    "padded depthwise": lambda: SameConv2d(6, 6, (3, 3), groups=6),
}


def layer_and_inputs(kind):
    torch.manual_seed(1)
    layer = KINDS[kind]()
    mixing = torch.randn(layer.in_channels, layer.in_channels)
    values = torch.einsum("nchw,cd->ndhw", torch.randn(4, layer.in_channels, 20, 7), mixing)
    values = values @ torch.randn(7, 7) + values.roll(1, 2)  # inputs that hang together, along every axis
    return Columns(layer, nn.Parameter(torch.randn(layer.out_channels))), values


def products(columns, values):
    taken = columns.inputs(values)
    return taken, taken @ columns.read()


def hessian_of(taken):
    hessian = taken.transpose(1, 2) @ taken / taken.shape[1]
    return hessian + 1e-6 * torch.eye(hessian.shape[1], dtype=hessian.dtype)


@pytest.mark.parametrize("kind", KINDS)
def test_columns_compute_what_the_layer_does(kind):
    columns, values = layer_and_inputs(kind)
    layer = columns.layer
    expected = layer(values) + columns.shift.view(1, -1, 1, 1)
    expected = expected[:, :, ::5].permute(1, 0, 2, 3).flatten(1)  # every fifth place along time
    _, found = products(columns, values)
    torch.testing.assert_close(found.transpose(1, 2).reshape(expected.shape), expected.double(), rtol=1e-4, atol=1e-4)
    matrices = columns.read()
    columns.write(matrices)
    assert torch.equal(columns.read(), matrices)


@pytest.mark.parametrize("kind", KINDS)
def test_saliency_is_the_least_error_without_the_weight(kind):
    """By brute force: the rest of the column is fitted anew by least squares."""
    columns, values = layer_and_inputs(kind)
    taken, whole = products(columns, values)
    found = saliency(columns, hessian_of(taken))
    for group, row, column in [(0, 0, 0), (-1, found.shape[1] - 1, -1)]:
        others = [each for each in range(taken.shape[2]) if each != row]
        fitted = torch.linalg.lstsq(taken[group][:, others], whole[group][:, [column]]).solution
        error = (taken[group][:, others] @ fitted - whole[group][:, [column]]).square().mean()
        assert found[group, row, column].item() == pytest.approx(error.item(), rel=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_makes_up_for_what_goes(kind):
    """The error of the output is smaller than where the same weights go alone, and than where the smallest go."""
    columns, values = layer_and_inputs(kind)
    taken, whole = products(columns, values)
    many = round(0.4 * columns.layer.weight.numel())

    def error(pruned):
        return (products(pruned, values)[1] - whole).square().mean().item()

    made_up, alone, smallest = (copy.deepcopy(columns) for _ in range(3))
    prune_by_hessian(made_up, hessian_of(taken), many)
    with torch.no_grad():
        alone.layer.weight.mul_(made_up.layer.weight != 0)
    prune_by_score(smallest, torch.abs, many)
    for pruned in (made_up, alone, smallest):
        assert int((pruned.layer.weight == 0).sum()) == many
    assert error(made_up) < 0.98 * error(alone)
    assert error(made_up) < 0.8 * error(smallest)
    for group, column in [(0, 0), (-1, -1)]:  # by brute force: the best there is with these inputs
        kept = torch.cat([made_up.read()[group, :-1, column] != 0, torch.tensor([True])])
        fitted = torch.linalg.lstsq(taken[group][:, kept], whole[group][:, [column]]).solution.flatten()
        torch.testing.assert_close(made_up.read()[group, kept, column], fitted, rtol=1e-3, atol=1e-3)
    kept = torch.where(smallest.layer.weight == 0, columns.layer.weight, 0).abs().max()
    assert kept <= columns.layer.weight[smallest.layer.weight != 0].abs().min()


def test_the_hessian_is_that_of_adapted_networks(start):  # noqa: F811
    subject = Adaptable(start.network())
    support = [clips(6, 3, seed) for seed in range(2)]
    adapted = [subject.adapt(each, 3, Learner("fomaml", steps=3, rate=0.01)) for each in support]
    found = hessians(subject, zip(adapted, support, strict=True))
    name, taken = "6.pointwise.0", []
    for weights, each in zip(adapted, support, strict=True):
        other = copy.deepcopy(subject.network)
        other.load_state_dict(dict(weights.body), strict=False)
        depthwise = other[6].depthwise(other[:6](each.features))
        taken.append(depthwise[:, :, ::5].permute(0, 2, 3, 1).flatten(0, 2).detach().double())
    rows = torch.cat(taken)
    rows = torch.cat([rows, torch.ones(len(rows), 1)], 1)
    torch.testing.assert_close(found[name], hessian_of(rows[None]), rtol=1e-4, atol=1e-4)
    unadapted = hessians(subject, [(subject.unadapted(3), each) for each in support])
    assert not torch.allclose(found[name], unadapted[name], rtol=1e-2)
    assert found["3.depthwise.0"].shape == (8, 10, 10)


@pytest.fixture(scope="module")
def pruned(start, material, tmp_path_factory):  # noqa: F811
    out = tmp_path_factory.mktemp("pruned")
    return out, Pruning(start, LEARNER, material, SHAPE, METHOD, LESSONS, 0, out).run()


def test_each_round_takes_the_same_share_of_every_layer(pruned, start):  # noqa: F811
    out, result = pruned
    for share in METHOD.rounds:
        held = checkpoint.load(out / round_name(share))
        for name, columns in columns_of(Adaptable(held.network())).items():
            weight = columns.layer.weight
            assert int((weight == 0).sum()) == round(share * weight.numel()), name
    assert checkpoint.fingerprint(checkpoint.load(out / "best.pt").network()) == checkpoint.fingerprint(
        result.network()
    )
    first, last = json.loads((out / "rounds.json").read_text())
    assert (first["share"], last["share"]) == METHOD.rounds and last["weights"] < 0.6 * first["weights"]


@pytest.mark.parametrize("at", [1, 2])
def test_interrupted_pruning_ends_where_the_whole_does(pruned, start, material, tmp_path, monkeypatch, at):  # noqa: F811
    """Between two steps of a round's lesson, and between two rounds."""
    monkeypatch.setattr("kws.meta.lessons._SAVED", 1)
    step, calls = MetaTraining._step, []

    def fails(self, number):
        calls.append(number)
        if len(calls) == at + 1:
            raise Interrupted
        return step(self, number)

    parts = start, LEARNER, material, SHAPE, METHOD, LESSONS, 0, tmp_path
    with monkeypatch.context() as patch:
        patch.setattr(MetaTraining, "_step", fails)
        with pytest.raises(Interrupted):
            Pruning(*parts).run()
    again = Pruning(*parts)
    again.restore()
    resumed = again.run()
    for name, value in pruned[1].state_dict.items():
        assert torch.equal(value, resumed.state_dict[name]), name
    other = Pruning(*parts[:4], dataclasses.replace(METHOD, criterion="obs"), *parts[5:])
    with pytest.raises(InputError, match="--resume needs the same"):
        other.restore()


@pytest.mark.parametrize("criterion", ["obs", "magnitude", "random"])
def test_other_criteria_take_other_weights_and_as_many(pruned, start, material, tmp_path, criterion):  # noqa: F811
    share = METHOD.rounds[0]
    method = dataclasses.replace(METHOD, criterion=criterion, rounds=(share,))
    other = Pruning(start, LEARNER, material, SHAPE, method, LESSONS, 0, tmp_path).run()
    networks = other, checkpoint.load(pruned[0] / round_name(share))
    zeros = [[value == 0 for value in each.state_dict.values() if value.ndim == 4] for each in networks]
    assert [int(each.sum()) for each in zeros[0]] == [int(each.sum()) for each in zeros[1]]
    assert not all(map(torch.equal, *zeros))


def test_depthwise_layers_can_be_spared(start, material, tmp_path):  # noqa: F811
    method = Method("magnitude", (0.5,), depthwise=False, epochs=1)
    found = Pruning(start, LEARNER, material, SHAPE, method, LESSONS, 0, tmp_path).run()
    for name, columns in columns_of(Adaptable(found.network())).items():
        assert bool((columns.layer.weight == 0).any()) == (columns.layer.groups == 1), name


def test_channels_take_multiply_accumulates(start, material, tmp_path):  # noqa: F811
    method = Method("anp", (0.3,), tasks=2, whole_channels=True, epochs=1)
    found = Pruning(start, LEARNER, material, SHAPE, method, LESSONS, 0, tmp_path).run()
    frames = WINDOW.frames(16000), 40
    dense = models.build(MODEL.partition(":")[0], len(start.labels))
    assert count(found.network(), *frames).macs <= 0.7 * count(dense, *frames).macs
    assert found.model.startswith("res1d-xs:") and found.network()
    subject = Adaptable(start.network())
    found = hessians(subject, [(subject.unadapted(3), clips(6, 3, 1))])
    with pytest.raises(InputError, match="cannot lose as much; it keeps 4 channels"):
        channels.without(start, subject, found, 0.99)


def test_a_channel_that_nothing_reads_matters_least(start):  # noqa: F811
    network = start.network()
    with torch.no_grad():
        network[0].weight[5] = 0
        network[3].depthwise[0].weight[5] = 0
        network[3].pointwise[0].weight[:, 5] = 0
    subject = Adaptable(network)
    stem, _ = channels.scores_of(subject, hessians(subject, [(subject.unadapted(3), clips(6, 3, 1))]))
    assert stem.argmin() == 5 and stem[5] == 0


def test_pruned_weights_are_zero_codes_after_adaptation(material, tmp_path):  # noqa: F811
    """So that C keeps them sparse: of a wider network, for rows of eight are too short to be."""
    torch.manual_seed(0)
    labels = material.task.labels
    held = checkpoint.Checkpoint(
        "res1d-xs:32,32", labels, "logmel40-20ms", models.build("res1d-xs:32,32", len(labels)).state_dict()
    )
    subject = Adaptable(held.network())
    for columns in columns_of(subject).values():
        prune_by_score(columns, torch.abs, round(0.85 * columns.layer.weight.numel()))
    subject = Adaptable(subject.network)
    held = checkpoint.Checkpoint(held.model, labels, held.front_end, subject.network.state_dict())
    adapted = subject.adapt(clips(6, 3, 1), 3, LEARNER)
    graph = quantize(adapted_checkpoint(held, adapted, labels[2:5]), _relabelled(material, labels[2:5])).graph
    saved = compile_plan(graph, SparseRenderer()).sparse
    assert len(saved) == 9  # stem, depthwise and pointwise layers
    assert sum(kept for kept, _ in saved.values()) <= 0.3 * sum(dense for _, dense in saved.values())


def _relabelled(material, labels):  # noqa: F811
    from dataclasses import replace

    return replace(material.task, labels=labels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--criterion", "l1"], "--criterion l1: unknown; there are anp, obs, magnitude, random"),
        (["--rounds", "0.5,0.4"], "--rounds 0.5,0.4: rising shares between 0 and 1 are accepted"),
        (["--rounds", "0.5,1.0"], "rising shares between 0 and 1"),
        (["--channels", "--criterion", "random"], "--channels: --criterion random knows none; anp or obs is accepted"),
        (["--hessian-tasks", "0"], "--hessian-tasks 0: 1 or more"),
        (["--epochs", "-1"], "--epochs -1: 0 or more is accepted"),
        (["--steps", "0"], "--steps 0: 1 or more is accepted"),
        ([], "not meta-trained; a run of `kws meta train`"),
    ],
)
def test_bad_input_is_one_line(start, arguments, message, capsys, tmp_path):  # noqa: F811
    checkpoint.save(tmp_path / "best.pt", start)
    out = tmp_path / "out"
    assert message in refused(capsys, "kws", "meta", "prune", tmp_path, *arguments, "--out", out)
    assert not out.exists()
