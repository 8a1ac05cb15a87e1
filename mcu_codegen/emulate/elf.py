"""What emulation needs to know of a 32-bit little-endian ELF program."""

from __future__ import annotations

import struct
from dataclasses import dataclass
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

    @cached_property
    def _bytes(self) -> bytes:
        return self.path.read_bytes()

    @property
    def segments(self) -> list[tuple[int, bytes]]:
        """(load address, bytes) of everything that a flash programmer would write."""
        offset, size, count = (
            struct.unpack_from("<I", self._bytes, 28)[0],
            *struct.unpack_from("<HH", self._bytes, 42),
        )
        found = []
        for index in range(count):
            kind, start, _, physical, length = struct.unpack_from("<5I", self._bytes, offset + index * size)
            if kind == _LOAD and length:
                found.append((physical, self._bytes[start : start + length]))
        return found

    @cached_property
    def _sections(self) -> list[_Section]:
        offset = struct.unpack_from("<I", self._bytes, 32)[0]
        size, count, names = struct.unpack_from("<HHH", self._bytes, 46)
        headers = [struct.unpack_from("<10I", self._bytes, offset + index * size) for index in range(count)]
        return [
            _Section(self._text(headers[names][4] + name), kind, address, start, length, link)
            for name, kind, _, address, start, length, link, *_ in headers
        ]

    def _text(self, offset: int) -> str:
        return self._bytes[offset : self._bytes.index(b"\0", offset)].decode()

    def size(self, section: str) -> int:
        """Bytes of the section called `section`; 0 where there is none."""
        return sum(found.size for found in self._sections if found.name == section)

    @cached_property
    def symbols(self) -> dict[str, int]:
        """Addresses by name, without the Thumb bit. Of equal names the last counts."""
        found = {}
        for table in self._sections:
            if table.kind != _SYMBOL_TABLE:
                continue
            names = self._sections[table.link].offset
            for offset in range(table.offset, table.offset + table.size, 16):
                name, value = struct.unpack_from("<II", self._bytes, offset)
                thumb = self._bytes[offset + 12] & 15 == 2  # a function's address has its lowest bit set
                found[self._text(names + name)] = value & ~1 if thumb else value
        return found
