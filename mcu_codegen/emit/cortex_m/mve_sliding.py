"""SLIDING_SUM with MVE: eight channels at a time, what comes in less what goes out in 16 bits, added to the sums."""

from __future__ import annotations

from ... import lower
from ...memory import Demand
from ..kernel import Kernel, Site, fill
from ..overlap import IN_ORDER
from ..portable.reductions import axis_runs
from ..portable.renderer import Renderer
from .mve_assembly import MveAssembly
from .thumb2_assembly import add_to, constant

_LANES = 8
_NEAR = 127  # the largest step of a load of bytes
_MOST = 16  # places whose codes have instructions of their own; 128 would still fit 16 bits


class MveSliding(Renderer):
    """The renderer's part that computes them where channels lie side by side, as behind a convolution."""

    def sliding_sum(self, op: lower.SlidingSum, site: Site) -> Kernel:
        *outer, (channels, _, summed) = axis_runs(site.inputs[2].shape, op.axes)
        places = op.entering // channels
        if summed or len(outer) > 1 or channels % _LANES or places > _MOST:
            return super().sliding_sum(op, site)
        name = f"slide_{places}x{channels}"
        self.helpers[name] = _slide(places, channels).helper(name)
        call = """
            ${prefix}_$name(output, sums, rows, window + $leaving);
        """
        code = fill(call, prefix=site.prefix, name=name, leaving=op.leaving)
        return Kernel(code, Demand(over=(IN_ORDER,)), ("sums", "window", "rows"), helpers=(name,))


def _slide(places: int, channels: int) -> MveAssembly:
    def over(pointer: str, first: str, then: str) -> list[str]:
        """The codes of all places, the pointer ending at the next channels."""
        lines: list[str] = []
        for place in range(places):
            step = channels if place < places - 1 else _LANES - (places - 1) * channels
            vector = "q3" if place or not first else first
            near = abs(step) <= _NEAR
            lines += [f"vldrb.s16 {vector}, [{pointer}], #{step}" if near else f"vldrb.s16 {vector}, [{pointer}]"]
            lines += [] if near else add_to(pointer, step)
            lines += [f"{then} q2, q2, q3"] if vector == "q3" else []
        return lines

    return MveAssembly(
        f"Adds to {channels} sums what comes in at {places} places, less what goes out.",
        ("int32_t *after", "const int32_t *before", "const int8_t *in", "const int8_t *out"),
        [
            "push {r4, lr}",
            *constant("r4", channels // _LANES),
            "dls lr, r4",
            "1:",
            *over("r2", "q2", "vadd.i16"),
            *over("r3", "", "vsub.i16"),
            "vld20.32 {q0, q1}, [r1]",
            "vld21.32 {q0, q1}, [r1]!",
            "vmovlb.s16 q3, q2",
            "vmovlt.s16 q2, q2",
            "vadd.i32 q0, q0, q3",
            "vadd.i32 q1, q1, q2",
            "vst20.32 {q0, q1}, [r0]",
            "vst21.32 {q0, q1}, [r0]!",
            "le lr, 1b",
            "pop {r4, pc}",
        ],
    )
