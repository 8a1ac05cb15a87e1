"""Kernels that move codes and compute nothing."""

from __future__ import annotations

from ... import lower
from ...memory import Demand
from ..kernel import Kernel, Kernels, Site, loops, place, runs


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
        several = len(op.pieces) > 1
        for piece in op.pieces:
            name = f"input_{piece.input}" if several else "input"
            found = runs(piece.shape, piece.source.strides, piece.target.strides)
            row = found.pop()[0] if found and found[-1][1:] == (1, 1) else 1
            source, target = place(found, 0, piece.source.offset), place(found, 1, piece.target.offset)
            if row > 1:
                helpers.append("copy")
                move = f"{site.prefix}_copy(output + {target}, {name} + {source}, {row});"
            else:
                move = f"output[{target}] = {name}[{source}];"
            lines.append(loops(found, move))
            if not found and not several and op.fill is None:
                # one run of the input, which is copied from its start on
                demand = Demand(in_place=True, part=piece.source.offset)
        parameters = tuple(f"input_{piece.input}" for piece in op.pieces) if several else ("input",)
        return Kernel("\n".join(lines), demand, parameters, helpers=tuple(dict.fromkeys(helpers)))
