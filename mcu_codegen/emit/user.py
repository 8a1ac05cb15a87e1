"""Users as C: blobs read and written as `user` does, and enrolment as `gates.decide` does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..errors import InputError
from ..graph import Graph
from ..listen.decision import keywords
from ..users.gates import MAX_UTTERANCES, Gates, absent_steps, check_gates, groups
from ..users.user import GATES, MAGIC, VERSION, WORDS, Status, blob_bytes, labels_of, pack
from .text import CRC32, Origin, banner, comment, header


def emit_user(
    model: Graph,
    enrolment: Graph | None,
    name: str = "kws_model",
    origin: Origin | None = None,
    gates: Gates | None = None,
) -> dict[str, str]:
    """File name to text: `name`_user.h and `name`_user.c. Without `enrolment` they only read and write blobs.

    `gates` are given where the network is switchable: those that are open at first.

    `name` is that of the network's C. Raises InputError where the model has no gates or no labels.
    """
    listed, labels = groups(model), labels_of(model)
    counts = [group.count for group in listed]
    zero_points = [] if enrolment is None else [enrolment.tensors[index].zero_point for index in enrolment.main.outputs]
    if max(counts) > 65535:
        raise InputError(f"model '{model.name}': a group of {max(counts)} gates; up to 65535 are accepted")
    values = {
        "gates": str(sum(counts)),
        "gate_bytes": str(-(-sum(counts) // 8)),
        "groups": str(len(listed)),
        "labels": str(len(labels)),
        "label_bytes": str(-(-len(labels) // 8)),
        "blob_bytes": str(blob_bytes(model)),
        "statuses": "".join(f"#define NAME_USER_{status.name} {status.value}{_ABOUT[status]}\n" for status in Status),
        "magic": _bytes(MAGIC),
        "version": str(VERSION),
        "hash": _bytes(bytes.fromhex(model.sha256)[:8]),
        "type_gates": str(GATES),
        "type_words": str(WORDS),
        "counts": ", ".join(f"{count}u" for count in counts),
        "others": _bytes(pack(~np.array(keywords(labels)))),
        "crc32": CRC32,
        "most": str(MAX_UTTERANCES),
        "zero_points": ", ".join(map(str, zero_points)),
        "steps": "" if enrolment is None else _tables(absent_steps(enrolment)),
        "parameters": ", ".join(f"const int8_t *logits_{group}" for group in range(len(listed))),
        "logits": ", ".join(f"logits_{group}" for group in range(len(listed))),
    }
    head = _HEADER + (_ENROLMENT_HEADER if enrolment else "")
    source = _SOURCE + (_ENROLMENT_SOURCE if enrolment else "")
    if gates is not None:
        check_gates(listed, gates)
        head, source = head + _SWITCH_HEADER, source + _SWITCH_SOURCE
        pairs = list(enumerate(gates))
        values["declared"] = "\n".join(
            f"extern uint8_t name_open_{group}[{len(each)}];\nextern uint16_t name_list_{group}[{len(each) + 1}];"
            for group, each in pairs
        )
        values["defined"] = "\n".join(
            f"uint8_t name_open_{group}[{len(each)}] = {{{_numbers(each)}}};\n"
            f"uint16_t name_list_{group}[{len(each) + 1}] = {{{_numbers([each.sum(), *np.flatnonzero(each)])}}};"
            for group, each in pairs
        )
        values["switches"] = ", ".join(f"{{name_open_{group}, name_list_{group}}}" for group, _ in pairs)
        values["initial"] = _bytes(pack(np.concatenate(gates)))
        values["switch_bytes"] = str(sum(3 * len(each) + 2 for each in gates))
    texts = {
        f"{name}_user.h": ("Users of the network: which channels and words one person keeps.", head),
        f"{name}_user.c": ("Users of the network.", source),
    }
    files = {}
    for file, (about, text) in texts.items():
        for key, value in values.items():
            text = text.replace(f"${key}$", value)
        text = text.replace("DECISION", f"{name.removesuffix('_model')}_decision")
        text = text.replace("NAME", name.upper()).replace("name_", f"{name}_")
        text = text.replace("$names$", comment(", ".join(f"{group.name!a}: {group.count}" for group in listed)))
        files[file] = banner(about, origin or Origin()) + (header(file, text) if file.endswith(".h") else text)
    return files


_ABOUT = {
    Status.OK: "",
    Status.CORRUPT: " /* damaged, or cut off */",
    Status.OUTDATED: " /* of another version of the format */",
    Status.FOREIGN: " /* of another model */",
    Status.UNKNOWN_SECTION: " /* it asks for something that this firmware does not know */",
}


def _bytes(data: bytes | Sequence[int]) -> str:
    return ", ".join(f"0x{byte:02X}u" for byte in data)


def _tables(tables: Sequence[np.ndarray]) -> str:
    """Steps [labels, gates] by group as rows of labels over all gates."""
    return ",\n".join(f"    {{{_numbers(row)}}}" for row in np.concatenate(tables, axis=1))


def _numbers(values: Iterable[int]) -> str:
    return ", ".join(str(int(value)) for value in values)


_HEADER = """
#include <stdint.h>

