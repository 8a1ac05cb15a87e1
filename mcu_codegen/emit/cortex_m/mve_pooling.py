"""MAX_POOL_2D and AVERAGE_POOL_2D with MVE: sixteen channels at a time, or eight whose sums are held in 16 bits;
of whole images, for MEAN too, four or eight whose sums take 32.

A mean is VQRDMULH by 2**31 / taps and a trace more, which makes it round halves away from zero; the trace is too small
to reach any other border.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...memory import Demand
from ..kernel import Array, Kernel, Site, fill
from ..overlap import ANYWHERE
from .mve_assembly import VECTOR, MveAssembly
from .pooling import PARAMETERS, PoolingKernels, Windows
from .thumb2_assembly import add_to, constant

_NEAR = 127  # the largest step of a load of bytes


class MvePooling(PoolingKernels):
    """The renderer's part that computes them."""

    def max_windows(self, windows: Windows) -> MveAssembly:
        return _windows("The largest codes", windows, 8, ["vmax.s8 q0, q0, q1"], [], [])

    def average_windows(self, windows: Windows, half_up: bool) -> MveAssembly | None:
        if windows.taps == 1 or windows.channels % 2:
            return None  # 2**31 / taps is an int32 no more; predication would cut a 32-bit lane in two
        mean = ["vmovlb.s16 q1, q0", "vmovlt.s16 q0, q0", "vqrdmulh.s32 q1, q1, r5", "vqrdmulh.s32 q0, q0, r5"]
        mean += ["vmovnt.i32 q1, q0", "vmov q0, q1"]
        once = constant("r5", 2**31 // windows.taps + 1)
        if half_up:  # of codes from 0 on, whose halves away from zero go up
            once += [*constant("r3", 128 * windows.taps), *constant("r12", -128 & 0xFFFF)]
            mean = ["vadd.i16 q0, q0, r3", *mean, "vadd.i16 q0, q0, r12"]
        return _windows("The means", windows, 16, ["vadd.i16 q0, q0, q1"], mean, once)

    def image_sums(self, each: str, arrays: tuple[Array, ...], helpers: tuple[str, ...], site: Site) -> Kernel:
        """Sums of all channels first, in scratch."""
        _, rows, columns, channels = site.inputs[0].shape
        sums = f"sums_{channels}"
        self.helpers[sums] = _sums(channels).helper(sums)
        return Kernel(
            fill(
                """
                const int32_t *const sums = (const int32_t *)(const void *)scratch;

                ${prefix}_$sums(input, scratch, $pixels);
                for (int32_t channel = 0; channel < $channels; channel++) {
                    const int32_t sum = sums[channel];

                    $each
                }
                """,
                prefix=site.prefix,
                sums=sums,
                pixels=rows * columns,
                channels=channels,
                each=each,
            ),
            Demand(4 * channels, (ANYWHERE,)),
            arrays=arrays,
            helpers=(*helpers, sums),
        )


def _windows(
    what: str, windows: Windows, bits: int, take: Sequence[str], finish: Sequence[str], once: Sequence[str]
) -> MveAssembly:
    """q0 gets the first code and, by `take`, each further one from q1, in lanes of `bits`; `finish` makes codes of it.
    `once` prepares r3, r5 and r12."""
    height, width = windows.filter
    channels, clamp = windows.channels, windows.clamp
    lanes = 8 * VECTOR // bits
    offsets = [row * windows.row_bytes + column * channels for row in range(height) for column in range(width)]
    load = f"vldrb.{'u8' if bits == 8 else 's16'}"
    body: list[str] = []
    for tap, (offset, following) in enumerate(zip(offsets, [*offsets[1:], lanes], strict=True)):
        vector, step = "q1" if tap else "q0", following - offset
        near = abs(step) <= _NEAR
        body += [f"{load} {vector}, [r0], #{step}"] if near else [f"{load} {vector}, [r0]", *add_to("r0", step)]
        body += take if tap else []
    body += finish
    ends = [] if clamp.whole else [("vmax", "q2", clamp.low), ("vmin", "q3", clamp.high)]
    body += [f"{form}.s{bits} q0, q0, {vector}" for form, vector, _ in ends]
    done = -(-channels // lanes) * lanes
    return MveAssembly(
        f"{what} {windows.about}",
        PARAMETERS,
        [
            "push {r4, r5, r6, lr}",
            *constant("r4", channels),
            *once,
            *(line for _, vector, code in ends for line in (f"mov r6, #{code}", f"vdup.{bits} {vector}, r6")),
            "1:",
            f"dlstp.{bits} lr, r4",
            "2:",
            *body,
            f"vstrb.{bits} q0, [r1], #{lanes}",
            "letp lr, 2b",
            *(add_to("r0", windows.step - done) if windows.step != done else []),
            *(add_to("r1", channels - done) if channels != done else []),
            "subs r2, #1",
            "bne 1b",
            "pop {r4, r5, r6, pc}",
        ],
    )


def _sums(channels: int) -> MveAssembly:
    totals = ["q0", "q1"] if channels % 8 == 0 else ["q0"]
    adds = [(f"vldrb.s32 q2, [r3, #{4 * part}]", f"vadd.i32 {total}, {total}, q2") for part, total in enumerate(totals)]
    return MveAssembly(
        f"The sums of {channels} channels, int32, over all pixels.",
        ("const int8_t *input", "void *sums", "int32_t pixels"),
        [
            "push {r4, r5, r6, lr}",
            *constant("r4", channels // (4 * len(totals))),
            *constant("r5", channels),
            "1:",
            "mov r3, r0",
            *(f"vmov.i32 {total}, #0" for total in totals),
            "dls lr, r2",
            "2:",
            *(line for pair in adds for line in pair),
            "add r3, r3, r5",
            "le lr, 2b",
            *(f"vstrw.32 {total}, [r1], #16" for total in totals),
            f"adds r0, #{4 * len(totals)}",
            "subs r4, #1",
            "bne 1b",
            "pop {r4, r5, r6, pc}",
        ],
    )
