"""What ends the compilation of kernels for a core that they are not for, before an assembler reads them."""

from __future__ import annotations

from ..kernel import Helper

_CORES = {
    "mve": ("defined(__ARM_FEATURE_MVE)", "Cortex-M55 (MVE)"),
    "dsp": ("defined(__ARM_FEATURE_DSP)", "Cortex-M4, M7 or M33 (DSP extension, no MVE)"),
    "armv7m": ("__ARM_ARCH_ISA_THUMB == 2", "Cortex-M3 (no DSP extension)"),
    "armv6m": ("__ARM_ARCH_ISA_THUMB == 1", "Cortex-M0 or M0+ (ARMv6-M)"),
}
"""By instruction set, what the compiler says of a Cortex-M that has it and none of those before, and who that is."""


def guard(instruction_set: str) -> Helper:
    """An #error that names both sides wherever the compiler's core has another instruction set."""
    _, own = _CORES[instruction_set]
    lines = [
        f"/* Kernels in assembly for {own}. */",
        "#if !defined(__ARM_ARCH_PROFILE) || __ARM_ARCH_PROFILE != 'M'",
        f"#error kernels for {own}, compiled for another processor than a Cortex-M",
    ]
    for other, (condition, cores) in _CORES.items():
        lines.append(f"#elif {condition}")
        if other != instruction_set:
            lines.append(f"#error kernels for {own}, compiled for {cores}")
    return Helper("\n".join([*lines, "#endif", ""]))
