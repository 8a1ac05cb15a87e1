"""Networks: published sizes, TFLite's padding, and what the quantiser needs of them."""

import numpy as np
import pytest
import torch
from torch import nn

from kws.features import Window
from kws.models import MODELS, build, find, streaming
from kws.models.count import Count, count
from kws.models.layers import ChannelsToColumns, ColumnsToChannels, SameConv2d, SubSpectralNorm, same_padding
from kws.quantization.nncf_quantize import fold
from kws.quantization.representative import representative
from mcu_codegen.errors import InputError
from mcu_codegen.listen.step import step_of


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ds-cnn-s", Count(2_656_768, 22_604)),
        ("ds-cnn-m", Count(9_816_384, 135_032)),
        ("ds-cnn-l", Count(28_327_812, 410_700)),
    ],
)
def test_published_size(name, expected):
    assert count(build(name, 12), 49, 10) == expected


def test_streaming_forms():
    assert streaming("ds-cnn-s") == streaming("ds-cnn-s-streaming") == "ds-cnn-s-streaming"
    assert streaming("ds-cnn-s:8,8") == "ds-cnn-s-streaming:8,8"
    assert streaming("res1d-s:40") == "res1d-s:40"  # pads no time as it is
    with pytest.raises(InputError, match="model 'res2d' is unknown"):
        streaming("res2d")


@pytest.mark.parametrize("name", MODELS)
def test_what_is_said_to_stream_does(name):
    architecture = find(name)
    window = Window(architecture.front_end, architecture.context)
    graph = representative(name, 12, window)
    if architecture.streaming:
        assert step_of(graph).step.window == window.frames(16000)
    else:
        with pytest.raises(InputError, match="pads time"):
            step_of(graph)


@pytest.mark.parametrize("size", ["s", "m"])
def test_a_streaming_ds_cnn_pads_no_time(size):
    """What is four frames later in the input is as many strides later in the last layer; weights stay as many."""
    network, features = moved(f"ds-cnn-{size}-streaming")
    assert features.shape[2:] == (73, 10)
    body = network[:-2]
    with torch.no_grad():
        first, later = body(features[:, :, :-4]), body(features[:, :, 4:])
    stride = {"s": 2, "m": 4}[size]
    torch.testing.assert_close(later[:, :, : -4 // stride], first[:, :, 4 // stride :], atol=1e-5, rtol=1e-5)
    assert first.shape[3] == 5
    assert count(network, 73, 10).parameters == count(build(f"ds-cnn-{size}", 12), 49, 10).parameters


def test_unknown_model_is_named():
    with pytest.raises(InputError, match="ds-cnn-xl"):
        build("ds-cnn-xl", 12)


@pytest.mark.parametrize(
    ("size", "kernel", "stride"), [(49, 10, 2), (10, 4, 2), (10, 4, 1), (25, 3, 2), (5, 3, 1), (4, 1, 2)]
)
def test_same_padding_against_its_definition(size, kernel, stride):
    before, after = same_padding(size, kernel, stride)
    steps = (size + before + after - kernel) // stride + 1
    assert steps == -(-size // stride)
    assert before <= after <= before + 1


def test_same_conv_by_hand():
    torch.manual_seed(0)
    layer = SameConv2d(1, 1, (10, 4), (2, 2))
    x = torch.randn(1, 1, 49, 10)
    kernel = layer.weight[0, 0].detach().numpy()
    padded = np.pad(x[0, 0].numpy(), ((4, 5), (1, 1)))
    by_hand = [[(padded[2 * i : 2 * i + 10, 2 * j : 2 * j + 4] * kernel).sum() for j in range(5)] for i in range(25)]
    np.testing.assert_allclose(layer(x)[0, 0].detach(), by_hand, atol=1e-5)


def moved(name: str) -> tuple[nn.Module, torch.Tensor]:
    """A network whose running statistics have left their initial values, and features for it."""
    torch.manual_seed(0)
    architecture = MODELS[name]
    window = Window(architecture.front_end, architecture.context)
    features = torch.randn(8, 1, window.frames(16000), window.front_end.coefficients)
    network = architecture.build(12).train()
    network(features)
    return network.eval(), features


@pytest.mark.parametrize("name", MODELS)
def test_batch_norm_folds(name):
    network, features = moved(name)
    with torch.no_grad():
        expected = network(features)
        folded = fold(network)
        torch.testing.assert_close(folded(features), expected, atol=1e-4, rtol=1e-4)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())


def test_every_column_is_normalised_on_its_own():
    values = torch.randn(4, 3, 6, 5) * torch.arange(1.0, 6) + torch.arange(5.0)
    normal = SubSpectralNorm(3, 5)(values)
    torch.testing.assert_close(normal.mean((0, 2)), torch.zeros(3, 5), atol=1e-5, rtol=0)
    torch.testing.assert_close(normal.var((0, 2), correction=0), torch.ones(3, 5), atol=1e-3, rtol=0)


def test_gradients_do_not_depend_on_the_order_of_memory():
    def gradients(channels_last):
        torch.manual_seed(0)
        network = build("bc-resnet-1", 4).double().train()
        if channels_last:
            network.to(memory_format=torch.channels_last)
        features = torch.randn((2, 1, 73, 40), dtype=torch.double, generator=torch.Generator().manual_seed(1))
        network(features).square().sum().backward()
        return torch.cat([parameter.grad.flatten() for parameter in network.parameters()])

    torch.testing.assert_close(gradients(True), gradients(False))


def test_columns_become_channels_and_back():
    values = torch.randn(2, 3, 4, 5)
    spread = ColumnsToChannels()(values)
    torch.testing.assert_close(spread[:, 2 * 3 + 1, :, 0], values[:, 1, :, 2])
    torch.testing.assert_close(ChannelsToColumns(5)(spread), values)
    last = values.contiguous(memory_format=torch.channels_last)
    assert ColumnsToChannels()(last).data_ptr() == last.data_ptr()


@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith(("res1d", "bc-resnet"))])
def test_time_is_nowhere_padded(name):
    """A window that starts a stem's stride later gives the same rows, a row later: what a stream relies on."""
    network, features = moved(name)
    body = network[:-2]
    stride = int(np.prod([layer.stride[0] for layer in body.modules() if isinstance(layer, nn.Conv2d)]))
    longer = torch.cat([features, torch.randn(8, 1, stride, 40)], 2)
    with torch.no_grad():
        torch.testing.assert_close(body(longer[:, :, stride:])[:, :, :-1], body(features)[:, :, 1:])
