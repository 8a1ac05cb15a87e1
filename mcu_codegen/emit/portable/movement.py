"""Kernels that move codes and compute nothing."""

from __future__ import annotations

import numpy as np

from ... import lower
from ...memory import Demand, Over
from ..kernel import Array, Kernel, Kernels, Site, fill, loops, nest, octets, place, runs
from ..overlap import IN_ORDER


class Movement(Kernels):
    """Portable C99."""

    def copy(self, op: lower.Copy, site: Site) -> Kernel:
        """RESHAPE and the like, where the memory plan does not let the output take the input's place."""
        text = _copied(site, "output", "input", site.output.elements)
        return Kernel(text, Demand(over=(IN_ORDER,), part=0), helpers=("copy",))

    def rearrange(self, op: lower.Rearrange, site: Site) -> Kernel:
        """Each piece in as few loops as its strides allow; what lies in a row in both tensors is copied as one."""
        lines, helpers = [], []
        demand = Demand()
        if op.fill is not None:
            if site.output.dtype == "int16":
                lines.append(nest([("i", op.elements)], f"output[i] = {op.fill};"))
            else:
                lines.append(f"{site.prefix}_fill(output, {op.fill}, {op.elements});")
                helpers.append("fill")
        inputs = 1 + max(piece.input for piece in op.pieces)
        parameters = tuple(f"input_{number}" for number in range(inputs)) if inputs > 1 else ("input",)
        for piece in op.pieces:
            name = parameters[piece.input]
            found = runs(piece.shape, piece.source.strides, piece.target.strides)
            row = found.pop()[0] if found and found[-1][1:] == (1, 1) else 1
            source, target = place(found, 0, piece.source.offset), place(found, 1, piece.target.offset)
            if row > 1:
                helpers.append("copy")
                move = _copied(site, f"output + {target}", f"{name} + {source}", row)
            else:
                move = f"output[{target}] = {name}[{source}];"
            lines.append(loops(found, move))
            if not found and len(op.pieces) == 1 and op.fill is None:
                # one run of the input, which is copied from its start on
                start = piece.source.offset * np.dtype(site.output.dtype).itemsize
                demand = Demand(over=(Over(last=start),), part=start)
        return Kernel("\n".join(lines), demand, parameters, helpers=tuple(dict.fromkeys(helpers)))

    def gather(self, op: lower.Gather, site: Site) -> Kernel:
        """Rows and columns by tables of where they begin."""
        arrays = [Array("rows", "int32_t", op.rows * op.width * op.inner)]
        source = "input + rows[i]"
        if op.width > 1:
            arrays.append(Array("columns", "int32_t", op.columns * op.inner))
            source += " + columns[j]"
        pixel = f"{_copied(site, 'output', source, op.inner)}\noutput += {op.inner};"
        text = nest((("i", len(op.rows)), ("j", len(op.columns))), pixel)
        return Kernel(_each_image(op, text), arrays=tuple(arrays), helpers=("copy",))

    def bilinear(self, op: lower.Bilinear, site: Site) -> Kernel:
        """The four pixels around each output by tables of where their rows and columns begin, and their weights."""
        arrays = [
            Array(f"{name}_{part}", "int32_t", values * step)
            for name, axis, step in (("row", op.rows, op.width * op.inner), ("column", op.columns, op.inner))
            for part, values in (("first", axis.first), ("second", axis.second))
        ]
        arrays += [Array("below", "int16_t", op.rows.weight), Array("right", "int16_t", op.columns.weight)]
        pixel = fill(
            """
            const int8_t *const upper_left = input + row_first[i] + column_first[j];
            const int8_t *const upper_right = input + row_first[i] + column_second[j];
            const int8_t *const lower_left = input + row_second[i] + column_first[j];
            const int8_t *const lower_right = input + row_second[i] + column_second[j];

            for (int32_t channel = 0; channel < $inner; channel++) {
                const int32_t left = upper_left[channel] * (1024 - below[i]) + lower_left[channel] * below[i];
                const int32_t other = upper_right[channel] * (1024 - below[i]) + lower_right[channel] * below[i];

                *output++ = (int8_t)${prefix}_rounding_shift(left * (1024 - right[j]) + other * right[j], 20);
            }
            """,
            inner=op.inner,
            prefix=site.prefix,
        )
        text = nest((("i", len(op.rows.weight)), ("j", len(op.columns.weight))), pixel)
        return Kernel(_each_image(op, text), arrays=tuple(arrays), helpers=("rounding_shift",))


def _copied(site: Site, to: str, source: str, count: int) -> str:
    """C that copies `count` elements."""
    size = count * np.dtype(site.output.dtype).itemsize
    return f"{site.prefix}_copy({octets(to, site.output)}, {octets(source, site.output, 'const ')}, {size});"


def _each_image(op: lower.Gather | lower.Bilinear, text: str) -> str:
    """`text` for one image, in a loop over all."""
    if op.outer == 1:
        return text
    return nest([("image", op.outer)], f"{text}\ninput += {op.height * op.width * op.inner};")
