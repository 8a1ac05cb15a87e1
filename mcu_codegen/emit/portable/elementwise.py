"""Kernels on each element, and softmax."""

from __future__ import annotations

import math
from textwrap import indent

import numpy as np

from ... import lower
from ...memory import Demand, Over
from ..kernel import Array, Kernel, Kernels, Site, ctype, fill, loops, nest, place, plus, runs
from ..overlap import IN_ORDER


class Elementwise(Kernels):
    """Portable C99."""

    def add(self, op: lower.Add, site: Site) -> Kernel:
        values = [
            f"{site.prefix}_requantize(($code{plus(-zero_point)}) * {1 << op.left_shift}, {multiplier}, {shift})"
            for zero_point, multiplier, shift in zip(op.zero_points, op.multipliers, op.shifts, strict=True)
        ]
        code, _ = self.quantize(op.requantization, "a + b" if op.sign > 0 else "a - b", site)
        return self.pairwise(code, values, ("requantize", self.quantizer(op.requantization)), site)

    def multiply(self, op: lower.Multiply, site: Site) -> Kernel:
        values = [f"$code{plus(-zero_point)}" for zero_point in op.zero_points]
        code, _ = self.quantize(op.requantization, "a * b", site)
        return self.pairwise(code, values, (self.quantizer(op.requantization),), site)

    def divide(self, op: lower.Divide, site: Site) -> Kernel:
        values, scaling = [f"$code{plus(-zero_point)}" for zero_point in op.zero_points], op.scaling
        code = (
            f"{site.prefix}_divide(a, b, {scaling.multiplier[0]}, {scaling.shift[0]}, {scaling.zero_point},"
            f" {scaling.low}, {scaling.high})"
        )
        return self.pairwise(code, values, ("divide",), site)

    def extreme(self, op: lower.Extreme, site: Site) -> Kernel:
        code = f"({ctype(site.output)})(a {'>' if op.largest else '<'} b ? a : b)"
        return self.pairwise(code, ["$code", "$code"], (), site)

    def prelu(self, op: lower.Prelu, site: Site) -> Kernel:
        values = [f"$code{plus(-zero_point)}" for zero_point in op.zero_points]
        (positive, _), (negative, _) = (
            self.quantize(each, result, site) for each, result in ((op.positive, "a"), (op.negative, "a * b"))
        )
        return self.pairwise(f"a >= 0 ? {positive} : {negative}", values, ("quantize",), site)

    def pairwise(self, code: str, values: list[str], helpers: tuple[str, ...], site: Site) -> Kernel:
        """`code` of a and b, which are `values` of one ``$code`` of either input each; inputs broadcast."""
        shape = site.output.shape
        found = runs(shape, *(broadcast_strides(source.shape, shape) for source in site.inputs))
        a, b = (
            value.replace("$code", f"{name}[{place(found, number)}]")
            for number, (name, value) in enumerate(zip(("first", "second"), values, strict=True))
        )
        each = f"const int32_t a = {a};\nconst int32_t b = {b};\n\n*output++ = {code};"
        return Kernel(
            loops(found, each) if found else f"{{\n{indent(each, '    ')}\n}}",
            Demand(over=same_shape(site)),
            parameters=("first", "second"),
            helpers=helpers,
        )

    def lookup(self, op: lower.Lookup, site: Site) -> Kernel:
        flipped = np.array_equal(op.table, np.arange(256) ^ 128)  # uint8 to int8 of the same values, and back
        return Kernel(
            fill(
                """
                for (int32_t i = 0; i < $count; i++) {
                    output[i] = $code;
                }
                """,
                count=site.output.bytes,
                code="(int8_t)(input[i] ^ -128)" if flipped else "table[(uint8_t)input[i]]",
            ),
            Demand(over=(IN_ORDER,)),
            arrays=() if flipped else (Array("table", "int8_t", op.table.view(np.int8)),),
        )

    def rescale(self, op: lower.Rescale, site: Site) -> Kernel:
        value = f"input[i]{plus(-op.zero_point)}"
        (positive, _), (negative, _) = (self.quantize(each, value, site) for each in (op.positive, op.negative))
        code = positive if positive == negative else f"{value} >= 0 ? {positive} : {negative}"
        return Kernel(
            nest([("i", site.output.elements)], f"output[i] = {code};"),
            Demand(over=(IN_ORDER,) if site.inputs[0].bytes >= site.output.bytes else ()),
            helpers=(self.quantizer(op.positive),),
        )

    def softmax(self, op: lower.Softmax, site: Site) -> Kernel:
        """Exponentials come from a table over the distance to the row's maximum; beyond its end they are nothing."""
        size, ends = site.output.shape[-1], np.iinfo(op.dtype)
        return Kernel(
            fill(
                """
                for (int32_t row = 0; row < $rows; row++) {
                    int32_t maximum = -128;
                    uint32_t total = 0;
                    int32_t inverse, bits;

                    for (int32_t i = 0; i < $size; i++) {
                        if (input[i] > maximum) {
                            maximum = input[i];
                        }
                    }
                    for (int32_t i = 0; i < $size; i++) {
                        const int32_t distance = maximum - input[i];

                        if (distance < $entries) {
                            total += (uint32_t)${prefix}_rounding_shift(exponentials[distance], 12);
                        }
                    }
                    inverse = ${prefix}_reciprocal(total, &bits);
                    for (int32_t i = 0; i < $size; i++) {
                        const int32_t distance = maximum - input[i];
                        int32_t share = 0;

                        if (distance < $entries) {
                            share = ${prefix}_high_multiply(exponentials[distance], inverse);
                            share = $scaled;
                        }
                        output[i] = ($code)(share > $most ? $high : share - $shifted);
                    }
                    input += $size;
                    output += $size;
                }
                """,
                prefix=site.prefix,
                rows=site.output.elements // size,
                size=size,
                entries=len(op.exponentials),
                code=ctype(site.output),
                most=ends.max - ends.min,
                high=ends.max,
                shifted=-int(ends.min),
                # a row of 512 or more can sum to 2^28 or more: then bits is above 8, and the share below a half of an
                # int8 code
                scaled=("bits > 8 ? 0 : " if size > 511 and ends.bits == 8 else "")
                + f"{site.prefix}_rounding_shift(share, bits + {31 - ends.bits})",
            ),
            Demand(over=(IN_ORDER,) if ends.bits == 8 else ()),
            arrays=(Array("exponentials", "int32_t", op.exponentials),),
            helpers=("rounding_shift", "high_multiply", "reciprocal"),
        )


def broadcast_strides(shape: tuple[int, ...], output: tuple[int, ...]) -> tuple[int, ...]:
    """Elements between neighbours of a tensor of `shape` along each axis of `output`; 0 along which it is repeated."""
    strides = [0] * (len(output) - len(shape))
    for axis, size in enumerate(shape):
        strides.append(math.prod(shape[axis + 1 :]) if size > 1 else 0)
    return tuple(strides)


def same_shape(site: Site) -> tuple[Over | None, ...]:
    """How the output may lie on each input of a kernel that goes through all of them in order: on those of its
    shape."""
    return tuple(IN_ORDER if source.shape == site.output.shape else None for source in site.inputs)
