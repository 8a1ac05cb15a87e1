"""A pruned body imitates the whole: what the head sees of it, normalisation that lives meanwhile, what stays zero."""

import dataclasses

import torch
from test_meta import WINDOW, clips, material, start  # noqa: F401  # fixtures
from torch import nn

from kws.meta.imitation import imitated, likeness, revive
from kws.meta.learners import Adaptable, Clips, Learner, absorb, normalised
from kws.meta.saliency import columns_of, prune_by_score
from kws.training.inference import real


def test_the_head_sees_nothing_but_likeness():
    """Bodies that find the same clips alike give the same answers, whatever they call them."""
    torch.manual_seed(0)
    turned, _ = torch.linalg.qr(torch.randn(6, 6))
    subjects = [Adaptable(nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 3))) for _ in range(3)]
    weights = torch.eye(6), 3 * turned, turned * torch.linspace(0.1, 3, 6)  # the last says other things
    for subject, weight in zip(subjects, weights, strict=True):
        with torch.no_grad():
            subject.body[0].weight.copy_(weight)
    support, query = torch.randn(6, 6), torch.randn(9, 6)
    shown = Clips(support, torch.arange(6) % 3)
    answers = [each.logits(each.adapt(shown, 3, Learner("anil")), query) for each in subjects]
    alike = [likeness(each.body(torch.cat([support, query]))) for each in subjects]
    torch.testing.assert_close(answers[0], answers[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(alike[0], alike[1], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(answers[0], answers[2], rtol=0.1)
    assert not torch.allclose(alike[0], alike[2], rtol=0.1)


def test_live_normalisation_changes_no_answer(start):  # noqa: F811
    """Neither in inference nor, for the clips that it was set by, in training."""
    network, features = start.network(), clips(24, 6, 5).features
    absorb(network)
    expected = network(features)
    revive(network, features)
    torch.testing.assert_close(network(features), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(network.train()(features), expected, rtol=1e-4, atol=1e-4)
    assert not all((norm.weight == 1).all() for norm in network.modules() if isinstance(norm, nn.BatchNorm2d))
    absorb(network.eval())
    again = dataclasses.replace(start, state_dict=network.state_dict()).network()
    torch.testing.assert_close(again(features), network(features), rtol=1e-5, atol=1e-5)


def test_live_normalisation_leaves_a_channel_small_that_lost_nearly_everything(start):  # noqa: F811
    network, features = start.network(), clips(24, 6, 5).features
    absorb(network)
    revive(network, features)
    (_, conv, norm), *_ = normalised(network)
    before = norm.train()(conv(features)).std((0, 2, 3))
    with torch.no_grad():
        conv.weight *= 0.001
        after = norm(conv(features)).std((0, 2, 3))
    assert (before > 0.05).any() and (after < 0.01 * before + 1e-9).all()


def test_a_pruned_body_gets_more_like_the_whole(start, material):  # noqa: F811
    subject = Adaptable(start.network())
    for columns in columns_of(subject).values():
        prune_by_score(columns, torch.abs, round(0.6 * columns.layer.weight.numel()))
    pruned = dataclasses.replace(start, state_dict=subject.network.state_dict())
    result = imitated(pruned, start, material.views, 20, (0,), "")
    features = real(material.validation.features, WINDOW.front_end)
    with torch.no_grad():
        wanted, before, after = (likeness(each.network()[:-1](features)) for each in (start, pruned, result))
    assert (after - wanted).square().sum() < 0.6 * (before - wanted).square().sum()
    for name, value in pruned.state_dict.items():
        assert value.ndim != 4 or torch.equal(value == 0, result.state_dict[name] == 0), name
