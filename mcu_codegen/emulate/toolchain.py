"""The cross compilers: clang out of the ziglang wheel, and arm-none-eabi-gcc where the system has it."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass

from ..errors import InputError
from ..targets import Target

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
"""What all our C, generated or not, compiles under."""

OPTIMIZE = {"speed": "-O2", "size": "-Os", "ram": "-O2"}
"""By what a renderer optimises for, how the compiler does."""

NAMES = ("clang", "gcc")
"""Accepted names, the preferred one first."""


@dataclass(frozen=True)
class Toolchain:
    """A compiler that is present. `command` runs it, as compiler and linker."""

    name: str
    version: str
    command: tuple[str, ...]

    def flags(self, target: Target, optimize: str = "speed") -> tuple[str, ...]:
        """Everything but files, include folders and what is linked."""
        own = (
            # sanitisers that zig turns on by itself, and symbols that it drops at -Os; a page size, because 64 KiB of
            # alignment wastes small memories
            (*target.clang, "-g", "-fno-sanitize=undefined", "-fno-unwind-tables", "-Wl,-z,max-page-size=4096")
            if self.name == "clang"
            else (*target.gcc, "-nostdlib", "-Wl,--build-id=none", "-Wl,--no-warn-rwx-segments")
        )
        return (
            *own,
            "-std=c99",
            OPTIMIZE[optimize],
            *WARNINGS,
            "-ffreestanding",
            "-fno-builtin",
            "-ffunction-sections",
            "-fdata-sections",
            "-Wl,--gc-sections",
        )

    @property
    def libraries(self) -> tuple[str, ...]:
        """What the compiler calls without being asked, such as division on Cortex-M0; zig adds its own."""
        return () if self.name == "clang" else ("-lgcc",)


@functools.cache
def available() -> dict[str, Toolchain | str]:
    """By name, the compiler, or the reason why it is absent."""
    return {"clang": _clang(), "gcc": _gcc()}


def choose(name: str | None = None) -> Toolchain:
    """The compiler called `name`, or the first that is present. Raises InputError where there is none."""
    if name is not None and name not in NAMES:
        raise InputError(f"--compiler {name}: unknown; accepted are {', '.join(NAMES)}")
    found = {each: what for each, what in available().items() if name in (None, each)}
    for what in found.values():
        if isinstance(what, Toolchain):
            return what
    raise InputError("no cross compiler: " + "; ".join(f"{each}: {why}" for each, why in found.items()))


def _clang() -> Toolchain | str:
    if importlib.util.find_spec("ziglang") is None:
        return "Python package ziglang is not installed"
    command = (sys.executable, "-m", "ziglang")
    return Toolchain("clang", f"ziglang {_output(*command, 'version')}", (*command, "cc"))


def _gcc() -> Toolchain | str:
    path = shutil.which("arm-none-eabi-gcc")
    if path is None:
        return "arm-none-eabi-gcc is not on PATH"
    return Toolchain("gcc", f"arm-none-eabi-gcc {_output(path, '-dumpfullversion')}", (path,))


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
