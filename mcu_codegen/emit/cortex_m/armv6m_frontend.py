"""The front end of Cortex-M0: window, transform, power and bands in assembly.

There is no long multiplication: values are taken apart into a lower 15 bits and what is above them, so that no product
with a Q15 twiddle, and no sum of two, leaves 32 bits. A span's points are rotated first and added up then, since the
eight registers that compute hold either, but not both.
"""

from __future__ import annotations

import numpy as np

from ...listen import frontend
from ..portable.frontend import Stage, Table
from .armv6m_assembly import RESTORE, SAVE, Armv6mAssembly
from .armv6m_mel import bands
from .armv6m_transform import BUTTERFLIES, QUARTERS, ROTATE, split
from .frontend_kernels import KernelFrontEnd, window_to_the_end

_SPANS = (4, 16, 64)
_HALF = frontend.POINTS // 2


class Armv6mFrontEnd(KernelFrontEnd):
    """Cortex-M0, M0+."""

    instruction_set = "armv6m"

    def load_frame(self) -> Stage:
        # of a point, the weights of all quarters: four quarters, 64 points, two samples
        weights = window_to_the_end(self).reshape(4, 64, 2).transpose(1, 0, 2).reshape(4, 128)
        about = "Periodic Hann window and zeros, Q15: two weights of each quarter of the frame by turns."
        return self.frame(QUARTERS, weights, about)

    def transform(self) -> Stage:
        turns = [frontend.POINTS // 2 // span * np.array([[1], [2], [3]]) * np.arange(1, span) for span in _SPANS]
        about = "cos and -sin, Q15, of the points that turn: second, third and fourth quarter of spans 4, 16 and 64."
        kernels = self.function(ROTATE, "rotate") + self.function(BUTTERFLIES, "butterflies")
        return Stage(
            kernels + _TRANSFORM, (self._turns("twiddles", np.concatenate([t.ravel() for t in turns]), about),)
        )

    def powers(self) -> Stage:
        table = self._turns(
            "half_twiddles", np.arange(1, _HALF), "cos and -sin of k / 512 of a circle, k = 1 .. 127, Q15."
        )
        power = self.function(_power(mirrors=self.last_bin > _HALF), "power")
        # doubled, as the other bins are
        return Stage(power + _POWERS.replace("@SHIFT@", str(frontend.POWER_SHIFT - 2)), (table,))

    def bands(self) -> Armv6mAssembly:
        return bands(self.tables)

    def copy(self) -> Armv6mAssembly:
        return _COPY

    def _turns(self, name: str, turns: np.ndarray, about: str) -> Table:
        return Table("int32_t", name, np.stack(frontend.twiddle(turns, self.tables.minus_sine), axis=-1), about)


def _square() -> list[str]:
    """(r4, r2) = (r2 * r2 + r3 * r3) >> 12, below 2**49. Spoils r5 to r7."""
    return [
        *split("r2", "r4"),
        *split("r3", "r5"),
        "movs r6, r4",
        "muls r6, r2, r6",
        "movs r7, r5",
        "muls r7, r3, r7",
        "adds r6, r6, r7",  # times 2**16
        "muls r4, r4, r4",
        "muls r5, r5, r5",
        "adds r4, r4, r5",  # times 2**30
        "muls r2, r2, r2",
        "muls r3, r3, r3",
        "adds r2, r2, r3",
        f"lsrs r2, r2, #{frontend.POWER_SHIFT}",
        f"lsls r3, r4, #{30 - frontend.POWER_SHIFT}",
        f"lsrs r4, r4, #{2 + frontend.POWER_SHIFT}",
        "adds r2, r2, r3",
        "movs r3, #0",
        "adcs r4, r4, r3",
        f"lsls r3, r6, #{16 - frontend.POWER_SHIFT}",
        f"asrs r6, r6, #{16 + frontend.POWER_SHIFT}",
        "adds r2, r2, r3",
        "adcs r4, r4, r6",
    ]


def _power(mirrors: bool) -> Armv6mAssembly:
    mirror = ["subs r6, r4, r2", "mov r8, r6", "subs r7, r5, r3", "mov r9, r7"]
    return Armv6mAssembly(
        "The power of bins, whose places hold what odd samples give, turned, and of their mirror images, whose places "
        "hold what even ones do" + ("." if mirrors else "; of these, which no band holds, it is not computed."),
        ("void *bin", "void *mirror", "const void *end"),
        [
            *SAVE,
            "mov r12, r2",
            "1:",
            "ldr r2, [r0]",
            "ldr r3, [r0, #4]",
            "ldr r4, [r1]",
            "ldr r5, [r1, #4]",
            *(mirror if mirrors else []),
            "adds r2, r2, r4",
            "adds r3, r3, r5",
            *_square(),
            "stm r0!, {r2, r4}",
            *(["mov r2, r8", "mov r3, r9", *_square(), "str r2, [r1]", "str r4, [r1, #4]"] if mirrors else []),
            "subs r1, #8",
            "cmp r0, r12",
            "bne 1b",
            *RESTORE,
        ],
    )


_COPY = Armv6mAssembly(
    "Copies halfwords, eight at a time.",
    ("void *to", "const void *from", "uint32_t bytes"),
    [
        "adds r2, r2, r0",
        "1:",
        *(line for at in range(0, 16, 2) for line in (f"ldrh r3, [r1, #{at}]", f"strh r3, [r0, #{at}]")),
        "adds r1, #16",
        "adds r0, #16",
        "cmp r0, r2",
        "bne 1b",
        "bx lr",
    ],
)

_TRANSFORM = """\
static void transform(void)
{
    const int32_t *turns = twiddles;

    kws_frontend_butterflies(arena.bins, sizeof(bin_t), arena.bins + POINTS);
    for (uint32_t span = 4; span < POINTS; span *= 4u) {
        const int32_t *const end = turns + 6u * (span - 1u);

        for (bin_t *group = arena.bins; group < arena.bins + POINTS; group += 4u * span) {
            kws_frontend_rotate(group + span + 1, turns, end, span * sizeof(bin_t));
        }
        turns = end;
        kws_frontend_butterflies(arena.bins, span * sizeof(bin_t), arena.bins + POINTS);
    }
}
"""

_POWERS = """\
static void powers(void)
{
    bin_t *const middle = &arena.bins[POINTS / 2];
    const complex_t own = middle->value; /* its own mirror image: what odd samples give is i times its imaginary part */

    /* what even samples give, and behind it what odd ones do */
    for (bin_t *bin = &arena.bins[1], *mirror = &arena.bins[POINTS - 1]; bin < middle; bin++, mirror--) {
        const complex_t a = bin->value, b = mirror->value;

        bin->value.re = a.im + b.im; /* times -i */
        bin->value.im = b.re - a.re;
        mirror->value.re = a.re + b.re;
        mirror->value.im = a.im - b.im;
    }
    kws_frontend_rotate(&arena.bins[1], half_twiddles, half_twiddles + POINTS - 2, sizeof(bin_t) * POINTS / 2);
    kws_frontend_power(&arena.bins[1], &arena.bins[POINTS - 1], middle);
    middle->power = ((uint64_t)((int64_t)own.re * own.re) + (uint64_t)((int64_t)own.im * own.im)) >> @SHIFT@;
}
"""
