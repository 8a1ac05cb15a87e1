"""Lowered operators to C function bodies: portable C99.

One method renders one lowered type; an instruction set is a subclass that overrides methods, helpers and includes. A
body is C text over local names: the pointers in `Kernel.parameters`, one pointer per array (bound by its role, such as
``weights``), and ``scratch``. Shapes, strides, zero points and clamps are literals in it.

The C assumes, as gcc, clang, armclang and IAR define it, that a right shift of a negative integer is arithmetic and
that conversion to a signed type wraps; it has no undefined behaviour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ... import lower
from ...graph import Graph, Tensor
from ...memory import Demand
from ..kernel import Kernel, Site, ctype, fill
from ..text import Origin
from . import lstm
from .elementwise import Elementwise
from .heads import Heads
from .helpers import HELPERS as COMMON
from .int16 import Int16Kernels
from .movement import Movement
from .pooling import Pooling
from .stepping import Stepping
from .svdf import SvdfKernel
from .weighted import Weighted, has_wide_weights

OPTIMIZE = ("speed", "size", "ram")
"""What a renderer can optimise for; the default first. For RAM, kernels are those for speed wherever there is room."""

HELPERS = COMMON | lstm.HELPERS


class Renderer(Weighted, Pooling, Elementwise, Movement, Heads, Stepping, SvdfKernel, lstm.LstmKernel):
    """Portable C99 for any core. It is as small as it gets; what it optimises for is the compiler's business."""

    helpers = HELPERS
    weights = "int8"  # as which weights lie in flash
    at_most = 0  # rows that a product takes at a time where RAM is short; 0: as many as are quickest

    def __init__(self, optimize: str = OPTIMIZE[0]) -> None:
        """`optimize` is one of OPTIMIZE, for those who compile as much as for those who render."""
        self.optimize = optimize

    def companions(self, name: str, origin: Origin) -> dict[str, str]:
        """Further files, name to text, that belong to the C of the network called `name`."""
        return {}

    def resets(self, name: str) -> list[str]:
        """C by which the reset of the network called `name` does more than give persistent tensors their values."""
        return []

    def open_channels(self, graph: Graph) -> Mapping[int, np.ndarray] | None:
        """What the network computes of `graph` after a reset, as `NumpyExecutor` takes it; None: everything."""
        return None

    def render(self, lowered: lower.Lowered, site: Site) -> Kernel:
        # no instruction set's kernels take wide weights
        renderer = Renderer(self.optimize) if has_wide_weights(lowered) else self
        kernel: Kernel = getattr(renderer, _METHODS[type(lowered)])(lowered, site)
        return kernel

    def int16(self, op: lower.Int16[lower.Lowered], site: Site) -> Kernel:
        """Loops over int16, which no instruction set has kernels for."""
        kernel = _Int16(self.optimize).render(op.operator, site)
        if kernel.demand.part is not None:
            return kernel
        return replace(kernel, demand=replace(kernel.demand, over=()))  # what `overlap` proves is of bytes

    def by_goal(self, speed: int, size: int) -> int:
        """Which of two extents of unrolling is meant."""
        return size if self.optimize == "size" else speed

    def kernels(self, lowered: lower.Lowered, site: Site) -> list[Kernel]:
        """What `render` gives; of a renderer for RAM, behind it slower kernels, each with less scratch."""
        return [self.render(lowered, site)]

    def batch(self, op: lower.Batch[lower.Image], site: Site) -> Kernel:
        """The kernel of one image, in a loop. It cannot work in place: the images before have moved."""
        one = Site(site.prefix, (_first(site.inputs[0]), *site.inputs[1:]), _first(site.output))
        kernel = self.render(op.image, one)
        body = fill(
            """
            const $read *const images = input;
            $written *const results = output;

            for (int32_t image = 0; image < $count; image++) {
                input = images + image * $taken;
                output = results + image * $made;
                $body
            }
            """,
            count=op.count,
            read=ctype(one.inputs[0]),
            written=ctype(one.output),
            taken=one.inputs[0].elements,
            made=one.output.elements,
            body=kernel.body,
        )
        return replace(
            kernel, body=body, demand=Demand(scratch_bytes=kernel.demand.scratch_bytes), macs=op.count * kernel.macs
        )


class _Int16(Int16Kernels, Renderer):
    """Portable C99 of operators of which some input or output is int16."""


_METHODS = {
    lower.Convolution: "convolution",
    lower.FullyConnected: "fully_connected",
    lower.AveragePool: "average_pool",
    lower.MaxPool: "max_pool",
    lower.Mean: "mean",
    lower.Position: "position",
    lower.Add: "add",
    lower.Multiply: "multiply",
    lower.Divide: "divide",
    lower.Extreme: "extreme",
    lower.Prelu: "prelu",
    lower.Lookup: "lookup",
    lower.Rescale: "rescale",
    lower.Softmax: "softmax",
    lower.Copy: "copy",
    lower.Rearrange: "rearrange",
    lower.Gather: "gather",
    lower.Bilinear: "bilinear",
    lower.Batch: "batch",
    lower.ShiftIn: "shift_in",
    lower.SlidingSum: "sliding_sum",
    lower.MeanOfSums: "mean_of_sums",
    lower.Svdf: "svdf",
    lower.Lstm: "lstm",
    lower.Int16: "int16",
}
"""The Renderer method of each lowered type."""


def _first(images: Tensor) -> Tensor:
    """The first image of a batch."""
    return replace(images, shape=(1, *images.shape[1:]))
