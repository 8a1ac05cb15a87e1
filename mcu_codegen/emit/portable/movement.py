"""Kernels that move codes and compute nothing."""

from __future__ import annotations

from ... import lower
from ...memory import Demand
from ..kernel import Array, Kernel, Kernels, Site, fill, loops, place, runs


class Movement(Kernels):
    """Portable C99."""

    def copy(self, op: lower.Copy, site: Site) -> Kernel:
        """RESHAPE and the like, where the memory plan does not let the output take the input's place."""
        return Kernel(
            f"{site.prefix}_copy(output, input, {site.output.bytes});", Demand(in_place=True, part=0), helpers=("copy",)
        )

    def rearrange(self, op: lower.Rearrange, site: Site) -> Kernel:
        """Each piece in as few loops as its strides allow; what lies in a row in both tensors is copied as one."""
        lines, helpers = [], []
        demand = Demand()
        if op.fill is not None:
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
                move = f"{site.prefix}_copy(output + {target}, {name} + {source}, {row});"
            else:
                move = f"output[{target}] = {name}[{source}];"
            lines.append(loops(found, move))
            if not found and len(op.pieces) == 1 and op.fill is None:
                # one run of the input, which is copied from its start on
                demand = Demand(in_place=True, part=piece.source.offset)
        return Kernel("\n".join(lines), demand, parameters, helpers=tuple(dict.fromkeys(helpers)))

    def gather(self, op: lower.Gather, site: Site) -> Kernel:
        """Rows and columns by tables of where they begin."""
        arrays = [Array("rows", "int32_t", op.rows * op.width * op.inner)]
        source = "input + rows[i]"
        if op.width > 1:
            arrays.append(Array("columns", "int32_t", op.columns * op.inner))
            source += " + columns[j]"
        text = fill(
            """
            for (int32_t i = 0; i < $rows; i++) {
                for (int32_t j = 0; j < $columns; j++) {
                    ${prefix}_copy(output, $source, $inner);
                    output += $inner;
                }
            }
            """,
            prefix=site.prefix,
            rows=len(op.rows),
            columns=len(op.columns),
            source=source,
            inner=op.inner,
        )
        if op.outer > 1:
            size = op.height * op.width * op.inner
            text = fill(
                """
                for (int32_t image = 0; image < $outer; image++) {
                    $each
                    input += $size;
                }
                """,
                outer=op.outer,
                each=text,
                size=size,
            )
        return Kernel(text, arrays=tuple(arrays), helpers=("copy",))
