"""Functions of one code with MVE: a load fetches sixteen entries of the table."""

from __future__ import annotations

from .lookup import ABOUT, PARAMETERS, Lookups, Loop
from .mve_assembly import MveAssembly

_LOOKUP = MveAssembly(
    ABOUT,
    (*PARAMETERS, "int32_t codes"),
    [
        "push {r7, lr}",
        "wlstp.8 lr, r3, 2f",
        "1:",
        "vldrb.u8 q0, [r0], #16",
        "vldrb.u8 q1, [r2, q0]",
        "vstrb.8 q1, [r1], #16",
        "letp lr, 1b",
        "2:",
        "pop {r7, pc}",
    ],
)


class MveLookups(Lookups):
    """The loop counts codes by itself."""

    def look_up(self, codes: int) -> Loop:
        return Loop("lookup", _LOOKUP, codes)
