"""Networks whose channels open and close at run time: one firmware for every user of a gated model.

Kernels skip closed channels and leave zero points in them, which is what a closed channel is by definition, so that
whatever has no kernel here computes the right codes too. Every instruction set skips closed outputs; the cores with the
DSP extension (`dsp_switchable.py`) skip closed inputs as well.

Which gates are open is in variables that `emit.user` defines: a flag for every gate, and a list of the open ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ... import lower
from ...graph import Graph
from ...users.gates import ENROLMENT, Gates, Group, all_open, groups, open_channels
from ..kernel import Array, Helper, Kernel, Site, fill
from ..portable.renderer import Renderer
from ..text import Origin
from ..user import emit_user
from .armv6m import Armv6mRenderer
from .armv7m import Armv7mRenderer
from .assembly import Scaled
from .blocks import BlockRenderer, Product
from .mve import MveRenderer


@dataclass(frozen=True)
class Channels:
    """The channels of a gated tensor, in C."""

    group: Group
    repeated: bool  # the tensor holds the group's channels several times
    flags: str  # array: whether each gate is open; "" where all always are
    list: str  # array: how many gates are open, then which


class SwitchableRenderer(Renderer):
    """Portable C for any core; the other classes add it to an instruction set."""

    def __init__(self, optimize: str, model: Graph, enrolment: Graph | None = None, gates: Gates | None = None) -> None:
        """`gates` are those that are open at first and after a reset, by default all. `enrolment` is in the network as
        `gates.join` puts it, and runs with all gates open."""
        super().__init__(optimize)
        self._model, self._enrolment = model, enrolment
        self._gates = all_open(groups(model)) if gates is None else gates
        self._gated: dict[str, Channels] = {}
        self.source: Channels | None = None  # of the layer that is rendered
        self.target: Channels | None = None
        self._prefix = ""
        self.helpers = {**self.helpers, "user": Helper('#include "${prefix}_user.h"\n'), "close": _CLOSE}
        for number, group in enumerate(groups(model)):
            numbers = ", ".join(map(str, (group.count, *range(group.count))))
            self.helpers[f"full_{number}"] = Helper(
                f"static const uint16_t ${{prefix}}_full_{number}[{group.count + 1}] = {{{numbers}}};\n"
            )
            for tensor in (model.tensors[index] for index in group.tensors):
                repeated = tensor.shape[-1] > group.size * group.count
                self._gated[tensor.name] = Channels(group, repeated, f"open_{number}", f"list_{number}")
                self._gated[ENROLMENT + tensor.name] = Channels(group, repeated, "", f"full_{number}")

    def companions(self, name: str, origin: Origin) -> dict[str, str]:
        return emit_user(self._model, self._enrolment, name, origin, self._gates)

    def resets(self, name: str) -> list[str]:
        return [f"{name}_reset_gates();"]

    def open_channels(self, graph: Graph) -> Mapping[int, np.ndarray]:
        by_name = {self._model.tensors[at].name: each for at, each in open_channels(self._model, self._gates).items()}
        return {at: by_name[each.name] for at, each in enumerate(graph.tensors) if each.name in by_name}

    def render(self, lowered: lower.Lowered, site: Site) -> Kernel:
        self.source = self._gated.get(site.inputs[0].name)
        self.target = self._gated.get(site.output.name)
        self._prefix = site.prefix
        kernel = super().render(lowered, site)
        full = {each.list for each in (self.source, self.target) if each and not each.flags}
        used = ["user", *sorted(each for each in full if f"{site.prefix}_{each}" in kernel.body)]
        if self.target is not None and self.target.flags:
            close, helper = self.close(self.target, site)
            used.append(helper)
            kernel = replace(kernel, body=f"int8_t *const channels = output;\n\n{kernel.body}\n{close}")
        if self.source or self.target:
            kernel = replace(kernel, helpers=(*used, *kernel.helpers))
        return kernel

    def kernels(self, lowered: lower.Lowered, site: Site) -> list[Kernel]:
        return [self.render(lowered, site)]

    def each_channel(self, channels: int, *advances: str) -> str:
        return super().each_channel(channels, *advances) + self._skip("channel")

    def each_block(self, channels: int) -> str:
        whole = self.target is not None and self.target.group.size % 4 == 0
        return super().each_block(channels) + (self._skip("block", "output += 4;") if whole else "")

    def close(self, channels: Channels, site: Site) -> tuple[str, str]:
        """C that leaves zero points in the closed channels of what ``channels`` points at, and the helper it calls."""
        size = channels.group.size
        return (
            f"{site.prefix}_close(channels, {site.prefix}_{channels.flags}, {channels.group.count}, {size},"
            f" {site.output.bytes // (size * channels.group.count)}, {site.output.zero_point});",
            "close",
        )

    def _skip(self, channel: str, *before: str) -> str:
        """The start of a loop's body: what is closed is passed over."""
        if self.target is None or not self.target.flags:
            return ""
        group = self.target.group
        if self.target.repeated:
            channel = f"{channel} % {group.size * group.count}"
        lines = [f"    if (!{self._prefix}_{self.target.flags}[{channel} / {group.size}]) {{"]
        return "\n".join(["", *lines, *(f"        {line}" for line in before), "        continue;", "    }"])


class SwitchableBlocks(SwitchableRenderer, BlockRenderer):
    """Products of the open gates' rounds only."""

    def calls(self, product: Product, stream: Array, source: str, channels: int, site: Site) -> str:
        target = self.target
        if target is None or target.group.size % self.together:
            return super().calls(product, stream, source, channels, site)
        size = target.group.size
        rounds = size // self.together
        return fill(
            """
            $pack
            for (int32_t open = 1; open <= $list[0]; open++) {
                const int32_t gate = $list[open];

                ${prefix}_$multiply(wide, stream + gate * $words, output + gate * $size, $rounds);
            }
            """,
            pack=self.pack_call(product, source, site),
            list=f"{site.prefix}_{target.list}",
            prefix=site.prefix,
            multiply=product.multiply,
            words=rounds * stream.values.shape[1],
            size=size,
            rounds=rounds,
        )

    def lying(self, op: Scaled, depth: int, channels: int) -> str:
        return ""

    def pack_call(self, product: Product, source: str, site: Site) -> str:
        """C that packs the rows at `source`."""
        return f"{site.prefix}_{product.pack}({source}, wide);"


class SwitchableArmv6mRenderer(SwitchableBlocks, Armv6mRenderer):
    """Cortex-M0, M0+."""


class SwitchableArmv7mRenderer(SwitchableBlocks, Armv7mRenderer):
    """Cortex-M3."""


class SwitchableMveRenderer(SwitchableBlocks, MveRenderer):
    """Cortex-M55."""


_CLOSE = Helper("""\
/* Leaves the zero point in every channel of the gates that are not open. */
static void ${prefix}_close(int8_t *output, const uint8_t *open, int32_t gates, int32_t size, int32_t positions,
                            int8_t zero_point)
{
    for (; positions > 0; positions--) {
        for (int32_t gate = 0; gate < gates; gate++) {
            if (open[gate]) {
                output += size;
            } else {
                for (int32_t i = 0; i < size; i++) {
                    *output++ = zero_point;
                }
            }
        }
    }
}
""")
