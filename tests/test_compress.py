"""Compression: which filters go, rounds that are rolled back, bounds that are kept, and what comes after."""

import dataclasses
import json

import pytest
import torch
from test_cli import refused
from test_train import task  # noqa: F401  # a fixture

from kws import models
from kws.compress import attention, pruning, rounds
from kws.compress.compress import compress
from kws.compress.costs import Board
from kws.compress.filters import without
from kws.compress.learning import Lesson
from kws.compress.pruning import Goal, Method, Pruning
from kws.models import widths_of
from kws.personalize.exit_training import ExitRecipe, train_exits
from kws.personalize.gate_training import GateRecipe
from kws.personalize.gated import GatedNetwork
from kws.quantization.quantize import quantize
from kws.training import checkpoint, train
from kws.training.inference import features_of, logits, real
from kws.training.recipe import Augmentation, Recipe
from mcu_codegen import targets
from mcu_codegen.emulate import toolchain
from mcu_codegen.errors import InputError
from mcu_codegen.formats import tflite
from mcu_codegen.prove import parity
from mcu_codegen.prove.measure import measure

LARGE = "res1d-xs:16,12"
FEW = Augmentation(views=2)
METHOD = Method(epochs=2, last_epochs=6, lesson=Lesson(batch=16))


@pytest.fixture(scope="module")
def held(task, tmp_path_factory):  # noqa: F811
    recipe = Recipe(epochs=10, batch=16, augmentation=FEW)
    return train.train(task, LARGE, "logmel40-20ms", recipe, 0, tmp_path_factory.mktemp("large"))


@pytest.fixture(scope="module")
def board(held):
    return Board(targets.find("cortex-m4"), toolchain.choose(), len(held.labels), held.window)


