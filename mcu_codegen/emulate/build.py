"""C for an emulated core: compiled, linked with start-up code, laid into the core's memories."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .. import files
from ..errors import BuildError
from ..targets import Target
from .elf import Elf
from .toolchain import Toolchain

STUBS = Path(__file__).resolve().parents[2] / "firmware_stubs"


def stubs(*names: str) -> dict[str, str]:
    """Files under firmware_stubs, by file name, as sources for `build`."""
    return {Path(name).name: (STUBS / name).read_text() for name in names}


RUNTIME = ("cortex_m/startup.c", "cortex_m/memory.c", "emulated/semihosting.c", "emulated/semihosting.h")
"""The stubs that every emulated program needs beside its main."""


def build(
    folder: Path,
    sources: Mapping[str, str],
    target: Target,
    toolchain: Toolchain,
    *,
    name: str = "program",
    defines: Sequence[str] = (),
    include: Sequence[str] = (),
    keep: Sequence[str] = (),
    optimize: str = "speed",
) -> Elf:
    """Write `sources` (file name to text) into `folder`, compile every .c among them and link `folder`/`name`.elf. What
    is called .ld among them is part of the linker script.

    `defines` are macros; `include` names headers that the compiler puts before every file; `keep` names functions that
    are the program's roots instead of the reset handler; `optimize` is as in a renderer. Raises BuildError, also for a
    warning: our C has none.
    """
    sections = "".join(text for file, text in sources.items() if file.endswith(".ld"))
    files.write_all(folder, {**sources, **stubs("cortex_m/cortex_m.ld"), "memory.ld": _memories(target) + sections})
    program = folder / f"{name}.elf"
    command = [
        *toolchain.command,
        *toolchain.flags(target, optimize),
        *(f"-D{define}" for define in defines),
        *(part for header in include for part in ("-include", header)),
        f"-Wl,--entry={keep[0] if keep else 'Reset_Handler'}",
        *(f"-Wl,-u,{function}" for function in keep),
        "-Wl,-T,cortex_m.ld",
        "-I.",
        "-o",
        program.name,
        *(source for source in sources if source.endswith(".c")),
        *toolchain.libraries,
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"{toolchain.version} for {target.name}", done.stderr)
    return Elf.read(program)


def _memories(target: Target) -> str:
    """What the linker script includes."""
    named = {"ROM (rx)": target.rom, "RAM (rwx)": target.ram}
    first = ""
    if target.vectors is not None:
        named["VECTORS (r)"] = target.vectors
        first = "SECTIONS { .vectors : { KEEP(*(.vectors)) } > VECTORS }\n"
    memories = (f"{name} : ORIGIN = {memory.origin:#x}, LENGTH = {memory.length:#x}" for name, memory in named.items())
    return "\n".join(("MEMORY {", *memories, f"}}\n{first}"))
