"""Kernels of pooling and means."""

from __future__ import annotations

import numpy as np

from ... import lower
from ...memory import Demand
from ..kernel import Array, Kernel, Kernels, Site, ctype, fill, nest, plus, times
from ..overlap import IN_ORDER, windows


class Pooling(Kernels):
    """Portable C99."""

    before_loop = ""
    """Lines before each loop over a window: what its compiler must be told."""

    def average_pool(self, op: lower.AveragePool, site: Site) -> Kernel:
        """Sums over the part of each window that lies inside the image."""
        _, rows, columns, channels = site.inputs[0].shape
        inside = self.pool_inside(op, site)
        if inside is None and op.filter == (rows, columns) and not any(op.pads) and channels % 4 == 0:
            return self.image_sums(_rounded_mean(op, rows * columns, ctype(site.output)), (), (), site)
        count = "(bottom - top) * (right - left)" if any(op.pads) else op.filter[0] * op.filter[1]
        body = fill(
            """
            int32_t sum = 0;
            int32_t mean;

            $loops
            mean = $mean;
            *output++ = ($code)(mean < $low ? $low : mean > $high ? $high : mean);
            """,
            code=ctype(site.output),
            loops=self._over_window(f"sum += {_code(site)};"),
            mean=_mean(op, "count", "count / 2"),
            low=op.low,
            high=op.high,
        )
        return _each_window(op, site, body, inside, f"const int32_t count = {count};\n")

    def max_pool(self, op: lower.MaxPool, site: Site) -> Kernel:
        """The largest code in the part of each window that lies inside the image."""
        body = fill(
            """
            int32_t largest = $low;

            $loops
            *output++ = ($code)$clamped;
            """,
            loops=self._over_window(
                f"const int32_t code = {_code(site)};\n\nif (code > largest) {{\n    largest = code;\n}}"
            ),
            low=op.low,
            code=ctype(site.output),
            clamped=f"(largest > {op.high} ? {op.high} : largest)" if op.high < _highest(site) else "largest",
        )
        return _each_window(op, site, body, self.pool_inside(op, site))

    def pool_inside(self, op: lower.Pool, site: Site) -> str | None:
        """A helper (input, output, windows) for neighbours in a row of output that all lie inside the image; `input`
        is where the first window begins."""
        return None

    def mean(self, op: lower.Mean, site: Site) -> Kernel:
        """One loop per run of kept or reduced axes; the output is written in order."""
        shape = site.inputs[0].shape
        if op.axes == (1, 2) and shape[0] == 1 and shape[-1] % 4 == 0:
            code, arrays = self.quantize(op.requantization, f"sum{plus(-op.input_zero_point * op.count)}", site)
            return self.image_sums(f"output[channel] = {code};", arrays, ("quantize",), site)
        runs = axis_runs(site.inputs[0].shape, op.axes)
        kept = [(f"i{n}", size, stride) for n, (size, stride, reduced) in enumerate(runs) if not reduced]
        summed = [(f"i{n}", size, stride) for n, (size, stride, reduced) in enumerate(runs) if reduced]
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

    def _over_window(self, body: str) -> str:
        """Loops that do `body` for every ``row`` and ``column`` of a window."""
        for head in (
            "for (int32_t column = left; column < right; column++)",
            "for (int32_t row = top; row < bottom; row++)",
        ):
            body = self.before_loop + fill("$head {\n    $body\n}", head=head, body=body)
        return body

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


def _highest(site: Site) -> int:
    """The highest code of the output."""
    return int(np.iinfo(site.output.dtype).max)


