"""A graph as C: `<name>.h`, `<name>.c`, `<name>_weights.h` and `<name>_selftest.c`.

`plan.compile_plan` decides (kernels, names, memory), the functions here print. What depends on the instruction set is
in the renderer alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from string import Template
from textwrap import indent

import numpy as np

from .. import memory
from ..errors import InputError
from ..graph import Entry, Graph, Tensor
from .plan import Layer, Plan, compile_plan
from .portable.renderer import Array, Renderer, fill
from .selftest import emit_selftest
from .text import Origin, array, banner, comment, header, string

ARENAS = ("static", "caller")
"""Who owns the arena: the generated C, or the caller, who passes a pointer to every function."""


def emit_model(
    graph: Graph,
    name: str = "kws_model",
    renderer: Renderer | None = None,
    arena: str = "static",
    selftest: str = "golden",
    command: str = "",
    golden: Mapping[str, Sequence[np.ndarray]] | None = None,
) -> dict[str, str]:
    """File name to text.

    `arena` is one of ARENAS, `selftest` one of selftest.SELFTESTS, `command` the command line that the banners show.
    `golden` gives the self-test's inputs (int8, in the shapes of the tensors) by entry; others are pseudo-random.
    """
    plan = compile_plan(graph, renderer, name)
    origin = Origin(command, graph.sha256)
    pool = _Pool(f"{name.upper()}_CONST_ATTR")
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


def _parameters(plan: Plan, entry: Entry | None, arena: str) -> dict[str, str]:
    """Name to declaration of the parameters of an entry's function; of the reset, where `entry` is None."""
    parameters = {"memory": "void *memory"} if arena == "caller" else {}
    if entry:
        for word, indices, qualifier in (("input", entry.inputs, "const "), ("output", entry.outputs, "")):
            for name, index in zip(_numbered(word, indices), indices, strict=True):
                parameters[name] = f"{qualifier}{plan.graph.tensors[index].dtype}_t *{name}"
    return parameters


def _prototype(plan: Plan, entry: Entry | None, arena: str) -> str:
    parameters = ", ".join(_parameters(plan, entry, arena).values()) or "void"
    return f"void {plan.name}_{entry.name if entry else 'reset'}({parameters})"


def _numbered(word: str, items: Sequence[int]) -> list[str]:
    """``input``, or ``input_0, input_1, ...`` where there are several."""
    return [word] if len(items) == 1 else [f"{word}_{number}" for number in range(len(items))]


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
/* Give persistent tensors their initial values ($persistent). A network that has any needs it before the first call. */
$reset;

/* With ${NAME}_SELFTEST defined for all files, the network can check itself: it runs a built-in input and compares the
   output of every layer. Returns 0, or the number (from 1) of the first layer that differs; one more than there are
   where the layers agree and yet something is wrong. Resets the network. */
#ifdef ${NAME}_SELFTEST
int ${name}_selftest(void);
void ${name}_selftest_observe(int32_t layer, const void *data, uint32_t bytes);
#endif
"""


def _interface(plan: Plan, arena: str) -> str:
    graph = plan.graph
    entries = [
        fill(
            """
            /* $about
               $buffers */
            $prototype;
            """,
            about="Run the network once." if entry is graph.main else f"Run entry '{entry.name}' once.",
            buffers="Inputs and outputs are codes, NHWC; they may not overlap each other"
            + (" or the arena." if arena == "caller" else "."),
            prototype=_prototype(plan, entry, arena),
        )
        + "\n"
        for entry in graph.entries
    ]
    persistent = sum(tensor.persistent for tensor in graph.tensors)
    return Template(_HEADER).substitute(
        NAME=plan.name.upper(),
        name=plan.name,
        sha256=string(graph.sha256),
        quantization="".join(_quantization(plan, entry) for entry in graph.entries) + _labels(plan),
        arena_owner="" if arena == "static" else "; the caller passes it as `memory`",
        arena_bytes=plan.memory.arena_bytes,
        arena_align=memory.ALIGNMENT,
        reset=_prototype(plan, None, arena),
        entries="\n".join(entries),
        persistent=f"{persistent or 'none'} here",
    )


def _quantization(plan: Plan, entry: Entry) -> str:
    prefix = plan.name if entry is plan.graph.main else f"{plan.name}_{entry.name}"
    lines = []
    for word, indices in (("input", entry.inputs), ("output", entry.outputs)):
        for label, index in zip(_numbered(word, indices), indices, strict=True):
            tensor, macro = plan.graph.tensors[index], f"{prefix}_{label}".upper()
            lines.append(
                f"/* {_described(tensor)}: a value is SCALE * (code - ZERO_POINT). */\n"
                f"#define {macro}_BYTES {tensor.bytes}\n"
                f"#define {macro}_SCALE {_float(tensor.scale)}\n"
                f"#define {macro}_ZERO_POINT ({tensor.zero_point})\n\n"
            )
    return "".join(lines)


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

$arena$helpers$layers$entries
$reset"""


