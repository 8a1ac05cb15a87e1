"""What a kernel is made of, and the C text tools of those who write kernels."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from string import Template
from textwrap import dedent, indent

import numpy as np

from .. import lower
from ..graph import Tensor
from ..memory import Demand


@dataclass(frozen=True)
class Array:
    """Constants of a layer: the body reads them through a pointer called `role`."""

    role: str
    ctype: str
    values: np.ndarray
    kept: int | None = None  # of weights that lie in it sparse, the bytes


@dataclass(frozen=True)
class Kernel:
    """How a layer is computed: the body of its C function and what the body needs around it."""

    body: str
    demand: Demand = field(default_factory=Demand)
    parameters: tuple[str, ...] = ("input",)  # names of the pointers to the activations, in the operator's order
    states: tuple[str, ...] = ()  # names of the pointers to what it updates, in the order of the operator's outputs
    arrays: tuple[Array, ...] = ()
    helpers: tuple[str, ...] = ()  # keys of Renderer.helpers
    macs: int = 0  # multiply-accumulates of one call, padded positions included
    portable: str = ""  # why an instruction set with kernels leaves it to portable C; "" where it does not


@dataclass(frozen=True)
class ChannelLoop:
    """A loop over channels, in whose body ``row`` points at the channel's constants."""

    head: str
    stream: Array  # the array that it reads
    helpers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Site:
    """Where an operator stands: its activations, and the prefix of every helper's name."""

    prefix: str
    inputs: tuple[Tensor, ...]
    output: Tensor


@dataclass(frozen=True)
class Helper:
    """A C function shared by layers, with ``$prefix`` before every helper's name, and the helpers that it calls."""

    text: str
    uses: tuple[str, ...] = ()


def ctype(tensor: Tensor) -> str:
    """The C type of a tensor's elements, as kernels see them: uint8 codes are bytes like all others."""
    return "int8_t" if tensor.dtype == "uint8" else f"{tensor.dtype}_t"


def octets(pointer: str, tensor: Tensor, const: str = "") -> str:
    """A C `pointer` to elements of a tensor as one to its bytes; `const` is ``const `` where it may not write them."""
    return pointer if ctype(tensor) == "int8_t" else f"({const}int8_t *)({pointer})"


class Unencodable(Exception):
    """An instruction of a kernel that its core does not have: the kernel does not know its limits. One line."""


class Kernels:
    """Base of the families of kernels, and of every instruction set."""

    includes: tuple[str, ...] = ("stdint.h",)
    helpers: dict[str, Helper]

    def render(self, lowered: lower.Lowered, site: Site) -> Kernel:
        """The kernel of `lowered` at `site`. Raises InputError where C cannot compute it."""
        raise NotImplementedError

    def quantize(self, op: lower.Requantization, accumulator: str, site: Site) -> tuple[str, tuple[Array, ...]]:
        """The C expression of the code of `accumulator`, and the arrays over ``channel`` that it reads. It calls
        `quantizer`."""
        multiplier, multipliers = per_channel("multiplier", "int32_t", op.multiplier)
        shift, shifts = per_channel("shift", "int8_t", op.shift)
        helper = f"{site.prefix}_{self.quantizer(op)}"
        return (
            f"{helper}({accumulator}, {multiplier}, {shift}, {op.zero_point}, {op.low}, {op.high})",
            multipliers + shifts,
        )

    def quantizer(self, op: lower.Requantization) -> str:
        """The helper that makes codes of accumulators."""
        if isinstance(op, lower.LongRequantization):
            return "quantize_long"
        return "quantize" if op.dtype == "int8" else f"quantize_{op.dtype.removeprefix('int')}"


def fill(text: str, **values: object) -> str:
    """`text`, dedented, with every ``$name`` replaced; a value alone on its line is indented as the line is."""
    text = dedent(text).strip("\n")
    text = re.sub(r"^( *)\$(\w+)$", lambda m: indent(str(values[m[2]]), m[1]), text, flags=re.MULTILINE)
    return Template(text).substitute({name: str(value) for name, value in values.items()})


def positions(site: Site) -> int:
    """Pixels, or rows, of the output."""
    return site.output.elements // site.output.shape[-1]


def times(name: str, factor: int) -> str:
    return name if factor == 1 else f"{name} * {factor}"


def plus(value: int) -> str:
    """`` + 3``, `` - 3`` or nothing."""
    return f" {'+' if value > 0 else '-'} {abs(value)}" if value else ""


def per_channel(role: str, ctype: str, values: np.ndarray) -> tuple[str, tuple[Array, ...]]:
    """An expression over ``channel``: a literal where all channels agree."""
    if np.all(values == values[0]):
        return str(values[0]), ()
    return f"{role}[channel]", (Array(role, ctype, values),)


def in_fours(weights: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(channels, depth) and (channels) as the helper ``dot4`` reads them: blocks of four channels whose weights
    lie side by side, the last filled up with zeros."""
    missing = -len(weights) % 4
    rows = np.pad(weights, ((0, missing), (0, 0)))
    return rows.reshape(-1, 4, rows.shape[1]).transpose(0, 2, 1), np.pad(bias, (0, missing))


def nest(loops: Iterable[tuple[str, int]], inside: str) -> str:
    """`inside` in nested loops of (index, size)."""
    for index, size in reversed(list(loops)):
        inside = fill("for (int32_t $i = 0; $i < $size; $i++) {\n    $inside\n}", i=index, size=size, inside=inside)
    return inside


def runs(shape: tuple[int, ...], *strides: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The axes of `shape` as few loops: (size, stride in each of several arrays), neighbours that are one run merged
    and axes of size 1 left out."""
    found: list[tuple[int, ...]] = []
    for size, *steps in reversed(list(zip(shape, *strides, strict=True))):
        if size == 1:
            continue
        if found and all(step == found[0][0] * inner for step, inner in zip(steps, found[0][1:], strict=True)):
            found[0] = (found[0][0] * size, *found[0][1:])
        else:
            found.insert(0, (size, *steps))
    return found


def loops(found: list[tuple[int, ...]], inside: str) -> str:
    """`inside` in nested loops over i0, i1, ...: one for each of `runs`."""
    return nest(((f"i{number}", size) for number, (size, *_) in enumerate(found)), inside)


def place(found: list[tuple[int, ...]], array: int, offset: int = 0) -> str:
    """The index into one of the arrays of `runs` inside their `loops`."""
    terms = [times(f"i{number}", run[1 + array]) for number, run in enumerate(found) if run[1 + array]]
    return " + ".join(([str(offset)] if offset or not terms else []) + terms)
