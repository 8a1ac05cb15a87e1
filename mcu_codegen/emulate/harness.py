"""The C around a network that is executed for its own sake: inputs from a file, every layer's output into another."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

import numpy as np

from ..emit.functions import numbered
from ..emit.plan import INPUTS as MODES
from ..graph import Entry, Graph
from ..users.exits import exits_of
from . import guards
from .exchange import ANSWERS, INPUTS, STACK
from .observers import observing
from .stack import PAINTING

_CORE = Template("""\
#include "kws_model.h"
#include "semihosting.h"

int main(void);

static int32_t samples;

/* The next input of a sample. Returns 0 at the end of the file. */
static int next(void *input, uint32_t bytes)
{
    return semihosting_read(samples, input, bytes) == 0;
}

$painting
$guards
$buffers
int main(void)
{
    volatile uint32_t *stack;
    uint32_t most = 0;
    uint8_t entry = 255;
    int32_t file;

    samples = semihosting_open("$inputs", SEMIHOSTING_READ);
    if (samples < 0 || semihosting_read(samples, &entry, 1) != 0) {
        return 2;
    }
$lay
    kws_model_reset();
    __asm__ volatile("mov %0, sp" : "=r"(stack));
    stack -= PAINTED;
    switch (entry) {
$cases
    default:
        return 2;
    }
    file = semihosting_open("$stack_file", SEMIHOSTING_WRITE);
    return semihosting_write(file, &most, sizeof most) == 0 ? 0 : 3;
}
""")

_CASE = Template("""\
    case $number:
        while ($reads) {
            paint(stack);
            $call;
            most = used(stack) > most ? used(stack) : most;
            if (!($whole)) {
                return 4;
            }
        }
        break;
""")

_STOPPING = Template("""\
    case $number:
        answers = semihosting_open("$answers", SEMIHOSTING_WRITE);
        while (next(thresholds, sizeof thresholds) && $reads) {
            kws_model_set_thresholds(thresholds);
            paint(stack);
            taken = $call;
            most = used(stack) > most ? used(stack) : most;
            if (!($whole)) {
                return 4;
            }
            if (semihosting_write(answers, &taken, sizeof taken) != 0 ||
                semihosting_write(answers, $output, sizeof $output) != 0) {
                return 3;
            }
        }
        break;
""")

_HOST = Template("""\
#include "observe.h"
#include "kws_model.h"

$prototypes

static uint8_t *observed; /* where to; 0: nowhere */

static void append(const void *data, uint32_t bytes)
{
    const uint8_t *from = (const uint8_t *)data;

    while (bytes-- > 0u) {
        *observed++ = *from++;
    }
}

void harness_observe(int32_t what, const void *data, uint32_t bytes)
{
    if (observed != 0) {
        append(&what, sizeof what);
        append(&bytes, sizeof bytes);
        append(data, bytes);
    }
}

