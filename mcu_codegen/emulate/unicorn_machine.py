"""Cortex-M0 to M33 in Unicorn, a CPU emulator that pip installs. Semihosting is served here."""

from __future__ import annotations

import importlib.util
import struct
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from ..targets import Target
from .elf import Elf
from .machine import TIME_LIMIT, Count, MachineError

_SHOWN = 200  # characters of a failed program's text
_PAGE = 0x1000
_SYSTEM_CONTROL_SPACE = 0xE000E000  # CPACR is in it
_BREAKPOINT_0XAB = b"\xab\xbe"
_BKPT, _SEMIHOST = 7, 16  # Unicorn's numbers of the exceptions that a semihosting call raises


class UnicornMachine:
    """See `machine.Machine`."""

    name = "unicorn"

    def __init__(self, target: Target) -> None:
        self.target = target

    @staticmethod
    def absence(target: Target) -> str:
        """Why `target` cannot be emulated here, or ""."""
        if target.unicorn is None:
            return f"Unicorn has no {target.name}"
        if importlib.util.find_spec("unicorn") is None:
            return "the package unicorn is not installed (extra 'emulate')"
        return ""

    def run(self, program: Elf, folder: Path) -> str:
        with _Run(self.target, program, folder) as run:
            return run.to_the_end()

    def cannot_count(self) -> str:
        return ""

    def count(self, program: Elf, folder: Path, function: str, marks: Sequence[Sequence[int]] = ()) -> list[Count]:
        with _Run(self.target, program, folder) as run:
            counter = _Counter(run.emulator, program.symbols[function], marks)
            run.to_the_end()
            return counter.calls()


class _Run:
    """One boot of a program, with the files that it opens."""

    def __init__(self, target: Target, program: Elf, folder: Path) -> None:
        import unicorn
        from unicorn import arm_const

        self._registers = arm_const
        self._folder = folder
        self._files: dict[int, IO[bytes]] = {}
        self._text: list[bytes] = []
        self._status: int | None = None
        self._trouble = ""
        self._where = f"{program.path.name} on {target.name} in Unicorn"
        self.emulator = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self.emulator.ctl_set_cpu_model(getattr(arm_const, f"UC_CPU_ARM_{target.unicorn}"))
        for memory in (target.rom, target.ram):
            self.emulator.mem_map(memory.origin, memory.length)
        self.emulator.mem_map(_SYSTEM_CONTROL_SPACE, _PAGE)
        for address, content in program.segments:
            self.emulator.mem_write(address, content)
        stack, self._reset = struct.unpack("<II", self.emulator.mem_read(target.rom.origin, 8))
        self.emulator.reg_write(arm_const.UC_ARM_REG_SP, stack)
        self.emulator.hook_add(unicorn.UC_HOOK_INTR, self._on_interrupt)
        self._error: type[Exception] = unicorn.UcError

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def to_the_end(self) -> str:
        try:
            self.emulator.emu_start(self._reset | 1, 0, timeout=int(TIME_LIMIT * 1e6))
        except self._error as error:
            at = self.emulator.reg_read(self._registers.UC_ARM_REG_PC)
            raise MachineError(f"{self._where}: {error} at {at:#x}") from None
        text = b"".join(self._text).decode(errors="replace")
        if self._trouble or self._status is None:
            raise MachineError(
                f"{self._where}: {self._trouble or f'no end after {TIME_LIMIT:.0f} s'}; {text[-_SHOWN:]!r}"
            )
        if self._status:
            raise MachineError(f"{self._where}: exit status {self._status}; {text[-_SHOWN:]!r}")
        return text

    def _on_interrupt(self, emulator: Any, number: int, _: object) -> None:
        pc = emulator.reg_read(self._registers.UC_ARM_REG_PC)
        if number not in (_BKPT, _SEMIHOST) or bytes(emulator.mem_read(pc, 2)) != _BREAKPOINT_0XAB:
            self._trouble = f"exception {number} at {pc:#x}"
            emulator.emu_stop()
            return
        operation = emulator.reg_read(self._registers.UC_ARM_REG_R0)
        argument = emulator.reg_read(self._registers.UC_ARM_REG_R1)
        result = self._serve(operation, argument)
        if self._trouble or self._status is not None:
            emulator.emu_stop()
            return
        emulator.reg_write(self._registers.UC_ARM_REG_R0, result & 0xFFFFFFFF)
        emulator.reg_write(self._registers.UC_ARM_REG_PC, (pc + 2) | 1)

    def _serve(self, operation: int, argument: int) -> int:
        """One semihosting call; numbers and argument blocks as in firmware_stubs/emulated/semihosting.c."""
        if operation == 0x04:  # SYS_WRITE0
            while chunk := bytes(self.emulator.mem_read(argument, 1)).rstrip(b"\0"):
                self._text.append(chunk)
                argument += 1
            return 0
        # a shorter block may lie at the very end of memory
        size = {0x02: 4, 0x20: 8}.get(operation, 12)
        a, b, c = struct.unpack("<III", bytes(self.emulator.mem_read(argument, size)).ljust(12, b"\0"))
        if operation == 0x01:  # SYS_OPEN
            path = self._folder / bytes(self.emulator.mem_read(a, c)).decode()
            try:
                # closed by the program, or when the run ends
                file = path.open("wb" if b >= 4 else "rb")
            except OSError:
                return -1
            handle = len(self._files) + 1
            self._files[handle] = file
            return handle
        if operation == 0x02:  # SYS_CLOSE
            self._files[a].close()
            return 0
        if operation == 0x05:  # SYS_WRITE
            self._files[a].write(self.emulator.mem_read(b, c))
            return 0
        if operation == 0x06:  # SYS_READ
            content = self._files[a].read(c)
            self.emulator.mem_write(b, content)
            return c - len(content)
        if operation == 0x20:  # SYS_EXIT_EXTENDED
            self._status = b
            return 0
        self._trouble = f"semihosting operation {operation:#x} is not served"
        return -1


