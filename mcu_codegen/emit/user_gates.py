"""What gates add to the C of users: their section of a blob, enrolment as `gates.decide` does it, and switching."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..errors import InputError
from ..graph import Graph
from ..users.blob import Kind, labels_of, pack
from ..users.gates import MAX_UTTERANCES, Gates, absent_steps, check_gates, groups
from .text import comment, hexadecimal
from .user_part import Part, Section


def gates_part(model: Graph, enrolment: Graph | None, gates: Gates | None) -> Part:
    """Of `model`, which has gates. With `enrolment` where a board enrols; `gates` are given where the network is
    switchable: those that are open at first. Raises InputError."""
    listed = groups(model)
    counts = [group.count for group in listed]
    if max(counts) > 65535:
        raise InputError(f"model '{model.name}': a group of {max(counts)} gates; up to 65535 are accepted")
    values = {
        "gates": str(sum(counts)),
        "gate_bytes": str(-(-sum(counts) // 8)),
        "names": comment(", ".join(f"{group.name!a}: {group.count}" for group in listed)),
        "groups": str(len(listed)),
        "counts": ", ".join(f"{count}u" for count in counts),
    }
    header, source = "", ""
    if enrolment is not None:
        labels_of(model)
        header, source = _ENROLMENT_HEADER, _ENROLMENT_SOURCE
        values |= {
            "most": str(MAX_UTTERANCES),
            "zero_points": _numbers(enrolment.tensors[index].zero_point for index in enrolment.main.outputs),
            "steps": _tables(absent_steps(enrolment)),
            "parameters": ", ".join(f"const int8_t *logits_{group}" for group in range(len(listed))),
            "logits": ", ".join(f"logits_{group}" for group in range(len(listed))),
        }
    if gates is not None:
        check_gates(listed, gates)
        header, source = header + _SWITCH_HEADER, source + _SWITCH_SOURCE
        pairs = list(enumerate(gates))
        values |= {
            "declared": "\n".join(
                f"extern uint8_t name_open_{group}[{len(each)}];\nextern uint16_t name_list_{group}[{len(each) + 1}];"
                for group, each in pairs
            ),
            "defined": "\n".join(
                f"uint8_t name_open_{group}[{len(each)}] = {{{_numbers(each)}}};\n"
                f"uint16_t name_list_{group}[{len(each) + 1}] = {{{_numbers([each.sum(), *np.flatnonzero(each)])}}};"
                for group, each in pairs
            ),
            "switches": ", ".join(f"{{name_open_{group}, name_list_{group}}}" for group, _ in pairs),
            "initial": hexadecimal(pack(np.concatenate(gates))),
            "switch_bytes": str(sum(3 * len(each) + 2 for each in gates)),
        }
    return Part(
        macros="""\
#define NAME_USER_GATES $gates$ /* of all groups, in order; $names$ */
#define NAME_USER_GATE_BYTES $gate_bytes$
""",
        fields="    uint8_t gates[NAME_USER_GATE_BYTES]; /* set: open */\n",
        reset="set_all(user->gates, NAME_USER_GATES);",
        functions=_SECTION,
        sections=(Section(Kind.GATES, "gates"),),
        end="",
        header=header,
        source=source,
        values=values,
    )


def _tables(tables: Sequence[np.ndarray]) -> str:
    """Steps [labels, gates] by group as rows of labels over all gates."""
    return ",\n".join(f"    {{{_numbers(row)}}}" for row in np.concatenate(tables, axis=1))


def _numbers(values: Iterable[int]) -> str:
    return ", ".join(str(int(value)) for value in values)


_SECTION = """\
static const uint16_t counts[$groups$] = {$counts$}; /* gates of each group */

static uint32_t is_set(const uint8_t *bits, uint32_t item)
{
    return (uint32_t)bits[item / 8u] >> (item % 8u) & 1u;
}

/* Whether every group has an open gate. */
static int all_groups_open(const uint8_t *gates)
{
    uint32_t gate = 0;

    for (uint32_t group = 0; group < $groups$u; group++) {
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

static int read_gates(name_user *user, const uint8_t *section, uint32_t bytes)
{
    return read_bits(user->gates, section, bytes, NAME_USER_GATES) && all_groups_open(user->gates);
}

static uint8_t *write_gates(const name_user *user, uint8_t *to)
{
    return write_bytes(to, user->gates, NAME_USER_GATE_BYTES);
}
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

_ENROLMENT_SOURCE = """
static const int8_t zero_points[$groups$] = {$zero_points$}; /* of the logits: a gate opens above */

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
    const int8_t *const logits[$groups$] = {$logits$};
    int32_t *sum = enrolment->sums;

    if (enrolment->utterances >= NAME_ENROLMENT_MOST) {
        return 1;
    }
    enrolment->utterances++;
    for (uint32_t group = 0; group < $groups$u; group++) {
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
    for (uint32_t group = 0; group < $groups$u; group++) {
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
} switches[$groups$] = {$switches$};

void name_set_gates(const uint8_t *gates)
{
    uint32_t gate = 0;

    for (uint32_t group = 0; group < $groups$u; group++) {
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
