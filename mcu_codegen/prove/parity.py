"""Every executor on the same bytes, compared with NumPy, the specification: every layer, every byte.

`compare` is for networks, `stream` for the way from waveform to decision. An executor that is not here is named with
the reason, never passed over.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from ..emit.portable.renderer import Renderer
from ..emulate import toolchain
from ..emulate.board_program import BoardProgram
from ..emulate.core_executor import CoreExecutor
from ..emulate.host_executor import HostExecutor
from ..emulate.machine import Machine, MachineError
from ..emulate.machines import machines
from ..emulate.toolchain import Toolchain
from ..errors import InputError
from ..execute import litert_executor, tinygrad_executor
from ..execute.numpy_executor import NumpyExecutor
from ..formats import tflite
from ..graph import Graph
from ..listen.pipeline import Pipeline, Stream
from ..lower import Requantization
from ..report import Table
from ..targets import Target
from ..users.exits import Exit, answers, exits_of

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


@dataclass(frozen=True)
class Difference:
    """The first one that an executor showed, in the order of layers, then samples."""

    layer: str
    sample: int
    index: tuple[int, ...]
    expected: int
    found: int
    accumulator: int | None  # None where the layer has none

    def __str__(self) -> str:
        accumulator = "" if self.accumulator is None else f" (accumulator {self.accumulator})"
        return (
            f"{self.layer}, sample {self.sample}, index {self.index}:"
            f" {self.expected} expected{accumulator}, {self.found} found"
        )


@dataclass(frozen=True)
class Comparison:
    """One executor against NumPy. Counts are bytes."""

    name: str
    compared: int = 0
    differing: int = 0
    tolerated: int = 0  # of the differing: FULLY_CONNECTED of LiteRT, which requantises in float, off by one
    first: Difference | None = None  # of those that are not tolerated
    trouble: str = ""  # why it is absent, or how it failed
    absent: bool = False
    asserted: bool = True  # False: reported, and no failure

    @property
    def passed(self) -> bool:
        return self.absent or not self.asserted or not (self.trouble or self.differing > self.tolerated)


@dataclass(frozen=True)
class Report:
    comparisons: list[Comparison]

    @property
    def passed(self) -> bool:
        """No difference in what is asserted."""
        return all(comparison.passed for comparison in self.comparisons)

    def table(self) -> Table:
        rows = []
        for each in self.comparisons:
            verdict = "absent" if each.absent else "DIFFERS" if not each.passed else "same"
            if each.tolerated:
                verdict = f"{verdict}; {each.tolerated} of FULLY_CONNECTED differ by one"
            if not each.asserted and each.differing:
                verdict = "differs; not asserted"
            remark = each.trouble or (str(each.first) if each.first else "")
            rows.append((each.name, each.compared, each.differing, f"{verdict}: {remark}" if remark else verdict))
        return Table(("executor", "compared bytes", "differing bytes", "result"), rows)

    def to_dict(self) -> dict[str, Any]:
        return {"passed": self.passed, "executors": [asdict(comparison) for comparison in self.comparisons]}


_Made = TypeVar("_Made")


def executors(
    graph: Graph,
    targets: Sequence[Target],
    compiler: str | None = None,
    renderers: Mapping[str, Renderer] | None = None,
) -> list[Executor | Absent]:
    """All that can execute `graph`, built: tinygrad, this host's C, and C on `targets` in each of their emulators.

    `renderers`, by target, are by default those of the targets' instruction sets.
    """
    found: list[Executor | Absent] = []
    reason = tinygrad_executor.unavailable()
    found.append(Absent("tinygrad", reason) if reason else tinygrad_executor.TinygradExecutor(graph))
    try:
        found.append(HostExecutor(graph))
    except InputError as error:
        found.append(Absent("host", str(error)))

    def on_core(target: Target, machine: Machine, compiler: Toolchain) -> Executor:
        return CoreExecutor(graph, target, machine, compiler, (renderers or {}).get(target.name))

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

    `open_channels` are as in `NumpyExecutor`; with them, LiteRT takes no part, for it cannot close any. `progress` gets
    every comparison as soon as it is there. Raises InputError where nothing is there to compare.
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
    for litert in [] if open_channels else _litert(graph, inputs, reference):
        progress(litert)
        comparisons.append(litert)
    if all(comparison.absent for comparison in comparisons):
        reasons = "; ".join(f"{comparison.name}: {comparison.trouble}" for comparison in comparisons)
        raise InputError(f"model '{graph.name}': no executor to compare with; {reasons}")
    return Report(comparisons)


def stream(pipeline: Pipeline, programs: Iterable[BoardProgram | Absent], audio: np.ndarray) -> Report:
    """Feed int16 `audio` [n] at 16 kHz to every program; compare features, scores and detections with their hops."""
    reference = pipeline.run(audio)

    def one(program: BoardProgram | Absent) -> Comparison:
        if isinstance(program, Absent):
            return Comparison(program.name, trouble=program.reason, absent=True)
        try:
            found = program.run(audio)
        except MachineError as error:
            return Comparison(program.name, trouble=str(error))
        return _stream(program.name, reference, found)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return Report(list(pool.map(one, programs)))


def programs(pipeline: Pipeline, targets: Sequence[Target], compiler: str | None = None) -> list[BoardProgram | Absent]:
    """The firmware of `pipeline` on `targets`, in each of their emulators, built."""
    return on_cores(targets, compiler, lambda *core: BoardProgram(pipeline, *core))


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


def add(done: Comparison, layer: str, expected: np.ndarray, found: np.ndarray, tolerance: int = 0) -> Comparison:
    """`done` and one more layer (N, *shape), whose values may differ by `tolerance`."""
    if expected.shape != found.shape:
        return replace(done, trouble=f"{layer}: {expected.shape} values are expected, {found.shape} were found")
    distance = np.abs(expected.astype(np.int64) - found.astype(np.int64))
    first = done.first
    if first is None and np.any(distance > tolerance):
        sample, *index = (int(i) for i in np.argwhere(distance > tolerance)[0])
        at = (sample, *index)
        first = Difference(layer, sample, tuple(index), int(expected[at]), int(found[at]), None)
    return replace(
        done,
        compared=done.compared + expected.nbytes,
        differing=done.differing + int(np.count_nonzero(distance)) * expected.itemsize,
        tolerated=done.tolerated + int(np.count_nonzero((distance > 0) & (distance <= tolerance))),
        first=first,
    )


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


def _litert(graph: Graph, inputs: Inputs, reference: Mapping[str, Values]) -> list[Comparison]:
    """LiteRT's reference kernels: each operator on NumPy's inputs, then the whole network, which is not asserted.

    Alone, an operator cannot pass on a difference; end to end, one difference of FULLY_CONNECTED can make many.
    """
    alone, whole = Comparison("litert, by operator"), Comparison("litert, end to end", asserted=False)
    reason = litert_executor.unavailable()
    if graph.step is not None:
        reason = "a step has operators of its own, which TFLite lacks"
    if reason:
        return [replace(each, trouble=reason, absent=True) for each in (alone, whole)]
    model = tflite.write(graph)
    executor = litert_executor.LiteRTExecutor(model)
    for entry, written in zip(graph.entries, executor.graph.entries, strict=True):
        executor.reset()
        found = executor.run(inputs[entry.name], written.name)
        known = dict(zip(entry.inputs, inputs[entry.name], strict=True))
        for (layer, operator), same in zip(graph.layers(entry), written.operators, strict=True):
            expected = reference[entry.name][operator.outputs[0]]
            whole = add(whole, layer, expected, found[same.outputs[0]])
            variable = [index for index in operator.inputs if index >= 0 and not graph.tensors[index].constant]
            operands = [
                known[index] if index in known else _before(graph, index, reference[entry.name], len(expected))
                for index in dict.fromkeys(variable)
            ]
            (result,) = litert_executor.run_operator(graph, operator, operands)
            alone = add(alone, layer, expected, result, tolerance=int(operator.kind == "FULLY_CONNECTED"))
            known[operator.outputs[0]] = expected
    return [alone, whole]


def _before(graph: Graph, persistent: int, values: Values, samples: int) -> np.ndarray:
    """What a persistent tensor holds at the start of every sample: its initial value, then what the one before left."""
    initial = np.asarray(graph.tensors[persistent].data).reshape(1, *graph.tensors[persistent].shape)
    later = values[persistent][:-1] if persistent in values else np.repeat(initial, samples - 1, axis=0)
    return np.concatenate([initial, later])


def _stream(name: str, expected: Stream, found: Stream) -> Comparison:
    done = Comparison(name)
    for part in ("features", "scores"):
        done = add(done, part, getattr(expected, part), getattr(found, part))
    return add(done, "detections", _detections(expected), _detections(found))


def _detections(stream: Stream) -> np.ndarray:
    """One row each: hop, label, whether suppressed."""
    rows = [(each.hop, each.label, int(each.suppressed)) for each in stream.detections]
    return np.array(rows, np.int32).reshape(-1, 3)
