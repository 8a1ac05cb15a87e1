"""ADD and SUB in assembly: both inputs and their sum requantised in one loop over the elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ... import lower
from ...memory import Demand
from ..portable.renderer import Kernel, Renderer, Site
from .assembly import Assembly, words

_NAMES = {1: "add", -1: "subtract"}


class Addition(Renderer):
    """Instruction sets that have the loop."""

    def add_codes(self, op: lower.Add, shifts: tuple[int, int, int]) -> Assembly:
        """The loop. `shifts` go right: the inputs', 0 or more, and the sum's, 1 or more. Parameters: first, second,
        output, stream. The stream: of each input its zero point, negative, and multiplier; multiplier and addend of
        the sum; how many elements there are."""
        raise NotImplementedError

    def add(self, op: lower.Add, site: Site) -> Kernel:
        if not _proven(op, site):
            return super().add(op, site)
        shifts = _shifts(op)
        (a, b), (multiplier_a, multiplier_b) = op.zero_points, op.multipliers
        name = "_".join(map(str, (_NAMES[op.sign], *shifts)))
        constants = (-a, multiplier_a, -b, multiplier_b, *_sum(op), site.output.bytes)
        return _kernel(self, name, self.add_codes(op, shifts), ("first", "second"), constants, site)


@dataclass(frozen=True)
class Halved:
    """A sum of one input times a half, which is a shift, and another that is multiplied."""

    left_shift: int
    signs: tuple[int, int]  # with which the input times a half, and the other, go into the sum
    shift: int  # right shift of the other, 0 or more
    last: int  # right shift of the sum, 1 or more

    @property
    def name(self) -> str:
        names = {(1, 1): "add", (1, -1): "subtract", (-1, 1): "subtract_half"}
        return f"{names[self.signs]}_{self.shift}_{self.last}"

    def about(self) -> str:
        return f"Sums or differences of codes, element by element; right shifts {self.shift} and {self.last}."


class HalvedAddition(Renderer):
    """Instruction sets that make use of it that the input with the larger scale is multiplied by a half."""

    def add_halved(self, halved: Halved) -> Sequence[str]:
        """The instructions. Parameters: the input times a half, the other, the output, the stream.

        The stream: both zero points, negative; the multipliers of the other and of the sum, the sum's addend; how many
        elements there are.
        """
        raise NotImplementedError

    def adds_halved(self, halved: Halved) -> bool:
        """Whether `add_halved` computes it exactly."""
        return True

    def add(self, op: lower.Add, site: Site) -> Kernel:
        halves = [number for number in (0, 1) if (op.multipliers[number], op.shifts[number]) == (2**30, 0)]
        if not _proven(op, site) or not halves:
            return super().add(op, site)
        half, other = halves[0], 1 - halves[0]
        signs, shifts = (1, op.sign), _shifts(op)
        halved = Halved(op.left_shift, (signs[half], signs[other]), shifts[other], shifts[2])
        if op.multipliers[other] < 2**30 or not self.adds_halved(halved):
            return super().add(op, site)
        constants = (-op.zero_points[half], -op.zero_points[other], op.multipliers[other], *_sum(op), site.output.bytes)
        assembly = Assembly(halved.about(), PARAMETERS, self.add_halved(halved))
        names = ("first", "second")
        return _kernel(self, halved.name, assembly, (names[half], names[other]), constants, site)


PARAMETERS = ("const int8_t *first", "const int8_t *second", "int8_t *output", "const uint32_t *stream")


def about(op: lower.Add, shifts: tuple[int, int, int]) -> str:
    return f"{'Sums' if op.sign > 0 else 'Differences'} of codes, element by element; right shifts {shifts}."


def _proven(op: lower.Add, site: Site) -> bool:
    """Whether `assembly` proves the short requantisation: no difference of codes reaches 2**8, and no multiplier of an
    input is above a half, so that sums stay below 2**28."""
    first, second, last = _shifts(op)
    return (
        all(source.shape == site.output.shape for source in site.inputs)
        and (0 <= first <= 23 and 0 <= second <= 23 and 1 <= last <= 23)
        and op.left_shift <= 20
        and (op.requantization.low, op.requantization.high) == (-128, 127)
    )


def _shifts(op: lower.Add) -> tuple[int, int, int]:
    """Right shifts of the inputs and of the sum."""
    return -op.shifts[0], -op.shifts[1], -int(op.requantization.shift[0])


def _sum(op: lower.Add) -> tuple[int, int]:
    """(multiplier, addend) of the sum."""
    scaling = op.requantization
    return int(scaling.multiplier[0]), (2 * scaling.zero_point + 1) << (_shifts(op)[2] - 1)


def _kernel(
    renderer: Renderer, name: str, assembly: Assembly, order: tuple[str, str], constants: tuple[int, ...], site: Site
) -> Kernel:
    """Calls `assembly` with the inputs in `order`."""
    renderer.helpers[name] = assembly.helper(name)
    return Kernel(
        f"{site.prefix}_{name}({', '.join(order)}, output, stream);",
        Demand(in_place=True),
        parameters=("first", "second"),
        arrays=(words(np.array([constants], np.int64)),),
        helpers=(name,),
    )
