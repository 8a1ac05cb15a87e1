"""MAX_POOL_2D and AVERAGE_POOL_2D in assembly: all channels of a window, then of the one beside it.

Windows that cross an edge of the image, and what an instruction set has no kernel for, are portable C.
"""

from __future__ import annotations

from dataclasses import dataclass

from ... import lower
from ..portable.renderer import Renderer, Site
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


class PoolingKernels(Renderer):
    """Instruction sets that have such kernels."""

    pooled = (64, 16)  # for speed and for size, how many taps have instructions of their own, at most

    def max_windows(self, windows: Windows) -> Assembly | None:
        """Parameters: `PARAMETERS`."""
        return None

    def average_windows(self, windows: Windows) -> Assembly | None:
        """Parameters: `PARAMETERS`."""
        return None

    def pool_inside(self, op: lower.Pool, site: Site) -> str | None:
        _, rows, columns, channels = site.inputs[0].shape
        taps = op.filter[0] * op.filter[1]
        if op.filter[0] > rows or op.filter[1] > columns or taps > self.by_goal(*self.pooled):
            return None
        clamp = Clamp(op.low, op.high, site.output.zero_point)
        windows = Windows(op.filter, channels, columns * channels, op.stride[1] * channels, clamp)
        largest = isinstance(op, lower.MaxPool)
        assembly = self.max_windows(windows) if largest else self.average_windows(windows)
        if assembly is None:
            return None
        name = f"{'max' if largest else 'average'}_{windows.name}"
        self.helpers[name] = assembly.helper(name)
        return name
