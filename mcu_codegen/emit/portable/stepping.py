"""Kernels of what a step does with its state."""

from __future__ import annotations

from ... import lower
from ...memory import Demand
from ..kernel import Kernel, Kernels, Site, fill, nest, times
from ..overlap import IN_ORDER
from .reductions import axis_runs


class Stepping(Kernels):
    """Portable C99."""

    def shift_in(self, op: lower.ShiftIn, site: Site) -> Kernel:
        """A copy towards the start may overlap what it copies."""
        kept = op.elements - op.entering
        return Kernel(
            fill(
                """
                ${prefix}_copy(output, window + $entering, $kept);
                ${prefix}_copy(output + $kept, rows, $entering);
                """,
                prefix=site.prefix,
                entering=op.entering,
                kept=kept,
            ),
            Demand(over=(IN_ORDER,)),
            ("window", "rows"),
            helpers=("copy",),
        )

    def sliding_sum(self, op: lower.SlidingSum, site: Site) -> Kernel:
        """One loop per run of kept or summed axes; sums are in the order of the kept ones."""
        runs = axis_runs(site.inputs[2].shape, op.axes)
        kept = [(f"i{n}", size, stride) for n, (size, stride, summed) in enumerate(runs) if not summed]
        summed = [(f"i{n}", size, stride) for n, (size, stride, reduced) in enumerate(runs) if reduced]
        index = " + ".join(times(name, stride) for name, _, stride in kept + summed) or "0"
        each = fill(
            """
            int32_t sum = *sums++;

            $add
            *output++ = sum;
            """,
            add=nest(
                ((name, size) for name, size, _ in summed), f"sum += rows[{index}] - window[{op.leaving} + {index}];"
            ),
        )
        return Kernel(
            nest(((name, size) for name, size, _ in kept), each),
            Demand(over=(IN_ORDER,)),
            ("sums", "window", "rows"),
        )

    def mean_of_sums(self, op: lower.MeanOfSums, site: Site) -> Kernel:
        code, arrays = self.quantize(op.requantization, f"input[i] - ({op.offset})", site)
        return Kernel(
            fill(
                """
                for (int32_t i = 0; i < $count; i++) {
                    output[i] = $code;
                }
                """,
                count=site.output.bytes,
                code=code,
            ),
            Demand(over=(IN_ORDER,)),
            arrays=arrays,
            helpers=("quantize",),
        )
