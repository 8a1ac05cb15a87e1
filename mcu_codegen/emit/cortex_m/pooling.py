"""MAX_POOL_2D and AVERAGE_POOL_2D in assembly: all channels of a window, then of the one beside it.

Windows that cross an edge of the image, and what an instruction set has no kernel for, are portable C.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ... import arithmetic, lower
from ..kernel import Site
from ..portable.renderer import Renderer
from .assembly import Assembly
from .clamp import Clamp

PARAMETERS = ("const int8_t *input", "int8_t *output", "int32_t windows")


@dataclass(frozen=True)
class Windows:
    """Neighbours in a row of output."""

    filter: tuple[int, int]
    channels: int
    row_bytes: int  # between rows of the image
    step: int  # bytes between windows
    clamp: Clamp

    @property
    def taps(self) -> int:
        return self.filter[0] * self.filter[1]

    @property
    def name(self) -> str:
        """Of their kernels, without the kind."""
        height, width = self.filter
        return f"{height}x{width}_{self.channels}_{self.row_bytes}_{self.step}{self.clamp.suffix}"

    @property
    def about(self) -> str:
        height, width = self.filter
        return f"of {height} x {width} pixels of {self.channels} channels, {self.step} bytes apart."


@dataclass(frozen=True)
class Share:
    """The mean of some codes as (factor * their sum + addend) >> shift, with a factor of 16 bits."""

    factor: int
    addend: int  # as 32 bits
    shift: int


def share(taps: int, half_up: bool, moved: int) -> Share | None:
    """The means of `taps` codes, `moved` up. None: some sum has another mean, which trying all of them decides.

    The factor is greater than 1 / taps by a trace, so that halves become what is farther from zero; where they are to
    go up, the addend is greater by as much as the trace takes from the lowest sum.
    """
    shift = 14 + (taps - 1).bit_length()
    factor = (1 << shift) // taps + 1
    addend = (1 << shift >> 1) + (moved << shift)
    if half_up and taps % 2 == 0:
        addend += 128 * (factor * taps - (1 << shift))
    sums = np.arange(-128 * taps, 127 * taps + 1)
    scaled = factor * sums + addend
    fits = np.abs(scaled).max() <= arithmetic.INT32_MAX
    exact = np.array_equal(scaled >> shift, arithmetic.average(sums, taps, half_up) + moved)
    return Share(factor, addend & 0xFFFFFFFF, shift) if fits and exact else None


class PoolingKernels(Renderer):
    """Instruction sets that have such kernels."""

    pooled = (64, 16)  # for speed and for size, how many taps have instructions of their own, at most

    def max_windows(self, windows: Windows) -> Assembly | None:
        """Parameters: `PARAMETERS`."""
        return None

    def average_windows(self, windows: Windows, half_up: bool) -> Assembly | None:
        """Parameters: `PARAMETERS`. `half_up` as in lower.AveragePool."""
        return None

    def pool_inside(self, op: lower.Pool, site: Site) -> str | None:
        _, rows, columns, channels = site.inputs[0].shape
        taps = op.filter[0] * op.filter[1]
        if op.filter[0] > rows or op.filter[1] > columns or taps > self.by_goal(*self.pooled):
            return None
        clamp = Clamp(op.low, op.high, site.output.zero_point)
        windows = Windows(op.filter, channels, columns * channels, op.stride[1] * channels, clamp)
        if isinstance(op, lower.AveragePool):
            kind, assembly = f"average{'_half_up' * op.half_up}", self.average_windows(windows, op.half_up)
        else:
            kind, assembly = "max", self.max_windows(windows)
        if assembly is None:
            return None
        name = f"{kind}_{windows.name}"
        self.helpers[name] = assembly.helper(name)
        return name
