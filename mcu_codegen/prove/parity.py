"""Every executor on the same bytes, compared with NumPy, the specification: every layer, every byte.

An executor that is not here is named with the reason, never passed over.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import numpy as np

from ..emit.plan import INPUTS
from ..emit.portable.renderer import Renderer
from ..emulate import toolchain
from ..emulate.core_executor import CoreExecutor
from ..emulate.host_executor import HostExecutor
from ..emulate.machine import Machine, MachineError
from ..emulate.machines import machines
from ..emulate.toolchain import Toolchain
from ..errors import InputError
from ..execute import tinygrad_executor
from ..execute.numpy_executor import NumpyExecutor
from ..graph import Graph
from ..lower import Requantization
from ..targets import Target
from ..users.exits import Exit, answers, exits_of
from . import against_litert
from .comparison import Comparison, Difference, Report, add

Values = dict[int, np.ndarray]
Inputs = Mapping[str, list[np.ndarray]]
"""By entry, the values (N, *shape) of its inputs."""


class Executor(Protocol):
    """See `execute.batches.BatchExecutor`."""

    name: str

    def reset(self) -> None: ...

    def run(self, inputs: list[np.ndarray], entry: str | None = None) -> Values: ...


@dataclass(frozen=True)
class Absent:
    """An executor that cannot run here, and why."""

    name: str
    reason: str


_Made = TypeVar("_Made")


def executors(
    graph: Graph,
    targets: Sequence[Target],
    compiler: str | None = None,
    renderers: Mapping[str, Renderer] | None = None,
    inputs: str = INPUTS[0],
) -> list[Executor | Absent]:
    """All that can execute `graph`, built: tinygrad, this host's C, and C on `targets` in each of their emulators.

    `renderers`, by target, are by default those of the targets' instruction sets; `inputs` is one of
    `emit.plan.INPUTS`.
    """
    found: list[Executor | Absent] = []
    reason = tinygrad_executor.unavailable()
    found.append(Absent("tinygrad", reason) if reason else tinygrad_executor.TinygradExecutor(graph))
    try:
        found.append(HostExecutor(graph, inputs=inputs))
    except InputError as error:
        found.append(Absent("host", str(error)))

    def on_core(target: Target, machine: Machine, compiler: Toolchain) -> Executor:
        return CoreExecutor(graph, target, machine, compiler, (renderers or {}).get(target.name), inputs)

    return found + on_cores(targets, compiler, on_core)


def on_cores(
    targets: Sequence[Target], compiler: str | None, make: Callable[[Target, Machine, Toolchain], _Made]
) -> list[_Made | Absent]:
    """What `make` gives for every target and each of its emulators, or why it cannot be made."""
    try:
        chosen = toolchain.choose(compiler)
    except InputError as error:
        return [Absent(target.name, str(error)) for target in targets]
    candidates = [(target, name, machine) for target in targets for name, machine in machines(target).items()]

    def made(candidate: tuple[Target, str, Machine | str]) -> _Made | Absent:
        target, name, machine = candidate
        return Absent(f"{target.name} {name}", machine) if isinstance(machine, str) else make(target, machine, chosen)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(made, candidates))


def random_inputs(graph: Graph, samples: int, seed: int = 0) -> Inputs:
    """The lowest code, the highest code, then random ones."""
    rng = np.random.default_rng(seed)
    inputs: dict[str, list[np.ndarray]] = {}
    for entry in graph.entries:
        inputs[entry.name] = []
        for index in entry.inputs:
            tensor = graph.tensors[index]
            codes = np.iinfo(tensor.dtype)
            values = rng.integers(codes.min, codes.max, (samples, *tensor.shape), tensor.dtype, endpoint=True)
            values[:1], values[1:2] = codes.min, codes.max
            inputs[entry.name].append(values)
    return inputs


def compare(
    graph: Graph,
    executors: Iterable[Executor | Absent],
    inputs: Inputs,
    progress: Callable[[Comparison], None] = lambda comparison: None,
    open_channels: Mapping[int, np.ndarray] | None = None,
) -> Report:
    """Run all `executors`, and LiteRT where installed, from their reset on, entry by entry.

    `open_channels` are as in `NumpyExecutor`; with them, LiteRT takes no part, for it cannot close any, nor has TFLite
    the operators of a step. `progress` gets every comparison as soon as it is there. Raises InputError where nothing is
    there to compare.
    """
    reference = {}
    specification = NumpyExecutor(graph, open_channels)
    for entry, values in inputs.items():
        specification.reset()
        reference[entry] = specification.run(values, entry)

    def one(executor: Executor | Absent) -> Comparison:
        if isinstance(executor, Absent):
            done = Comparison(executor.name, trouble=executor.reason, absent=True)
        else:
            done = _one(graph, executor, inputs, reference, open_channels)
        progress(done)
        return done

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # emulators; the others stay in this thread
        started = [
            pool.submit(one, each) if isinstance(getattr(each, "inner", each), CoreExecutor) else each
            for each in executors
        ]
        comparisons = [each.result() if isinstance(each, Future) else one(each) for each in started]
    for litert in [] if open_channels or graph.step else against_litert.compare(graph, inputs, reference):
        progress(litert)
        comparisons.append(litert)
    if all(comparison.absent for comparison in comparisons):
        reasons = "; ".join(f"{comparison.name}: {comparison.trouble}" for comparison in comparisons)
        raise InputError(f"model '{graph.name}': no executor to compare with; {reasons}")
    return Report(comparisons)


def _one(
    graph: Graph,
    executor: Executor,
    inputs: Inputs,
    reference: Mapping[str, Values],
    open_channels: Mapping[int, np.ndarray] | None,
) -> Comparison:
    """`executor` on every entry; all layers that it gives are compared, the others are fused into their successors.
    Of a network with early exits these are all layers, and then, in C, where it stops."""
    done = Comparison(executor.name)
    for entry in graph.entries:
        executor.reset()
        try:
            found = executor.run(inputs[entry.name], entry.name)
        except MachineError as error:
            return replace(done, trouble=str(error))
        for layer, operator in graph.layers(entry):
            for index in operator.outputs:
                if index in found:
                    done = add(done, layer, reference[entry.name][index], found[index])
        if done.first and done.first.accumulator is None:
            accumulator = _accumulator(NumpyExecutor(graph, open_channels), entry.name, inputs[entry.name], done.first)
            done = replace(done, first=replace(done.first, accumulator=accumulator))
    stopping = getattr(executor, "inner", executor)
    if isinstance(stopping, HostExecutor | CoreExecutor) and (exits := exits_of(graph)):
        try:
            done = _stops(done, graph, exits, stopping, inputs[graph.main.name], reference[graph.main.name])
        except MachineError as error:
            return replace(done, trouble=str(error))
    return done


def _stops(
    done: Comparison,
    graph: Graph,
    exits: Sequence[Exit],
    executor: HostExecutor | CoreExecutor,
    inputs: list[np.ndarray],
    values: Values,
) -> Comparison:
    """Where the C stops: with the factory's thresholds, and with such that each exit in turn is only just sure, and
    those before it just not."""
    factory = np.array([[each.threshold] for each in exits], np.int16)
    highest = np.stack([values[each.scores].max(axis=(1, 2)) for each in exits]).astype(np.int16)
    edges = [np.where(np.arange(len(exits))[:, np.newaxis] == turn, highest, highest + 1) for turn in range(len(exits))]
    thresholds = np.concatenate([np.broadcast_to(factory, highest.shape), *edges], axis=1, dtype=np.int16)
    times = len(exits) + 1
    indices = [*(each.scores for each in exits), graph.main.outputs[-1]]
    expected = answers(graph, {index: np.concatenate([values[index]] * times) for index in indices}, thresholds)
    found = executor.stop([np.concatenate([each] * times) for each in inputs], thresholds)
    for part, first, second in zip(("exit taken", "scores at the exit"), expected, found, strict=True):
        done = add(done, part, first.reshape(len(first), -1), second.reshape(len(second), -1))
    return done


@dataclass(frozen=True)
class _Recording(Requantization):
    """Keeps the accumulators that it is given."""

    seen: list[np.ndarray] = field(default_factory=list)

    def __call__(self, accumulator: np.ndarray) -> np.ndarray:
        self.seen.append(accumulator)
        return super().__call__(accumulator)


def _accumulator(specification: NumpyExecutor, entry: str, inputs: list[np.ndarray], at: Difference) -> int | None:
    """What the specification requantised there; None where the layer requantises nothing."""
    graph = specification.graph
    layers = [layer for each in graph.entries if each.name == entry for layer, _ in graph.layers(each)]
    position = layers.index(at.layer)
    operator, step = specification.steps[entry][position]
    requantization = getattr(step, "requantization", None)
    if requantization is None:
        return None
    recording = _Recording(**vars(requantization))
    specification.steps[entry][position] = (operator, replace(step, requantization=recording))  # type: ignore[arg-type]
    specification.run([values[: at.sample + 1] for values in inputs], entry)
    shape = graph.tensors[operator.outputs[0]].shape
    return int(np.concatenate([seen.reshape(-1, *shape) for seen in recording.seen])[(at.sample, *at.index)])