def _source(plan: Plan, pool: _Pool, arena: str) -> str:
    layers = [layer for layer in plan.layers if not _is_alias(plan, layer)]
    functions = [_layer(plan, layer, pool) for layer in layers]
    reset, entries = _reset(plan, pool, arena), [_entry(plan, entry, pool, arena) for entry in plan.graph.entries]
    wanted = [name for layer in layers for name in layer.kernel.helpers]
    if any(f"{plan.name}_copy(" in text for text in (reset, *entries)):
        wanted.append("copy")
    macro = plan.name.upper()
    words = plan.memory.arena_bytes // 8
    own = f"static int64_t {plan.name}_arena[{words}] {macro}_ALIGNED {macro}_ARENA_ATTR;\n\n"
    return Template(_SOURCE).substitute(
        name=plan.name,
        NAME=macro,
        includes="".join(f"#include <{file}>\n" for file in plan.renderer.includes if file != "stdint.h"),
        arena=own if arena == "static" and words else "",
        helpers="".join(text + "\n" for text in _helpers(plan, wanted)),
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


def _layer(plan: Plan, layer: Layer, pool: _Pool) -> str:
    kernel, graph = layer.kernel, plan.graph
    sources = [graph.tensors[index] for index in layer.operator.inputs[: len(kernel.parameters)]]
    parameters = [f"const int8_t *{parameter}" for parameter in kernel.parameters] + ["int8_t *output"]
    parameters += ["int8_t *scratch"] if kernel.demand.scratch_bytes else []
    bound = [f"    const {each.ctype} *const {each.role} = {pool.name(each, layer)};\n" for each in kernel.arrays]
    about = (
        f"{layer.name}: {', '.join(_described(source) for source in sources)}"
        f" -> {_described(graph.tensors[layer.operator.outputs[0]])}"
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


def _entry(plan: Plan, entry: Entry, pool: _Pool, arena: str) -> str:
    """The function that calls the layers of `entry` in order."""
    places = plan.memory.entries[entry.name]
    lines = []
    for layer in plan.of(entry):
        operator, kernel = layer.operator, layer.kernel
        target = operator.outputs[0]
        pointers = [_pointer(plan, entry, index, pool) for index in operator.inputs[: len(kernel.parameters)]]
        pointers.append(_pointer(plan, entry, target, pool))
        if kernel.demand.scratch_bytes:
            pointers.append(f"arena + {places.scratch[layer.index].offset}")
        if not _is_alias(plan, layer):
            lines.append(f"{layer.function}({', '.join(pointers)});")
        observed = _pointer(plan, entry, target, pool)
        lines.append(f"{plan.name.upper()}_OBSERVE({layer.index}, {observed}, {plan.graph.tensors[target].bytes});")
    for number, index in enumerate(entry.outputs):
        own = memory.Place("output", number)
        if places.places.get(index) != own:
            tensor, value = plan.graph.tensors[index], _pointer(plan, entry, index, pool)
            lines.append(f"{plan.name}_copy({_caller(entry, own, tensor)}, {value}, {tensor.bytes});")
    return _function(plan, entry, lines, arena)


def _reset(plan: Plan, pool: _Pool, arena: str) -> str:
    lines = []
    places = plan.memory.entries[plan.graph.main.name].places
    for index, tensor in enumerate(plan.graph.tensors):
        if tensor.persistent:
            lines.append(f"{plan.name}_copy(arena + {places[index].at}, {pool.constant(plan, index)}, {tensor.bytes});")
    return _function(plan, None, [*lines, *plan.renderer.resets(plan.name)], arena)


def _function(plan: Plan, entry: Entry | None, lines: list[str], arena: str) -> str:
    """A function of the interface, or the reset where `entry` is None. ``arena`` is declared where a line uses it."""
    used = set(re.findall(r"\w+", " ".join(lines)))
    owner = f"{plan.name}_arena" if arena == "static" else "memory"
    declared = [f"int8_t *const arena = (int8_t *){owner};", ""] if "arena" in used else []
    unused = _parameters(plan, entry, arena).keys() - used - ({owner} if declared else set())
    body = [*declared, *(f"(void){name};" for name in sorted(unused)), *lines]
    return f"{_prototype(plan, entry, arena)}\n{{\n" + indent("\n".join(body), "    ") + "\n}\n"


def _is_alias(plan: Plan, layer: Layer) -> bool:
    """Whether the operator only gives its input, or a part of it, another name."""
    return layer.index in plan.memory.entries[layer.entry.name].aliases


def _pointer(plan: Plan, entry: Entry, index: int, pool: _Pool) -> str:
    """The C expression that points at a tensor."""
    if plan.graph.tensors[index].constant:
        return pool.constant(plan, index)
    place = plan.memory.entries[entry.name].places[index]
    if place.memory == "arena":
        return f"arena + {place.at}"
    return _caller(entry, place, plan.graph.tensors[index])


def _caller(entry: Entry, place: memory.Place, tensor: Tensor) -> str:
    """The caller's input or output, as the layers take it: they see the bytes of uint8 codes."""
    inside = place.memory == "input"
    name = _numbered(place.memory, entry.inputs if inside else entry.outputs)[place.at]
    return name if tensor.dtype == "int8" else f"({'const ' if inside else ''}int8_t *){name}"


def _described(tensor: Tensor) -> str:
    name = tensor.name if len(tensor.name) <= 48 else f"{tensor.name[:45]}..."
    return comment(f"{name!a} ({' x '.join(str(size) for size in tensor.shape)})")


@dataclass
class _Pool:
    """The constants of a model; equal ones are kept once, under the name of the first layer that uses them."""

    attribute: str
    arrays: dict[tuple[str, bytes], tuple[str, Array, list[str]]] = field(default_factory=dict)

    def name(self, each: Array, layer: Layer) -> str:
        """The C name of a layer's array."""
        return self._keep(each, f"{layer.function}_{each.role}", f"{layer.name}: {each.role}")

    def constant(self, plan: Plan, index: int) -> str:
        """The C name of the value, or the initial value, of a tensor."""
        tensor = plan.graph.tensors[index]
        what = "initial value of" if tensor.persistent else "value of"
        assert tensor.data is not None
        each = Array("tensor", "int8_t", tensor.data.view(np.int8))
        return self._keep(each, f"{plan.name}_tensor_{index}", f"{what} {_described(tensor)}")

    def _keep(self, each: Array, name: str, about: str) -> str:
        key = (each.ctype, np.asarray(each.values, np.int64).tobytes())
        name, _, users = self.arrays.setdefault(key, (name, each, []))
        if about not in users:
            users.append(about)
        return name

    def text(self) -> str:
        return "#include <stdint.h>\n\n" + "\n".join(
            array(each.ctype, name, each.values, about=f"{'; '.join(users)}.", attribute=self.attribute)
            for name, each, users in self.arrays.values()
        )
