"""The self-test of a model: a golden input, what every layer makes of it, and the C that compares."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import Template

import numpy as np

from ..errors import InputError
from ..execute.numpy_executor import NumpyExecutor
from ..graph import Entry, Graph
from ..users.exits import stopped
from .functions import accessors
from .plan import Plan
from .text import CRC32, array, random_words

SELFTESTS = ("golden", "full")
"""What the self-test holds of each layer's output: its CRC-32, or the whole tensor (large; for emulation)."""

_SELFTEST = """\
#include "${name}.h"

#ifdef ${NAME}_SELFTEST

$arrays
static int ${name}_selftest_seen = $layers; /* layers; below the number of them while the self-test runs */
static int ${name}_selftest_failed; /* 0, or the number (from 1) of the first layer that differed */

$functions
void ${name}_selftest_observe(int32_t layer, const void *data, uint32_t bytes)
{
    if (${name}_selftest_seen == $layers) {
        return;
    }
    ${name}_selftest_seen++;
    if (${name}_selftest_failed == 0) {
        ${name}_selftest_failed = $equal ? 0 : (int)layer + 1;
    }
}

int ${name}_selftest(void)
{
$buffers
    ${name}_selftest_seen = 0;
    ${name}_selftest_failed = 0;
$calls    ${name}_reset($arena);
    if (${name}_selftest_failed == 0 && ${name}_selftest_seen != $layers) {
        ${name}_selftest_failed = $layers + 1; /* ${name}.c was compiled without ${NAME}_SELFTEST */
    }
$checks    return ${name}_selftest_failed;
}

#endif /* ${NAME}_SELFTEST */
"""

_SAME = """\
static int ${name}_selftest_same(const void *data, const int8_t *expected, uint32_t bytes)
{
    const int8_t *found = (const int8_t *)data;

    while (bytes > 0u && *found++ == *expected++) {
        bytes--;
    }
    return bytes == 0u;
}
"""


_COPY = """\
static void ${name}_selftest_copy(void *to, const void *from, uint32_t bytes)
{
    int8_t *next = (int8_t *)to;
    const int8_t *source = (const int8_t *)from;

    while (bytes-- > 0u) {
        *next++ = *source++;
    }
}
"""


def golden_inputs(graph: Graph, entry: Entry, golden: Mapping[str, Sequence[np.ndarray]]) -> list[np.ndarray]:
    """The self-test's inputs of `entry`: those of `golden`, else codes out of text.random_words."""
    tensors = [graph.tensors[index] for index in entry.inputs]
    if entry.name not in golden:
        words = random_words(1, sum(tensor.bytes for tensor in tensors))
        codes = ((words >> 24) - 128).astype(np.int8)
        ends = np.cumsum([tensor.bytes for tensor in tensors])
        return [
            codes[end - tensor.bytes : end].view(tensor.dtype).reshape(tensor.shape)
            for tensor, end in zip(tensors, ends, strict=True)
        ]
    inputs = [np.asarray(data) for data in golden[entry.name]]
    if [(data.shape, data.dtype) for data in inputs] != [(tensor.shape, np.dtype(tensor.dtype)) for tensor in tensors]:
        raise InputError(
            f"golden input of entry '{entry.name}': {[(data.shape, str(data.dtype)) for data in inputs]};"
            f" {[(tensor.shape, tensor.dtype) for tensor in tensors]} is accepted"
        )
    return inputs


@dataclass(frozen=True)
class _Result:
    """What a buffer called `name` must hold in the end."""

    name: str
    about: str
    values: np.ndarray


