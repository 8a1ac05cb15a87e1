"""What each thing that is one person's, such as gates or words, adds to the C of users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..users.blob import Kind


@dataclass(frozen=True)
class Section:
    """A section of a blob. C has read_`name`(user, section, bytes), which returns whether all is well, and
    write_`name`(user, to), which returns the end; it is written where the C expression `condition` holds."""

    kind: Kind
    name: str
    condition: str = ""


@dataclass(frozen=True)
class Part:
    """Pieces of C with ``$key$`` for every key of `values`."""

    macros: str
    fields: str  # of the struct
    reset: str  # lines that make a field that of the full network
    functions: str  # that the sections need
    sections: tuple[Section, ...]
    end: str  # lines after all sections, which may clear `good`
    header: str  # what it declares beside
    source: str
    values: Mapping[str, str]
    includes: tuple[str, ...] = ()


WRITE_NUMBER = """\
static uint8_t *write_number(uint8_t *to, uint32_t value, uint32_t bytes)
{
    for (; bytes > 0u; bytes--) {
        *to++ = (uint8_t)value;
        value >>= 8;
    }
    return to;
}
"""
"""A function for those parts that write numbers; a network has one such part at most."""