#define NAME_USER_GATES $gates$ /* of all groups, in order; $names$ */
#define NAME_USER_GATE_BYTES $gate_bytes$
#define NAME_USER_LABELS $labels$
#define NAME_USER_LABEL_BYTES $label_bytes$
#define NAME_USER_BLOB_BYTES $blob_bytes$ /* of the longest blob */

/* What name_user_load returns. */
$statuses$
/* One user. Bit i % 8 of byte i / 8 is about gate i, or label i; bits behind the last one are 0. */
typedef struct {
    uint8_t gates[NAME_USER_GATE_BYTES]; /* set: open */
    uint8_t words[NAME_USER_LABEL_BYTES]; /* set: may be decided, as DECISION_allow takes them; silence and unknown
                                             words are always set */
} name_user;

/* Make `user` the user of the full network and of all words. */
void name_user_reset(name_user *user);

/* Read a blob. Unless the result is NAME_USER_OK, `user` is as after name_user_reset. */
int name_user_load(name_user *user, const uint8_t *blob, uint32_t bytes);

/* Write `user` as a blob, of which NAME_USER_BLOB_BYTES must have room. Returns its length. */
uint32_t name_user_save(const name_user *user, uint8_t *blob);
"""

_ENROLMENT_HEADER = """
#define NAME_ENROLMENT_MOST $most$ /* utterances */

/* What the utterances of a user have shown so far. Keep it to add more of them later. */
typedef struct {
    uint32_t utterances;
    int32_t sums[NAME_USER_GATES]; /* of logits */
} name_enrolment;

/* Forget all utterances. */
void name_enrolment_begin(name_enrolment *enrolment);

/* Add one utterance: the outputs of name_enrol. Returns 0; 1 where there are NAME_ENROLMENT_MOST already. */
int name_enrolment_add(name_enrolment *enrolment, $parameters$);

/* Give `user` the gates that the utterances chose, and the words of `user`, which stay. Returns 0; 1 where there are
   no utterances, and nothing is changed. */
int name_enrolment_finish(const name_enrolment *enrolment, name_user *user);
"""

_SOURCE = """\
#include "name_user.h"

#define HEADER 14u /* bytes before the sections */
#define GROUPS $groups$u

static const uint8_t start[5] = {$magic$, $version$u};
static const uint8_t model[8] = {$hash$}; /* the first bytes of the SHA-256 of the model file */
static const uint16_t counts[GROUPS] = {$counts$}; /* gates of each group */
static const uint8_t others[NAME_USER_LABEL_BYTES] = {$others$}; /* labels that are no words */

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

