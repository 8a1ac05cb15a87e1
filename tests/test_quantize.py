"""From a float network through NNCF to the integer graph: the same numbers, and refusals by name."""

from __future__ import annotations

import copy
import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from kws import cli, models
from kws.data.task import Task
from kws.models.bc_resnet import Block
from kws.models.layers import GlobalAverage, SameConv2d, conv_bn_relu
from kws.models.tracing import module_of, trace
from kws.quantization import export, nncf_quantize, qat
from kws.quantization import quantize as quantize_module
from kws.quantization.builder import Codes
from kws.quantization.nncf_quantize import DEFAULTS, Folded, fold
from kws.training import checkpoint, distillation
from kws.training.inference import logits, real
from kws.training.recipe import Views
from mcu_codegen.errors import InputError
from mcu_codegen.execute import tinygrad_executor
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph, Quantization
from mcu_codegen.listen.frontend import PRESETS
from mcu_codegen.listen.step import step_of
from mcu_codegen.lower import lower
from mcu_codegen.prove.streaming import against_windows, random_frames

SPEC = PRESETS["mfcc10"]
INPUT = Quantization((SPEC.scale,), (SPEC.zero_point,))
SHAPE = (1, 1, SPEC.frames(16000), SPEC.coefficients)


def separable() -> nn.Module:
    """The motif of DS-CNN: strided, depthwise and pointwise convolutions."""
    layers = conv_bn_relu(1, 8, (10, 4), (2, 2)) + conv_bn_relu(8, 8, (3, 3), (2, 2), groups=8)
    return nn.Sequential(*layers, *conv_bn_relu(8, 12, (1, 1)), GlobalAverage(), nn.Linear(12, 4))


