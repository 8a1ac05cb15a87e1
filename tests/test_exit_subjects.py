"""Yardsticks of the table of exits: a network fine-tuned for its user, a smaller one, and what learning costs."""

import dataclasses

import numpy as np
import pytest
import torch
from test_exit_training import untrained
from test_train import task  # noqa: F401  # a fixture
from torch import nn

from kws.models.count import count
from kws.personalize import fine_tuning
from kws.personalize.exit_comparison import FACTORY, FULL, LABELLED, UNLABELLED, compare
from kws.personalize.exit_subjects import ALL_TUNED, LAST_TUNED, SMALL, subject
from kws.personalize.fine_tuning import Recipe, heads_cost, memory, tuned, tuning_cost
from kws.personalize.protocol import Trial
from mcu_codegen.errors import InputError


def test_fine_tuning_learns_and_leaves_the_network_as_it_was():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)).eval()
    features, labels = torch.randn(9, 1, 2, 3), torch.arange(9) % 3
    before = {name: value.clone() for name, value in network.state_dict().items()}
    own = tuned(network, features, labels, Recipe(0.3, 20))
    assert (fine_tuning.scores(own, features).argmax(1) == labels.numpy()).mean() > 0.8
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(own[2].running_mean, before["2.running_mean"])


def test_memory_and_costs_by_hand():
    network = nn.Sequential(nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 3, bias=False))
    weights, activations = 6 * 5 + 5 * 3, 6 + 5  # the input, and what the activation gives
    assert memory(network, torch.randn(1, 6)) == 4 * (2 * weights + activations)
    assert tuning_cost(1000, 7, 30, Recipe(epochs=4)) == fine_tuning.Cost(3 * 4 * 30 * 1000, 7)
    cost = heads_cost([(3, 4), (3, 8)], 1000, 30, 2)  # 15 and 27 weights
    assert cost == fine_tuning.Cost(30 * 1000 + 3 * 2 * 30 * 42, 4 * (30 * (7 + 11) + 42 + 27))


@pytest.fixture(scope="module")
def held():
    plain = untrained("res1d-xs")
    return dataclasses.replace(plain, state_dict=plain.with_exits((0, 2)).state_dict(), exits=(0, 2))


def test_yardsticks_are_in_the_table(held, task):  # noqa: F811
    found = subject(held, task, task.testing, untrained("res1d-xs"))
    rows = np.arange(len(task.testing.labels))
    allowed = np.ones(len(held.labels), bool)
    pairs = ((rows[::2], rows[1::2]), (rows[1::2], rows[::2]))
    trials = [Trial(number, *pair, task.testing.labels[pair[1]], allowed) for number, pair in enumerate(pairs)]
    found = dataclasses.replace(
        found,
        learner=dataclasses.replace(
            found.learner, constants=dataclasses.replace(found.learner.constants, fewest=1, capacity=255)
        ),
    )
    table = compare(found, task.testing.labels, trials)
    small = f"{SMALL}, res1d-xs"
    np.testing.assert_allclose(table[small].accuracy, table[FULL].accuracy)  # the very same network
    assert table[small].macs.tolist() == table[ALL_TUNED].macs.tolist() == [1, 1] and table[small].training is None
    macs = count(held.network().backbone, 73, 40).macs
    heard = len(rows) // 2
    assert table[ALL_TUNED].training.macs == 3 * 4 * heard * macs
    assert heard * macs < table[LAST_TUNED].training.macs < 1.1 * heard * macs
    assert table[LABELLED].training == table[UNLABELLED].training and table[FACTORY].training is None
    assert table[LABELLED].training.bytes < table[ALL_TUNED].training.bytes / 2.2


def test_a_small_network_that_hears_otherwise_is_refused(held, task):  # noqa: F811
    with pytest.raises(InputError, match="--small: ds-cnn-xs hears or answers otherwise than res1d-xs"):
        subject(held, task, task.testing, untrained("ds-cnn-xs"))
