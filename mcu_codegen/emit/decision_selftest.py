"""How a board proves its decision: scores that need no storage, and the CRC-32 of what is decided in them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

from ..listen.decision import Decision, Detector
from .text import CRC32, RANDOM, random_words


def decision_selftest(decision: Decision, labels: Sequence[str], words: Sequence[str] | None) -> str:
    """The C file, for the arguments of `emit_decision`."""
    return _SOURCE % {
        "crc32": CRC32,
        "random": RANDOM,
        "expected": f"0x{_crc(decision, labels, words):08X}u",
    }


def _scores(decision: Decision, labels: int) -> np.ndarray:
    """int8[inferences, labels]: random scores in which every label in turn is high, long enough to be detected."""
    run = 2 * decision.smoothing
    words = random_words(1, run * labels * labels).reshape(run * labels, labels)
    winner = np.arange(run * labels) // run
    base = np.where(np.arange(labels) == winner[:, None], 64, -128)
    return (base + (words >> 26)).astype(np.int8)


def _crc(decision: Decision, labels: Sequence[str], words: Sequence[str] | None) -> int:
    """The CRC-32 of what the self-test observes: per inference the event, with label and hop where there are any."""
    detector, crc = Detector(decision, labels, words), 0
    for scores in _scores(decision, len(labels)):
        while not detector.hop():
            pass
        found = detector.step(scores)
        seen = b"\0" if found is None else struct.pack("<BBI", 1 + found.suppressed, found.label, found.hop)
        crc = zlib.crc32(seen, crc)
    return crc


_SOURCE = """\
#include "kws_decision.h"

#define RUN (2u * KWS_DECISION_SMOOTHING) /* inferences in which one label is high */
#define EXPECTED %(expected)s /* CRC-32 of every event, with label and hop of those that have one */

%(crc32)s
%(random)s
/* Random scores in which the label `winner` is high. */
static void make_scores(uint32_t winner, uint32_t *random, int8_t *scores)
{
    for (uint32_t label = 0; label < KWS_DECISION_LABELS; label++) {
        scores[label] = (int8_t)((int32_t)(next_random(random) >> 26) + (label == winner ? 64 : -128));
    }
}

/* One inference at its time, as bytes. Returns how many. */
static uint32_t observe(const int8_t *scores, uint8_t *seen)
{
    kws_decision_detection detection;

    while (!kws_decision_hop()) {
    }
    seen[0] = (uint8_t)kws_decision_step(scores, &detection);
    if (seen[0] == KWS_DECISION_NOTHING) {
        return 1;
    }
    seen[1] = (uint8_t)detection.label;
    for (uint32_t byte = 0; byte < 4u; byte++) {
        seen[2u + byte] = (uint8_t)(detection.hop >> (8u * byte));
    }
    return 6;
}

int kws_decision_selftest(void)
{
    int8_t scores[KWS_DECISION_LABELS];
    uint8_t seen[6];
    uint32_t crc = 0, random = 1;

    kws_decision_reset();
    for (uint32_t winner = 0; winner < KWS_DECISION_LABELS; winner++) {
        for (uint32_t inference = 0; inference < RUN; inference++) {
            make_scores(winner, &random, scores);
            crc = crc32(crc, seen, observe(scores, seen));
        }
    }
    kws_decision_reset();
    return crc == EXPECTED ? 0 : 1;
}
"""