def emit_selftest(plan: Plan, arena: str, kind: str, golden: Mapping[str, Sequence[np.ndarray]]) -> str:
    """The text of `<name>_selftest.c` below its banner. `golden` is as in `model.emit_model`."""
    executor = NumpyExecutor(plan.graph, plan.renderer.open_channels(plan.graph))
    own = f"{plan.name}_selftest"
    arrays, buffers, calls, last, checks = [], [], [], [], []
    tensors: list[tuple[str, np.ndarray]] = []
    if arena == "caller":
        words = max(plan.memory.arena_bytes // 8, 1)
        buffers.append(f"static int64_t arena[{words}] {plan.name.upper()}_ALIGNED {plan.name.upper()}_ARENA_ATTR;")
    for entry in plan.graph.entries:
        inputs = golden_inputs(plan.graph, entry, golden)
        executor.reset()
        values = executor.run([data[np.newaxis] for data in inputs], entry.name)
        tensors += [(layer.name, values[layer.operator.outputs[0]]) for layer in plan.of(entry)]
        owner = ["arena"] if arena == "caller" else []
        given = [*owner, *(f"{own}_{entry.name}_input_{number}" for number in range(len(inputs)))]
        for name, data in zip(given[len(owner) :], inputs, strict=True):
            arrays.append(array(f"{data.dtype}_t", name, data, about=f"Golden input of entry '{entry.name}'."))
        known = {index: tensor.data for index, tensor in enumerate(plan.graph.tensors) if tensor.data is not None}
        known |= dict(zip(entry.inputs, inputs, strict=True)) | values
        results = [
            _Result(f"{entry.name}_output_{number}", f"Output of entry '{entry.name}'.", known[index])
            for number, index in enumerate(entry.outputs)
        ]
        outputs = [each.name for each in results]
        calls.append(f"{plan.name}_reset({'arena' if arena == 'caller' else ''});")
        if entry is plan.graph.main and plan.exits:
            results += _of_exits(plan, known)
            calls.append(f"{plan.name}_invoke_all({', '.join([*given, 'features', *outputs])});")
            last.append(f"exit_taken[0] = (int8_t){plan.name}_{entry.name}({', '.join([*given, 'exit_scores'])});")
        elif plan.reusable:
            buffers_of = [each.name[1:] for each, _ in accessors(plan, entry, arena)]
            pairs = zip(
                buffers_of, [*given[len(owner) :], *outputs], [*inputs, *(each.values for each in results)], strict=True
            )
            moves = []
            for number, (place, name, moved) in enumerate(pairs):
                place = f"{place}({', '.join(owner)})"
                ends = (place, name) if number < len(inputs) else (name, place)
                moves.append(f"{own}_copy({ends[0]}, {ends[1]}, {moved.nbytes}u);")
            calls += [*moves[: len(inputs)], f"{plan.name}_{entry.name}({', '.join(owner)});", *moves[len(inputs) :]]
        else:
            calls.append(f"{plan.name}_{entry.name}({', '.join([*given, *outputs])});")
        for each in results:
            arrays.append(array("int8_t", f"{own}_{each.name}", each.values.view(np.int8), about=each.about))
            buffers.append(f"static {each.values.dtype}_t {each.name}[{each.values.size}];")
            same = f"{own}_same({each.name}, {own}_{each.name}, {each.values.nbytes}u)"
            checks.append(
                f"if ({own}_failed == 0) {{\n        {own}_failed = {same} ? 0 : {len(plan.layers) + 1};\n    }}"
            )
    functions, equal, expected = _KINDS[kind]
    functions = (*functions, _COPY) if plan.reusable else functions
    names = {"name": plan.name, "NAME": plan.name.upper()}
    return Template(_SELFTEST).substitute(
        names,
        arrays="\n".join([*arrays, expected(own, tensors)]),
        functions="\n".join(Template(text).substitute(names) for text in functions),
        equal=Template(equal).substitute(names),
        layers=len(plan.layers),
        arena="arena" if arena == "caller" else "",
        **{
            what: "".join(f"    {line}\n" for line in lines)
            for what, lines in (("buffers", buffers), ("calls", [*calls, *last]), ("checks", checks))
        },
    )


def _of_exits(plan: Plan, known: Mapping[int, np.ndarray]) -> list[_Result]:
    """What the early exits make of the golden input, of which everything is `known`: all heads' inputs, and where
    it stops."""
    inputs = np.concatenate([known[each.features].ravel() for each in plan.exits])
    scores = [
        known[index].reshape(1, -1) for index in (*(each.scores for each in plan.exits), plan.graph.main.outputs[0])
    ]
    (taken,) = stopped(np.stack(scores[:-1]), [each.threshold for each in plan.exits])
    return [
        _Result("features", "Inputs of the heads of all exits.", inputs),
        _Result("exit_taken", "The exit at which it stops.", np.array([taken], np.int8)),
        _Result("exit_scores", "Scores at that exit.", scores[taken]),
    ]


def _expected_crcs(own: str, tensors: Sequence[tuple[str, np.ndarray]]) -> str:
    crcs = [zlib.crc32(np.ascontiguousarray(data).tobytes()) for _, data in tensors]
    return array("uint32_t", f"{own}_expected", crcs, about="CRC-32 of the output of every layer.")


def _expected_tensors(own: str, tensors: Sequence[tuple[str, np.ndarray]]) -> str:
    names = [f"{own}_layer_{index}" for index in range(len(tensors))]
    whole = [
        array("int8_t", name, data.view(np.int8), about=f"Output of {layer}.")
        for name, (layer, data) in zip(names, tensors, strict=True)
    ]
    table = f"static const int8_t *const {own}_expected[] = {{ {', '.join(names)} }};\n"
    return "\n".join([*whole, table])


_KINDS: dict[str, tuple[tuple[str, ...], str, Callable[[str, Sequence[tuple[str, np.ndarray]]], str]]] = {
    "golden": ((CRC32, _SAME), "crc32(0, data, bytes) == ${name}_selftest_expected[layer]", _expected_crcs),
    "full": ((_SAME,), "${name}_selftest_same(data, ${name}_selftest_expected[layer], bytes)", _expected_tensors),
}
"""Of each of SELFTESTS: C functions, the C comparison of a layer's output, and the C arrays it compares with."""