static uint32_t is_set(const uint8_t *bits, uint32_t item)
{
    return (uint32_t)bits[item / 8u] >> (item % 8u) & 1u;
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

/* Whether every group has an open gate. */
static int all_groups_open(const uint8_t *gates)
{
    uint32_t gate = 0;

    for (uint32_t group = 0; group < GROUPS; group++) {
        uint32_t open = 0;

        for (uint32_t i = 0; i < counts[group]; i++) {
            open |= is_set(gates, gate++);
        }
        if (open == 0u) {
            return 0;
        }
    }
    return 1;
}

static int no_label_missing(const uint8_t *words)
{
    for (uint32_t i = 0; i < NAME_USER_LABEL_BYTES; i++) {
        if ((others[i] & ~(uint32_t)words[i]) != 0u) {
            return 0;
        }
    }
    return 1;
}

void name_user_reset(name_user *user)
{
    set_all(user->gates, NAME_USER_GATES);
    set_all(user->words, NAME_USER_LABELS);
}

static int read_blob(name_user *user, const uint8_t *blob, uint32_t bytes)
{
    uint32_t end, crc, at = HEADER, last = 0;

    if (bytes < HEADER + 4u || !equal(blob, start, 4u)) {
        return NAME_USER_CORRUPT;
    }
    end = bytes - 4u;
    crc = blob[end] | (uint32_t)blob[end + 1u] << 8 | (uint32_t)blob[end + 2u] << 16 | (uint32_t)blob[end + 3u] << 24;
    if (crc32(0u, blob, end) != crc) {
        return NAME_USER_CORRUPT;
    }
    if (blob[4] != start[4]) {
        return NAME_USER_OUTDATED;
    }
    if (!equal(blob + 6, model, 8u)) {
        return NAME_USER_FOREIGN;
    }
    for (uint32_t section = 0; section < blob[5]; section++) {
        const uint8_t *bits;
        int good;

        if (end - at < 2u || end - at - 2u < blob[at + 1u] || blob[at] <= last) {
            return NAME_USER_CORRUPT;
        }
        last = blob[at];
        bits = blob + at + 2u;
        if (last == $type_gates$u) {
            good = read_bits(user->gates, bits, blob[at + 1u], NAME_USER_GATES) && all_groups_open(user->gates);
        } else if (last == $type_words$u) {
            good = read_bits(user->words, bits, blob[at + 1u], NAME_USER_LABELS) && no_label_missing(user->words);
        } else {
            return NAME_USER_UNKNOWN_SECTION;
        }
        if (!good) {
            return NAME_USER_CORRUPT;
        }
        at += 2u + blob[at + 1u];
    }
    return at == end ? NAME_USER_OK : NAME_USER_CORRUPT;
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

/* Append a section. Returns the end of the blob. */
static uint8_t *write_bits(uint8_t *to, uint8_t type, const uint8_t *bits, uint8_t bytes)
{
    *to++ = type;
    *to++ = bytes;
    while (bytes-- > 0u) {
        *to++ = *bits++;
    }
    return to;
}

uint32_t name_user_save(const name_user *user, uint8_t *blob)
{
    name_user full;
    uint8_t *next = blob + HEADER;
    uint32_t crc;

    name_user_reset(&full);
    for (uint32_t i = 0; i < 5u; i++) {
        blob[i] = start[i];
    }
    blob[5] = 1;
    for (uint32_t i = 0; i < 8u; i++) {
        blob[6u + i] = model[i];
    }
    next = write_bits(next, $type_gates$u, user->gates, NAME_USER_GATE_BYTES);
    if (!equal(user->words, full.words, NAME_USER_LABEL_BYTES)) {
        blob[5] = 2;
        next = write_bits(next, $type_words$u, user->words, NAME_USER_LABEL_BYTES);
    }
    crc = crc32(0u, blob, (uint32_t)(next - blob));
    for (uint32_t i = 0; i < 4u; i++) {
        *next++ = (uint8_t)(crc >> (8u * i));
    }
    return (uint32_t)(next - blob);
}
"""

_ENROLMENT_SOURCE = """
static const int8_t zero_points[GROUPS] = {$zero_points$}; /* of the logits: a gate opens above */

/* What doing without a label changes in the logits, by gate of all groups. */
static const int8_t absent[NAME_USER_LABELS][NAME_USER_GATES] = {
$steps$};

/* The sum of a gate's logits, as the words of `user` change it. */
static int32_t total(const name_enrolment *enrolment, const name_user *user, uint32_t gate)
{
    int32_t steps = 0;

    for (uint32_t label = 0; label < NAME_USER_LABELS; label++) {
        if (is_set(user->words, label) == 0u) {
            steps += absent[label][gate];
        }
    }
    return enrolment->sums[gate] + (int32_t)enrolment->utterances * steps;
}

void name_enrolment_begin(name_enrolment *enrolment)
{
    enrolment->utterances = 0;
    for (uint32_t gate = 0; gate < NAME_USER_GATES; gate++) {
        enrolment->sums[gate] = 0;
    }
}

int name_enrolment_add(name_enrolment *enrolment, $parameters$)
{
    const int8_t *const logits[GROUPS] = {$logits$};
    int32_t *sum = enrolment->sums;

    if (enrolment->utterances >= NAME_ENROLMENT_MOST) {
        return 1;
    }
    enrolment->utterances++;
    for (uint32_t group = 0; group < GROUPS; group++) {
        for (uint32_t i = 0; i < counts[group]; i++) {
            *sum++ += logits[group][i];
        }
    }
    return 0;
}

int name_enrolment_finish(const name_enrolment *enrolment, name_user *user)
{
    uint32_t first = 0;

    if (enrolment->utterances == 0u) {
        return 1;
    }
    for (uint32_t i = 0; i < NAME_USER_GATE_BYTES; i++) {
        user->gates[i] = 0;
    }
    for (uint32_t group = 0; group < GROUPS; group++) {
        const int32_t threshold = (int32_t)enrolment->utterances * zero_points[group];
        int32_t most = total(enrolment, user, first);
        uint32_t best = 0;

        for (uint32_t i = 1; i < counts[group]; i++) {
            const int32_t sum = total(enrolment, user, first + i);

            if (sum > most) {
                most = sum;
                best = i;
            }
        }
        for (uint32_t i = 0; i < counts[group]; i++) {
            const uint32_t open = total(enrolment, user, first + i) > threshold || (i == best && most <= threshold);

            user->gates[(first + i) / 8u] = (uint8_t)(user->gates[(first + i) / 8u] | open << ((first + i) % 8u));
        }
        first += counts[group];
    }
    return 0;
}
"""

_SWITCH_HEADER = """
/* Which channels the network computes from its next call on: the gates of a user, or of the full network as
   name_user_reset makes it. name_enrol always runs the full network. */
void name_set_gates(const uint8_t *gates);

/* The gates that were chosen at generation; they are set at first, and by name_reset. */
void name_reset_gates(void);

/* For the network to read; $switch_bytes$ bytes of RAM beside the arena. */
$declared$
"""

_SWITCH_SOURCE = """
$defined$

static const struct {
    uint8_t *open; /* by gate */
    uint16_t *list; /* how many gates are open, then which */
} switches[GROUPS] = {$switches$};

void name_set_gates(const uint8_t *gates)
{
    uint32_t gate = 0;

    for (uint32_t group = 0; group < GROUPS; group++) {
        uint16_t *next = switches[group].list + 1;

        for (uint32_t i = 0; i < counts[group]; i++) {
            const uint32_t open = is_set(gates, gate++);

            switches[group].open[i] = (uint8_t)open;
            if (open != 0u) {
                *next++ = (uint16_t)i;
            }
        }
        switches[group].list[0] = (uint16_t)(next - switches[group].list - 1);
    }
}

void name_reset_gates(void)
{
    static const uint8_t initial[NAME_USER_GATE_BYTES] = {$initial$};

    name_set_gates(initial);
}
"""