class Residual(nn.Module):
    """Sums, functions and methods instead of modules, explicit and no padding, dropout, a head that flattens."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_bn_relu(1, 8, (10, 4), (2, 2)))
        self.first = nn.Conv2d(8, 8, 3, padding=1)
        self.second = SameConv2d(8, 8, (1, 1))
        self.valid = nn.Conv2d(8, 8, (3, 1), groups=8)
        self.dropout = nn.Dropout(0.1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(8, 4)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        x = self.stem(features)
        y = self.second(functional.relu(self.first(x)))
        x = torch.relu(x + self.dropout(y))
        return self.head(torch.flatten(self.pool(self.valid(x).relu()), 1))


def columns() -> nn.Module:
    """The motifs of BC-ResNet: explicit padding, norms of columns, means over them, sums with what they share."""
    stem = [nn.ZeroPad2d((1, 2, 0, 0)), nn.Conv2d(1, 8, 5, (1, 2), bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    blocks = [Block(8, 8, 1, 1, 5), Block(8, 12, 2, 2, 3)]
    return nn.Sequential(*stem, *blocks, nn.Conv2d(12, 12, (5, 3), groups=12), GlobalAverage(), nn.Linear(12, 4))


def trained(network: nn.Module) -> nn.Module:
    """After a short training: telling which of the first four coefficients is highest on average."""
    torch.manual_seed(1)
    codes = features(512, seed=1)
    inputs, labels = real(codes, SPEC), torch.from_numpy(codes.mean(1)[:, :4].argmax(1))
    optimizer = torch.optim.Adam(network.train().parameters(), lr=0.02)
    for step in range(64):
        rows = slice(64 * (step % 8), 64 * (step % 8 + 1))
        optimizer.zero_grad()
        functional.cross_entropy(network(inputs[rows]), labels[rows]).backward()
        optimizer.step()
    return network.eval()


def features(count: int, seed: int) -> np.ndarray:
    """int8[count, frames, coefficients]: a random level, a random slope over time, noise."""
    rng = np.random.default_rng(seed)
    shape = count, *SHAPE[2:]
    level, slope = rng.normal(0, 25, (count, 1, shape[2])), rng.normal(0, 25, (count, 1, shape[2]))
    time = np.linspace(-1, 1, shape[1])[:, np.newaxis]
    return np.clip(level + slope * time + rng.normal(0, 15, shape), -128, 127).astype(np.int8)


@functools.cache
def trained_separable() -> nn.Module:
    """Not to be changed."""
    torch.manual_seed(0)
    return trained(separable())


class Quantized:
    """A network in its three forms."""

    def __init__(self, network: nn.Module) -> None:
        self.folded = fold(network)
        self.network = nncf_quantize.quantize(self.folded, real(features(32, seed=2), SPEC), INPUT, DEFAULTS)
        self.graph = integers(self.network, self.folded)


def integers(network: nn.Module, folded: Folded) -> Graph:
    codes = nncf_quantize.read(network, folded, INPUT)
    return export.to_graph("network", trace(folded), codes, SHAPE, {})[0]


@pytest.fixture(scope="module", params=["separable", "residual"])
def quantized(request: pytest.FixtureRequest) -> Quantized:
    return Quantized(trained_separable() if request.param == "separable" else trained(Residual()))


def test_a_network_that_pads_no_time_becomes_a_step():
    torch.manual_seed(0)
    layers = [nn.ZeroPad2d((1, 1, 0, 0)), *conv_bn_relu(1, 8, (10, 4), (2, 2), same=False)]
    layers += [nn.ZeroPad2d((1, 1, 0, 0)), *conv_bn_relu(8, 8, (3, 3), groups=8, same=False)]
    graph = Quantized(trained(nn.Sequential(*layers, GlobalAverage(), nn.Linear(8, 4)))).graph
    graph.metadata["front_end"] = SPEC.name
    step = step_of(graph)
    heard = random_frames(step, 60)
    found = against_windows(graph, step, heard)
    assert found.passed and found.compared == 60 * 4
    assert len(np.unique(NumpyExecutor(step).run([heard])[step.main.outputs[0]])) > 10


def executed(graph: Graph, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(real-valued logits, int8 scores), both [N, labels]."""
    values = NumpyExecutor(graph).run([codes[:, np.newaxis, ..., np.newaxis]])
    softmax = graph.main.operators[-1]
    held = graph.tensors[softmax.inputs[0]]
    numbers = (values[softmax.inputs[0]].reshape(len(codes), -1).astype(float) - held.zero_point) * held.scale
    return numbers, values[softmax.outputs[0]].reshape(len(codes), -1)


def test_folding_changes_nothing():
    network, inputs = trained_separable(), real(features(16, seed=3), SPEC)
    with torch.no_grad():
        torch.testing.assert_close(fold(network)(inputs), network(inputs), rtol=1e-4, atol=1e-3)


def test_integers_equal_fake_quantisation(quantized: Quantized):
    codes = features(256, seed=4)
    fake = logits(quantized.network, codes, SPEC).numpy()
    numbers, scores = executed(quantized.graph, codes)
    step = quantized.graph.tensors[quantized.graph.main.operators[-1].inputs[0]].scale
    difference = np.abs(np.rint((numbers - fake) / step))
    assert np.mean(difference <= 1) > 0.99
    assert difference.max() <= 3
    assert np.mean(scores.argmax(1) == fake.argmax(1)) >= 0.98
    assert len(np.unique(fake.argmax(1))) > 1


def test_first_layer_does_not_drift(quantized: Quantized):
    """Its inputs are exact, so that what differs from NNCF is rounding alone: as often up as down."""
    codes = features(256, seed=4)
    values = NumpyExecutor(quantized.graph).run([codes[:, np.newaxis, ..., np.newaxis]])
    output = quantized.graph.main.operators[0].outputs[0]
    held, seen = quantized.graph.tensors[output], []
    post_hooks = nncf_quantize.get_hook_storage(quantized.network).post_hooks
    quantizer = next(hooks for key, hooks in post_hooks.items() if "relu" in key)["0"]
    quantizer.register_forward_hook(lambda *call: seen.append(call[-1]))
    logits(quantized.network, codes, SPEC)
    expected = torch.cat(seen).permute(0, 2, 3, 1).unsqueeze(1).numpy() / held.scale + held.zero_point
    difference = values[output] - np.rint(expected)
    assert np.abs(difference).max() <= 1
    assert abs(difference.mean()) < 0.0003


