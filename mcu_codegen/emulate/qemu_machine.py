"""Cortex-M3 to M55 in QEMU, where the system has it. Counting needs its plugins and this host's C compiler."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError
from ..targets import Target
from . import host
from .elf import Elf
from .machine import TIME_LIMIT, Count, MachineError

_COMMAND = "qemu-system-arm"
_SHOWN = 200  # characters of a failed program's text


class QemuMachine:
    """See `machine.Machine`."""

    name = "qemu"

    def __init__(self, target: Target) -> None:
        self.target = target

    @staticmethod
    def absence(target: Target) -> str:
        """Why `target` cannot be emulated here, or ""."""
        if target.qemu is None:
            return f"QEMU has no {target.name} with enough memory"
        if shutil.which(_COMMAND) is None:
            return f"{_COMMAND} is not on PATH"
        return ""

    def run(self, program: Elf, folder: Path) -> str:
        return self._run(program, folder)

    def cannot_count(self) -> str:
        plugin = _plugin()
        return plugin if isinstance(plugin, str) else ""

    def count(self, program: Elf, folder: Path, function: str, marks: Sequence[Sequence[int]] = ()) -> list[Count]:
        with tempfile.TemporaryDirectory() as own:
            counts = Path(own) / "counts"
            arguments = [
                f"function={program.symbols[function]:x}",
                f"out={counts}",
                *(f"mark{number}={address:x}" for number, mark in enumerate(marks) for address in mark),
            ]
            self._run(program, folder, "-plugin", ",".join([str(_plugin()), *arguments]))
            if not counts.exists():
                raise MachineError(f"{program.path.name} on {self.target.name} in QEMU: {function} never returned")
            calls = [tuple(map(int, line.split())) for line in counts.read_text().splitlines()]
        return [Count(call[::2], call[1::2]) for call in calls]

    def _run(self, program: Elf, folder: Path, *more: str) -> str:
        where = f"{program.path.name} on {self.target.name} in QEMU"
        command = [_COMMAND, "-M", str(self.target.qemu), "-display", "none", "-monitor", "none", "-serial", "none"]
        command += ["-semihosting-config", "enable=on,target=native", "-kernel", str(program.path.resolve()), *more]
        try:
            # semihosting writes text to QEMU's standard error
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIME_LIMIT)
        except subprocess.TimeoutExpired:
            raise MachineError(f"{where}: no end after {TIME_LIMIT:.0f} s") from None
        if done.returncode:
            raise MachineError(f"{where}: exit status {done.returncode}; {done.stderr[-_SHOWN:]!r}")
        return done.stderr


@functools.cache
def _plugin() -> Path | str:
    """The counting plugin, or the reason why there is none."""
    source = Path(__file__).with_name("qemu_count.c")
    try:
        library = host.build_shared_library({source.name: source.read_text()})
    except InputError as error:
        return str(error)
    # a QEMU without plugins, or with another plugin interface, says so before it starts a machine
    empty = ["-M", "none", "-display", "none", "-serial", "none", "-monitor", "stdio"]
    tried = subprocess.run(
        [_COMMAND, *empty, "-plugin", f"{library},out=unused"], input="quit\n", capture_output=True, text=True
    )
    return library if tried.returncode == 0 else f"QEMU refuses the counting plugin: {tried.stderr.strip()}"