class _Counter:
    """Counts by basic blocks entered: a block's length in instructions is worked out once, after the run.

    Unicorn's per-instruction hook is no alternative: it skips instructions whose condition fails in an IT block.
    """

    def __init__(self, emulator: Any, function: int, marks: Sequence[Sequence[int]]) -> None:
        import unicorn
        from unicorn.arm_const import UC_ARM_REG_LR

        self._emulator = emulator
        self._lengths: dict[tuple[int, int], int] = {}
        self._calls: list[list[dict[tuple[int, int], int]]] = []  # by call and segment, how often each block ran
        ahead: list[Sequence[int]] = []
        back = None  # where the function returns to, from its first instruction on

        def on_block(emulator: Any, address: int, size: int, _: object) -> None:
            nonlocal back
            if address == function and back is None:
                back = emulator.reg_read(UC_ARM_REG_LR) & ~1
                ahead[:] = marks
                self._calls.append([defaultdict(int)])
            elif address == back:
                back = None
            if back is None:
                return
            end, segments = address + size, self._calls[-1]
            while ahead and (inside := [mark for mark in ahead[0] if address <= mark < end]):
                mark = min(inside)
                del ahead[0]
                segments[-1][address, mark] += 1
                segments.append(defaultdict(int))
                address = mark
            segments[-1][address, end] += 1

        emulator.hook_add(unicorn.UC_HOOK_BLOCK, on_block)

    def calls(self) -> list[Count]:
        """Instructions executed in each call."""
        return [
            Count(
                tuple(sum(times * self._instructions(block) for block, times in blocks.items()) for blocks in segments),
                None,
            )
            for segments in self._calls
        ]

    def _instructions(self, block: tuple[int, int]) -> int:
        if block not in self._lengths:
            self._lengths[block] = self._length(*block)
        return self._lengths[block]

    def _length(self, address: int, end: int) -> int:
        code = self._emulator.mem_read(address, end - address)
        offset = count = 0
        while offset < len(code):
            offset += 4 if code[offset + 1] >> 3 in (0b11101, 0b11110, 0b11111) else 2  # the wide encodings of Thumb
            count += 1
        return count