def test_fake_quantisation_is_near_float(quantized: Quantized):
    codes = features(256, seed=5)
    pair = [logits(network, codes, SPEC) for network in (quantized.folded, quantized.network)]
    assert (pair[0] - pair[1]).std() < 0.2 * pair[0].std()
    assert (pair[0].argmax(1) == pair[1].argmax(1)).float().mean() > 0.97


def test_input_is_the_front_ends(quantized: Quantized):
    (index,) = quantized.graph.main.inputs
    assert quantized.graph.tensors[index].quantization == INPUT
    assert quantized.graph.tensors[index].shape == (1, SHAPE[2], SHAPE[3], 1)
    every_code = np.arange(-128, 128, dtype=np.int8)
    values = real(every_code.reshape(1, 1, -1), SPEC)
    quantizer = nncf_quantize.get_hook_storage(quantized.network).post_hooks["features__0"]["0"]
    torch.testing.assert_close(quantizer(values), values, rtol=0, atol=1e-4)


def test_operators_and_scores(quantized: Quantized):
    kinds = [operator.kind for operator in quantized.graph.main.operators]
    assert kinds[-2:] == ["FULLY_CONNECTED", "SOFTMAX"]
    assert kinds.count("MEAN") == 1
    (index,) = quantized.graph.main.outputs
    assert quantized.graph.tensors[index].quantization == Quantization((1 / 256,), (-128,))
    for operator in quantized.graph.main.operators:
        if getattr(operator.options, "activation", "NONE") == "RELU":
            assert quantized.graph.tensors[operator.outputs[0]].zero_point == -128


def test_weights_are_nncfs_codes(quantized: Quantized):
    hooks = nncf_quantize.get_hook_storage(quantized.network).pre_hooks
    checked = 0
    for tensor in quantized.graph.tensors:
        if tensor.name.endswith(".weight"):
            assert tensor.data is not None
            assert tensor.quantization is not None
            path = tensor.name.removesuffix(".weight")
            (key,) = (key for key in hooks if key.startswith(path.replace(".", "/") + "/"))
            layer = quantized.network.get_submodule(path)
            expected = hooks[key]["0"](layer.weight).detach().numpy()
            codes = tensor.data.astype(np.float64)
            if codes.ndim == 4:
                depthwise = tensor.quantization.axis == 3
                codes = codes.transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
            scales = np.array(tensor.quantization.scale).reshape(-1, *(1,) * (codes.ndim - 1))
            np.testing.assert_allclose(codes * scales, expected, rtol=0, atol=1e-3 * scales.max())
            assert np.abs(codes).max() == 127
            checked += 1
    assert checked == len(hooks) == len([o for o in quantized.graph.main.operators if len(o.inputs) == 3])


def test_round_trip_through_the_file(quantized: Quantized):
    again = tflite.read_bytes(tflite.write(quantized.graph), "network")
    codes = features(8, seed=6)
    np.testing.assert_array_equal(executed(again, codes)[1], executed(quantized.graph, codes)[1])


def test_comparison_counts(quantized: Quantized, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tinygrad_executor, "unavailable", lambda: "NumPy is quicker for 16 clips")
    codes = features(16, seed=10)
    float_says = logits(quantized.folded, codes, SPEC).argmax(1).numpy()
    labels = np.where(np.arange(16) < 4, (float_says + 1) % 4, float_says)
    forms = quantize_module.Quantized(held(("a", "b", "c", "d")), quantized.folded, quantized.network, quantized.graph)
    comparison = forms.compare(codes, labels)
    assert comparison.clips == 16
    assert comparison.float_accuracy == 12 / 16
    integer_says = executed(quantized.graph, codes)[1].argmax(1)
    assert comparison.int8_accuracy == np.mean(integer_says == labels)
    assert comparison.int8_agrees_with_float == np.mean(integer_says == float_says)
    assert "75.00%" in comparison.text()


