"""The specification: a graph's integers executed in NumPy, operator by operator as `numpy_operators` computes them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..graph import Entry, Graph
from .batches import BatchExecutor
from .numpy_operators import compute


class NumpyExecutor(BatchExecutor):
    """Executes what `lower` returns, and nothing else, so that its results are the definition of the right ones."""

    name = "numpy"
    batch = 16  # temporaries of int64 stay in the cache

    def __init__(self, graph: Graph, open_channels: Mapping[int, np.ndarray] | None = None) -> None:
        """`open_channels` maps tensors to bool[C] along their last axis (`gates.open_channels`): a channel that is not
        open holds its tensor's zero point, whatever the operator computed. This defines a personal network."""
        super().__init__(graph)
        self._open = open_channels or {}

    def _invoke(self, entry: Entry, values: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
        values = dict(values)
        for operator, step in self.steps[entry.name]:
            operands = (self._operand(index, values) for index in operator.inputs if index >= 0)
            computed = compute(step, *operands)
            results = computed if isinstance(computed, tuple) else (computed,)
            for index, result in zip(operator.outputs, results, strict=True):
                tensor = self.graph.tensors[index]
                values[index] = result.view(tensor.dtype).reshape(-1, *tensor.shape)
            output = operator.outputs[0]
            if output in self._open:
                zero_point = np.int8(self.graph.tensors[output].zero_point)
                values[output] = np.where(self._open[output], values[output], zero_point)
        return values

    def _operand(self, index: int, values: dict[int, np.ndarray]) -> np.ndarray:
        data = self.graph.tensors[index].data
        return values[index] if index in values or data is None else data[np.newaxis]
