"""Networks that teach others by their answers (Hinton et al., arXiv 1503.02531)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from mcu_codegen.errors import InputError

from ..features import Window
from . import checkpoint
from .checkpoint import Checkpoint


class Teachers:
    """Trained networks whose mean of logits is the answer."""

    def __init__(self, teachers: Sequence[Checkpoint], labels: tuple[str, ...], window: Window) -> None:
        """Raises InputError where a teacher's labels or window are others than `labels` and `window`."""
        for each in teachers:
            if (each.labels, each.window) != (labels, window):
                raise InputError(
                    f"--teacher: front end {each.front_end}, {each.window.context} frames of context, labels"
                    f" {', '.join(each.labels)}; accepted are {window.preset}, {window.context} and {', '.join(labels)}"
                )
        self._networks = [each.network().to(memory_format=torch.channels_last).eval() for each in teachers]  # type: ignore[call-overload]
        self.fingerprints = [checkpoint.fingerprint(each) for each in self._networks]

    def __len__(self) -> int:
        return len(self._networks)

    @torch.no_grad()
    def __call__(self, features: Tensor) -> Tensor:
        """Logits [N, labels] for features [N, 1, frames, coefficients]."""
        return torch.stack([network(features) for network in self._networks]).mean(0)


def divergence(outputs: Tensor, target: Tensor) -> Tensor:
    """Mean Kullback-Leibler divergence in nats of softmax(outputs) from softmax(target); logits [N, labels] both."""
    return kl_div(log_softmax(outputs, 1), log_softmax(target, 1), reduction="batchmean", log_target=True)


def softened_divergence(outputs: Tensor, answers: Tensor) -> Tensor:
    """The divergence of the distribution of logits `outputs` from that of `answers`, both softened by temperature 2;
    times its square, so that gradients keep their size (Hinton et al., section 2)."""
    return 4 * divergence(outputs / 2, answers / 2)