def test_a_network_of_columns(tmp_path):
    """After training and fine-tuned."""
    torch.manual_seed(0)
    network, codes = trained(columns()), features(256, seed=4)
    with torch.no_grad():
        inputs = real(codes, SPEC)
        torch.testing.assert_close(fold(network)(inputs), network(inputs), rtol=1e-4, atol=1e-3)
    quantized = Quantized(network)
    kinds = [operator.kind for operator in quantized.graph.main.operators]
    assert (kinds.count("PAD"), kinds.count("RESHAPE"), kinds.count("MEAN"), kinds.count("ADD")) == (1, 4, 3, 3)
    tuning = qat.FineTuning(quantized.network, quantized.folded, SPEC, qat.Schedule(1, 32), "test", seed=0)
    for _ in range(2):
        graph = integers(quantized.network, quantized.folded)
        again = tflite.read_bytes(tflite.write(graph), "network")
        fake, (numbers, scores) = logits(quantized.network, codes, SPEC).numpy(), executed(again, codes)
        step = graph.tensors[graph.main.operators[-1].inputs[0]].scale
        difference = np.abs(np.rint((numbers - fake) / step))
        assert np.mean(difference <= 1) > 0.95 and difference.max() <= 4
        assert np.mean(scores.argmax(1) == fake.argmax(1)) >= 0.98
        tuning.run(Views(features(256, seed=8), np.zeros(256, np.int64), 256), features(64, seed=9), tmp_path / "state")


def test_dead_channel_keeps_its_bias():
    fused = fold(trained_separable())
    layer = fused.network.get_submodule("0")
    layer.weight.data[3] = 0
    layer.weight.data[4] *= 1e-9
    layer.bias.data[3:5] = 5.0
    network = nncf_quantize.quantize(fused, real(features(32, seed=2), SPEC), INPUT, DEFAULTS)
    graph = integers(network, fused)
    codes = features(64, seed=7)
    values = NumpyExecutor(graph).run([codes[:, np.newaxis, ..., np.newaxis]])
    output = graph.main.operators[0].outputs[0]
    held = graph.tensors[output]
    assert np.all(np.abs((values[output][..., 3:5] - float(held.zero_point)) * held.scale - 5.0) <= held.scale)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Sequential(SameConv2d(1, 4, (3, 3)), nn.Sigmoid()), r"'network\.1' \(Sigmoid\) is not supported"),
        (nn.Sequential(nn.ReLU(), SameConv2d(1, 4, (3, 3))), r"'network\.0' \(ReLU\) is not supported"),
        (nn.Sequential(nn.Conv2d(1, 4, 3, padding=2)), r"'network\.0' \(Conv2d\): padding \(2, 2\)"),
        (nn.Sequential(SameConv2d(1, 4, (3, 3)), nn.Conv2d(4, 4, 1, groups=2)), r"'network\.1' \(Conv2d\): 2 groups"),
        (nn.Sequential(nn.Conv2d(1, 4, 1), nn.Flatten()), r"'network\.1' \(Flatten\).*one position"),
    ],
    ids=["sigmoid", "lone relu", "padding", "groups", "flatten"],
)
def test_unsupported_layer_is_named(network: nn.Module, message: str):
    folded = fold(network)
    traced = trace(folded)
    codes = Codes({}, {}, {node.name: INPUT for node in traced.graph.nodes})
    for node in traced.graph.nodes:
        layer = module_of(node)
        if isinstance(layer, nn.Conv2d):
            codes.weights[node.name] = np.ones(layer.weight.shape, np.int8), np.ones(len(layer.weight), np.float32)
            codes.biases[node.name] = np.zeros(len(layer.weight))
    with pytest.raises(InputError, match=message):
        export.to_graph("network", traced, codes, SHAPE, {})


