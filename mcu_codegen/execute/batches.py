"""What executors of whole graphs share: lowering, checks of the inputs, batches, and persistent tensors."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..graph import Entry, Graph, Operator
from ..lower import Lowered, lower


class BatchExecutor:
    """Runs samples in batches; a subclass computes one batch in `_invoke`.

    Where an entry updates a persistent tensor, a batch is one sample, for the next one needs what this one leaves.
    """

    name: str
    batch: int  # samples computed together

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.steps: dict[str, list[tuple[Operator, Lowered]]] = {
            entry.name: [(operator, lower(graph, operator, layer)) for layer, operator in graph.layers(entry)]
            for entry in graph.entries
        }
        self._state: dict[int, np.ndarray] = {}
        self.reset()

    def reset(self) -> None:
        """Persistent tensors take their initial values again."""
        for index, tensor in enumerate(self.graph.tensors):
            if tensor.persistent and tensor.data is not None:
                self._state[index] = tensor.data.reshape(1, *tensor.shape)

    def run(self, inputs: list[np.ndarray], entry: str | None = None) -> dict[int, np.ndarray]:
        """Values (N, *shape) of every operator's outputs, by tensor index; `inputs` are (N, *shape) each.

        Samples run one after the other and persistent tensors are carried from one to the next. Raises InputError where
        the inputs are not the entry's.
        """
        chosen = self.graph.entry(entry)
        count = self._count(chosen, inputs)
        written = {index for operator in chosen.operators for index in operator.outputs}
        updated = written & self._state.keys()
        batch = 1 if updated else self.batch
        tensors = self.graph.tensors
        results = {index: np.empty((count, *tensors[index].shape), tensors[index].dtype) for index in written}
        for begin in range(0, count, batch):
            here = slice(begin, min(begin + batch, count))
            values = {index: data[here] for index, data in zip(chosen.inputs, inputs, strict=True)}
            outputs = self._invoke(chosen, self._state | values)
            for index in written:
                results[index][here] = outputs[index]
            for index in updated:
                self._state[index] = outputs[index].copy()
        return results

    def _invoke(self, entry: Entry, values: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
        """Every operator's outputs for a batch; `values` are inputs (n, *shape) and persistent tensors (1, *shape)."""
        raise NotImplementedError

    def _count(self, entry: Entry, inputs: list[np.ndarray]) -> int:
        if len(inputs) != len(entry.inputs):
            raise InputError(f"entry '{entry.name}' takes {len(entry.inputs)} inputs, not {len(inputs)}")
        for index, data in zip(entry.inputs, inputs, strict=True):
            tensor = self.graph.tensors[index]
            if data.shape != (len(inputs[0]), *tensor.shape) or data.dtype != tensor.dtype:
                raise InputError(
                    f"input '{tensor.name}' is {data.dtype} {data.shape};"
                    f" {tensor.dtype} (N, {', '.join(map(str, tensor.shape))}) is accepted, one N for all inputs"
                )
        return len(inputs[0]) if inputs else 1
