"""LiteRT's reference kernels as an executor: the independent oracle of the integer contract.

Always the resolver BUILTIN_REF; the default one rounds differently. The package (extra ``litert``) may be absent: ask
`unavailable` first.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import InputError
from ..formats import tflite
from ..graph import Entry, Graph, Operator, Tensor


def unavailable() -> str:
    """Why LiteRT cannot be used here, or "" where it can."""
    try:
        import ai_edge_litert.interpreter  # noqa: F401
    except (ImportError, OSError) as error:  # OSError: installed, but its library does not load
        return f"the package ai-edge-litert (extra 'litert') cannot be imported: {error}"
    return ""


@lru_cache(maxsize=64)
def _interpreter(model: bytes) -> Any:
    """A ready interpreter of `model`; one is kept per file."""
    if reason := unavailable():
        raise InputError(f"LiteRT: {reason}")
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    try:
        interpreter = Interpreter(
            model_content=model,
            experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
            experimental_preserve_all_tensors=True,
            num_threads=1,
        )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise InputError(f"LiteRT refuses the model: {' '.join(str(error).split())}") from None
    return interpreter


class LiteRTExecutor:
    """Runs a ``.tflite``; tensor indices are those of `tflite.read_bytes` of the same bytes."""

    name = "litert"

    def __init__(self, model: bytes) -> None:
        self.graph = tflite.read_bytes(model, self.name)
        self._entries = {entry.name: (entry, *_stateless(self.graph, entry)) for entry in self.graph.entries}
        self._state: dict[int, np.ndarray] = {}
        self.reset()

    def reset(self) -> None:
        """Persistent tensors take their initial values again."""
        tensors = enumerate(self.graph.tensors)
        self._state = {index: tensor.data for index, tensor in tensors if tensor.persistent and tensor.data is not None}

    def run(self, inputs: list[np.ndarray], entry: str | None = None) -> dict[int, np.ndarray]:
        """Values (N, *shape) of every operator's outputs, by tensor index; `inputs` are (N, *shape) each.

        Samples run one after the other and persistent tensors are carried from one to the next.
        """
        chosen, model, written = self._entries[self.graph.entry(entry).name]
        interpreter = _interpreter(model)
        results: dict[int, list[np.ndarray]] = {index: [] for index in written}
        read = {index for operator in chosen.operators for index in operator.inputs}
        for sample in zip(*inputs, strict=True):
            state = {index: value for index, value in self._state.items() if index in read}
            for index, value in [*zip(chosen.inputs, sample, strict=True), *state.items()]:
                interpreter.set_tensor(index, value)
            interpreter.invoke()
            for index, place in written.items():
                results[index].append(interpreter.get_tensor(place))
                if index in self._state:
                    self._state[index] = results[index][-1]
        return {index: np.array(values) for index, values in results.items()}


def run_file(model: bytes, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs (N, *shape) of a file as it is, in its order; `inputs` are (N, *shape) each, in the file's order."""
    interpreter = _interpreter(model)
    sources, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    results: list[list[np.ndarray]] = [[] for _ in outputs]
    for sample in zip(*inputs, strict=True):
        for detail, value in zip(sources, sample, strict=True):
            interpreter.set_tensor(detail["index"], value)
        interpreter.invoke()
        for values, detail in zip(results, outputs, strict=True):
            values.append(interpreter.get_tensor(detail["index"]))
    return [np.array(values) for values in results]


def run_operator(graph: Graph, operator: Operator, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs (N, *shape) of `operator` alone. `inputs` (N, *shape): one for each that is not constant, in order.

    Alone, an operator cannot pass on a difference that an earlier one made.
    """
    variable = (index for index in operator.inputs if index >= 0 and not graph.tensors[index].constant)
    entry = Entry("operator", tuple(dict.fromkeys(variable)), operator.outputs[:1], [operator])
    model, written = _stateless(graph, entry)
    interpreter = _interpreter(model)
    results: list[list[np.ndarray]] = [[] for _ in operator.outputs]
    for sample in zip(*inputs, strict=True):
        for index, value in zip(entry.inputs, sample, strict=True):
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        for values, index in zip(results, operator.outputs, strict=True):
            values.append(interpreter.get_tensor(written[index]))
    return [np.array(values) for values in results]


def _stateless(graph: Graph, entry: Entry) -> tuple[bytes, dict[int, int]]:
    """`entry` as a file of its own, and where it holds each tensor that an operator writes.

    LiteRT runs subgraph 0 only, and no operator of it may write a tensor that it reads, but for `STATES`. So other
    persistent tensors become inputs, and what is written to them a tensor beyond the graph's own; all others keep their
    index. CONV_2D, alone among operators with a bias, cannot do without.
    """
    used = {index for operator in entry.operators for index in operator.inputs}
    states = {index for operator in entry.operators for index in operator.outputs[1:]}
    tensors = [
        tensor
        if index in states
        else replace(tensor, persistent=False, data=tensor.data if tensor.constant and index in used else None)
        for index, tensor in enumerate(graph.tensors)
    ]
    persistent = (index for index in sorted(used - states) if index >= 0 and graph.tensors[index].persistent)
    operators: list[Operator] = []
    written: dict[int, int] = {}
    for operator in entry.operators:
        inputs = tuple(written.get(index, index) for index in operator.inputs)
        if operator.kind == "SVDF" and graph.tensors[inputs[4]].dtype != "int16":
            raise InputError("LiteRT reads the state of SVDF as int16, whatever it is")
        if operator.kind == "CONV_2D" and -1 in (*inputs, -1)[:3]:
            inputs = (*inputs[:2], len(tensors))
            channels = graph.tensors[inputs[1]].shape[0]
            dtype = "int64" if graph.tensors[inputs[0]].dtype == "int16" else "int32"
            tensors.append(Tensor("zeros", (channels,), dtype, data=np.zeros(channels, dtype)))
        for index in operator.outputs:
            written[index] = index
            if graph.tensors[index].persistent and index not in states:
                written[index] = len(tensors)
                tensors.append(tensors[index])
        operators.append(replace(operator, inputs=inputs, outputs=tuple(written[index] for index in operator.outputs)))
    alone = Entry(
        entry.name,
        tuple(dict.fromkeys(index for index in (*entry.inputs, *persistent) if index not in states)),
        tuple(written[index] for index in entry.outputs),
        operators,
    )
    return tflite.write(Graph(entry.name, tensors, [alone])), written
