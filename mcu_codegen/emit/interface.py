"""The header of a network's C: its functions, and what a caller must know of memory, quantisation and labels."""

from __future__ import annotations

from string import Template

import numpy as np

from .. import memory
from ..errors import InputError
from ..graph import Entry, Graph
from . import exits
from .functions import accessors, numbered, signature
from .plan import Plan
from .text import described, string

_HEADER = """
#include <stdint.h>

/* SHA-256 of the model file. */
#define ${NAME}_SHA256 $sha256

$quantization/* RAM of the network beside the stack$arena_owner. */
#define ${NAME}_ARENA_BYTES $arena_bytes
#define ${NAME}_ARENA_ALIGN $arena_align
#if defined(__GNUC__) || defined(__ICCARM__)
#define ${NAME}_ALIGNED __attribute__((aligned(${NAME}_ARENA_ALIGN)))
#else
#define ${NAME}_ALIGNED
#endif

/* May be defined to place the arena and the constants in a memory, as in __attribute__((section(".dtcm"))). */
#ifndef ${NAME}_ARENA_ATTR
#define ${NAME}_ARENA_ATTR
#endif
#ifndef ${NAME}_CONST_ATTR
#define ${NAME}_CONST_ATTR
#endif

$entries
/* Give persistent tensors their initial values ($states). A network that has any needs it before the first call.$also
$reset;

/* With ${NAME}_SELFTEST defined for all files, the network can check itself: it runs a built-in input and compares the
   output of every layer. Returns 0, or the number (from 1) of the first layer that differs; one more than there are
   where the layers agree and yet something is wrong.$stops Resets the network. */
#ifdef ${NAME}_SELFTEST
int ${name}_selftest(void);
void ${name}_selftest_observe(int32_t layer, const void *data, uint32_t bytes);
#endif
"""


def interface(plan: Plan, arena: str) -> str:
    """What stands between the guards of the header."""
    graph = plan.graph
    plain = graph.entries[1:] if plan.exits else graph.entries
    entries = [exits.interface(plan, arena)] if plan.exits else []
    entries += [_prototypes(plan, entry, arena) for entry in plain]
    persistent = sum(tensor.persistent for tensor in graph.tensors)
    return Template(_HEADER).substitute(
        NAME=plan.name.upper(),
        name=plan.name,
        sha256=string(graph.sha256),
        quantization="".join(
            [*(_quantization(plan, entry) for entry in graph.entries), _step(plan), _labels(plan), _reusable(plan)]
        ),
        arena_owner="" if arena == "static" else "; the caller passes it as `memory`",
        arena_bytes=plan.memory.arena_bytes,
        arena_align=memory.ALIGNMENT,
        reset=signature(plan, None, arena),
        entries="\n".join(entries),
        states=f"{persistent or 'none'} here",
        also=exits.RESET if plan.exits else " */",
        stops=exits.SELFTEST if plan.exits else "",
    )


def _prototypes(plan: Plan, entry: Entry, arena: str) -> str:
    """The function of `entry`, and where its inputs and outputs are."""
    buffers = "Inputs and outputs are codes, NHWC; they may not overlap each other"
    buffers += " or the arena." if arena == "caller" else "."
    if plan.reusable:
        buffers = (
            "Inputs and outputs are codes, NHWC, and lie in the arena. Write the input before every call: it is\n"
            "   overwritten. The output stays until the next call for any entry, or until an input is written."
        )
    lines = [f"/* {_about(plan.graph, entry)}\n   {buffers} */", f"{signature(plan, entry, arena)};"]
    if plan.reusable:
        lines += [f"{each};" for each, _ in accessors(plan, entry, arena)]
    return "\n".join(lines) + "\n"


def _about(graph: Graph, entry: Entry) -> str:
    """What the function of `entry` does."""
    if entry is not graph.main:
        return f"Run entry '{entry.name}' once."
    if graph.step is None:
        return "Run the network once."
    return (
        f"Hear the next {graph.step.frames} frames. The output is about the last {graph.step.window}; before the first"
        " there was silence."
    )


def _step(plan: Plan) -> str:
    if plan.graph.step is None:
        return ""
    return (
        "/* The network follows a stream: what it takes at a time. Its state is in persistent tensors. */\n"
        f"#define {plan.name.upper()}_STEP_FRAMES {plan.graph.step.frames}\n\n"
    )


def _quantization(plan: Plan, entry: Entry) -> str:
    prefix = plan.name if entry is plan.graph.main else f"{plan.name}_{entry.name}"
    lines = []
    for word, indices in (("input", entry.inputs), ("output", entry.outputs)):
        for label, index in zip(numbered(word, indices), indices, strict=True):
            tensor, macro = plan.graph.tensors[index], f"{prefix}_{label}".upper()
            if tensor.quantization is None:  # positions
                lines.append(f"/* {described(tensor)}: positions. */\n#define {macro}_BYTES {tensor.bytes}\n\n")
                continue
            lines.append(
                f"/* {described(tensor)}: a value is SCALE * (code - ZERO_POINT). */\n"
                f"#define {macro}_BYTES {tensor.bytes}\n"
                f"#define {macro}_SCALE {_float(tensor.scale)}\n"
                f"#define {macro}_ZERO_POINT ({tensor.zero_point})\n\n"
            )
    return "".join(lines)


def _reusable(plan: Plan) -> str:
    if not plan.reusable:
        return ""
    return f"/* Inputs and outputs lie in the arena. */\n#define {plan.name.upper()}_INPUT_REUSABLE 1\n\n"


def _labels(plan: Plan) -> str:
    labels = plan.graph.metadata.get("labels")
    if labels is None:
        return ""
    output = plan.graph.tensors[plan.graph.main.outputs[0]]
    if len(labels) != output.bytes:
        raise InputError(
            f"labels: {len(labels)} for output '{output.name}' of {output.bytes}; one for each is accepted"
        )
    macro = plan.name.upper()
    return (
        "/* What the outputs stand for, to initialise an array of strings. */\n"
        f"#define {macro}_LABEL_COUNT {len(labels)}\n"
        f"#define {macro}_LABELS {{ {', '.join(string(label) for label in labels)} }}\n\n"
    )


def _float(value: float) -> str:
    """A float32 as a C literal that reads back to the same value."""
    return f"{np.float32(value)!s}f"