$functions
""")

_HOST_FUNCTION = Template("""\
void run_$entry(const int8_t *inputs, uint32_t samples, uint8_t *outputs)
{
$buffers
    observed = outputs;
    for (; samples > 0u; samples--) {
        $call;
        inputs += $bytes;
    }
}
""")

_HOST_STOPPING = Template("""\
void run_stopping(const int8_t *inputs, const int16_t *thresholds, uint32_t samples, uint8_t *answers)
{
$buffers
    for (; samples > 0u; samples--) {
        int32_t taken;

        kws_model_set_thresholds(thresholds);
        observed = 0;
        taken = $call;
        observed = answers;
        append(&taken, sizeof taken);
        append(output_0, sizeof output_0);
        answers = observed;
        thresholds += KWS_MODEL_EXITS;
        inputs += $bytes;
    }
    kws_model_set_thresholds(0);
}
""")

_STOPPING_PROTOTYPE = (
    "void run_stopping(const int8_t *inputs, const int16_t *thresholds, uint32_t samples, uint8_t *answers);"
)

_EXIT_BUFFERS = """\
static int8_t features[KWS_MODEL_EXIT_FEATURE_BYTES];
static int16_t thresholds[KWS_MODEL_EXITS];
static int32_t answers, taken;"""


def core(graph: Graph, inputs: str = MODES[0]) -> dict[str, str]:
    """The main of an emulated core: runs the entry and the samples that INPUTS holds, one after the other. `inputs` is
    as in `emit.plan.INPUTS`. Status 4: the network wrote behind its arena or behind an output.

    With early exits, the main entry runs all layers; an entry behind the last one runs it until it stops.
    """
    cases, buffers, laid = [], [], [guards.ARENA]
    exits, own = exits_of(graph), _OWN[inputs]
    for number, entry in enumerate(graph.entries):
        outputs = _outputs(graph, entry)
        places = [f"{entry.name}_input_{place}" for place in range(len(entry.inputs))]
        results = [f"{entry.name}_output_{place}" for place in range(len(outputs))]
        for name, index in zip(places, entry.inputs, strict=True):
            buffers.append(f"static {graph.tensors[index].dtype}_t {name}[{graph.tensors[index].elements}];")
        for name, index in zip(results, outputs, strict=True):
            tensor = graph.tensors[index]
            buffers.append(guards.guarded(f"{tensor.dtype}_t", name, tensor.elements))
        laid += [f"{name}.guard" for name in results]
        behind = {guards.ARENA: "the arena"} | {f"{name}.guard": name for name in results}
        whole = " && ".join(f'whole({guard}, "{what}")' for guard, what in behind.items())
        given = [f"{name}.values" for name in results]
        reads = " && ".join(f"next({name}, sizeof {name})" for name in places)
        every = exits and entry is graph.main
        call = _call("invoke_all", places, ["features"], given) if every else _call(own + entry.name, places, given)
        cases.append(_CASE.substitute(number=number, reads=reads, call=call, whole=whole))
        if every:
            buffers.append(_EXIT_BUFFERS)
            stopping = _STOPPING.substitute(
                number=len(graph.entries),
                answers=ANSWERS,
                reads=reads,
                call=_call(entry.name, places, given),
                output=given[0],
                whole=whole,
            )
    if exits:
        cases.append(stopping)
    return {
        "main.c": _CORE.substitute(
            inputs=INPUTS,
            stack_file=STACK,
            painting=PAINTING,
            guards=guards.GUARDS,
            lay="\n".join(f"    lay({guard});" for guard in laid),
            buffers="\n".join(buffers) + "\n" + _adapters(graph, inputs),
            cases="".join(cases).rstrip(),
        ),
        "guards.ld": guards.SECTIONS,
    }


def host(graph: Graph, inputs: str = MODES[0]) -> dict[str, str]:
    """A function run_<entry>(inputs, samples, outputs) for every entry, observing every layer; with early exits also
    run_stopping(inputs, thresholds, samples, answers), which observes none."""
    prototypes, functions = [], []
    for entry in graph.entries:
        outputs = _outputs(graph, entry)
        offsets = np.cumsum([0, *(graph.tensors[index].bytes for index in entry.inputs)]).tolist()
        places = [
            f"(const {graph.tensors[index].dtype}_t *)(const void *)(inputs + {offset})"
            for index, offset in zip(entry.inputs, offsets, strict=False)
        ]
        results = [f"output_{place}" for place in range(len(outputs))]
        buffers = "".join(
            f"    {graph.tensors[index].dtype}_t {name}[{graph.tensors[index].elements}];\n"
            for name, index in zip(results, outputs, strict=True)
        )
        if exits_of(graph) and entry is graph.main:
            call = _call(entry.name, places, results)
            functions.append(_HOST_STOPPING.substitute(buffers=buffers, call=call, bytes=offsets[-1]))
            prototypes.append(_STOPPING_PROTOTYPE)
            buffers += "    int8_t features[KWS_MODEL_EXIT_FEATURE_BYTES];\n"
            call = _call("invoke_all", places, ["features"], results)
        else:
            call = _call(_OWN[inputs] + entry.name, places, results)
        functions.append(_HOST_FUNCTION.substitute(entry=entry.name, buffers=buffers, call=call, bytes=offsets[-1]))
        prototypes.append(f"void run_{entry.name}(const int8_t *inputs, uint32_t samples, uint8_t *outputs);")
    return {
        "observe.h": observing("KWS_MODEL_OBSERVE"),
        "main.c": _HOST.substitute(
            prototypes="\n".join(prototypes), functions=_adapters(graph, inputs) + "\n".join(functions)
        ),
    }


_OWN = {"kept": "", "reusable": "given_"}
"""How the names of functions that take inputs and give outputs begin, behind that of the network."""


def _adapters(graph: Graph, inputs: str) -> str:
    """Where inputs and outputs lie in the arena: functions that carry them there and back."""
    if inputs == "kept":
        return ""
    text = ""
    for entry in graph.entries:
        prefix = "kws_model" if entry is graph.main else f"kws_model_{entry.name}"
        parameters: list[str] = []
        before: list[str] = []
        after: list[str] = []
        for word, indices, moves in (("input", entry.inputs, before), ("output", entry.outputs, after)):
            for name, index in zip(numbered(word, indices), indices, strict=True):
                tensor = graph.tensors[index]
                parameters.append(f"{'const ' if word == 'input' else ''}{tensor.dtype}_t *{name}")
                ends = (f"{prefix}_{name}()", name) if word == "input" else (name, f"{prefix}_{name}()")
                moves.append(f"    carry({ends[0]}, {ends[1]}, {tensor.bytes}u);\n")
        call = f"    kws_model_{entry.name}();\n"
        text += f"static void kws_model_given_{entry.name}({', '.join(parameters)})\n{{\n"
        text += f"{''.join(before)}{call}{''.join(after)}}}\n\n"
    return _CARRY + text


_CARRY = """
static void carry(void *to, const void *from, uint32_t bytes)
{
    uint8_t *next = (uint8_t *)to;
    const uint8_t *source = (const uint8_t *)from;

    while (bytes-- > 0u) {
        *next++ = *source++;
    }
}

"""


def _outputs(graph: Graph, entry: Entry) -> tuple[int, ...]:
    """What the C of `entry` gives its caller."""
    return entry.outputs[-1:] if entry is graph.main and exits_of(graph) else entry.outputs


def _call(function: str, *arguments: Sequence[str]) -> str:
    return f"kws_model_{function}({', '.join(name for names in arguments for name in names)})"
