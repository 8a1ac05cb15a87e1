"""The cores that C is generated for: instruction set, memory map, compiler flags, emulators.

A target is an emulated board as small as the truth allows: a core with the memories of the QEMU machine that has it, so
that one program runs unchanged in both emulators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .errors import InputError


@dataclass(frozen=True)
class Memory:
    origin: int
    length: int  # bytes


@dataclass(frozen=True)
class Target:
    name: str
    instruction_set: (
        str  # "portable", "armv6m", "armv7m", "dsp" or "mve": the richest set of kernels that the core can run
    )
    clang: tuple[str, ...]  # flags that choose the core
    gcc: tuple[str, ...]
    rom: Memory
    ram: Memory
    unicorn: str | None  # Unicorn's name of the CPU model; None where it has none
    qemu: str | None  # QEMU's machine; None where it has none with enough memory
    vectors: Memory | None = None  # where the core takes its first vectors from; None: where ROM begins


def _clang(cpu: str, abi: str) -> tuple[str, ...]:
    return ("-target", f"thumb-freestanding-{abi}", f"-mcpu={cpu}")


def _gcc(cpu: str, *floats: str) -> tuple[str, ...]:
    return ("-mthumb", f"-mcpu={cpu}", *floats)


_HARD = "-mfloat-abi=hard"
_FLASH, _SRAM = Memory(0x00000000, 4 << 20), Memory(0x20000000, 4 << 20)

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        # QEMU's one Cortex-M0 machine has 16 KiB of RAM
        Target("cortex-m0", "armv6m", _clang("cortex_m0", "eabi"), _gcc("cortex-m0"), _FLASH, _SRAM, "CORTEX_M0", None),
        Target(
            "cortex-m3",
            "armv7m",
            _clang("cortex_m3", "eabi"),
            _gcc("cortex-m3"),
            _FLASH,
            _SRAM,
            "CORTEX_M3",
            "mps2-an385",
        ),
        Target(
            "cortex-m4",
            "dsp",
            _clang("cortex_m4", "eabihf"),
            _gcc("cortex-m4", _HARD, "-mfpu=fpv4-sp-d16"),
            _FLASH,
            _SRAM,
            "CORTEX_M4",
            "mps2-an386",
        ),
        Target(
            "cortex-m7",
            "dsp",
            _clang("cortex_m7", "eabihf"),
            _gcc("cortex-m7", _HARD, "-mfpu=fpv5-d16"),
            _FLASH,
            _SRAM,
            "CORTEX_M7",
            "mps2-an500",
        ),
        Target(
            "cortex-m33",
            "dsp",
            _clang("cortex_m33+dsp", "eabihf"),
            _gcc("cortex-m33", _HARD, "-mfpu=fpv5-sp-d16"),
            Memory(0x10000000, 4 << 20),
            Memory(0x38000000, 4 << 20),
            "CORTEX_M33",
            "mps2-an505",
        ),
        # Unicorn has no MVE. The 512 KiB at the core are too little for many models: ROM is DDR, by its secure alias
        Target(
            "cortex-m55",
            "mve",
            _clang("cortex_m55+mve_fp", "eabihf"),
            _gcc("cortex-m55", _HARD),
            Memory(0x70000000, 4 << 20),
            Memory(0x21000000, 4 << 20),
            None,
            "mps3-an547",
            Memory(0x00000000, 64),
        ),
    )
}


def find(name: str) -> Target:
    """The target called `name`. Raises InputError naming those there are."""
    if name not in TARGETS:
        raise InputError(f"--target {name}: unknown core; accepted are {', '.join(TARGETS)}")
    return TARGETS[name]


def find_all(names: Sequence[str] | None) -> list[Target]:
    """The targets called `names`, or every target where there are no names."""
    return [find(name) for name in names or TARGETS]
