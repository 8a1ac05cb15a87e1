"""What kernels of MVE share: accumulators in general registers, and their way through vectors to codes.

A right shift by s that rounds half away from zero takes three instructions, or one: VQRDMULH by 2**(31 - s) + 1. That
adds p / 2**31 to p / 2**s and rounds half up. Where |p| is below 2**(31 - s) the addition is less than the step between
values of p / 2**s, so that it decides nothing but halves, and those away from zero. Beyond that, with s up to 11, the
result is 512 or more either way, and no code. For s = 0 the factor is 2**31 - 1, by which VQRDMULH leaves as it is what
is below 2**30. Where only some shifts are longer than 11, instructions take them as `assembly` does: they double
values for channels without a right shift, and shift by one more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .assembly import Assembly, Scaled, scaling, unshifted
from .clamp import Clamp, clamp_of
from .ranges import Ranges
from .thumb2_assembly import FORMS, constant

_FORMS = """
    dls                              lr, R
    dlstp.8 dlstp.16 dlstp.32        lr, R
    wlstp.8 wlstp.16 wlstp.32        lr, R, @0..4094
    le letp                          lr, @-4094..0
    vctp.8 vctp.16 vctp.32           R
    vpst vpstt vpsttt vpstttt
    vmsr                             p0, R
    vpush vpop                       {d8-d15}
    vmov                             Q, Q
    vmov                             Q[2], =[0], R, R
    vmov                             Q[3], =[1], R, R
    vmov.32                          R, Q[0]
    vmov.32                          Q[0], R
    vmov.i32                         Q, #0..255
    vdup.8 vdup.16 vdup.32           Q, R
    vidup.u16                        Q, R, #1..2
    vadd.i16 vadd.i32 vsub.i16       Q, Q, Q
    vqadd.u16                        Q, Q, Q
    vqadd.u16                        Q, Q, R
    vmax.s8 vmax.s16                 Q, Q, Q
    vmin.s8 vmin.s16                 Q, Q, Q
    vadd.i16 vadd.i32                Q, Q, R
    vmin.u16                         Q, Q, Q
    vqadd.s16                        Q, Q, Q
    vqadd.s16                        Q, Q, R
    vmul.i16                         Q, Q, R
    vmul.i32 vsub.i32 vadci.i32      Q, Q, Q
    vcadd.i32                        Q, Q, Q, #90
    vcadd.i32                        Q, Q, Q, #270
    vpsel                            Q, Q, Q
    vpttt.i32                        eq, Q, zr
    vmaxt.u32                        Q, Q, Q
    vmovt.i32                        Q, #0..255
    vclz.i32                         Q, Q
    vorr                             Q, Q, Q
    vshl.u32                         Q, Q, Q
    vshl.i32                         Q, Q, #0..31
    vmla.s32 vmlas.s32               Q, Q, R
    vmullb.s8 vmullt.s8              Q, Q, Q
    vmullb.s32 vmullt.s32            Q, Q, Q
    vmladav.s8 vmladava.s8           R, Q, Q
    vmladava.s32 vmladava.u32        R, Q, Q
    vmlaldava.u32                    r4, r5, Q, Q
    vqrdmladh.s32 vqrdmladhx.s32     Q, Q, Q
    vqrdmlsdh.s32 vqrdmlsdhx.s32     Q, Q, Q
    vqrdmulh.s32 vrmulh.s32          Q, Q, Q
    vqrdmulh.s32                     Q, Q, R
    vrshl.s32                        Q, Q, Q
    vrshl.s32                        Q, R
    vshr.s32 vshr.u32 vrshr.s32 vrshr.u32  Q, Q, #1..32
    vslit.32                         Q, Q, #0..31
    vrev64.32                        Q, Q
    vshr.u16                         Q, Q, #1..16
    vshlc                            Q, R, #1..32
    vmovlb.s16 vmovlt.s16            Q, Q
    vmovnt.i16 vmovnt.i32            Q, Q
    vqmovnb.s16 vqmovnt.s16          Q, Q
    vqmovnb.s32 vqmovnt.s32          Q, Q
    vqmovunb.s32 vqmovunt.s32        Q, Q
    vqrshrnb.s16                     Q, Q, #1..8
    vqrshrnb.s32                     Q, Q, #1..16
    vldrb.u8 vldrb.u16 vldrb.s16 vldrb.s32  Q, [R]
    vldrb.u8 vldrb.s32               Q, [R, #-127..127]
    vldrb.u8 vldrb.s16 vldrb.s32 vldrb.u32  Q, [R], #-127..127
    vldrb.u8 vldrb.u16 vldrbt.u16    Q, [R, Q]
    vldrbt.u8                        Q, [R]
    vldrbt.u8                        Q, [R], #-127..127
    vldrh.s32 vldrh.u32 vstrh.32     Q, [R], #-254..254/2
    vldrh.u32                        Q, [R, Q, uxtw #1]
    vld20.32                         {q0, q1}, [R]
    vld21.32                         {q0, q1}, [R]!
    vst20.32                         {q0, q1}, [R]
    vst21.32                         {q0, q1}, [R]!
    vldrd.u64                        Q, [Q, #-1016..1016/8]!
    vstrd.64                         Q, [Q, #-1016..1016/8]
    vldrw.u32                        Q, [R, Q, uxtw #2]
    vldrw.u32                        Q, [R, #-508..508/4]
    vldrw.u32                        Q, [R], #-508..508/4
    vstrb.8 vstrb.16 vstrb.32        Q, [R], #-127..127
    vstrb.8                          Q, [R]
    vstrbt.8                         Q, [R]
    vstrbt.16                        Q, [R], #-127..127
    vstrb.16 vstrbt.16               Q, [R, Q]
    vstrw.32                         Q, [R], #-508..508/4
"""

VECTOR = 16  # bytes
LONGEST = 11  # right shift by a product, where values saturate to codes
OFFSETS = 1 << 16  # what a vector of 16-bit offsets reaches
ACCUMULATORS = ("r0", "r2", "r4", "r6", "r8", "r10", "r12", "lr")  # VMLADAV names even registers only


class MveAssembly(Assembly):
    """Of Cortex-M55."""

    ranges = Ranges("Cortex-M55", 4, FORMS, _FORMS)


COPY = MveAssembly(
    "Copies bytes, sixteen at a time.",
    ("void *to", "const void *from", "int32_t bytes"),
    [
        "push {r7, lr}",
        "wlstp.8 lr, r2, 2f",
        "1:",
        "vldrb.u8 q0, [r1], #16",
        "vstrb.8 q0, [r0], #16",
        "letp lr, 1b",
        "2:",
        "pop {r7, pc}",
    ],
)


def vectors_of(size: int) -> int:
    """Vectors that hold `size` bytes."""
    return -(-size // VECTOR)


@dataclass(frozen=True)
class Coding:
    """How accumulators become codes."""

    by_product: bool  # whether one VQRDMULH is the right shift of every channel
    doubled: bool  # whether values are doubled before they are shifted
    clamp: Clamp

    @property
    def addend(self) -> int:
        """What `codes` wants added to values: the zero point, or, where nothing falls below it, what lets the highest
        code end where 16 bits do."""
        return self.clamp.zero_point - (self.clamp.high + 1 if self.clamp.rectified else 0)

    @property
    def suffix(self) -> str:
        """Of the names of kernels."""
        return "_far" * (not self.by_product) + "_doubled" * self.doubled + self.clamp.suffix


def coding_of(op: Scaled, products: bool = True) -> Coding:
    """`products`: whether kernels shift by one where they can."""
    by_product = products and bool(np.all(-op.requantization.shift <= LONGEST))
    return Coding(by_product, not by_product and unshifted(op), clamp_of(op.requantization))


def tails(op: Scaled, bias: np.ndarray) -> np.ndarray:
    """int64 (channels, 3): bias, multiplier, and what shifts: a factor, or the left shift (not positive)."""
    multipliers, shifts = scaling(op, len(bias))
    coding = coding_of(op)
    return np.stack([bias, multipliers, shifting(shifts) if coding.by_product else -shifts - coding.doubled], axis=1)


def shifting(shifts: np.ndarray) -> np.ndarray:
    """The factors by which VQRDMULH shifts right by `shifts`, 0 to `LONGEST`."""
    return np.minimum((1 << 31 - shifts) + 1, (1 << 31) - 1)


def requantize(vector: str, constants: Sequence[str], coding: Coding, spare: str) -> list[str]:
    """Accumulators with their bias to values before the zero point, in place. `constants` hold multiplier and what
    shifts, in vectors or in general registers."""
    multiplier, shift = constants
    lines = [f"vqrdmulh.s32 {vector}, {vector}, {multiplier}"]
    if coding.by_product:
        return [*lines, f"vqrdmulh.s32 {vector}, {vector}, {shift}"]
    by_vector = f"{vector}, {vector}" if shift.startswith("q") else vector
    return [*lines, *half_away(vector, spare, coding.doubled), f"vrshl.s32 {by_vector}, {shift}"]


def half_away(vector: str, spare: str, doubled: bool = False) -> list[str]:
    """What lets a shift by 1 or more that rounds half up round half away from zero; `doubled`, for a shift by 0 or more
    and one more."""
    twice = [f"vadd.i32 {vector}, {vector}, {vector}"] if doubled else []
    return [f"vshr.s32 {spare}, {vector}, #31", *twice, f"vadd.i32 {vector}, {vector}, {spare}"]


def codes(even: str, odd: str, addend: str, clamp: Clamp, spare: str) -> list[str]:
    """Two vectors of values to int8 codes by turns, in the 16-bit lanes of `even`. `addend`, in a vector or a general
    register, is that of `Coding`; `spare` is a general register. Spoils q2 where codes end on both sides."""
    narrowed = [] if clamp.rectified else [f"vqmovnb.s16 {even}, {even}"]
    return [*_sixteen_bits(even, odd, addend, clamp), *narrowed, *_ends(even, clamp, spare)]


def sixteen_codes(vectors: Sequence[str], addend: str, clamp: Clamp, spare: str) -> list[str]:
    """As `codes`, four vectors to sixteen codes in the first: lane by lane one of the first two by turns, then one of
    the others."""
    a, b, c, d = vectors
    lines = [*_sixteen_bits(a, b, addend, clamp), *_sixteen_bits(c, d, addend, clamp)]
    if clamp.rectified:
        return [*lines, *_ends(a, clamp, spare), *_ends(c, clamp, spare), f"vmovnt.i16 {a}, {c}"]
    return [*lines, f"vqmovnb.s16 {a}, {a}", f"vqmovnt.s16 {a}, {c}", *_ends(a, clamp, spare)]


def _sixteen_bits(even: str, odd: str, addend: str, clamp: Clamp) -> list[str]:
    """Two vectors of values to lanes of 16 bits by turns, with the addend in them."""
    narrow, add = ("vqmovun", "vqadd.u16") if clamp.rectified else ("vqmovn", "vqadd.s16")
    return [f"{narrow}b.s32 {even}, {even}", f"{narrow}t.s32 {even}, {odd}", f"{add} {even}, {even}, {addend}"]


def _ends(vector: str, clamp: Clamp, spare: str) -> list[str]:
    """What a narrower clamp adds."""
    if clamp.whole:
        return []
    if clamp.rectified:
        return [f"mov {spare}, #{clamp.high + 1}", f"vadd.i16 {vector}, {vector}, {spare}"]
    lines = []
    for form, code in (("vmax", clamp.low), ("vmin", clamp.high)):
        lines += [f"mov {spare}, #{code}", f"vdup.8 q2, {spare}", f"{form}.s8 {vector}, {vector}, q2"]
    return lines


def to_lanes(vector: str, registers: Sequence[str]) -> list[str]:
    """Two, three or four registers; lanes beyond them hold whatever they may."""
    a, b, c, d = (*registers, *registers)[:4]
    return [f"vmov {vector}[2], {vector}[0], {a}, {c}", f"vmov {vector}[3], {vector}[1], {b}, {d}"]


def eight_codes(bias: str, constants: Sequence[str], addend: str, coding: Coding) -> list[str]:
    """All accumulators to codes in the 16-bit lanes of q3. Spoils q2, q4 and r0."""
    lines = [*to_lanes("q3", ACCUMULATORS[0::2]), *to_lanes("q4", ACCUMULATORS[1::2])]
    for vector in ("q3", "q4"):
        lines += [f"vadd.i32 {vector}, {vector}, {bias}", *requantize(vector, constants, coding, "q2")]
    return [*lines, *codes("q3", "q4", addend, coding.clamp, "r0")]


def spread(vector: str, spare: str, group: int, row: int, column: int) -> list[str]:
    """Lane i of 16 bits becomes i / group * row + i % group * column; `group` is 1, 2, 4 or 8. Spoils r0."""
    lines = ["mov r0, #0", f"vidup.u16 {vector}, r0, #1"]
    if group < 8:
        lines += [
            f"vshr.u16 {spare}, {vector}, #{group.bit_length() - 1}" if group > 1 else f"vmov {spare}, {vector}",
            *constant("r0", row - group * column & 0xFFFF),  # lanes wrap
            f"vmul.i16 {spare}, {spare}, r0",
        ]
    lines += [*constant("r0", column), f"vmul.i16 {vector}, {vector}, r0"]
    return [*lines, f"vadd.i16 {vector}, {vector}, {spare}"] if group < 8 else lines
