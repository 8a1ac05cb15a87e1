"""A graph as C: `<name>.h`, `<name>.c`, `<name>_weights.h` and `<name>_selftest.c`.

`plan.compile_plan` decides (kernels, names, memory), the functions here print. What depends on the instruction set is
in the renderer alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from string import Template
from textwrap import indent

import numpy as np

from .. import memory
from ..errors import InputError
from ..graph import Entry, Graph
from . import exits
from .constants import Pool
from .functions import (
    ARENAS,
    accessor_functions,
    accessors,
    entry_function,
    is_alias,
    numbered,
    reset_function,
    signature,
)
from .kernel import ctype
from .plan import INPUTS, Layer, Plan, compile_plan
from .portable.renderer import Renderer
from .selftest import emit_selftest
from .text import Origin, banner, comment, described, header, string

__all__ = ["ARENAS", "emit_model", "emit_plan"]


def emit_model(
    graph: Graph,
    name: str = "kws_model",
    renderer: Renderer | None = None,
    arena: str = "static",
    selftest: str = "golden",
    command: str = "",
    golden: Mapping[str, Sequence[np.ndarray]] | None = None,
    inputs: str = INPUTS[0],
) -> dict[str, str]:
    """`emit_plan` of `graph`, planned as `compile_plan` does."""
    return emit_plan(compile_plan(graph, renderer, name, inputs), arena, selftest, command, golden)


def emit_plan(
    plan: Plan,
    arena: str = "static",
    selftest: str = "golden",
    command: str = "",
    golden: Mapping[str, Sequence[np.ndarray]] | None = None,
) -> dict[str, str]:
    """File name to text.

    `arena` is one of ARENAS, `selftest` one of selftest.SELFTESTS, `command` the command line that the banners show.
    `golden` gives the self-test's inputs (int8, in the shapes of the tensors) by entry; others are pseudo-random.
    """
    name, origin = plan.name, Origin(command, plan.graph.sha256)
    pool = Pool(f"{name.upper()}_CONST_ATTR")
    source = _source(plan, pool, arena)  # fills the pool
    texts = {
        f"{name}.h": ("The interface of the network.", header(f"{name}.h", _interface(plan, arena))),
        f"{name}.c": ("The network.", source),
        f"{name}_weights.h": ("The constants of the network.", header(f"{name}_weights.h", pool.text())),
        f"{name}_selftest.c": (
            f"The self-test of the network; nothing unless {name.upper()}_SELFTEST is defined for all files.",
            emit_selftest(plan, arena, selftest, golden or {}),
        ),
    }
    files = {file: banner(about, origin) + "\n" + text for file, (about, text) in texts.items()}
    return files | plan.renderer.companions(name, origin)


# The header


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


def _interface(plan: Plan, arena: str) -> str:
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


# The source


_SOURCE = """\
#include "${name}.h"
#include "${name}_weights.h"
$includes
/* May be defined to look at the output of every layer; layers count from 0 through all entries. */
#ifdef ${NAME}_SELFTEST
#define ${NAME}_OBSERVE(layer, data, bytes) ${name}_selftest_observe(layer, data, bytes)
#endif
#ifndef ${NAME}_OBSERVE
#define ${NAME}_OBSERVE(layer, data, bytes) ((void)0)
#endif

$arena$helpers$exits$layers$entries
$reset"""


def _source(plan: Plan, pool: Pool, arena: str) -> str:
    layers = [layer for layer in plan.layers if not is_alias(plan, layer)]
    functions = [_layer(plan, layer, pool) for layer in layers]
    plain = plan.graph.entries[1:] if plan.exits else plan.graph.entries
    entries = [exits.functions(plan, pool, arena)] if plan.exits else []
    entries += [entry_function(plan, entry, pool, arena) for entry in plain]
    if plan.reusable:
        entries += [each for entry in plain for each in accessor_functions(plan, entry, pool, arena)]
    more = exits.resets(plan) if plan.exits else []
    reset = reset_function(plan, pool, arena, [*more, *plan.renderer.resets(plan.name)])
    wanted = [name for layer in layers for name in layer.kernel.helpers]
    wanted += [each for each in ("copy", "repeat") if any(f"{plan.name}_{each}(" in text for text in (reset, *entries))]
    macro = plan.name.upper()
    words = plan.memory.arena_bytes // 8
    own = f"static int64_t {plan.name}_arena[{words}] {macro}_ALIGNED {macro}_ARENA_ATTR;\n\n"
    return Template(_SOURCE).substitute(
        name=plan.name,
        NAME=macro,
        includes="".join(f"#include <{file}>\n" for file in plan.renderer.includes if file != "stdint.h"),
        arena=own if arena == "static" and words else "",
        helpers="".join(text + "\n" for text in _helpers(plan, wanted)),
        exits=exits.table(plan, pool) if plan.exits else "",
        layers="".join(text + "\n" for text in functions),
        entries="\n".join(entries),
        reset=reset,
    )


def _helpers(plan: Plan, wanted: Iterable[str]) -> list[str]:
    """The C of the helpers that are `wanted`, and before each those that it uses."""
    texts: dict[str, str] = {}

    def need(name: str) -> None:
        if name not in texts:
            helper = plan.renderer.helpers[name]
            for used in helper.uses:
                need(used)
            texts[name] = Template(helper.text).substitute(prefix=plan.name)

    for name in wanted:
        need(name)
    return list(texts.values())


def _layer(plan: Plan, layer: Layer, pool: Pool) -> str:
    kernel, graph = layer.kernel, plan.graph
    sources = [graph.tensors[index] for index in layer.operator.inputs[: len(kernel.parameters)]]
    named = zip(kernel.parameters, sources, strict=True)
    parameters = [f"const {ctype(source)} *{parameter}" for parameter, source in named]
    written = zip(("output", *kernel.states), layer.operator.outputs, strict=True)
    parameters += [f"{ctype(graph.tensors[index])} *{name}" for name, index in written]
    parameters += ["int8_t *scratch"] if kernel.demand.scratch_bytes else []
    bound = [f"    const {each.ctype} *const {each.role} = {pool.name(each, layer)};\n" for each in kernel.arrays]
    about = (
        f"{layer.name}: {', '.join(described(source) for source in sources)}"
        f" -> {described(graph.tensors[layer.operator.outputs[0]])}"
    )
    about += f"; {kernel.macs:,} MACs" if kernel.macs else ""
    return (
        f"/* {comment(about)}. */\n"
        f"static void {layer.function}({', '.join(parameters)})\n{{\n"
        + "".join(bound)
        + ("\n" if bound else "")
        + indent(kernel.body, "    ")
        + "\n}\n"
    )
