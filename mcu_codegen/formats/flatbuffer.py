"""FlatBuffers, read with verification and written, both driven by a schema table.

Python's flatbuffers package trusts the bytes it reads. Here every offset, vtable, vector length and string is checked
against the file before it is used, and a file cannot make the reader do more work than its own length explains.
Tables are dictionaries from field name to value; the reader gives what the writer takes.

The format, in one paragraph: a table begins with a signed offset back to its vtable; the vtable holds its own size,
the table's size and per slot the field's place in the table (0: absent, the default holds). Tables, vectors and
strings inside a table are unsigned offsets forward from the field. A vector is its length and its elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from flatbuffers import Builder, encode
from flatbuffers import number_types as numbers

from ..errors import InputError

# No model for a microcontroller comes near these; a decoded table takes about a kilobyte.
MAX_TABLES = 1 << 16
MAX_STRING = 1 << 16


class Field(NamedTuple):
    """A field of a table: its slot and its type.

    A type is a scalar's NumPy name, "string", a table's or union's name, or one of these but the union in brackets
    for a vector. A union's kind is read from the field of the same name with "_type" appended.
    """

    slot: int
    type: str
    default: int | float = 0
    alignment: int = 1  # of a vector's elements, where the schema forces more than their size


class Schema(NamedTuple):
    root: str
    tables: dict[str, dict[str, Field]]
    unions: dict[str, dict[int, str]]


_SCALARS = {
    "bool": numbers.BoolFlags,
    "int8": numbers.Int8Flags,
    "uint8": numbers.Uint8Flags,
    "uint16": numbers.Uint16Flags,
    "int32": numbers.Int32Flags,
    "uint32": numbers.Uint32Flags,
    "int64": numbers.Int64Flags,
    "uint64": numbers.Uint64Flags,
    "float32": numbers.Float32Flags,
}


def read(data: bytes, schema: Schema, identifier: bytes) -> dict[str, Any]:
    """The root table of `data`. Vectors of scalars are NumPy views of `data`; absent vectors are empty, absent tables

    None. Raises InputError where `data` is not a well-formed buffer with this 4-byte identifier.
    """
    if len(data) < 8 or data[4:8] != identifier:
        raise InputError(f"no '{identifier.decode()}' at byte 4: another kind of file")
    reader = _Reader(data, schema)
    return reader.table(reader.forward(0), schema.root)


def defaults(schema: Schema, name: str) -> dict[str, Any]:
    """What a table `name` without any field reads as."""
    return {field_name: _absent(field) for field_name, field in schema.tables[name].items()}


def _absent(field: Field) -> Any:
    if field.type in _SCALARS:
        return bool(field.default) if field.type == "bool" else field.default
    if field.type == "string":
        return ""
    if field.type.startswith("["):
        element = field.type[1:-1]
        return np.empty(0, element) if element in _SCALARS else []
    return None


@dataclass
class _Reader:
    data: bytes
    schema: Schema
    tables_left: int = MAX_TABLES

    def __post_init__(self) -> None:
        # tables, vectors and strings may be shared, but a buffer that shares them to inflate itself is refused
        self.bytes_left = 2 * len(self.data) + 1024

    def scalar(self, kind: str, position: int) -> Any:
        flags = _SCALARS[kind]
        self.check(position, flags.bytewidth)
        return encode.Get(flags.packer_type, self.data, position)

    def unsigned16(self, position: int) -> int:
        self.check(position, 2)
        return encode.Get(numbers.Uint16Flags.packer_type, self.data, position)

    def check(self, position: int, size: int) -> None:
        if position < 0 or position + size > len(self.data):
            raise InputError(f"{size} bytes at {position} are outside the file's {len(self.data)}")

    def spend(self, size: int) -> None:
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise InputError("its parts overlap too often to be a written file")

    def forward(self, position: int) -> int:
        return position + self.scalar("uint32", position)

    def vector(self, position: int, width: int) -> tuple[int, int]:
        """(position of the first element, length) of the vector at `position` with elements of `width` bytes."""
        length = self.scalar("uint32", position)
        self.check(position + 4, length * width)
        self.spend(length * width)
        return position + 4, length

    def table(self, position: int, name: str) -> dict[str, Any]:
        self.tables_left -= 1
        if self.tables_left < 0:
            raise InputError(f"more than {MAX_TABLES} tables")
        vtable = position - self.scalar("int32", position)
        vtable_size, table_size = self.unsigned16(vtable), self.unsigned16(vtable + 2)
        if vtable_size < 4 or vtable_size % 2 or table_size < 4:
            raise InputError(f"the vtable of a {name} at {position} has sizes {vtable_size} and {table_size}")
        self.check(vtable, vtable_size)
        self.check(position, table_size)
        self.spend(table_size)
        values = defaults(self.schema, name)
        for field_name, field in self.schema.tables[name].items():
            entry = 4 + 2 * field.slot
            place = self.unsigned16(vtable + entry) if entry < vtable_size else 0
            if not place:
                continue
            kind = field.type
            if kind in self.schema.unions:
                kind = self.schema.unions[kind].get(values[f"{field_name}_type"], "")
            width = _SCALARS[kind].bytewidth if kind in _SCALARS else 4
            if place < 4 or place + width > table_size:
                raise InputError(f"field {field_name} of a {name} at {position} lies outside its table")
            # a union of a kind that the schema does not list is ignored, as any unknown field is
            values[field_name] = self.value(kind, position + place) if kind else None
        return values

    def value(self, kind: str, position: int) -> Any:
        if kind in _SCALARS:
            return self.scalar(kind, position)
        target = self.forward(position)
        if kind == "string":
            first, length = self.vector(target, 1)
            if length > MAX_STRING:
                raise InputError(f"a string of {length} bytes; up to {MAX_STRING} are accepted")
            return self.data[first : first + length].decode("utf-8", "backslashreplace")
        if not kind.startswith("["):
            return self.table(target, kind)
        element = kind[1:-1]
        if element in _SCALARS:
            dtype = np.dtype(element).newbyteorder("<")
            first, length = self.vector(target, dtype.itemsize)
            return np.frombuffer(self.data, dtype, length, first)
        first, length = self.vector(target, 4)
        return [self.table(self.forward(first + 4 * index), element) for index in range(length)]


def write(value: dict[str, Any], schema: Schema, identifier: bytes) -> bytes:
    """The bytes of the root table `value`. Fields that are missing, None, empty or hold their default are left out."""
    builder = Builder(1024)
    builder.Finish(_write_table(builder, value, schema.root, schema), file_identifier=identifier)
    return bytes(builder.Output())


def _write_table(builder: Builder, values: dict[str, Any], name: str, schema: Schema) -> int:
    fields = schema.tables[name]
    values = {field_name: value for field_name, value in values.items() if value is not None}
    # what a table points to is written before the table itself
    places: dict[str, int] = {}
    for field_name, value in values.items():
        field = fields[field_name]
        if field.type in schema.unions:
            kind = schema.unions[field.type][values[f"{field_name}_type"]]
            places[field_name] = _write_table(builder, value, kind, schema)
        elif field.type in schema.tables or (field.type not in _SCALARS and len(value)):
            places[field_name] = _write_reference(builder, value, field, schema)
    builder.StartObject(1 + max((field.slot for field in fields.values()), default=0))
    for field_name, value in values.items():
        field = fields[field_name]
        if field.type in _SCALARS:
            builder.PrependSlot(_SCALARS[field.type], field.slot, value, field.default)
        elif field_name in places:
            builder.PrependUOffsetTRelativeSlot(field.slot, places[field_name], 0)
    return builder.EndObject()


def _write_reference(builder: Builder, value: Any, field: Field, schema: Schema) -> int:
    if field.type == "string":
        return builder.CreateString(value)
    if not field.type.startswith("["):
        return _write_table(builder, value, field.type, schema)
    element = field.type[1:-1]
    if element in _SCALARS:
        array = np.ascontiguousarray(value, dtype=element)
        builder.Prep(max(field.alignment, array.itemsize), array.nbytes)
        return builder.CreateNumpyVector(array)
    tables = [_write_table(builder, item, element, schema) for item in value]
    builder.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        builder.PrependUOffsetTRelative(table)
    return builder.EndVector()
