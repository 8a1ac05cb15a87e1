"""The C around a network that is executed for its own sake: inputs from a file, every layer's output into another."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from string import Template

import numpy as np

from ..errors import InputError
from ..graph import Entry, Graph
from .elf import Elf

INPUTS, OBSERVED, STACK = "inputs.bin", "observed.bin", "stack.bin"
"""Files of an emulated harness: entry number and samples; what was observed; bytes of stack that the network used."""

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
            kws_model_$entry($arguments);
            most = used(stack) > most ? used(stack) : most;
        }
        break;
""")

_HOST = Template("""\
#include "observe.h"
#include "kws_model.h"

$prototypes

static uint8_t *observed;

static void append(const void *data, uint32_t bytes)
{
    const uint8_t *from = (const uint8_t *)data;

    while (bytes-- > 0u) {
        *observed++ = *from++;
    }
}

void harness_observe(int32_t what, const void *data, uint32_t bytes)
{
    append(&what, sizeof what);
    append(&bytes, sizeof bytes);
    append(data, bytes);
}

$functions
""")

_HOST_FUNCTION = Template("""\
void run_$entry(const int8_t *inputs, uint32_t samples, uint8_t *outputs)
{
$buffers
    observed = outputs;
    for (; samples > 0u; samples--) {
        kws_model_$entry($arguments);
        inputs += $bytes;
    }
}
""")


def core(graph: Graph) -> dict[str, str]:
    """The main of an emulated core: runs the entry and the samples that INPUTS holds, one after the other."""
    cases, buffers = [], []
    for number, entry in enumerate(graph.entries):
        inputs = [f"{entry.name}_input_{place}" for place in range(len(entry.inputs))]
        outputs = [f"{entry.name}_output_{place}" for place in range(len(entry.outputs))]
        buffers += [
            f"static {graph.tensors[index].dtype}_t {name}[{graph.tensors[index].bytes}];"
            for name, index in zip(inputs + outputs, (*entry.inputs, *entry.outputs), strict=True)
        ]
        reads = " && ".join(f"next({name}, sizeof {name})" for name in inputs)
        cases.append(
            _CASE.substitute(number=number, reads=reads, entry=entry.name, arguments=", ".join(inputs + outputs))
        )
    return {
        "main.c": _CORE.substitute(
            inputs=INPUTS, stack_file=STACK, buffers="\n".join(buffers) + "\n", cases="".join(cases).rstrip()
        )
    }


def host(graph: Graph) -> dict[str, str]:
    """A function run_<entry>(inputs, samples, outputs) for every entry, observing every layer."""
    prototypes, functions = [], []
    for entry in graph.entries:
        offsets = np.cumsum([0, *(graph.tensors[index].bytes for index in entry.inputs)]).tolist()
        inputs = [
            f"(const {graph.tensors[index].dtype}_t *)(inputs + {offset})"
            for index, offset in zip(entry.inputs, offsets, strict=False)
        ]
        outputs = [f"output_{place}" for place in range(len(entry.outputs))]
        functions.append(
            _HOST_FUNCTION.substitute(
                entry=entry.name,
                buffers="".join(
                    f"    {graph.tensors[index].dtype}_t {name}[{graph.tensors[index].bytes}];\n"
                    for name, index in zip(outputs, entry.outputs, strict=True)
                ),
                arguments=", ".join([*inputs, *outputs]),
                bytes=offsets[-1],
            )
        )
        prototypes.append(f"void run_{entry.name}(const int8_t *inputs, uint32_t samples, uint8_t *outputs);")
    return {
        "observe.h": _observing("KWS_MODEL_OBSERVE"),
        "main.c": _HOST.substitute(prototypes="\n".join(prototypes), functions="\n".join(functions)),
    }


def samples(graph: Graph, entry: Entry, inputs: list[np.ndarray]) -> bytes:
    """`inputs` (N, *shape) of `entry`, sample by sample. Raises InputError where they do not fit."""
    counts = {len(values) for values in inputs}
    wanted = [(graph.tensors[index].dtype, graph.tensors[index].shape) for index in entry.inputs]
    if len(counts) != 1 or [(values.dtype.name, values.shape[1:]) for values in inputs] != wanted:
        found = ", ".join(f"{values.dtype} {values.shape}" for values in inputs)
        accepted = ", ".join(f"{dtype} of (N, *{shape})" for dtype, shape in wanted)
        raise InputError(f"entry '{entry.name}': inputs are {found}; accepted are {accepted}")
    flat = [values.reshape(len(values), -1).view(np.int8) for values in inputs]
    return np.concatenate(flat, axis=1).tobytes()


def observed_bytes(graph: Graph, entry: Entry) -> int:
    """What one run of `entry` observes, headers included."""
    return sum(8 + graph.tensors[operator.outputs[0]].bytes for operator in entry.operators)


def observed(graph: Graph, entry: Entry, content: bytes | np.ndarray) -> dict[int, np.ndarray]:
    """What was observed in N runs of `entry`, by tensor: (N, *shape)."""
    first = sum(len(earlier.operators) for earlier in graph.entries[: graph.entries.index(entry)])
    rows = np.frombuffer(content, np.int8).reshape(-1, observed_bytes(graph, entry))
    values, start = {}, 0
    for layer, operator in enumerate(entry.operators, first):
        tensor = graph.tensors[operator.outputs[0]]
        header, start = rows[:, start : start + 8], start + 8
        assert np.all(header == np.array([layer, tensor.bytes], "<i4").view(np.int8)), f"layer {layer} in disorder"
        codes = rows[:, start : start + tensor.bytes].view(tensor.dtype)
        values[operator.outputs[0]] = codes.reshape(-1, *tensor.shape)
        start += tensor.bytes
    return values


def marks(program: Elf, layers: Iterable[int]) -> list[list[int]]:
    """For each of `layers`, the addresses at which it ends in a program built with MARK."""
    pairs = list(struct.iter_unpack("<II", program.section(_MARKS)))
    return [[address & ~1 for number, address in pairs if number == layer] for layer in layers]
