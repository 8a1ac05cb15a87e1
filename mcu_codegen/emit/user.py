"""Users as C: blobs read and written as `users.blob` does, of parts that files of their own describe."""

from __future__ import annotations

from ..graph import Graph
from ..users.blob import MAGIC, VERSION, Status, blob_bytes, labels_of, user_groups
from ..users.exits import exits_of
from ..users.gates import Gates
from ..users.teaching import can_be_taught
from .text import CRC32, Origin, hexadecimal, personal_files
from .user_exits import exits_part
from .user_gates import gates_part
from .user_new_words import new_words_part
from .user_part import Part, Section
from .user_words import words_part


def emit_user(
    model: Graph,
    enrolment: Graph | None,
    name: str = "kws_model",
    origin: Origin | None = None,
    gates: Gates | None = None,
) -> dict[str, str]:
    """File name to text: `name`_user.h and `name`_user.c. Without `enrolment` they only read and write blobs.

    `gates` are given where the network is switchable: those that are open at first. `name` is that of the network's C.
    Raises InputError where nothing of the model can be one person's, or it has no labels.
    """
    labels = labels_of(model)
    parts = [gates_part(model, enrolment, gates)] if user_groups(model) else []
    parts.append(words_part(labels))
    parts += [exits_part(model)] if exits_of(model) else []
    parts += [new_words_part(model)] if can_be_taught(model) else []
    sections = [section for part in parts for section in part.sections]
    values = {
        "macros": "".join(part.macros for part in parts),
        "fields": "".join(part.fields for part in parts).rstrip(),
        "resets": "\n    ".join(part.reset for part in parts),
        "functions": "\n".join(part.functions for part in parts),
        "readers": "\n".join(map(_reader, sections)),
        "writers": "\n".join(map(_writer, sections)),
        "ends": "".join(part.end for part in parts),
        "includes": "".join(f'#include "{file}"\n' for part in parts for file in part.includes),
        "labels": str(len(labels)),
        "label_bytes": str(-(-len(labels) // 8)),
        "blob_bytes": str(blob_bytes(model)),
        "statuses": "".join(f"#define NAME_USER_{status.name} {status.value}{_ABOUT[status]}\n" for status in Status),
        "magic": hexadecimal(MAGIC),
        "version": str(VERSION),
        "hash": hexadecimal(bytes.fromhex(model.sha256)[:8]),
        "crc32": CRC32,
    }
    texts = {
        f"{name}_user.h": ("Users of the network: what is one person's of it.", _HEADER + _more(parts, "header")),
        f"{name}_user.c": ("Users of the network.", _SOURCE + _more(parts, "source")),
    }
    pairs = [pair for each in (values, *(part.values for part in parts)) for pair in each.items()]
    return personal_files(texts, pairs, name, origin)


def _more(parts: list[Part], what: str) -> str:
    return "".join(getattr(part, what) for part in parts)


def _reader(section: Section) -> str:
    return (
        f"        case {section.kind.value}u: /* {section.name} */\n"
        f"            good = read_{section.name}(user, blob + at, length);\n"
        "            break;"
    )


def _writer(section: Section) -> str:
    call = f"next = end_section(blob, next, {section.kind.value}u, write_{section.name}(user, next + SECTION));"
    return f"    if ({section.condition}) {{\n        {call}\n    }}" if section.condition else f"    {call}"


_ABOUT = {
    Status.OK: "",
    Status.CORRUPT: " /* damaged, or cut off */",
    Status.OUTDATED: " /* of another version of the format */",
    Status.FOREIGN: " /* of another model */",
    Status.UNKNOWN_SECTION: " /* it asks for something that this firmware does not know */",
}

_HEADER = """
#include <stdint.h>
$includes$
$macros$#define NAME_USER_LABELS $labels$
#define NAME_USER_LABEL_BYTES $label_bytes$
#define NAME_USER_BLOB_BYTES $blob_bytes$ /* of the longest blob */

/* What name_user_load returns. */
$statuses$
/* One user. Bit i % 8 of byte i / 8 is about gate i, or label i; bits behind the last one are 0. */
typedef struct {
$fields$
} name_user;

/* Make `user` the user of the full network and of all words. */
void name_user_reset(name_user *user);

/* Read a blob. Unless the result is NAME_USER_OK, `user` is as after name_user_reset. */
int name_user_load(name_user *user, const uint8_t *blob, uint32_t bytes);

/* Write `user` as a blob, of which NAME_USER_BLOB_BYTES must have room. Returns its length. */
uint32_t name_user_save(const name_user *user, uint8_t *blob);
"""

_SOURCE = """\
#include "name_user.h"

#define HEADER 14u /* bytes before the sections */
#define SECTION 3u /* bytes before what is in a section */

static const uint8_t start[5] = {$magic$, $version$u};
static const uint8_t model[8] = {$hash$}; /* the first bytes of the SHA-256 of the model file */

$crc32$
/* Whether two runs of bytes are equal. */
static int equal(const uint8_t *a, const uint8_t *b, uint32_t bytes)
{
    while (bytes > 0u && *a == *b) {
        a++;
        b++;
        bytes--;
    }
    return bytes == 0u;
}

/* Set the bits of `items` items, and clear those behind them. */
static void set_all(uint8_t *bits, uint32_t items)
{
    for (; items >= 8u; items -= 8u) {
        *bits++ = 0xFFu;
    }
    if (items > 0u) {
        *bits = (uint8_t)((1u << items) - 1u);
    }
}

/* Copy the bits of `items` items out of a section. Returns 0 where it has another length, or a bit behind them. */
static int read_bits(uint8_t *bits, const uint8_t *section, uint32_t bytes, uint32_t items)
{
    if (bytes != (items + 7u) / 8u || (items % 8u != 0u && section[bytes - 1u] >> (items % 8u) != 0u)) {
        return 0;
    }
    for (uint32_t i = 0; i < bytes; i++) {
        bits[i] = section[i];
    }
    return 1;
}

/* A number of `bytes` bytes, little endian. */
static uint32_t read_number(const uint8_t *from, uint32_t bytes)
{
    uint32_t value = 0;

    while (bytes-- > 0u) {
        value = value << 8 | from[bytes];
    }
    return value;
}

/* Copy. Returns the end. */
static uint8_t *write_bytes(uint8_t *to, const uint8_t *from, uint32_t bytes)
{
    while (bytes-- > 0u) {
        *to++ = *from++;
    }
    return to;
}

$functions$
void name_user_reset(name_user *user)
{
    $resets$
}

static int read_blob(name_user *user, const uint8_t *blob, uint32_t bytes)
{
    uint32_t end, at = HEADER, last = 0;
    int good = 1;

    if (bytes < HEADER + 4u || !equal(blob, start, 4u)) {
        return NAME_USER_CORRUPT;
    }
    end = bytes - 4u;
    if (crc32(0u, blob, end) != read_number(blob + end, 4u)) {
        return NAME_USER_CORRUPT;
    }
    if (blob[4] != start[4]) {
        return NAME_USER_OUTDATED;
    }
    if (!equal(blob + 6, model, 8u)) {
        return NAME_USER_FOREIGN;
    }
    for (uint32_t section = 0; section < blob[5] && good; section++) {
        uint32_t length;

        if (end - at < SECTION || blob[at] <= last) {
            return NAME_USER_CORRUPT;
        }
        last = blob[at];
        length = read_number(blob + at + 1u, 2u);
        at += SECTION;
        if (end - at < length) {
            return NAME_USER_CORRUPT;
        }
        switch (last) {
$readers$
        default:
            return NAME_USER_UNKNOWN_SECTION;
        }
        at += length;
    }
$ends$    return good && at == end ? NAME_USER_OK : NAME_USER_CORRUPT;
}

int name_user_load(name_user *user, const uint8_t *blob, uint32_t bytes)
{
    int status;

    name_user_reset(user);
    status = read_blob(user, blob, bytes);
    if (status != NAME_USER_OK) {
        name_user_reset(user);
    }
    return status;
}

/* Put a section's type and length before what is in it, from `at` + SECTION to `end`. Returns the end. */
static uint8_t *end_section(uint8_t *blob, uint8_t *at, uint8_t type, uint8_t *end)
{
    const uint32_t length = (uint32_t)(end - at) - SECTION;

    blob[5]++;
    at[0] = type;
    at[1] = (uint8_t)length;
    at[2] = (uint8_t)(length >> 8);
    return end;
}

uint32_t name_user_save(const name_user *user, uint8_t *blob)
{
    uint8_t words[NAME_USER_LABEL_BYTES];
    uint8_t *next = blob + HEADER;
    uint32_t crc;

    set_all(words, NAME_USER_LABELS);
    (void)write_bytes(blob, start, 5u);
    (void)write_bytes(blob + 6, model, 8u);
    blob[5] = 0;
$writers$
    crc = crc32(0u, blob, (uint32_t)(next - blob));
    for (uint32_t i = 0; i < 4u; i++) {
        *next++ = (uint8_t)(crc >> (8u * i));
    }
    return (uint32_t)(next - blob);
}
"""
