"""The front end as portable C99: what `listen.frontend.features` computes, hop by hop, and the tables that it reads.

An instruction set is a subclass that overrides stages. How a stage leaves its values in the arena is between it and the
next one; the features are the same bytes everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...listen import frontend
from ...listen.frontend import FrontEnd
from ..text import array
from . import frontend_stages as stages

CONST = "KWS_FRONTEND_CONST_ATTR"


@dataclass(frozen=True)
class Table:
    """Constants that stages read."""

    ctype: str
    name: str
    values: np.ndarray
    about: str

    def text(self) -> str:
        """As C."""
        return array(self.ctype, self.name, self.values, about=self.about, attribute=CONST)


@dataclass(frozen=True)
class Stage:
    """C functions, the last of which `kws_frontend_push` calls."""

    text: str
    tables: tuple[Table, ...] = ()


class FrontEndRenderer:
    """Of one front end. `features` of frames come out of five stages, and `keep` holds on to samples."""

    instruction_set = "portable"

    def __init__(self, front_end: FrontEnd) -> None:
        self.front_end = front_end
        self.tables = front_end.tables
        self.history = ((front_end.window - 1) // front_end.hop) * front_end.hop
        """Samples kept from hop to hop: all earlier whole hops that a frame may need."""
        self.last_bin = self.tables.first_bin + len(self.tables.rising) - 1

    @property
    def arena_bytes(self) -> int:
        """RAM of the C: transform, history, log-mel bands, count of hops; a multiple of 8."""
        used = frontend.POINTS * 8 + self.history * 2 + self.front_end.bands * 2 + 4
        return (used + 7) // 8 * 8

    def source(self) -> str:
        """The C file."""
        return _FRAME.replace("@STAGES@", "\n".join(stage.text.strip("\n") + "\n" for stage in self.stages()))

    def tables_header(self) -> str:
        """The body of the header of tables."""
        tables = {table.name: table for stage in self.stages() for table in stage.tables}
        return _defines(self) + "\n".join(table.text() for table in tables.values())

    def stages(self) -> list[Stage]:
        """In the order of the C file, which is that of their work."""
        return [
            self.shared(),
            self.load_frame(),
            self.transform(),
            self.powers(),
            self.mel_logs(),
            self.project(),
            self.keep(),
        ]

    def shared(self) -> Stage:
        """What several stages use."""
        return Stage(stages.ROTATION, (self._minus_sine,))

    def load_frame(self) -> Stage:
        """load_frame(hop): the windowed frame in the transform's order."""
        window = Table("uint16_t", "window", self.tables.window, "Periodic Hann window, Q15.")
        return Stage(stages.WINDOW, (window,))

    def transform(self) -> Stage:
        """transform(): the spectrum of the complex points."""
        return Stage(stages.TRANSFORM)

    def powers(self) -> Stage:
        """powers(): the power of the bins that bands hold, uint64 in place."""
        return Stage(stages.POWERS)

    def mel_logs(self) -> Stage:
        """mel_logs(): logarithms of the bands."""
        return Stage(stages.MEL_LOGS, (self.interval_bins, self.rising, self.log2_chords))

    def project(self) -> Stage:
        """project(features): codes."""
        if self.front_end.coefficients == self.front_end.bands:  # the projection is a multiple of the identity
            return Stage(f"{stages.CLAMPED}\n{stages.PROJECT_BANDS}")
        return Stage(f"{stages.CLAMPED}\n{stages.PROJECT_DCT}", (self.projection, self.offset))

    def keep(self) -> Stage:
        """keep(hop): the history with the hop in it."""
        return Stage(stages.KEEP)

    @property
    def _minus_sine(self) -> Table:
        return Table("int16_t", "minus_sine", self.tables.minus_sine, "-sin(2 pi k / 512), Q15.")

    @property
    def interval_bins(self) -> Table:
        return Table(
            "uint8_t", "interval_bins", self.tables.interval_bins, "Bins between neighbouring centres of mel bands."
        )

    @property
    def rising(self) -> Table:
        about = "Weight of a bin in the band whose centre comes next, Q15; the band before has the rest."
        return Table("uint16_t", "rising", self.tables.rising, about)

    @property
    def log2_chords(self) -> Table:
        return Table("uint16_t", "log2_chords", self.tables.log2, "log2(1 + i / 32), Q15.")

    @property
    def projection(self) -> Table:
        about = "DCT-II, row by row: codes per unit of log2, Q12."
        return Table("int16_t", "projection", self.tables.projection, about)

    @property
    def offset(self) -> Table:
        return Table("int32_t", "offset", self.tables.offset, "Zero point, floor and half a code, Q22.")


def _defines(renderer: FrontEndRenderer) -> str:
    front_end, tables = renderer.front_end, renderer.tables
    scale = ""
    if front_end.coefficients == front_end.bands:
        scale = (
            f"#define GAIN {tables.projection[0, 0]} /* codes per unit of log2, Q12 */\n"
            f"#define OFFSET ({tables.offset[0]}) /* zero point, floor and half a code, Q22 */\n"
        )
    return f"""
#include <stdint.h>

#define HISTORY {renderer.history} /* samples kept from hop to hop */
#define BANDS {front_end.bands}
#define FIRST_BIN {tables.first_bin}
#define FLOOR {tables.floor}u /* the smallest mel sum that counts */
#define FLOOR_LOG {tables.floor_log}u /* its log2, Q10 */
{scale}
"""


_FRAME = """\
/* Right shifts of negative numbers are taken to be arithmetic, as every compiler for these cores has them. */
#include "kws_frontend.h"

#include "kws_frontend_tables.h"

/* May be defined to note where a stage ends. */
#ifndef KWS_FRONTEND_STAGE
#define KWS_FRONTEND_STAGE(number) ((void)0)
#endif

#define POINTS 256 /* of the complex transform */

typedef struct {
    int32_t re, im;
} complex_t;

/* A point of the transform; in the end its power takes its place. */
typedef union {
    complex_t value;
    uint64_t power;
} bin_t;

typedef struct {
    bin_t bins[POINTS];
    int16_t history[HISTORY]; /* the samples before the newest hop */
    uint16_t logs[BANDS]; /* log2 of the bands relative to the floor, Q10 */
    uint32_t missing; /* samples until the history is full */
} arena_t;

typedef char arena_bytes_hold[sizeof(arena_t) <= KWS_FRONTEND_ARENA_BYTES ? 1 : -1];

static KWS_FRONTEND_ARENA_ATTR arena_t arena;

@STAGES@
void kws_frontend_reset(void)
{
    arena.missing = HISTORY;
}

int kws_frontend_push(const int16_t *hop, int8_t *features)
{
    const int complete = arena.missing == 0;

    if (complete) {
        load_frame(hop);
        KWS_FRONTEND_STAGE(0);
        transform();
        KWS_FRONTEND_STAGE(1);
        powers();
        KWS_FRONTEND_STAGE(2);
        mel_logs();
        KWS_FRONTEND_STAGE(3);
        project(features);
        KWS_FRONTEND_STAGE(4);
    } else {
        arena.missing -= KWS_FRONTEND_HOP;
    }
    keep(hop);
    return complete;
}
"""
