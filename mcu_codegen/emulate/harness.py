"""The C around a network that is executed for its own sake: inputs from a file, every layer's output into another."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from string import Template

import numpy as np

from ..graph import Entry, Graph
from ..users.exits import exits_of
from .elf import Elf
from .exchange import ANSWERS, INPUTS, OBSERVED, STACK

_OBSERVER = """\
#include "observe.h"
#include "semihosting.h"

static int32_t file = -1;

void harness_observe(int32_t what, const void *data, uint32_t bytes)
{
    const uint32_t header[2] = {(uint32_t)what, bytes};

    if (file < 0) {
        file = semihosting_open("%s", SEMIHOSTING_WRITE);
    }
    if (semihosting_write(file, header, sizeof header) != 0 || semihosting_write(file, data, bytes) != 0) {
        machine_stop(3);
    }
}
"""


def _observing(macro: str) -> str:
    return f"""\
#ifndef OBSERVE_H
#define OBSERVE_H
#include <stdint.h>
void harness_observe(int32_t what, const void *data, uint32_t bytes);
#define {macro}(what, data, bytes) harness_observe(what, data, bytes)
#endif
"""


def observer(macro: str) -> dict[str, str]:
    """C of an emulated core by which `macro`(what, data, bytes) writes to OBSERVED: what, bytes (words) and data.

    Its observe.h goes before every file.
    """
    return {"observe.h": _observing(macro), "observe.c": _OBSERVER % OBSERVED}


_MARKS = ".debug_marks"  # a section of this prefix survives the removal of unused ones

MARK = {
    "observe.h": f"""\
/* Where a layer ends is noted, with the layer's number, in a section that is not loaded: no instruction is added. The
   compiler may have copied the place; then each copy is noted. */
#ifndef OBSERVE_H
#define OBSERVE_H
#define KWS_MODEL_OBSERVE(layer, data, bytes) \\
    __asm__ volatile("0:\\n\\t.pushsection {_MARKS}\\n\\t.long %c0, 0b\\n\\t.popsection" : : "i"(layer) : "memory")
#endif
"""
}
"""Observer for counting; `marks` reads what it noted."""

_CORE = Template("""\
#include "kws_model.h"
#include "semihosting.h"

#define PAINTED 4096 /* words below main's stack; what the network leaves unchanged, it did not use */
#define COLOUR 0x5AFEC0DEu

int main(void);

static int32_t samples;

/* The next input of a sample. Returns 0 at the end of the file. */
static int next(void *input, uint32_t bytes)
{
    return semihosting_read(samples, input, bytes) == 0;
}

/* These two must not use the stack that they look at, so they may not be calls. */
static inline __attribute__((always_inline)) void paint(volatile uint32_t *stack)
{
    for (uint32_t word = 0; word < PAINTED; word++) {
        stack[word] = COLOUR;
    }
}

static inline __attribute__((always_inline)) uint32_t used(volatile uint32_t *stack)
{
    uint32_t word = 0;

    while (word < PAINTED && stack[word] == COLOUR) {
        word++;
    }
    return (PAINTED - word) * 4u;
}

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


def core(graph: Graph) -> dict[str, str]:
    """The main of an emulated core: runs the entry and the samples that INPUTS holds, one after the other.

    With early exits, the main entry runs all layers; an entry behind the last one runs it until it stops.
    """
    cases, buffers = [], []
    exits = exits_of(graph)
    for number, entry in enumerate(graph.entries):
        outputs = _outputs(graph, entry)
        places = [f"{entry.name}_input_{place}" for place in range(len(entry.inputs))]
        results = [f"{entry.name}_output_{place}" for place in range(len(outputs))]
        buffers += [
            f"static {graph.tensors[index].dtype}_t {name}[{graph.tensors[index].bytes}];"
            for name, index in zip(places + results, (*entry.inputs, *outputs), strict=True)
        ]
        reads = " && ".join(f"next({name}, sizeof {name})" for name in places)
        every = exits and entry is graph.main
        call = _call("invoke_all", places, ["features"], results) if every else _call(entry.name, places, results)
        cases.append(_CASE.substitute(number=number, reads=reads, call=call))
        if every:
            buffers.append(_EXIT_BUFFERS)
            stopping = _STOPPING.substitute(
                number=len(graph.entries),
                answers=ANSWERS,
                reads=reads,
                call=_call(entry.name, places, results),
                output=results[0],
            )
    if exits:
        cases.append(stopping)
    return {
        "main.c": _CORE.substitute(
            inputs=INPUTS, stack_file=STACK, buffers="\n".join(buffers) + "\n", cases="".join(cases).rstrip()
        )
    }


def host(graph: Graph) -> dict[str, str]:
    """A function run_<entry>(inputs, samples, outputs) for every entry, observing every layer; with early exits also
    run_stopping(inputs, thresholds, samples, answers), which observes none."""
    prototypes, functions = [], []
    for entry in graph.entries:
        outputs = _outputs(graph, entry)
        offsets = np.cumsum([0, *(graph.tensors[index].bytes for index in entry.inputs)]).tolist()
        places = [
            f"(const {graph.tensors[index].dtype}_t *)(inputs + {offset})"
            for index, offset in zip(entry.inputs, offsets, strict=False)
        ]
        results = [f"output_{place}" for place in range(len(outputs))]
        buffers = "".join(
            f"    {graph.tensors[index].dtype}_t {name}[{graph.tensors[index].bytes}];\n"
            for name, index in zip(results, outputs, strict=True)
        )
        if exits_of(graph) and entry is graph.main:
            call = _call(entry.name, places, results)
            functions.append(_HOST_STOPPING.substitute(buffers=buffers, call=call, bytes=offsets[-1]))
            prototypes.append(_STOPPING_PROTOTYPE)
            buffers += "    int8_t features[KWS_MODEL_EXIT_FEATURE_BYTES];\n"
            call = _call("invoke_all", places, ["features"], results)
        else:
            call = _call(entry.name, places, results)
        functions.append(_HOST_FUNCTION.substitute(entry=entry.name, buffers=buffers, call=call, bytes=offsets[-1]))
        prototypes.append(f"void run_{entry.name}(const int8_t *inputs, uint32_t samples, uint8_t *outputs);")
    return {
        "observe.h": _observing("KWS_MODEL_OBSERVE"),
        "main.c": _HOST.substitute(prototypes="\n".join(prototypes), functions="\n".join(functions)),
    }


def _outputs(graph: Graph, entry: Entry) -> tuple[int, ...]:
    """What the C of `entry` gives its caller."""
    return entry.outputs[-1:] if entry is graph.main and exits_of(graph) else entry.outputs


def _call(function: str, *arguments: Sequence[str]) -> str:
    return f"kws_model_{function}({', '.join(name for names in arguments for name in names)})"


def marks(program: Elf, layers: Iterable[int]) -> list[list[int]]:
    """For each of `layers`, the addresses at which it ends in a program built with MARK."""
    pairs = list(struct.iter_unpack("<II", program.section(_MARKS)))
    return [[address & ~1 for number, address in pairs if number == layer] for layer in layers]
