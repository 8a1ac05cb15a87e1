"""Operators of two codes in assembly: a loop over elements that lie together in both inputs. Where an input is
repeated, C calls it again and again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ...memory import Demand
from ..kernel import Kernel, Site, loops, place, runs
from ..portable.elementwise import broadcast_strides, same_shape
from ..portable.renderer import Renderer
from .assembly import Assembly, words

PARAMETERS = ("const int8_t *first", "const int8_t *second", "int8_t *output", "const uint32_t *stream")


@dataclass(frozen=True)
class Loop:
    name: str
    assembly: Assembly  # Parameters: `PARAMETERS`
    stream: tuple[int, ...]


class Pairs(Renderer):
    """Instruction sets that have such loops."""

    paired = (1, 1)  # for speed and for size, how many elements a loop takes in a round, at most

    def added_by_shift(self, shift: int) -> int:
        """What the loops' right shift adds to a sum, because it rounds."""
        return 0

    def pairs(self, portable: Kernel, site: Site, loop: Callable[[int], Loop | str]) -> Kernel:
        """`loop` of so many elements, wherever they lie; `portable`, where it says why there is none."""
        shape = site.output.shape
        steps = (broadcast_strides(each.shape, shape) for each in (*site.inputs, site.output))
        found = runs(shape, *steps)
        if not found or found[-1][1:] != (1, 1, 1):
            return replace(portable, portable="an input is repeated along channels")
        chosen = loop(found.pop()[0])
        if isinstance(chosen, str):
            return replace(portable, portable=chosen)
        self.helpers[chosen.name] = chosen.assembly.helper(chosen.name)
        places = (
            f"{pointer} + {place(found, number)}" if found else pointer
            for number, pointer in enumerate(("first", "second", "output"))
        )
        return Kernel(
            loops(found, f"{site.prefix}_{chosen.name}({', '.join(places)}, stream);"),
            Demand(over=same_shape(site)),
            parameters=("first", "second"),
            arrays=(words(np.array([chosen.stream], np.int64)),),
            helpers=(chosen.name,),
        )
