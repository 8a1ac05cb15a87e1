"""What the C around a network calls, on a core and on this host: functions that take inputs and give outputs, wherever
these lie."""

from __future__ import annotations

from collections.abc import Sequence

from ..emit.functions import numbered
from ..graph import Entry, Graph
from ..users.exits import exits_of

OWN = {"kept": "", "reusable": "given_"}
"""How the names of functions that take inputs and give outputs begin, behind that of the network."""


def adapters(graph: Graph, inputs: str) -> str:
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


def outputs_of(graph: Graph, entry: Entry) -> tuple[int, ...]:
    """What the C of `entry` gives its caller."""
    return entry.outputs[-1:] if entry is graph.main and exits_of(graph) else entry.outputs


def call_of(function: str, *arguments: Sequence[str]) -> str:
    return f"kws_model_{function}({', '.join(name for names in arguments for name in names)})"
