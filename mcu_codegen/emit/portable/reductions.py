"""Kernels that make one value of all those along some axes: MEAN, ARG_MAX and ARG_MIN, and sums of whole images."""

from __future__ import annotations

from math import prod

from ... import lower
from ...memory import Demand
from ..kernel import Array, Kernel, Kernels, Site, fill, nest, plus, runs, times
from ..overlap import IN_ORDER


class Reductions(Kernels):
    """Portable C99."""

    def mean(self, op: lower.Mean, site: Site) -> Kernel:
        """One loop per run of kept or reduced axes; the output is written in order."""
        shape = site.inputs[0].shape
        if op.axes == (1, 2) and shape[0] == 1 and shape[-1] % 4 == 0:
            code, arrays = self.quantize(op.requantization, f"sum{plus(-op.input_zero_point * op.count)}", site)
            return self.image_sums(f"output[channel] = {code};", arrays, ("quantize",), site)
        found = axis_runs(shape, op.axes)
        kept = [(f"i{n}", size, stride) for n, (size, stride, reduced) in enumerate(found) if not reduced]
        summed = [(f"i{n}", size, stride) for n, (size, stride, reduced) in enumerate(found) if reduced]
        index = " + ".join(times(name, stride) for name, _, stride in kept + summed) or "0"
        code, arrays = self.quantize(op.requantization, "sum", site)
        each = fill(
            """
            int32_t sum = $start;

            $add
            *output++ = $code;
            """,
            start=-op.input_zero_point * op.count,
            add=nest(((name, size) for name, size, _ in summed), f"sum += input[{index}];"),
            code=code,
        )
        return Kernel(nest(((name, size) for name, size, _ in kept), each), arrays=arrays, helpers=("quantize",))

    def position(self, op: lower.Position, site: Site) -> Kernel:
        each = fill(
            """
            const int8_t *const codes = input$column;
            int32_t found = 0;

            for (int32_t i = 1; i < $size; i++) {
                if (codes[$here] $better codes[$best]) {
                    found = i;
                }
            }
            *output++ = found;
            """,
            column=" + column" if op.inner > 1 else "",
            size=op.size,
            here=times("i", op.inner),
            best=times("found", op.inner),
            better=">" if op.largest else "<",
        )
        inside = nest([("column", op.inner)], each) if op.inner > 1 else each
        return Kernel(nest([("row", op.outer)], f"{inside}\ninput += {op.size * op.inner};"))

    def image_sums(self, each: str, arrays: tuple[Array, ...], helpers: tuple[str, ...], site: Site) -> Kernel:
        """C that does `each` with the ``sum`` of every ``channel`` over the whole image; channels come in fours."""
        _, rows, columns, channels = site.inputs[0].shape
        return Kernel(
            fill(
                """
                for (int32_t block = 0; block < $channels; block += 4) {
                    int32_t sums[4];

                    ${prefix}_sum4(sums, input + block, $pixels, $channels);
                    for (int32_t channel = block; channel < block + 4; channel++) {
                        const int32_t sum = sums[channel - block];

                        $each
                    }
                }
                """,
                prefix=site.prefix,
                pixels=rows * columns,
                channels=channels,
                each=each,
            ),
            Demand(over=(IN_ORDER,)),  # four sums of all pixels, then the four outputs
            arrays=arrays,
            helpers=(*helpers, "sum4"),
        )


def axis_runs(shape: tuple[int, ...], axes: tuple[int, ...]) -> list[tuple[int, int, bool]]:
    """(size, stride, reduced) of each run of neighbouring axes that are all kept or all reduced; size 1 left out."""
    strides = tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))
    kept = tuple(0 if axis in axes else stride for axis, stride in enumerate(strides))
    return [(size, stride, not step) for size, stride, step in runs(shape, strides, kept)]
