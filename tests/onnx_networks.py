"""Networks exported by PyTorch and quantised by ONNX Runtime, with random weights.

As a script, writes them all into the folder that is named.
"""

from __future__ import annotations

import io
import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import nn
from torch.ao import quantization
from torch.ao.quantization import quantize_fx


def separable(channels: int, out: int, stride: int = 1, clamp: type[nn.Module] = nn.ReLU) -> list[nn.Module]:
    return [
        *(nn.Conv2d(channels, channels, 3, stride, 1, groups=channels), clamp()),
        *(nn.Conv2d(channels, out, 1), clamp()),
    ]


def ds_cnn() -> tuple[nn.Module, tuple[int, ...]]:
    """Of the shape of DS-CNN-S, narrower."""
    body = [layer for _ in range(2) for layer in separable(16, 16)]
    first = [nn.Conv2d(1, 16, (10, 4), 2, (5, 1)), nn.ReLU()]
    last = [nn.AvgPool2d((25, 5)), nn.Flatten(), nn.Linear(16, 12), nn.Softmax(1)]
    return nn.Sequential(*first, *body, *last), (1, 49, 10)


class Residual(nn.Module):
    """Of images of three channels: sums, a pool with padding, a concatenation, a gate, a flattened image."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, 2, 1)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.left, self.right = nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1)
        self.squeeze, self.scores = nn.Conv2d(16, 16, 1), nn.Linear(16 * 4 * 4, 5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        here = self.pool(torch.relu(self.first(image)))
        here = torch.relu(here + self.right(torch.relu(self.left(here))))
        both = torch.cat([here, self.left(here)], 1)
        gate = torch.sigmoid(self.squeeze(both.mean((2, 3), keepdim=True)))
        return self.scores((both * gate).flatten(1))


def mobile() -> tuple[nn.Module, tuple[int, ...]]:
    """With ReLU6 and a Hardswish."""
    first = [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU6()]
    body = [*separable(8, 16, 1, nn.ReLU6), *separable(16, 24, 2, nn.ReLU6)]
    last = [nn.Conv2d(24, 24, 1), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10)]
    return nn.Sequential(*first, *body, *last), (3, 16, 16)


def signal() -> tuple[nn.Module, tuple[int, ...]]:
    """Convolutions over time, as TC-ResNet has them."""
    layers = [nn.Conv1d(10, 12, 3, 1, 1), nn.ReLU(), nn.Conv1d(12, 12, 9, 2, 4), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(12, 4)), (10, 49)


NETWORKS = {"ds_cnn": ds_cnn, "residual": lambda: (Residual(), (3, 16, 16)), "mobile": mobile, "signal": signal}


class _Clips(CalibrationDataReader):
    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        rng = np.random.default_rng(0)
        self.clips: Iterator[dict[str, np.ndarray]] = iter(
            [{name: rng.normal(0, 1, (1, *shape)).astype(np.float32)} for _ in range(4)]
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.clips, None)


def exported(network: nn.Module, shape: tuple[int, ...]) -> bytes:
    """Float ONNX, by the exporter that needs no further package."""
    written = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network.eval(), (torch.zeros(1, *shape),), written, dynamo=False, opset_version=17)
    return written.getvalue()


def quantized(name: str, dtype: str = "int8", per_channel: bool = True) -> bytes:
    """QDQ form of a network; its weights are int8, its activations `dtype`."""
    torch.manual_seed(1)
    network, shape = NETWORKS[name]()
    model = onnx.load_from_string(exported(network, shape))
    kind = {"int8": QuantType.QInt8, "uint8": QuantType.QUInt8}[dtype]
    logging.getLogger().setLevel(logging.ERROR)  # it advises to prepare the model, in vain
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quantized.onnx"
        quantize_static(
            model,
            path,
            _Clips(model.graph.input[0].name, shape),
            quant_format=QuantFormat.QDQ,
            per_channel=per_channel,
            activation_type=kind,
            weight_type=QuantType.QInt8,
        )
        return path.read_bytes()


def quantized_by_pytorch(aware: bool) -> bytes:
    """The mobile network, calibrated and converted, or as training that is `aware` of quantisation leaves it."""
    torch.manual_seed(1)
    network, shape = mobile()
    clips = torch.randn(4, *shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not aware:
            mapping = quantization.get_default_qconfig_mapping("x86")
            prepared = quantize_fx.prepare_fx(network.eval(), mapping, (clips,))
            prepared(clips)
            return exported(quantize_fx.convert_fx(prepared), shape)
        fake = quantization.FakeQuantize
        activation = fake.with_args(observer=quantization.MovingAverageMinMaxObserver, quant_min=0, quant_max=255)
        weight = fake.with_args(
            observer=quantization.MovingAveragePerChannelMinMaxObserver,
            quant_min=-128,
            quant_max=127,
            dtype=torch.qint8,
            qscheme=torch.per_channel_symmetric,
        )
        everywhere = quantization.QConfigMapping().set_global(quantization.QConfig(activation, weight))
        prepared = quantize_fx.prepare_qat_fx(network.train(), everywhere, (clips,))
        prepared(clips)
        prepared.apply(quantization.disable_observer)
        return exported(prepared, shape)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in NETWORKS:
        for dtype in ("int8", "uint8"):
            (folder / f"{name}_{dtype}.onnx").write_bytes(quantized(name, dtype))
    for name, aware in (("mobile_converted", False), ("mobile_aware", True)):
        (folder / f"{name}.onnx").write_bytes(quantized_by_pytorch(aware))
