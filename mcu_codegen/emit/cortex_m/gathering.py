"""C that copies the windows of a convolution side by side, so that they can be multiplied as rows of a matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ... import lower
from ..kernel import Helper, Site, fill, plus, times

WINDOW_ROW = Helper("""\
/* Appends one row of a window: bytes of the image between bytes of padding. Returns the end of what it wrote. */
static inline int8_t *${prefix}_window_row(int8_t *to, const int8_t *from, int32_t before, int32_t inside,
                                           int32_t after, int8_t padding)
{
    while (before-- > 0) {
        *to++ = padding;
    }
    while (inside-- > 0) {
        *to++ = *from++;
    }
    while (after-- > 0) {
        *to++ = padding;
    }
    return to;
}
""")


@dataclass(frozen=True)
class Gathering:
    """C that copies windows: `start` once, `row` for every row y of output, `window` for every column x of it.

    `window` writes at ``next``, and may touch `behind` bytes more. ``scratch`` is theirs for `scratch_bytes`.
    """

    start: str
    row: str
    window: str
    scratch_bytes: int
    helpers: tuple[str, ...]
    behind: int = 0


def gathered(op: lower.Convolution, site: Site, window: Callable[[int, int, int], str | None]) -> Gathering:
    """How the windows of `op` are copied: by the helper that `window` (height, bytes a row, bytes between rows) gives,
    where there is one and a window lies inside the image, otherwise row by row."""
    _, rows, columns, depth = site.inputs[0].shape
    _, height, width, _ = op.weights.shape
    pitch = op.dilation[0] * columns * depth
    if op.dilation[1] > 1:
        return _pixels(op, site)
    fits = (height - 1) * op.dilation[0] < rows and width <= columns
    copy = window(height, width * depth, pitch) if fits else None
    parts = fill(
        """
        const int32_t before = column < 0 ? -column * $depth : 0;
        const int32_t beyond = (column + $width - $columns) * $depth;
        const int32_t after = beyond > 0 ? beyond : 0;

        for (int32_t i = 0; i < $height; i++) {
            const int32_t row = $row;

            if (row < 0 || row >= $rows) {
                next = ${prefix}_window_row(next, input, $row_bytes, 0, 0, $zero_point);
            } else {
                next = ${prefix}_window_row(next, input + ((row * $columns + column) * $depth + before),
                                     before, $row_bytes - before - after, after, $zero_point);
            }
        }
        """,
        prefix=site.prefix,
        row=row_under(op),
        depth=depth,
        width=width,
        height=height,
        rows=rows,
        columns=columns,
        row_bytes=width * depth,
        zero_point=op.input_zero_point,
    )
    column = f"const int32_t column = {times('x', op.stride[1])}{plus(-op.pads[2])};\n"
    if copy is None:
        return Gathering("", "", column + parts, 0, ("window_row",))
    top = f"const int32_t top = {times('y', op.stride[0])}{plus(-op.pads[0])};\n"
    whole = f"{site.prefix}_{copy}(input + (top * {columns} + column) * {depth}, next);"
    last = rows - 1 - (height - 1) * op.dilation[0]
    limits = (("top", op.pads[0], op.pads[1], last), ("column", op.pads[2], op.pads[3], columns - width))
    tests = [f"{at} >= 0" for at, before, _, _ in limits if before]
    tests += [f"{at} <= {last}" for at, _, after, last in limits if after]
    if not tests:
        return Gathering("", "", top + column + whole, 0, (copy,))
    text = fill(
        """
        $top
        $column

        if ($inside) {
            $whole
        } else {
            $parts
        }
        """,
        top=top.strip(),
        column=column.strip(),
        inside=" && ".join(tests),
        whole=whole,
        parts=parts,
    )
    return Gathering("", "", text, 0, ("window_row", copy))


def _pixels(op: lower.Convolution, site: Site) -> Gathering:
    """Windows whose columns are dilated, pixel by pixel."""
    _, rows, columns, depth = site.inputs[0].shape
    text = fill(
        """
        for (int32_t i = 0; i < $height; i++) {
            const int32_t row = $row;

            for (int32_t j = 0; j < $width; j++) {
                const int32_t column = $column;

                if (row < 0 || row >= $rows || column < 0 || column >= $columns) {
                    next = ${prefix}_window_row(next, input, $depth, 0, 0, $zero_point);
                } else {
                    next = ${prefix}_window_row(next, input + (row * $columns + column) * $depth, 0, $depth, 0, 0);
                }
            }
        }
        """,
        prefix=site.prefix,
        row=row_under(op),
        column=f"{times('x', op.stride[1])} + {times('j', op.dilation[1])}{plus(-op.pads[2])}",
        height=op.weights.shape[1],
        width=op.weights.shape[2],
        rows=rows,
        columns=columns,
        depth=depth,
        zero_point=op.input_zero_point,
    )
    return Gathering("", "", text, 0, ("window_row",))


def row_under(op: lower.Convolution) -> str:
    """C: the row of the image under tap row i of a window in output row y."""
    return f"{times('y', op.stride[0])} + {times('i', op.dilation[0])}{plus(-op.pads[0])}"
