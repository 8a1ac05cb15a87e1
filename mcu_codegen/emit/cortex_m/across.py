"""Depthwise convolutions of any window, strides and dilation: all channels of an output, then those of the one beside
it.

Windows that lie inside the image are computed in runs, their taps at constant distances. For a window that crosses an
edge, C lists the pixel under each tap, or one of zero points.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ... import lower
from ...memory import Demand, Over
from ..kernel import Array, Kernel, Site, fill, plus, positions, times
from ..overlap import windows as window_overlap
from ..portable.renderer import Renderer
from ..portable.weighted import padding_of
from .assembly import Assembly, requantizes

_MOST = 49  # taps; each has instructions of its own


@dataclass(frozen=True)
class Windows:
    """Neighbours in a row of output."""

    taps: int
    channels: int
    step: int  # bytes between windows
    offsets: tuple[int, ...] | None  # of the taps, in bytes; None: there is one window, whose taps are listed

    @property
    def parameters(self) -> tuple[str, ...]:
        taken = "const int8_t *const *taps" if self.offsets is None else "const int8_t *input"
        return (taken, "const uint32_t *stream", "int8_t *output", "int32_t windows")

    @property
    def about(self) -> str:
        where = "listed" if self.offsets is None else f"windows {self.step} bytes apart"
        return f"{self.taps} taps of a depthwise convolution of {self.channels} channels, {where}."


class Across(Renderer):
    """Instruction sets that have such kernels."""

    def across(self, op: lower.Convolution, windows: Windows) -> Assembly:
        """Parameters: `Windows.parameters`."""
        raise NotImplementedError

    def across_suffix(self, op: lower.Convolution) -> str:
        """Of the names of kernels: how they requantise."""
        raise NotImplementedError

    def across_stream(self, op: lower.Convolution) -> Array:
        """The constants. Its role is ``stream``."""
        raise NotImplementedError

    def crosses(self, op: lower.Convolution) -> bool:
        """Whether such kernels compute `op` exactly."""
        _, height, width, channels = op.weights.shape
        return requantizes(op) and op.depth_multiplier == 1 and channels % 4 == 0 and height * width <= _MOST

    def depthwise(self, op: lower.Convolution, site: Site) -> Kernel:
        return self.across_rows(op, site) if self.crosses(op) else super().depthwise(op, site)

    def across_rows(self, op: lower.Convolution, site: Site) -> Kernel:
        """`op`, which `crosses`."""
        _, rows, columns, channels = site.inputs[0].shape
        _, height, width, _ = op.weights.shape
        _, output_rows, output_columns, _ = site.output.shape
        taps = height * width
        pixel = (op.dilation[0] * columns * channels, op.dilation[1] * channels)
        offsets = tuple(i * pixel[0] + j * pixel[1] for i in range(height) for j in range(width))
        reach = [(size - 1) * step + 1 for size, step in zip((height, width), op.dilation, strict=True)]
        inside = [
            _inside(before, stride, size - window, outputs)
            for before, stride, size, window, outputs in zip(
                op.pads[::2], op.stride, (rows, columns), reach, (output_rows, output_columns), strict=True
            )
        ]
        (first_row, end_row), (first, end) = inside
        run = end - first if first_row < end_row else 0
        helpers = []

        def helper(windows: Windows, name: str) -> str:
            self.helpers[name] = self.across(op, windows).helper(name)
            helpers.append(name)
            return f"{site.prefix}_{name}"

        step = op.stride[1] * channels
        call = edge = ""
        if run > 0:
            shape = f"{height}x{width}_{channels}_{step}_{pixel[0]}_{pixel[1]}{self.across_suffix(op)}"
            name = helper(Windows(taps, channels, step, offsets), f"across_{shape}")
            row = f"{times('y', op.stride[0])}{plus(-op.pads[0])}"
            at = f"(({row}) * {columns}{plus(first * op.stride[1] - op.pads[2])}) * {channels}"
            call = f"{name}(input + {at}, stream, output, {run});\noutput += {run * channels};"
        if run < output_columns or end_row - first_row < output_rows:
            name = helper(Windows(taps, channels, 0, None), f"across_listed_{taps}_{channels}{self.across_suffix(op)}")
            edge = fill(
                """
                const int8_t *taps[$taps];
                const int8_t **next = taps;

                $find
                $name(taps, stream, output, 1);
                output += $channels;
                """,
                taps=taps,
                find=self.taps(op, site, "*next++ = tap;"),
                name=name,
                channels=channels,
            )
        kernel = Kernel(
            _each(call, edge, (first_row, end_row), (first, run), (output_rows, output_columns)),
            Demand(over=(_over(op, site, bool(edge)),)),
            arrays=(self.across_stream(op), *(padding_of(op, channels) if edge else ())),
            helpers=tuple(helpers),
            macs=positions(site) * op.weights.size,
        )
        return self.with_constants(op, kernel, site)


def _over(op: lower.Convolution, site: Site, edge: bool) -> Over:
    """Where nothing pads, a channel's output reaches only that channel of the first pixel of its window, or of those
    before."""
    over = window_overlap(op, site, 0)
    return over if edge else replace(over, every=site.output.shape[3], most=0)


def _each(call: str, edge: str, rows: tuple[int, int], columns: tuple[int, int], output: tuple[int, int]) -> str:
    """Loops over the output: `call` for the run of windows inside, where there is one, and `edge` for each other."""
    if not edge:
        return fill("for (int32_t y = 0; y < $rows; y++) {\n    $call\n}", rows=output[0], call=call)
    test = ""
    if call:
        test = fill(
            """
            if (y >= $first_row && y < $end_row && x == $first) {
                $call
                x += $run - 1;
                continue;
            }
            """,
            first_row=rows[0],
            end_row=rows[1],
            first=columns[0],
            run=columns[1],
            call=call,
        )
    return fill(
        """
        for (int32_t y = 0; y < $rows; y++) {
            for (int32_t x = 0; x < $columns; x++) {
                $body
            }
        }
        """,
        rows=output[0],
        columns=output[1],
        body=f"{test}\n{edge}".strip(),
    )


def _inside(before: int, stride: int, room: int, outputs: int) -> tuple[int, int]:
    """(first, end) of the outputs along an axis whose windows lie inside the image, which has `room` beside one."""
    return -(-before // stride), min((room + before) // stride + 1, outputs)


def by_fours(values: np.ndarray) -> np.ndarray:
    """(channels, each) as (channels / 4, 4 * each)."""
    return values.reshape(len(values) // 4, -1)
