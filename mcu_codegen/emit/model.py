"""A graph as C: `<name>.h`, `<name>.c`, `<name>_weights.h` and `<name>_selftest.c`.

`plan.compile_plan` decides (kernels, names, memory); `interface` prints the header, `selftest` the self-test, and the
functions here the rest. What depends on the instruction set is in the renderer alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from string import Template
from textwrap import indent

import numpy as np

from ..graph import Graph
from . import exits
from .constants import Pool
from .functions import ARENAS, accessor_functions, entry_function, is_alias, reset_function
from .interface import interface
from .kernel import ctype
from .plan import INPUTS, Layer, Plan, compile_plan
from .portable.renderer import Renderer
from .selftest import emit_selftest
from .text import Origin, banner, comment, described, header

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
        f"{name}.h": ("The interface of the network.", header(f"{name}.h", interface(plan, arena))),
        f"{name}.c": ("The network.", source),
        f"{name}_weights.h": ("The constants of the network.", header(f"{name}_weights.h", pool.text())),
        f"{name}_selftest.c": (
            f"The self-test of the network; nothing unless {name.upper()}_SELFTEST is defined for all files.",
            emit_selftest(plan, arena, selftest, golden or {}),
        ),
    }
    files = {file: banner(about, origin) + "\n" + text for file, (about, text) in texts.items()}
    return files | plan.renderer.companions(name, origin)


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