def test_normalisation_without_convolution_is_refused():
    with pytest.raises(InputError, match=r"'0' \(BatchNorm2d\) does not follow"):
        fold(nn.Sequential(nn.BatchNorm2d(1), SameConv2d(1, 4, (3, 3))))


class Interrupted(Views):
    """Views that run out of patience before the second epoch."""

    def epoch(self, number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        if number == 1:
            raise KeyboardInterrupt
        return super().epoch(number, seed)


def test_fine_tuning_helps_and_resumes_to_the_same_weights(tmp_path):
    start = Quantized(trained_separable())
    teacher = copy.deepcopy(start.folded)
    with torch.no_grad():  # something to learn
        teacher.network.get_submodule("10").weight *= 1.5
    schedule = qat.Schedule(epochs=2, batch=32, learning_rate=3e-3)
    clips = features(1024, seed=8), np.zeros(1024, np.int64)
    validation = features(64, seed=9)

    def tuning() -> qat.FineTuning:
        return qat.FineTuning(copy.deepcopy(start.network), teacher, SPEC, schedule, "test", seed=0)

    def divergence(network: nn.Module) -> float:
        return float(distillation.divergence(logits(network, validation, SPEC), logits(teacher, validation, SPEC)))

    whole = tuning()
    whole.run(Views(*clips, 512), validation, tmp_path / "whole.pt")
    assert divergence(whole.student) < 0.8 * divergence(start.network)

    halted, state = tuning(), tmp_path / "halted.pt"
    with pytest.raises(KeyboardInterrupt):
        halted.run(Interrupted(*clips, 512), validation, state)
    resumed = tuning()
    resumed.restore(state)
    resumed.run(Views(*clips, 512), validation, state)
    for name, value in whole.student.state_dict().items():
        torch.testing.assert_close(resumed.student.state_dict()[name], value, rtol=0, atol=0)

    other = qat.FineTuning(copy.deepcopy(start.network), teacher, SPEC, schedule, "other", seed=0)
    with pytest.raises(InputError, match="--resume needs the same network"):
        other.restore(state)


def held(labels: tuple[str, ...]) -> checkpoint.Checkpoint:
    torch.manual_seed(0)
    return checkpoint.Checkpoint("ds-cnn-s", labels, "mfcc10", models.build("ds-cnn-s", len(labels)).state_dict())


def test_labels_of_another_task_are_refused():
    empty = None
    task = Task("test", ("_silence_", "_unknown_", "no"), "", empty, empty, empty, ())  # type: ignore[arg-type]
    with pytest.raises(
        InputError, match="_silence_, _unknown_, no do not match the network's: _silence_, _unknown_, yes"
    ):
        quantize_module.quantize(held(("_silence_", "_unknown_", "yes")), task)


def test_nan_is_refused_and_nothing_written(tmp_path, capsys):
    bad = held(("_silence_", "_unknown_", "yes"))
    bad.state_dict["0.weight"][0] = float("nan")
    checkpoint.save(tmp_path / "bad.pt", bad)
    arguments = ["quantize", str(tmp_path / "bad.pt"), "--data", str(tmp_path), "-o", str(tmp_path / "model.tflite")]
    assert cli.main(arguments) == 2
    assert "layer 0.weight holds NaN" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["bad.pt"]


def test_no_multiplier_of_a_half() -> None:
    """Large weights make up for an input channel that hardly uses its tensor's range: the output's range gives way."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, (1, 10)),
        nn.ReLU(),
        nn.Conv2d(8, 8, (3, 1), groups=8),
        nn.Conv2d(8, 8, 1),
        nn.ReLU(),
        GlobalAverage(),
        nn.Linear(8, 4),
    )
    with torch.no_grad():
        network[0].weight[3] *= 0.002
        network[0].bias[3] *= 0.002
        network[2].weight[3] *= 500
    graph = Quantized(network).graph
    shifts = {
        operator.kind: lower(graph, operator, layer).requantization.shift.max()
        for layer, operator in graph.layers(graph.main)
        if "CONV" in operator.kind
    }
    assert max(shifts.values()) <= -1, shifts
