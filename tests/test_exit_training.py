"""Early exits: a backbone that stays as it is, heads that learn, one integer graph, thresholds that keep a promise."""

import dataclasses

import numpy as np
import pytest
import torch
from test_train import LABELS, task  # noqa: F401  # a fixture

from kws import models
from kws.data.task import LENGTH
from kws.models.count import count
from kws.models.exits import boundaries, with_exits
from kws.personalize import exit_training, thresholds
from kws.personalize.exit_training import ExitRecipe, train_exits
from kws.quantization.qat import Schedule
from kws.quantization.quantize import quantize
from kws.training import checkpoint
from kws.training.inference import exit_scores, features_of, outputs
from kws.training.recipe import Augmentation
from mcu_codegen.errors import InputError
from mcu_codegen.formats import tflite

FEW = Augmentation(views=2)
QUICK = ExitRecipe(exits=(0, 2), epochs=10, batch=16)


def untrained(model: str) -> checkpoint.Checkpoint:
    torch.manual_seed(3)
    network = models.build(model, len(LABELS))
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.2, 0.2)
            layer.running_var.uniform_(0.5, 2.0)
    return checkpoint.Checkpoint(model, LABELS, models.find(model).front_end, network.state_dict())


@pytest.fixture(scope="module", params=["res1d-xs", "ds-cnn-xs"])
def held(request):
    return untrained(request.param)


@pytest.fixture(scope="module")
def trained(held, task, tmp_path_factory):  # noqa: F811
    out = tmp_path_factory.mktemp("exits")
    train_exits(held, task, QUICK, 0, out, augmentation=FEW)
    return checkpoint.load(out / exit_training.EXITS)


@pytest.mark.parametrize("model", models.MODELS)
def test_every_network_takes_exits_and_its_own_answer_stays(model):
    held = untrained(model)
    window = held.window
    shape = (2, 1, window.frames(LENGTH), window.front_end.coefficients)
    features = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    places = range(len(boundaries(held.network())) - 1)
    network = held.with_exits(places).train().eval()
    *early, last = network(features)
    assert torch.equal(last, held.network()(features))
    assert [each.shape for each in early] == [last.shape] * len(places)
    costs = network.costs(*shape[2:])
    assert costs == sorted(costs) and 0 < costs[0] < 1 < costs[-1] < 1.6
    whole = count(network, *shape[2:]).macs / count(held.network(), *shape[2:]).macs
    assert costs[-1] == pytest.approx(whole)


def test_training_leaves_the_network_as_it_was(held, trained):
    kept = {name: value for name, value in trained.state_dict.items() if not name.startswith("head")}
    wanted = {f"layer{name}": value for name, value in held.state_dict.items()}
    assert kept.keys() == wanted.keys()
    assert all(torch.equal(kept[name], value) for name, value in wanted.items())


def test_heads_learn(trained, task):  # noqa: F811
    codes = features_of(task.training, trained.window)
    first, *_ = outputs(trained.network(), codes, trained.window.front_end)
    assert float((first.argmax(1).numpy() == task.training.labels).mean()) > 0.6


def test_an_interrupted_run_resumes_to_the_same_bits(held, trained, task, tmp_path, monkeypatch):  # noqa: F811
    epoch = exit_training._Run.epoch

    def interrupted(self, training):
        if self.done == 1:
            raise KeyboardInterrupt
        epoch(self, training)

    monkeypatch.setattr(exit_training._Run, "epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_exits(held, task, QUICK, 0, tmp_path, augmentation=FEW)
    monkeypatch.setattr(exit_training._Run, "epoch", epoch)
    other = dataclasses.replace(QUICK, batch=8)
    with pytest.raises(InputError, match="--resume needs the same"):
        train_exits(held, task, other, 0, tmp_path, resume=True, augmentation=FEW)
    again = train_exits(held, task, QUICK, 0, tmp_path, resume=True, augmentation=FEW)
    assert all(torch.equal(again.state_dict[name], value) for name, value in trained.state_dict.items())


@pytest.mark.slow
@pytest.mark.parametrize("schedule", [None, Schedule(1)])
def test_one_integer_graph_of_all_exits(trained, task, tmp_path, schedule):  # noqa: F811
    quantized = quantize(trained, task, schedule=schedule, state=tmp_path / "qat.pt")
    graph = tflite.read_bytes(tflite.write(quantized.graph), "model")
    main = graph.main
    assert len(main.outputs) == 3
    assert len(graph.metadata["exits"]["thresholds"]) == 2
    place = {operator.outputs[0]: number for number, operator in enumerate(main.operators)}
    made = [place[output] for output in main.outputs]
    assert made == sorted(made) and made[-1] == len(main.operators) - 1
    assert all(graph.tensors[output].zero_point == -128 for output in main.outputs)
    for stop, output in enumerate(main.outputs):  # nothing before an exit that only later ones need
        needed = {output}
        for operator in reversed(main.operators[: made[stop] + 1]):
            needed.update(operator.inputs if operator.outputs[0] in needed else ())
        earlier = set(main.outputs[:stop])
        assert all(
            operator.outputs[0] in needed
            or operator.outputs[0] in earlier
            or place[operator.outputs[0]] < made[stop - 1]
            for operator in main.operators[: made[stop] + 1]
        )
    codes = features_of(task.testing, trained.window)
    answers = outputs(trained.network(), codes, trained.window.front_end)
    for codes_of_exit, logits in zip(exit_scores(graph, codes), answers, strict=True):
        share = (codes_of_exit.astype(int) + 128) / 256
        assert np.abs(share - logits.softmax(1).numpy()).mean() < 0.03


def test_thresholds_keep_their_promise():
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=300)
    scores = np.full((3, 300, 4), -128, np.int8)
    for number, good in enumerate((0.6, 0.8, 0.95)):
        right = rng.random(300) < good
        scores[number, np.arange(300), np.where(right, labels, (labels + 1) % 4)] = np.where(
            right, rng.integers(-20, 128, 300), rng.integers(-60, 100, 300)
        )
    costs = [0.2, 0.5, 1.0]
    whole = (scores[-1].argmax(1) == labels).mean()
    chosen = thresholds.choose(scores, labels, costs, 0.01)
    found = thresholds.stopped(scores, labels, chosen, costs)
    assert found.accuracy >= whole - 0.01 and found.macs < 1
    # nobody does much better, of all thresholds there are: 300 clips have few operating points
    better = [
        each.macs
        for first in range(-128, 129, 3)
        for second in range(-128, 129, 3)
        if (each := thresholds.stopped(scores, labels, (first, second), costs)).accuracy >= whole - 0.01
    ]
    assert found.macs <= min(better) + 0.06
    points = thresholds.points(scores, labels, costs)
    macs = [thresholds.stopped(scores, labels, point, costs).macs for point in points]
    assert points[0] == (128, 128) and chosen in points and macs == sorted(macs, reverse=True)
    by_hand = [int(np.argmax([*(scores[:2, n].max(1) >= chosen), True])) for n in range(300)]
    np.testing.assert_array_equal(found.exits, by_hand)


@pytest.mark.parametrize("places", [(), (1, 1), (2, 1), (0, 9), (-1,)])
def test_places_that_there_are_not_are_refused(held, places):
    with pytest.raises(InputError, match=r"--exit-places .*rising numbers from 0 to \d are accepted"):
        held.with_exits(places)


def test_a_network_of_another_shape_is_refused():
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4, 2))
    with pytest.raises(InputError, match="exits need a sequence of layers, a mean and a linear layer"):
        with_exits(network, (0,), 49, 10)
