"""What emulation needs to know of a 32-bit little-endian ELF program."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

_LOAD = 1
_SYMBOL_TABLE = 2


@dataclass(frozen=True)
class _Section:
    name: str
    kind: int
    address: int
    offset: int
    size: int
    link: int


@dataclass(frozen=True)
class Elf:
    """A program that our own build just linked; nothing here is meant for foreign files."""

    path: Path
    content: bytes = field(repr=False)

    @staticmethod
    def read(path: Path) -> Elf:
        return Elf(path, path.read_bytes())

    @property
    def segments(self) -> list[tuple[int, bytes]]:
        """(load address, bytes) of everything that a flash programmer would write."""
        offset, size, count = (
            struct.unpack_from("<I", self.content, 28)[0],
            *struct.unpack_from("<HH", self.content, 42),
        )
        found = []
        for index in range(count):
            kind, start, _, physical, length = struct.unpack_from("<5I", self.content, offset + index * size)
            if kind == _LOAD and length:
                found.append((physical, self.content[start : start + length]))
        return found

    @cached_property
    def _sections(self) -> list[_Section]:
        offset = struct.unpack_from("<I", self.content, 32)[0]
        size, count, names = struct.unpack_from("<HHH", self.content, 46)
        headers = [struct.unpack_from("<10I", self.content, offset + index * size) for index in range(count)]
        return [
            _Section(self._text(headers[names][4] + name), kind, address, start, length, link)
            for name, kind, _, address, start, length, link, *_ in headers
        ]

    def _text(self, offset: int) -> str:
        return self.content[offset : self.content.index(b"\0", offset)].decode()

    def size(self, section: str) -> int:
        """Bytes of the section called `section`; 0 where there is none."""
        return sum(found.size for found in self._sections if found.name == section)

    @property
    def flash(self) -> int:
        """Bytes of code and constants."""
        return sum(self.size(section) for section in (".text", ".ARM.exidx", ".rodata"))

    @property
    def ram(self) -> int:
        """Bytes of static variables."""
        return self.size(".data") + self.size(".bss")

    def section(self, name: str) -> bytes:
        """The bytes of the section called `name`; none where there is none."""
        return b"".join(
            self.content[found.offset : found.offset + found.size] for found in self._sections if found.name == name
        )

    @cached_property
    def symbols(self) -> dict[str, int]:
        """Addresses by name, without the Thumb bit. Of equal names the last counts."""
        found = {}
        for table in self._sections:
            if table.kind != _SYMBOL_TABLE:
                continue
            names = self._sections[table.link].offset
            for offset in range(table.offset, table.offset + table.size, 16):
                name, value = struct.unpack_from("<II", self.content, offset)
                thumb = self.content[offset + 12] & 15 == 2  # a function's address has its lowest bit set
                found[self._text(names + name)] = value & ~1 if thumb else value
        return found
