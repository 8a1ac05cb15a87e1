"""Gated networks that answer for many users at once: in float, and in the integers of the board."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.graph import Graph
from mcu_codegen.users import gates as integer_gates

from .choices import Gates
from .gated import GatedNetwork

_BATCH = 512


class Runner(Protocol):
    """A network over a fixed set of clips, which rows index."""

    def said(self) -> list[Tensor]:
        """What enrolment says of every clip: gate logits [N, gates] by group."""
        ...

    def whole(self) -> tuple[Tensor, Tensor]:
        """With all gates open, what the last layer sees of every clip, [N, channels], and its logits [N, labels]."""
        ...

    def outputs(self, queries: Sequence[np.ndarray], gates: Sequence[Gates]) -> list[Tensor]:
        """Logits of each user's rows under her gates."""
        ...


class FloatRunner:
    def __init__(self, network: GatedNetwork, features: Tensor) -> None:
        """`features` are real values [N, 1, frames, coefficients]."""
        self.network, self.features = network.eval(), features

    @torch.no_grad()
    def said(self) -> list[Tensor]:
        sizes = [group.channels // self.network.size for group in self.network.groups]
        return list(_in_batches(lambda part: torch.cat(self.network.enrol(part), 1), self.features).split(sizes, 1))

    @torch.no_grad()
    def whole(self) -> tuple[Tensor, Tensor]:
        network = self.network.backbone
        pooled = _in_batches(network[:-1], self.features)
        return pooled, network[-1](pooled)

    @torch.no_grad()
    def outputs(self, queries: Sequence[np.ndarray], gates: Sequence[Gates]) -> list[Tensor]:
        return _by_gates(
            lambda rows, opened: _in_batches(lambda part: self.network(part, *opened), self.features[rows]),
            queries,
            gates,
        )


class IntegerRunner:
    def __init__(self, model: Graph, enrolment: Graph, codes: np.ndarray) -> None:
        """`codes` are int8 features [N, frames, coefficients]; logits are those that the softmax sees."""
        self.model, self.enrolment = model, enrolment
        self.codes = codes[:, np.newaxis, ..., np.newaxis]
        softmax = model.main.operators[-1]
        self._logits, self._pooled = softmax.inputs[0], model.main.operators[-2].inputs[0]

    def said(self) -> list[Tensor]:
        values = NumpyExecutor(self.enrolment).run([self.codes])
        return [_real(self.enrolment, index, values) for index in self.enrolment.main.outputs]

    def whole(self) -> tuple[Tensor, Tensor]:
        values = NumpyExecutor(self.model).run([self.codes])
        return _real(self.model, self._pooled, values), _real(self.model, self._logits, values)

    def outputs(self, queries: Sequence[np.ndarray], gates: Sequence[Gates]) -> list[Tensor]:
        def answers(rows: np.ndarray, opened: Gates) -> Tensor:
            channels = integer_gates.open_channels(self.model, [gate[0].bool().numpy() for gate in opened])
            values = NumpyExecutor(self.model, channels).run([self.codes[rows]])
            return _real(self.model, self._logits, values)

        return _by_gates(answers, queries, gates)


def _by_gates(
    answers: Callable[[np.ndarray, Gates], Tensor], queries: Sequence[np.ndarray], gates: Sequence[Gates]
) -> list[Tensor]:
    """Logits of each user's rows. Users with the same gates, and many have, are answered together, no row twice."""
    alike: dict[bytes, list[int]] = {}
    for user, opened in enumerate(gates):
        alike.setdefault(torch.cat(opened, 1).bool().numpy().tobytes(), []).append(user)
    found: dict[int, Tensor] = {}
    for users in alike.values():
        rows = np.unique(np.concatenate([queries[user] for user in users]))
        outputs = answers(rows, gates[users[0]])
        found.update({user: outputs[np.searchsorted(rows, queries[user])] for user in users})
    return [found[user] for user in range(len(queries))]


def _real(graph: Graph, index: int, values: dict[int, np.ndarray]) -> Tensor:
    """A tensor's codes as real values, float32[N, all the rest]."""
    tensor = graph.tensors[index]
    codes = values[index].reshape(len(values[index]), -1).astype(np.float32)
    return torch.from_numpy((codes - tensor.zero_point) * np.float32(tensor.scale))


def _in_batches(network: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
    return torch.cat([network(features[start : start + _BATCH]) for start in range(0, len(features), _BATCH)])
