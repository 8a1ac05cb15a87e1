"""What instructions of Thumb-2 accept: Cortex-M3, M4, M7, M33, and the general registers of M55."""

from __future__ import annotations

from collections.abc import Sequence

from .assembly import Assembly, Scaled, divisor, rounding
from .clamp import Clamp, clamp_of
from .ranges import Ranges, encodable

FORMS = """
    mov                        R, R
    mov                        R, #-256..65535
    movw movt                  R, #0..65535
    add sub                    R, R, #0..4095
    add sub subs               R, R, #const
    adds subs                  R, #const
    add sub                    R, #0..4095
    add sub                    sp, #0..508/4
    add                        R, sp, #0..1020/4
    add adds                   R, R, R
    adcs adc sbc               R, R, R
    add sub rsb bic            R, R, R, asr #1..32
    add                        R, R, R, lsr #1..32
    add                        R, R, R, ror #1..31
    add                        R, R, R, lsl #0..31
    and                        R, R, #const
    sub                        R, R, R, lsl #0..31
    sub subs orr               R, R, R
    orr                        R, R, R, lsl #0..31
    orr                        R, R, R, lsr #1..32
    rsb                        R, R, #const
    clz                        R, R
    ubfx                       R, R, #0..16, #16
    ubfx                       R, R, #0..27, #5
    lsl lsls                   R, R, #0..31
    lsr lsrs asr               R, R, #1..32
    lsl lsr asr                R, R, R
    cmp                        R, R
    cmp tst                    R, #const
    mul                        R, R, R
    mla                        R, R, R, R
    smull smlal umlal          R, R, R, R
    ssat                       R, #1..32, R
    ssat                       R, #1..32, R, asr #1..31
    usat                       R, #0..31, R
    ldr ldrb ldrh ldrsb ldrsh  R, [R]
    ldr                        R, [R, R, lsl #0..3]
    ldrb                       R, [R, R]
    ldr ldrb ldrh ldrsb ldrsh  R, [R, #-255..4095]
    ldr ldrb ldrh ldrsb ldrsh  R, [R], #-255..255
    str strb strh              R, [R]
    str strb strh              R, [R, #-255..4095]
    str strb strh              R, [R], #-255..255
    ldr str                    R, [sp]
    ldr str                    R, [sp, #0..4095]
    ldrd strd                  R, R, [R]
    ldrd strd                  R, R, [R, #-1020..1020/4]
    ldrd strd                  R, R, [R], #-1020..1020/4
    ldrd strd                  R, R, [sp]
    ldrd strd                  R, R, [sp, #-1020..1020/4]
    ldm stm                    R, {R}
    ldm stm                    R!, {R}
    push                       {R}
    pop                        {R, pc}
    pop                        {R}
    bx                         lr
    beq bne bcc bcs bgt           @-1048576..1048574
    b                          @-16777216..16777214
"""

_DSP_FORMS = """
    sxtb16                     R, R
    sxtb16                     R, R, ror #8..24/8
    sxtab16                    R, R, R
    sxtab16                    R, R, R, ror #8..24/8
    sadd16 smmulr ssub8 sel    R, R, R
    sxth                       R, R
    smlad smlabt smlatb        R, R, R, R
    smlabb smlatt              R, R, R, R
    pkhbt                      R, R, R, lsl #1..31
    pkhtb                      R, R, R, asr #1..31
"""


def add_to(register: str, value: int, base: str = "") -> list[str]:
    """Add a constant, in as few additions as it takes; `base`, where `register` becomes the sum of another one."""
    operation, size = ("add", value) if value > 0 else ("sub", -value)
    if size <= 4095 or encodable(size):
        parts = [size]
    else:
        parts = [size & mask for mask in (0xFFF, 0xFF << 12, 0xFF << 20, 0xF << 28)]
    sources = [base or register, *[register] * len(parts)]
    added = zip(sources, (part for part in parts if part), strict=False)
    return [f"{operation} {register}, {source}, #{part}" for source, part in added]


def constant(register: str, value: int) -> list[str]:
    """`register` becomes `value`, 0 or more."""
    upper = [f"movt {register}, #{value >> 16}"] if value >> 16 else []
    return [f"movw {register}, #{value & 0xFFFF}", *upper]


def row_loop(step: Sequence[str], steps: int, most: int) -> list[str]:
    """`step` so many times, without a jump an eighth of `most` times, at most; r7 counts."""
    unrolled = divisor(steps, max(most // 8, 1)) if steps else 0
    if unrolled == steps:
        return [*step] * steps
    return [*constant("r7", steps // unrolled), "2:", *[*step] * unrolled, "subs r7, #1", "bne 2b"]


def moved_rounding(op: Scaled) -> int:
    """`rounding` of codes that are moved as `to_codes` wants them."""
    return rounding(op, clamp_of(op.requantization).top)


def to_codes(registers: Sequence[str], twice_addend: str, shift: str, clamp: Clamp) -> list[list[str]]:
    """Of each register, what makes doubling high products, rounded half up, int8 codes in place. `twice_addend` is for
    codes moved up by `clamp.top`."""
    return [[line.replace("=", r) for line in _to_code(twice_addend, shift, clamp)] for r in registers]


def _to_code(twice_addend: str, shift: str, clamp: Clamp) -> list[str]:
    lines = [
        f"{'bic' if clamp.rectified else 'add'} =, =, =, asr #31",  # half away from zero, or nothing below zero
        f"add =, {twice_addend}, =, ror #31",  # twice what it was, and 1 where that is negative
        f"asr =, =, {shift}",
        "ssat =, #8, =, asr #1",
    ]
    if clamp.whole or clamp.rectified:
        return lines + ([f"sub =, =, #{clamp.top}"] if clamp.top else [])
    return [*lines, *narrowed("=", clamp)]


def narrowed(register: str, clamp: Clamp) -> list[str]:
    """What clamps a code that is moved up by `clamp.top` and saturated to int8, and moves it back."""
    sub = f"sub {register}, {register}, #{clamp.top + clamp.bottom}"
    return [sub, f"ssat {register}, #8, {register}", f"add {register}, {register}, #{clamp.bottom}"]


class Thumb2Assembly(Assembly):
    """Of Cortex-M3, M4, M7 and M33."""

    ranges = Ranges("Cortex-M3 to M33", 4, FORMS, _DSP_FORMS)