@pytest.fixture(scope="module")
def goal(held, board):
    """Three quarters of what the network takes beyond the narrowest."""
    whole, least = board.costs(LARGE), board.costs("res1d-xs:4,4")
    between = {name: (3 * getattr(whole, name) + getattr(least, name)) // 4 for name in ("instructions", "flash")}
    return Goal(between)


@pytest.fixture(scope="module")
def compressed(held, task, board, goal, tmp_path_factory):  # noqa: F811
    out = tmp_path_factory.mktemp("compressed")
    return out, compress(held, task, board, goal, METHOD, 0, out, augmentation=FEW)


@torch.no_grad()
def test_attention_is_the_mean_square_of_what_is_read():
    torch.manual_seed(1)
    network = models.build("res1d-xs:5,4", 3).eval()
    features = torch.randn(3, 1, 73, 40)
    stem, residual = attention.of_filters(network, features)
    values, read = network[:3](features), []
    for block in network[3:-2]:
        square = block.depthwise(values).square().mean((0, 2, 3))
        read.append(square / square.mean())
        values = block(values)
    square = values.mean((2, 3)).square().mean(0)
    torch.testing.assert_close(stem, read[0])
    torch.testing.assert_close(residual, torch.stack([*read[1:], square / square.mean()]).mean(0))


def test_a_threshold_takes_the_weakest_of_all_groups():
    scores = [torch.tensor([0.1, 3.0, 0.2, 0.9, 0.3]), torch.tensor([1.0, 0.05, 2.0, 4.0])]
    assert [kept.tolist() for kept in without(scores, 3, 1)] == [[1, 3, 4], [0, 2, 3]]
    assert [kept.tolist() for kept in without(scores, 3, 2)] == [[1, 2, 3, 4], [0, 1, 2, 3]]
    assert [kept.tolist() for kept in without(scores, 0, 4)] == [[0, 1, 2, 3, 4], [0, 1, 2, 3]]
    assert [len(kept) for kept in without(scores, 9, 4)] == [4, 4]


def test_looking_alike_does_not_depend_on_width_or_scale():
    torch.manual_seed(0)
    one = [torch.rand(2, 6, 5, 1), torch.rand(2, 4, 3, 1)]
    doubled = [torch.cat([3 * each, 3 * each], 1) for each in one]
    assert float(attention.distance(doubled, one)) == pytest.approx(0, abs=1e-6)
    other = [torch.rand(2, 6, 5, 1), torch.rand(2, 4, 3, 1)]
    assert 0 < float(attention.distance(other, one)) < 2
    assert float(attention.distance([torch.rand(2, 3, 9, 1), one[1]], one)) == pytest.approx(0, abs=1e-6)  # the last


@pytest.mark.slow
def test_weights_that_stand_for_trained_ones_cost_the_same(held, task, board):  # noqa: F811
    real_one = board.costs_of(quantize(held, task).graph, LARGE)
    stand_in = board.costs(LARGE)
    assert (real_one.ram, real_one.macs, real_one.params) == (stand_in.ram, stand_in.macs, stand_in.params)
    # zero points that happen to be alike share code; a rounding here and there is another instruction
    assert real_one.flash == pytest.approx(stand_in.flash, rel=0.02)
    assert real_one.instructions == pytest.approx(stand_in.instructions, rel=0.002)


@pytest.fixture(scope="module")
def integer(compressed, task):  # noqa: F811
    return tflite.read_bytes(tflite.write(quantize(compressed[1], task).graph), "model")


@pytest.mark.slow
def test_bounds_are_kept_by_the_network_as_it_ships(integer, compressed, board, goal):
    found = measure(integer, board.target, board.toolchain)
    assert found.instructions <= goal.bounds["instructions"] and found.flash <= goal.bounds["flash"]
    assert all(width % 4 == 0 for width in widths_of(compressed[1].network()))


@pytest.mark.slow
def test_what_ships_gives_the_same_bytes_everywhere(integer):
    executors = parity.executors(integer, [targets.find("cortex-m4")])
    report = parity.compare(integer, executors, parity.random_inputs(integer, 4))
    assert report.passed, report.table().text()
    assert any(each.compared for each in report.comparisons)


def test_a_run_like_any_other(compressed, task, held):  # noqa: F811
    out, result = compressed
    names = {path.name for path in out.iterdir()}
    history = rounds.from_json((out / "rounds.json").read_text())
    wanted = {"best.pt", "last.pt", "rounds.json", "rounds.png", *(f"round-{each.number}.pt" for each in history[:-1])}
    assert names == wanted and history[-1].model == result.model
    loaded = checkpoint.load(out / "best.pt")
    codes = features_of(task.validation, held.window)
    before, after = (logits(each.network(), codes, held.window.front_end) for each in (result, loaded))
    assert torch.equal(before, after)
    assert float((after.argmax(1).numpy() == task.validation.labels).mean()) > 0.6


@pytest.mark.slow
def test_no_more_goes_than_must(held, task, board, tmp_path):  # noqa: F811
    method = dataclasses.replace(METHOD, granule=1)
    run = Pruning(held, task, board, Goal({"params": 1200}), method, 0, tmp_path, attention.of_filters, FEW)
    run.begin(resume=False)
    while run.prune():
        pass
    assert 1100 < board.costs(run.model).params <= 1200


@pytest.mark.slow
def test_an_interrupted_run_resumes_to_the_same_bits(compressed, held, task, board, goal, tmp_path, monkeypatch):  # noqa: F811
    whole, result = compressed
    teach = pruning.teach

    def interrupted(*arguments):
        if arguments[-1].startswith("last"):
            raise KeyboardInterrupt
        teach(*arguments)

    monkeypatch.setattr(pruning, "teach", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compress(held, task, board, goal, METHOD, 0, tmp_path, augmentation=FEW)
    assert not (tmp_path / "best.pt").exists()
    monkeypatch.undo()
    with pytest.raises(InputError, match="--resume needs the same"):
        compress(held, task, board, goal, METHOD, 1, tmp_path, resume=True, augmentation=FEW)
    again = compress(held, task, board, goal, METHOD, 0, tmp_path, resume=True, augmentation=FEW)
    assert all(torch.equal(again.state_dict[name], value) for name, value in result.state_dict.items())
    assert (tmp_path / "rounds.json").read_text() == (whole / "rounds.json").read_text()


@pytest.mark.slow
def test_what_loses_too_much_is_rolled_back(held, task, board, tmp_path, capsys):  # noqa: F811
    """A teacher of nothing: every round ends with a network that says the same of all clips."""
    spoilt = dataclasses.replace(METHOD.lesson, learning_rate=1e3, labels=0, answers=0)
    method = dataclasses.replace(METHOD, lesson=spoilt, step=0.4, least_step=0.15)
    with pytest.raises(InputError, match=r"--params 500: 1,400 parameters too few for res1d-xs:16,12, the narrowest"):
        compress(held, task, board, Goal({"params": 500}, 5.0), method, 0, tmp_path, augmentation=FEW)
    history = json.loads((tmp_path / "rounds.json").read_text())
    assert [(each["kept"], each["step"]) for each in history] == [(True, 0.4), (False, 0.2), (False, 0.1)]
    assert capsys.readouterr().out.count("rolled back") == 2
    assert not (tmp_path / "best.pt").exists()


def test_a_bound_that_nothing_keeps_is_refused(held, task, board, tmp_path):  # noqa: F811
    least = board.costs("res1d-xs:4,4")
    with pytest.raises(InputError, match=r"--ram 100: [\d,]+ bytes too few for res1d-xs:4,4, the narrowest there is"):
        compress(held, task, board, Goal({"ram": 100, "flash": least.flash}), METHOD, 0, tmp_path, augmentation=FEW)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_exits_and_gates_still_train_on_it(compressed, task, tmp_path):  # noqa: F811
    _, result = compressed
    exits = train_exits(result, task, ExitRecipe((1,), epochs=1, batch=16), 0, tmp_path, augmentation=FEW)
    assert quantize(checkpoint.load(tmp_path / "exits.pt"), task).graph.main.outputs[-1]
    assert exits.model == result.model
    gated = GatedNetwork(result.network(), GateRecipe.size, 40)
    features = real(features_of(task.training, result.window)[:8], result.window.front_end)
    closed = [torch.ones(1, group.channels // GateRecipe.size) for group in gated.groups]
    closed[1][0, 0] = 0
    loss = gated(features, *closed).square().mean() + sum(each.square().mean() for each in gated.enrol(features))
    loss.backward()
    assert not torch.equal(gated(features, *closed), gated(features))
    assert all(torch.isfinite(value.grad).all() for value in gated.gating.parameters() if value.grad is not None)


@pytest.mark.parametrize("name", models.MODELS)
def test_every_network_can_be_pruned(name):
    network = models.build(name, 4)
    architecture = models.find(name)
    shape = (2, 1, 73, 40) if architecture.coefficients else (2, 1, 49, 10)
    scores = attention.of_filters(network, torch.randn(shape))
    total = sum(map(len, scores))
    small = models.narrow.narrowed(network, without(scores, total // 2, 4))
    assert small(torch.randn(shape)).shape == (2, 4)
    assert sum(widths_of(small)) < 0.75 * total


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "no goal"),
        (["--flash", "24q"], "--flash 24q: a number above 0 is accepted"),
        (["--flash", "0"], "--flash 0: a number above 0"),
        (["--max-drop", "-1"], "--max-drop -1.0: 0 or more"),
        (["--flash", "1k", "--granule", "0"], "--granule 0: 1 or more"),
        (["--flash", "1k", "--target", "z80"], "z80"),
    ],
)
def test_options_that_make_no_sense(options, message, tmp_path, capsys):
    out = tmp_path / "out"
    assert message in refused(capsys, "kws", "compress", tmp_path, "--data", tmp_path, "--out", out, *options)
    assert not out.exists()
