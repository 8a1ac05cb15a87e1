"""The C around a network that this host executes for its own sake: functions of a shared library, which observe every
layer's output."""

from __future__ import annotations

from string import Template

import numpy as np

from ..emit.plan import INPUTS as MODES
from ..graph import Graph
from ..users.exits import exits_of
from .harness import OWN, adapters, call_of, outputs_of
from .observers import observing

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


def sources(graph: Graph, inputs: str = MODES[0]) -> dict[str, str]:
    """A function run_<entry>(inputs, samples, outputs) for every entry, observing every layer; with early exits also
    run_stopping(inputs, thresholds, samples, answers), which observes none."""
    prototypes, functions = [], []
    for entry in graph.entries:
        outputs = outputs_of(graph, entry)
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
            call = call_of(entry.name, places, results)
            functions.append(_HOST_STOPPING.substitute(buffers=buffers, call=call, bytes=offsets[-1]))
            prototypes.append(_STOPPING_PROTOTYPE)
            buffers += "    int8_t features[KWS_MODEL_EXIT_FEATURE_BYTES];\n"
            call = call_of("invoke_all", places, ["features"], results)
        else:
            call = call_of(OWN[inputs] + entry.name, places, results)
        functions.append(_HOST_FUNCTION.substitute(entry=entry.name, buffers=buffers, call=call, bytes=offsets[-1]))
        prototypes.append(f"void run_{entry.name}(const int8_t *inputs, uint32_t samples, uint8_t *outputs);")
    return {
        "observe.h": observing("KWS_MODEL_OBSERVE"),
        "main.c": _HOST.substitute(
            prototypes="\n".join(prototypes), functions=adapters(graph, inputs) + "\n".join(functions)
        ),
    }
