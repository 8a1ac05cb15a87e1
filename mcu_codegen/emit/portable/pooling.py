"""Kernels of pooling: windows that move over an image."""

from __future__ import annotations

import numpy as np

from ... import lower
from ...memory import Demand
from ..kernel import Kernel, Site, ctype, fill, plus, times
from ..overlap import windows
from .reductions import Reductions


class Pooling(Reductions):
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

    def _over_window(self, body: str) -> str:
        """Loops that do `body` for every ``row`` and ``column`` of a window."""
        for head in (
            "for (int32_t column = left; column < right; column++)",
            "for (int32_t row = top; row < bottom; row++)",
        ):
            body = self.before_loop + fill("$head {\n    $body\n}", head=head, body=body)
        return body


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