def _rounded_mean(op: lower.AveragePool, count: int, code: str) -> str:
    """C that makes an output of ``sum`` over `count` codes."""
    return fill(
        """
        const int32_t mean = $mean;

        output[channel] = ($code)(mean < $low ? $low : mean > $high ? $high : mean);
        """,
        code=code,
        mean=_mean(op, str(count), str(count // 2)),
        low=op.low,
        high=op.high,
    )


def _mean(op: lower.AveragePool, count: str, half: str) -> str:
    """The C of the mean of ``sum``; half up it is that of codes from 0 on, which a division rounds down."""
    if op.half_up:
        return f"(sum + 128 * {count} + {half}) / {count} - 128"
    return f"(sum > 0 ? sum + {half} : sum - {half}) / {count}"


def _code(site: Site) -> str:
    """The C of the input's code at ``row``, ``column`` and ``channel``."""
    _, _, columns, channels = site.inputs[0].shape
    return f"input[(row * {columns} + column) * {channels} + channel]"


def _each_window(op: lower.Pool, site: Site, body: str, inside: str | None, once: str = "") -> Kernel:
    """Loops that do `body` for every output; ``top``..``bottom`` and ``left``..``right`` is its window in the image.

    `once` is done before the channels of a window. Where there is a helper for windows that lie inside, it does those.
    """
    _, rows, columns, channels = site.inputs[0].shape
    run = ""
    (first_row, end_row), (first, end) = (_inside(op, site, axis) for axis in (0, 1))
    if first_row >= end_row or first >= end:
        inside = None
    if inside is not None:
        run = fill(
            """
            if (y >= $first_row && y < $end_row && x == $first) {
                ${prefix}_$inside(input + (top * $columns + x * $stride$left) * $channels, output, $count);
                output += $outputs;
                x += $count - 1;
                continue;
            }
            """,
            first_row=first_row,
            end_row=end_row,
            first=first,
            prefix=site.prefix,
            inside=inside,
            columns=columns,
            stride=op.stride[1],
            left=plus(-op.pads[2]),
            channels=channels,
            count=end - first,
            outputs=(end - first) * channels,
        )
    top, bottom = _span("y", op.stride[0], op.filter[0], op.pads[:2], rows)
    left, right = _span("x", op.stride[1], op.filter[1], op.pads[2:], columns)
    text = fill(
        """
        for (int32_t y = 0; y < $rows; y++) {
            const int32_t top = $top, bottom = $bottom;

            for (int32_t x = 0; x < $columns; x++) {
                $run
                $bounds

                for (int32_t channel = 0; channel < $channels; channel++) {
                    $body
                }
            }
        }
        """,
        rows=site.output.shape[1],
        columns=site.output.shape[2],
        top=top,
        bottom=bottom,
        bounds=f"const int32_t left = {left}, right = {right};\n{once}".rstrip(),
        channels=channels,
        body=body,
        run=run,
    )
    return Kernel(text, Demand(over=(windows(op, site, 0),)), helpers=(inside,) if inside else ())


def _inside(op: lower.Pool, site: Site, axis: int) -> tuple[int, int]:
    """(first, end) of the outputs along an axis whose windows lie inside the image."""
    before, stride = op.pads[2 * axis], op.stride[axis]
    first = -(-before // stride)
    last = (site.inputs[0].shape[1 + axis] - op.filter[axis] + before) // stride
    return first, min(last + 1, site.output.shape[1 + axis])


def _span(at: str, stride: int, window: int, pads: tuple[int, ...], size: int) -> tuple[str, str]:
    """(first, end) of a window along one axis, cut at the image's edges where it can cross them."""
    start = f"{times(at, stride)}{plus(-pads[0])}"
    end = f"{times(at, stride)}{plus(window - pads[0])}"
    return (
        f"{start} < 0 ? 0 : {start}" if pads[0] else start,
        f"{end} > {size} ? {size} : {end}" if pads[1] else end,
    )


def axis_runs(shape: tuple[int, ...], axes: tuple[int, ...]) -> list[tuple[int, int, bool]]:
    """(size, stride, reduced) of each run of neighbouring axes that are all kept or all reduced; size 1 left out."""
    runs: list[tuple[int, int, bool]] = []
    stride = 1
    for axis in reversed(range(len(shape))):
        reduced = axis in axes
        if shape[axis] > 1:
            if runs and runs[0][2] == reduced:
                runs[0] = (runs[0][0] * shape[axis], runs[0][1], reduced)
            else:
                runs.insert(0, (shape[axis], stride, reduced))
        stride *= shape[axis]
    return runs
