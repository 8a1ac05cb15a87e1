"""Networks whose channels open and close at run time: one firmware for every user of a gated model.

Kernels skip closed channels and leave zero points in them, which is what a closed channel is by definition, so that
whatever has no kernel here computes the right codes too. Every instruction set skips closed outputs. The pointwise
convolutions of the cores with the DSP extension, where most of the work is, skip closed inputs as well: rows are packed
from the open gates only, and each packed gate carries the place of its weights. There the input zero point is taken off
while packing, for what a bias would have to hold depends on the user.

Which gates are open is in variables that `emit.user` defines: a flag for every gate, and a list of the open ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

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
from .clamp import Clamp, clamp_of
from .dsp import DspRenderer
from .dsp_assembly import requantize
from .mve import MveRenderer
from .thumb2 import pair_product, sums
from .thumb2_assembly import Thumb2Assembly, add_to

_WORD_GATES = (4, 8, 16)  # channels a gate that the kernels for words take


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


class _Blocks(SwitchableRenderer, BlockRenderer):
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


class SwitchableArmv6mRenderer(_Blocks, Armv6mRenderer):
    """Cortex-M0, M0+."""


class SwitchableArmv7mRenderer(_Blocks, Armv7mRenderer):
    """Cortex-M3."""


class SwitchableMveRenderer(_Blocks, MveRenderer):
    """Cortex-M55."""


class SwitchableDspRenderer(_Blocks, DspRenderer):
    """Cortex-M4, M7, M33: closed inputs of pointwise convolutions are skipped too."""

    def stream(self, op: Scaled, weights: np.ndarray) -> Array:
        return super().stream(replace(op, input_zero_point=0) if self._skips_inputs(op) else op, weights)

    def product(self, op: Scaled, depth: int, channels: int, rows: int, pitch: int) -> Product:
        if not self._skips_inputs(op):
            return super().product(op, depth, channels, rows, pitch)
        assert self.source is not None
        size = self.source.group.size
        pack = f"pack_open_{depth}x{rows}_{size}_{op.input_zero_point & 0xFFFF}"
        clamp = clamp_of(op.requantization)
        multiply = f"multiply_open_{depth}x{rows}_{channels}{clamp.suffix}"
        self.helpers[pack] = _pack_open(depth, rows, size, op.input_zero_point).helper(pack)
        self.helpers[multiply] = _multiply_open(depth, rows, channels, clamp).helper(multiply)
        return Product(pack, multiply, depth // 4 * (4 + 8 * rows) + 8)

    def pack_call(self, product: Product, source: str, site: Site) -> str:
        if not product.pack.startswith("pack_open_"):
            return super().pack_call(product, source, site)
        assert self.source is not None
        return f"{site.prefix}_{product.pack}({source}, wide, {site.prefix}_{self.source.list});"

    def close(self, channels: Channels, site: Site) -> tuple[str, str]:
        size, count = channels.group.size, channels.group.count
        if size not in _WORD_GATES:
            return super().close(channels, site)
        name = f"close_{size * count}"
        self.helpers[name] = _close_word(size * count).helper(name)
        return (
            fill(
                """
                for (int32_t word = 0; word < $words; word++) {
                    if (!${prefix}_$flags[word / $each]) {
                        ${prefix}_$name(channels + 4 * word, $positions, $pattern);
                    }
                }
                """,
                words=size * count // 4,
                prefix=site.prefix,
                flags=channels.flags,
                each=size // 4,
                name=name,
                positions=site.output.bytes // (size * count),
                pattern=f"0x{site.output.zero_point & 0xFF:02X}u * 0x01010101u",
            ),
            name,
        )

    def _skips_inputs(self, op: Scaled) -> bool:
        return (
            isinstance(op, lower.Convolution)
            and self.source is not None
            and self.target is not None
            and self.source.group.size in _WORD_GATES
            and self.target.group.size % self.together == 0
            and (op.weights.shape[1:3], op.stride, any(op.pads)) == ((1, 1), (1, 1), False)
        )


SWITCHABLE: dict[str, type[SwitchableRenderer]] = {
    "portable": SwitchableRenderer,
    "armv6m": SwitchableArmv6mRenderer,
    "armv7m": SwitchableArmv7mRenderer,
    "dsp": SwitchableDspRenderer,
    "mve": SwitchableMveRenderer,
}
"""By instruction set, as in targets.Target.instruction_set."""


def _pack_open(depth: int, rows: int, size: int, zero_point: int) -> Thumb2Assembly:
    """Four inputs of each row are widened, less their zero point, and doubled, as `DspRenderer.pack_rows` lays them.

    Before them stands where their weights lie, in bytes from those of input 0; behind the last, a word of ones, and
    how far it is from the start.
    """
    raw = [f"r{4 + row}" for row in range(rows)]
    pairs = [f"r{8 + row}" for row in range(rows)]

    def widen(rotation: str) -> list[str]:
        lines = [f"sxtab16 {pair}, lr, {word}{rotation}" for pair, word in zip(pairs, raw, strict=True)]
        lines += [f"sadd16 {pair}, {pair}, {pair}" for pair in pairs]
        return [*lines, f"stm r1!, {{{', '.join(pairs)}}}" if rows > 1 else f"str {pairs[0]}, [r1], #4"]

    gate = ["ldrh r12, [r2], #2", f"lsl r4, r12, #{(2 * size).bit_length() - 1}"]
    gate += ["str r4, [r1], #4", f"add r12, r0, r12, lsl #{size.bit_length() - 1}"]
    for quad in range(size // 4):
        if quad:
            gate += ["ldrh r4, [r2, #-2]", f"lsl r4, r4, #{(2 * size).bit_length() - 1}", f"adds r4, #{8 * quad}"]
            gate += ["str r4, [r1], #4"]
        gate += [f"ldr {word}, [r12, #{4 * quad + row * depth}]" for row, word in enumerate(raw)]
        gate += [*widen(""), *widen(", ror #8")]
    less = -zero_point & 0xFFFF
    return Thumb2Assembly(
        f"Widens the open gates of {rows} x {depth} inputs.",
        ("const int8_t *input", "void *wide", "const uint16_t *list"),
        [
            "push {r1, r4-r11, lr}",
            f"movw lr, #{less}",
            f"movt lr, #{less}",
            "ldrh r3, [r2], #2",
            "1:",
            *gate,
            "subs r3, #1",
            "bne 1b",
            "mov r4, #-1",
            "str r4, [r1], #4",
            "pop {r4}",
            "sub r4, r1, r4",
            "str r4, [r1]",
            "pop {r4-r11, pc}",
        ],
    )


def _multiply_open(depth: int, rows: int, channels: int, clamp: Clamp) -> Thumb2Assembly:
    """What `_pack_open` packed times pairs of channels, by the stream of `Thumb2Renderer.stream`."""
    first, second = sums(rows)

    def products(source: str, row: int) -> list[str]:
        return [f"smlad {a}, {source}, {w}, {a}" for a, w in ((first[row], "r12"), (second[row], "lr"))]

    step = ["ldr r2, [r0], #4", "adds r2, r2, r1", "2:", "ldrd r12, r2, [r2]"]
    step += ["sxtb16 lr, r12, ror #8", "sxtb16 r12, r12"]
    for row in range(rows):
        step += ["ldr r3, [r0], #4", *products("r3", row)]
    step += ["sxtb16 r12, r2", "sxtb16 lr, r2, ror #8"]
    for row in range(0, rows, 2):
        step.append("ldrd r2, r3, [r0], #8" if row + 1 < rows else "ldr r2, [r0], #4")
        step += products("r2", row) + (products("r3", row + 1) if row + 1 < rows else [])
    # a word of ones is the only one that carries
    step += ["ldr r2, [r0], #4", "adds r2, r2, r1", "bcc 2b", "ldr r2, [r0]", "sub r0, r0, r2"]
    step += add_to("r1", 2 * depth)
    finish = partial(requantize, multiplier="r2", twice_addend="r3", shift="r12", clamp=clamp)
    return pair_product(step, 1, 1, 0, depth, channels, rows, finish)


def _close_word(channels: int) -> Thumb2Assembly:
    step = [f"str r2, [r0], #{channels}"] if channels < 256 else ["str r2, [r0]", *add_to("r0", channels)]
    return Thumb2Assembly(
        f"Four channels of every position, of {channels}.",
        ("int8_t *output", "int32_t positions", "uint32_t pattern"),
        ["1:", *step, "subs r1, #1", "bne 1b", "bx lr"],
    )


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
