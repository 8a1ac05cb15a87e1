"""The C around a network that an emulated core executes for its own sake: inputs from a file, every layer's output into
another."""

from __future__ import annotations

from string import Template

from ..emit.plan import INPUTS as MODES
from ..graph import Graph
from ..users.exits import exits_of
from . import guards
from .exchange import ANSWERS, INPUTS, STACK
from .harness import OWN, adapters, call_of, outputs_of
from .stack import PAINTING

_CORE = Template("""\
#include "kws_model.h"
#include "semihosting.h"

int main(void);

/* Copies from and to words are the quickest: counts are not to depend on where the linker puts a buffer. */
#define WHOLE_WORDS __attribute__((aligned(4)))

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

_EXIT_BUFFERS = """\
static int8_t features[KWS_MODEL_EXIT_FEATURE_BYTES];
static int16_t thresholds[KWS_MODEL_EXITS];
static int32_t answers, taken;"""


def sources(graph: Graph, inputs: str = MODES[0]) -> dict[str, str]:
    """The main of an emulated core: runs the entry and the samples that INPUTS holds, one after the other. `inputs` is
    as in `emit.plan.INPUTS`. Status 4: the network wrote behind its arena or behind an output.

    With early exits, the main entry runs all layers; an entry behind the last one runs it until it stops.
    """
    cases, buffers, laid = [], [], [guards.ARENA]
    exits, own = exits_of(graph), OWN[inputs]
    for number, entry in enumerate(graph.entries):
        outputs = outputs_of(graph, entry)
        places = [f"{entry.name}_input_{place}" for place in range(len(entry.inputs))]
        results = [f"{entry.name}_output_{place}" for place in range(len(outputs))]
        for name, index in zip(places, entry.inputs, strict=True):
            tensor = graph.tensors[index]
            buffers.append(f"static {tensor.dtype}_t {name}[{tensor.elements}] WHOLE_WORDS;")
        for name, index in zip(results, outputs, strict=True):
            tensor = graph.tensors[index]
            buffers.append(guards.guarded(f"{tensor.dtype}_t", name, tensor.elements))
        laid += [f"{name}.guard" for name in results]
        behind = {guards.ARENA: "the arena"} | {f"{name}.guard": name for name in results}
        whole = " && ".join(f'whole({guard}, "{what}")' for guard, what in behind.items())
        given = [f"{name}.values" for name in results]
        reads = " && ".join(f"next({name}, sizeof {name})" for name in places)
        every = exits and entry is graph.main
        call = call_of("invoke_all", places, ["features"], given) if every else call_of(own + entry.name, places, given)
        cases.append(_CASE.substitute(number=number, reads=reads, call=call, whole=whole))
        if every:
            buffers.append(_EXIT_BUFFERS)
            stopping = _STOPPING.substitute(
                number=len(graph.entries),
                answers=ANSWERS,
                reads=reads,
                call=call_of(entry.name, places, given),
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
            buffers="\n".join(buffers) + "\n" + adapters(graph, inputs),
            cases="".join(cases).rstrip(),
        ),
        "guards.ld": guards.SECTIONS,
    }
