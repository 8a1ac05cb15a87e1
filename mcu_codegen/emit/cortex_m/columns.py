"""Depthwise convolutions over rows only, with a kernel k x 1: every channel of every column is a signal of its own.

Each is copied out of the image into a plane of its own, as wide as the instruction set likes it, and convolved from
there. Nothing else reads what lies under it, so that the output may lie on the input, any number of rows further on.
"""

from __future__ import annotations

from dataclasses import dataclass

from ... import lower
from ...memory import Demand, Over
from ..kernel import Array, Kernel, Site, fill
from ..portable.renderer import Renderer
from .assembly import Assembly, requantizes, undilated
from .clamp import Clamp, clamp_of

_LONGEST = 31  # taps of a kernel
_FARTHEST = 1023  # bytes between neighbours of a signal: four outputs are within the reach of a store


@dataclass(frozen=True)
class Signals:
    """The shapes of a convolution over rows."""

    taps: int
    stride: int
    before: int  # positions of padding
    inputs: int  # positions of a signal
    outputs: int
    distance: int  # bytes between neighbours in the image
    zero_point: int  # of the input: what padding holds
    clamp: Clamp

    @property
    def length(self) -> int:
        """Positions that are read, padding included."""
        return (self.outputs - 1) * self.stride + self.taps

    @property
    def inside(self) -> int:
        """Positions that are read from the image: those from the first on."""
        return min(self.inputs, self.length - self.before)

    @property
    def padded(self) -> bool:
        return self.inside < self.length


@dataclass(frozen=True)
class Column:
    """C that convolves one signal: `once` before all of them, `each` from ``input`` to ``output``.

    Both have ``scratch`` for `scratch_bytes`. `helpers` are their functions by name.
    """

    once: str
    each: str
    scratch_bytes: int
    helpers: dict[str, Assembly]


class Columns(Renderer):
    """Instruction sets that have such kernels."""

    def column(self, signals: Signals, prefix: str) -> Column:
        """How one signal is convolved; ``row`` points at its constants, a row of `column_stream`."""
        raise NotImplementedError

    def column_stream(self, op: lower.Convolution, signals: Signals) -> Array:
        """The constants, a row per channel."""
        raise NotImplementedError

    def computes_columns(self, op: lower.Convolution, signals: Signals) -> bool:
        """Whether all channels are computed exactly; else the layer is rendered as portable C."""
        return requantizes(op)

    def depthwise(self, op: lower.Convolution, site: Site) -> Kernel:
        """One signal at a time."""
        whole, op = op, undilated(op)
        _, height, width, channels = op.weights.shape
        _, input_rows, columns, _ = site.inputs[0].shape
        _, rows, output_columns, _ = site.output.shape
        signals = Signals(
            height,
            op.stride[0],
            op.pads[0],
            input_rows,
            rows,
            columns * channels,
            op.input_zero_point,
            clamp_of(op.requantization),
        )
        if (
            (width, op.dilation, op.depth_multiplier) != (1, (1, 1), 1)
            or columns != output_columns
            or height > _LONGEST
            or signals.distance > _FARTHEST
            or not self.computes_columns(op, signals)
        ):
            return super().depthwise(whole, site)
        column = self.column(signals, site.prefix)
        self.helpers |= {name: assembly.helper(name) for name, assembly in column.helpers.items()}
        loop = self.channel_loop(whole, self.column_stream(op, signals), rows, site, "input++", "output++")
        body = fill(
            """
            $each_channel
                $each
            }
            """,
            each_channel=loop.head,
            each=column.each,
        )
        if columns > 1:
            body = fill("for (int32_t x = 0; x < $columns; x++) {\n    $inside\n}", columns=columns, inside=body)
        return Kernel(
            f"{column.once}\n{body}".lstrip(),
            Demand(column.scratch_bytes, (Over(every=signals.distance),)),
            arrays=(loop.stream,),
            helpers=(*column.helpers, *loop.helpers),
            macs=rows * columns * whole.weights.size,
        )
