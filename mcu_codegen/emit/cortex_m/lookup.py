"""Functions of one code in assembly: a loop over a table, so many codes a round.

Rounds have as many codes as divide all of them, so that nothing is left over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ... import lower
from ..kernel import Kernel, Site
from ..portable.renderer import Renderer
from .assembly import Assembly, divisor

ABOUT = "Entries of a table, by codes as unsigned bytes."
PARAMETERS = ("const int8_t *input", "int8_t *output", "const int8_t *table")


@dataclass(frozen=True)
class Loop:
    name: str
    assembly: Assembly  # Parameters: `PARAMETERS`, and `count`
    count: int  # of a layer


class Lookups(Renderer):
    """Instruction sets that have the loop."""

    def look_up(self, codes: int) -> Loop | None:
        """The loop of a layer of so many codes. None: portable C is as quick."""
        raise NotImplementedError

    def lookup(self, op: lower.Lookup, site: Site) -> Kernel:
        portable = super().lookup(op, site)
        loop = self.look_up(site.output.bytes)
        if loop is None or not portable.arrays:
            return portable
        self.helpers[loop.name] = loop.assembly.helper(loop.name)
        body = f"{site.prefix}_{loop.name}(input, output, table, {loop.count});"
        return replace(portable, body=body, helpers=(loop.name,))


class ThumbLookups(Lookups):
    """Code by code, in instructions of every core."""

    thumb: ClassVar[type[Assembly]]  # with the ranges of the cores
    looked_up = (16, 4)  # for speed and for size, how many codes a round, at most

    def look_up(self, codes: int) -> Loop | None:
        together = divisor(codes, self.by_goal(*self.looked_up))
        if together == 1:
            return None
        lines = []
        for start in range(0, together, 4):
            group = list(zip(("r4", "r5", "r6", "r7"), range(start, min(start + 4, together)), strict=False))
            lines += [f"ldrb {code}, [r0, #{at}]" for code, at in group]
            lines += [f"ldrb {code}, [r2, {code}]" for code, _ in group]
            lines += [f"strb {code}, [r1, #{at}]" for code, at in group]
        counted = [f"adds r0, #{together}", f"adds r1, #{together}", "subs r3, #1", "bne 1b"]
        assembly = self.thumb(
            ABOUT, (*PARAMETERS, "int32_t rounds"), ["push {r4-r7, lr}", "1:", *lines, *counted, "pop {r4-r7, pc}"]
        )
        return Loop(f"lookup_{together}", assembly, codes // together)
